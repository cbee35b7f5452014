"""Who an HTTP agent answers, and what slow, many and hostile clients can't do to it."""

import contextlib
import http.client
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Running, Site, ask, raw, running

from upm_cli.agent.server.front import Rate
from upm_cli.agent.server.options import Limits, ServeOptions
from upm_cli.core.delivery import places
from upm_cli.errors import RefusedError, UsageError
from upm_cli.safehttp.tokens import TokenFile, new_token

QUICK = Limits(head_s=0.3, body_s=0.3, stall_s=0.5, model_s=0.3, slowest_bytes=1 << 30, connections=8, keep_alive_s=1)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("guards") / "agent", limits=QUICK) as made:
        yield made


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(new_token().value)
    return path


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("127.0.0.1:8765", True),
        ("127.0.0.1", True),
        ("localhost:1", True),
        ("LOCALHOST", True),
        ("[::1]:8765", True),
        ("[::1]", True),
        ("evil.example", False),
        ("evil.example:8765", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8765", False),
        ("169.254.169.254", False),
        ("127.0.0.1@evil.example", False),
        ("", False),
    ],
)
def test_on_loopback_only_its_own_names_are_answered(host: str, is_answered: bool, agent: Running) -> None:
    got = agent.get("/healthz", Host=host)
    assert (got.status == 200) is is_answered, got.body
    if not is_answered:
        assert (got.status, got.code) == (421, "wrong-host")


def test_other_names_can_be_given(tmp_path: Path) -> None:
    with running(tmp_path / "agent", host_names=("Agent.Example",)) as agent:
        assert agent.get("/healthz", Host="agent.example:443").status == 200
        assert agent.get("/healthz", Host="other.example").status == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil"])
def test_pages_of_other_web_sites_are_not_answered(origin: str, agent: Running) -> None:
    got = agent.request("POST", "/outcome", {"prediction_id": "x", "label": 1}, Origin=origin)
    assert (got.status, got.code) == (403, "cross-origin")


def test_a_form_of_a_web_page_is_not_taken(agent: Running) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        got = agent.request("POST", "/outcome", b'{"prediction_id": "x", "label": 1}', Content_Type=kind)
        assert (got.status, got.code) == (415, "unsupported-media-type")
    assert agent.request("OPTIONS", "/outcome").status == 405


def test_without_the_token_only_probes_are_answered(tmp_path: Path, token_file: Path) -> None:
    with running(tmp_path / "agent", token_file=token_file) as agent:
        right = agent.token
        assert agent.get("/status").status == 200
        for wrong in (None, f"Bearer {right}x", f"Bearer {right[:-1]}", f"Basic {right}", right, "Bearer", "Bearer é"):
            agent.token = ""
            headers = {} if wrong is None else {"Authorization": wrong}
            for method, path in (("GET", "/status"), ("GET", "/metrics"), ("PUT", "/models/x"), ("POST", "/predict")):
                got = agent.request(method, path, **headers)
                assert (got.status, got.code, got.headers["www-authenticate"][:6]) == (401, "unauthorized", "Bearer")
        assert (agent.get("/healthz").status, agent.get("/readyz").status) == (200, 503)
        head = f"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {right}\r\n"
        twice = raw(agent.port, f"{head}Authorization: Bearer {right}\r\nConnection: close\r\n\r\n".encode())
        assert b" 401 " in twice.split(b"\r\n")[0]
        assert right not in str(agent.get("/openapi.json").body)


def test_a_new_token_counts_from_when_the_file_changes(tmp_path: Path, token_file: Path) -> None:
    with running(tmp_path / "agent", token_file=token_file) as agent:
        old, agent.token = agent.token, new_token().value
        assert agent.get("/status").status == 401
        token_file.write_text(agent.token)
        assert agent.get("/status").status == 200
        agent.token = old
        assert agent.get("/status").status == 401
        token_file.chmod(0o644)
        assert agent.get("/status").status == 500
        token_file.unlink()
        assert agent.get("/status").status == 500


def test_how_long_a_token_takes_to_compare_says_nothing(token_file: Path) -> None:
    token = TokenFile(token_file).current()
    right = token.value
    assert token.is_in(f"Bearer {right}")
    assert token.is_in(f"bearer  {right} ")
    assert not any(
        token.is_in(each) for each in ("", "Bearer ", f"Bearer {right[1:]}", f"Token {right}", "Bearer \udc80")
    )


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"host": "0.0.0.0"}, RefusedError, "without a token"),
        ({"host": "::"}, RefusedError, "without a token"),
        ({"host": "10.0.0.1"}, RefusedError, "without a token"),
        ({"host": "agent.example"}, RefusedError, "without a token"),
        ({"host": "0.0.0.0", "token_file": Path("t")}, RefusedError, "unencrypted"),
        ({"tls_cert": Path("c")}, UsageError, "go together"),
        ({"tenants": ("a",)}, UsageError, "--pull"),
        ({"port": 65536}, UsageError, "no port"),
    ],
)
def test_it_does_not_begin_when_others_could_use_it(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        ServeOptions(folder=Path("x"), **options).check()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"host": "localhost"},
        {"host": "::1"},
        {"host": "127.0.0.2"},
        {"host": "0.0.0.0", "token_file": Path("t"), "behind_proxy": True},
        {"host": "0.0.0.0", "token_file": Path("t"), "tls_cert": Path("c"), "tls_key": Path("k")},
    ],
)
def test_it_begins_where_nobody_else_can_use_it(options: dict[str, Any]) -> None:
    ServeOptions(folder=Path("x"), **options).check()


def test_a_client_may_ask_only_so_often() -> None:
    rate = Rate(10.0)
    assert [rate.take("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert rate.take("a", 0.0) == pytest.approx(0.1)
    assert rate.take("b", 0.0) == 0.0
    assert rate.take("a", 0.1) == 0.0
    assert rate.take("a", 0.1) > 0
    assert [rate.take("a", 1000.0) for _ in range(20)] == [0.0] * 20
    assert rate.take("a", 1000.0) > 0
    for number in range(20_000):
        rate.take(str(number), 1000.0)
    assert len(rate._left) <= 10_000
    assert all(Rate(0).take("a", 0.0) == 0.0 for _ in range(1000))


def test_one_request_too_many_is_answered_when_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path / "agent", limits=Limits(requests_per_s=0.5)) as agent:
        assert agent.get("/status").status == 200
        got = agent.get("/status")
        assert (got.status, got.code) == (429, "too-many")
        assert 1 <= int(got.headers["retry-after"]) <= 2
        assert agent.get("/healthz").status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"SSH-2.0-x\r\n\r\n",
        b"GET / HTTP/3\r\nHost: localhost\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",  # no Host
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000,
        b"GET /" + b"x" * 100_000,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{}",
    ],
    ids=lambda data: repr(data)[:40],
)
def test_what_is_not_http_is_answered_once_and_closed(data: bytes, agent: Running) -> None:
    assert raw(agent.port, data).startswith((b"HTTP/1.1 4", b"HTTP/1.1 501"))
    assert agent.get("/healthz").status == 200


def test_a_head_that_comes_too_slowly_is_ended(agent: Running) -> None:
    for begin in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"):
        began = time.monotonic()
        assert b" 408 " in raw(agent.port, begin)
        assert time.monotonic() - began < 8


def test_a_second_request_that_comes_too_slowly_is_ended(agent: Running) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = raw(agent.port, request + b"GET /heal")
    assert (found.count(b"HTTP/1.1 200 "), found.count(b"HTTP/1.1 408 ")) == (1, 1)


def test_a_body_that_comes_too_slowly_is_ended(agent: Running) -> None:
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    assert b"HTTP/1.1 408" in raw(agent.port, head)


def test_a_model_that_comes_too_slowly_leaves_nothing_behind(agent: Running) -> None:
    digest = "0" * 64
    head = (
        f"PUT /models/{digest} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: 1000\r\nUpm-Codec: none\r\nUpm-Raw-Bytes: 1000\r\nUpm-File-Digest: {digest}\r\n\r\n"
    )
    assert b"HTTP/1.1 408" in raw(agent.port, head.encode() + b"x" * 500)
    assert list((agent.options.folder / "models").iterdir()) == []


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(agent: Running) -> None:
    digest = "1" * 64
    headers = f"Upm-Codec: none\r\nUpm-Raw-Bytes: 1000\r\nUpm-File-Digest: {digest}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as sock:
        sock.sendall(
            f"PUT /models/{digest} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: 1000\r\n{headers}xx".encode()
        )
        wait_for(lambda: any(path.name.endswith(".tmp") for path in (agent.options.folder / "models").glob(".*")))
    wait_for(lambda: list((agent.options.folder / "models").iterdir()) == [])


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(0.01)


def test_a_client_that_takes_no_answer_is_cut_off(tmp_path: Path, site: Site) -> None:
    publisher = site.publisher(codec="none")
    with running(tmp_path / "agent", limits=QUICK) as agent:
        arrays = {**site.trained.arrays, "weights": site.trained.variant(3)["weights"]}
        agent.push(publisher, arrays, site.trained.manifest, version=4)
        digest = publisher.sent[-1][0].digest
        stored = (site.root / places.model(digest, "none")).read_bytes()
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(20)
            sock.connect(("127.0.0.1", agent.port))
            sock.sendall(f"GET /models/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 200)
            if len(stored) * 200 > 32 << 20:
                wait_for_reset(sock)
        assert agent.get("/healthz").status == 200


def wait_for_reset(sock: socket.socket) -> None:
    """Wait, reading nothing, until the other side has given the connection up."""
    until = time.monotonic() + 15
    while time.monotonic() < until:
        try:
            sock.send(b"GET")
        except (ConnectionResetError, BrokenPipeError):
            return
        threading.Event().wait(0.05)
    raise AssertionError("it still waits for a client that reads nothing")


def test_many_slow_clients_do_not_keep_others_out(agent: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", agent.port), timeout=10))
            with contextlib.suppress(OSError):
                slow.sendall(b"GET /healthz HTTP/1.1\r\nHo")
            assert agent.get("/healthz").status == 200


def test_too_many_busy_clients_are_told_to_come_again(tmp_path: Path) -> None:
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    with running(tmp_path / "agent", limits=Limits(connections=4, body_s=60)) as agent, contextlib.ExitStack() as stack:
        for _ in range(4):
            busy = stack.enter_context(socket.create_connection(("127.0.0.1", agent.port), timeout=20))
            busy.sendall(head)
            assert busy.recv(100).startswith(b"HTTP/1.1 100")  # its head has been read
        found = raw(agent.port, b"")
        assert (found[:13], b"Retry-After: 1" in found) == (b"HTTP/1.1 503 ", True)


def test_a_body_beyond_its_limit_takes_no_memory(agent: Running) -> None:
    tracemalloc.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=20)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.putrequest("POST", "/predict")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            for _ in range(200):
                connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        connection.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_connection_serves_many_requests(agent: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=20)
    for number in range(50):
        assert ask(connection, "GET", "/healthz").status == 200
        assert ask(connection, "GET", "/nothing").status == 404
        assert ask(connection, "POST", "/predict", {"windows": number}).status in (422, 503)
    connection.close()


def test_a_request_id_is_given_or_kept(agent: Running) -> None:
    assert agent.get("/healthz", X_Request_Id="abc-1.2_3").headers["x-request-id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 65, "é", "a\tb"):
        assert len(agent.get("/healthz", X_Request_Id=bad).headers["x-request-id"]) == 36


def test_parameters_that_are_unknown_or_given_twice_are_refused(agent: Running) -> None:
    for path in (
        "/status?tenent=x",
        "/status?tenant=a&tenant=b",
        "/metrics?x=1",
        "/feedback?after=x",
        "/feedback?limit=0",
    ):
        got = agent.get(path)
        assert (got.status, got.code) == (400, "bad-request"), path
    for after in ("-1", "1.0", "²", str(1 << 63), "", "0x1"):
        assert agent.get(f"/feedback?after={after.encode().hex() if after == '²' else after}x").status == 400


def test_a_bug_is_answered_noted_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "agent") as agent:
        monkeypatch.setattr(agent.fleet, "serving", lambda: 1 / 0)
        got = agent.get("/status")
        assert (got.status, got.code) == (500, "internal")
        assert b"ZeroDivision" not in got.body
        assert [type(crash) for crash in agent.crashes] == [ZeroDivisionError]
        agent.crashes.clear()
        assert 'upm_agent_errors_total{code="internal"} 1\n' in agent.get("/metrics").body.decode()
