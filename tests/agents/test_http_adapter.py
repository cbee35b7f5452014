"""Delivering to HTTP agents, honest ones and all the others."""

import gzip
import json
import os
import socket
import ssl
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from deliveries import make_delivery, server_side
from stub import Behave, Request, Stub, ack_of, answer, drips, honest, honest_answer, resets, says, sends

from upm_cli.adapters.base import Deadline, Delivery, DeliveryError, Failure
from upm_cli.adapters.http import HttpAdapter, check_url, retry_after_s
from upm_cli.clock import ManualClock, SystemClock
from upm_cli.core.delivery.pointer import Place
from upm_cli.errors import RefusedError, UsageError

Serve = Callable[..., Stub]

OK = b"HTTP/1.1 200 OK\r\n"
CLOCK = SystemClock()


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(CLOCK, seconds)


def adapter(stub: Stub | str, **options: object) -> HttpAdapter:
    return HttpAdapter(stub if isinstance(stub, str) else stub.url, clock=CLOCK, **options)  # type: ignore[arg-type]


def failing(stub: Stub | str, delivery: Delivery, seconds: float = 30.0, **options: object) -> DeliveryError:
    with pytest.raises(DeliveryError) as raised:
        adapter(stub, **options).deliver(delivery, soon(seconds))
    return raised.value


def lying(**changes: object) -> Behave:
    """Return an agent that takes everything and says that it serves something else."""

    def behave(stub: Stub, request: Request) -> None:
        said = honest_answer(stub, request)
        if b'"loaded_at"' in said and request.method == "PUT":
            said = answer(200, {**json.loads(said.partition(b"\r\n\r\n")[2]), **changes})
        request.conn.sendall(said)

    return behave


def test_an_agent_gets_pointer_model_and_pointer_and_is_asked_what_it_serves(serve: Serve, delivery: Delivery) -> None:
    stub = serve()
    ack = adapter(stub).deliver(delivery, soon())
    assert ack.confirms(delivery.pointer)
    assert (ack.agent, ack.loaded_at_ms) == ("edge-1", 1_795_953_600_000)  # 2026-11-29T12:00:00Z
    assert [(each.method, each.path.partition("?")[0]) for each in stub.requests] == [
        ("PUT", "/pointers/main"),
        ("PUT", f"/models/{delivery.pointer.digest}"),
        ("PUT", "/pointers/main"),
        ("GET", "/status"),
    ]
    assert stub.bodies[1] == delivery.model.read_bytes()
    sent = stub.requests[1].headers
    assert (sent["upm-codec"], sent["upm-raw-bytes"], sent["content-length"]) == ("none", "1000000", "1000000")
    assert sent["upm-file-digest"] == delivery.pointer.model.file_digest


def test_an_agent_that_has_the_model_gets_only_the_pointer(serve: Serve, delivery: Delivery) -> None:
    stub = serve()
    adapter(stub).deliver(delivery, soon())
    newer = replace(delivery.pointer, place=Place(12, 35))
    again = replace(delivery, pointer=newer, envelope=newer.envelope().encode())
    adapter(stub).deliver(again, soon())
    assert [each.method for each in stub.requests[4:]] == ["PUT", "GET"]


def test_a_report_is_what_the_agent_says_of_one_tenant(serve: Serve, delivery: Delivery) -> None:
    stub = serve()
    assert adapter(stub).report("main", "acme", soon()) is None
    done = adapter(stub).deliver(delivery, soon())
    assert adapter(stub).report("main", delivery.pointer.tenant, soon()) == done
    assert adapter(stub).report("main", "", soon()) is None


def test_the_url_may_have_a_path_and_the_tenant_any_name(serve: Serve, delivery: Delivery) -> None:
    stub = serve(says(401, {"title": "no"}))
    failing(f"{stub.url}/fleet/7/", delivery)
    assert stub.requests[0].path == "/fleet/7/pointers/main?tenant=acm%C3%A9%20%26%20s%C3%B6hne%2F%3F"


def bomb() -> bytes:
    packed = gzip.compress(b"0" * 50_000_000)
    return answer(200, packed, Content_Encoding="gzip")


GARBLED: dict[str, Behave] = {
    "not json": says(200, b"<html>welcome</html>"),
    "an array": says(200, [1]),
    "json too deep": says(200, b'{"a":' * 100_000),
    "a key twice": says(200, b'{"schema_version": 1, "schema_version": 1}'),
    "NaN": says(200, b'{"schema_version": 1, "version": NaN}'),
    "an empty object": says(200, {}),
    "an endless body": sends(OK + b"\r\n", for_ever=b"x" * 65536),
    "a terabyte announced and begun": sends(OK + b"Content-Length: 1000000000000\r\n\r\n", for_ever=b" " * 65536),
    "endless chunks": sends(OK + b"Transfer-Encoding: chunked\r\n\r\n", for_ever=b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "endless tiny chunks": sends(OK + b"Transfer-Encoding: chunked\r\n\r\n", for_ever=b"1\r\nx\r\n" * 5000),
    "an endless chunk size": sends(OK + b"Transfer-Encoding: chunked\r\n\r\n", for_ever=b"0" * 65536),
    "endless trailers": sends(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", for_ever=b"a: b\r\n" * 5000),
    "endless headers": sends(OK, for_ever=b"X-Flood: 1\r\n" * 1000),
    "one endless header": sends(OK + b"X-Flood: ", for_ever=b"x" * 65536),
    "an endless status line": sends(b"HTTP/1.1 200 ", for_ever=b"x" * 65536),
    "continue for ever": sends(for_ever=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "early hints and nothing else": sends(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "a greeting of another protocol": sends(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "zeros": sends(b"\x00" * 4096),
    "cut off in the headers": sends(OK + b"Content-Len"),
    "cut off in the body": sends(OK + b'Content-Length: 200\r\n\r\n{"schema_version": 1'),
    "cut off in a chunk": sends(OK + b"Transfer-Encoding: chunked\r\n\r\n100\r\nshort"),
    "a content length too small": sends(OK + b'Content-Length: 10\r\n\r\n{"schema_version": 1}'),
    "a negative content length": sends(OK + b"Content-Length: -5\r\n\r\n{}"),
    "a content length in words": sends(OK + b"Content-Length: five\r\n\r\n{}"),
    "two content lengths": sends(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "length and chunks": sends(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "a packed bomb": sends(bomb()),
    "not found by a web server": says(404, b"<h1>404</h1>"),
    "no content": sends(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a redirect to metadata": says(302, b"", Location="http://169.254.169.254/latest/meta-data/"),
    "a permanent redirect": says(308, b"", Location="/elsewhere"),
    "an ack without its place": lying(epoch=None),
    "a version in words": lying(version="42"),
    "a version of true": lying(version=True),
    "an agent with a strange name": lying(agent="../../etc"),
    "a time without zone": lying(loaded_at="2026-11-29T12:00:00"),
    "a digest that is none": lying(digest="x" * 64),
    "another schema": lying(schema_version=2),
}


@pytest.mark.parametrize("how", GARBLED)
def test_what_nobody_can_read_is_garbled_and_takes_no_memory(how: str, serve: Serve, delivery: Delivery) -> None:
    stub = serve(GARBLED[how])
    tracemalloc.start()
    try:
        error = failing(stub, delivery)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (error.failure, error.is_final) == (Failure.GARBLED, False), error
    assert peak < 24 << 20


def test_a_redirect_is_not_followed(serve: Serve, delivery: Delivery) -> None:
    target = serve()
    stub = serve(says(307, b"", Location=target.url))
    assert "redirect" in str(failing(stub, delivery))
    assert (len(stub.requests), len(target.requests)) == (1, 0)


def never(stub: Stub, request: Request) -> None:
    stub.over.wait(30)


def stops_reading(stub: Stub, request: Request) -> None:
    """Take the pointer, ask for the model and never read it."""
    if request.path.startswith("/models/"):
        stub.over.wait(30)
    else:
        honest(stub, request)


SLOW: dict[str, Behave] = {
    "nothing": never,
    "half a status line": sends(b"HTTP/1.1 2", hang=True),
    "headers and no body": sends(OK + b"Content-Length: 100\r\n\r\n", hang=True),
    "half a body": sends(OK + b'Content-Length: 100\r\n\r\n{"schema', hang=True),
    "a byte at a time": drips,
}


@pytest.mark.parametrize("how", SLOW)
def test_the_deadline_holds_for_all_steps_together(how: str, serve: Serve, delivery: Delivery) -> None:
    stub = serve(SLOW[how])
    began = time.monotonic()
    error = failing(stub, delivery, seconds=0.3)
    assert error.failure is Failure.TIMEOUT
    assert 0.25 < time.monotonic() - began < 5


def test_the_deadline_holds_while_a_model_is_sent(serve: Serve, tmp_path: Path) -> None:
    stub = serve(stops_reading)
    large = make_delivery(tmp_path / "large.bin", b"0" * (32 << 20))
    assert failing(stub, large, seconds=0.5).failure is Failure.TIMEOUT


def test_the_deadline_holds_while_tls_is_set_up(serve: Serve, delivery: Delivery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections and never says anything
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        assert failing(url, delivery, seconds=0.3).failure is Failure.TIMEOUT


def test_the_deadline_holds_while_a_name_is_looked_up(delivery: Delivery, serve: Serve) -> None:
    over = serve().over

    def hangs(host: str, port: int) -> list[str]:
        over.wait(30)
        return ["127.0.0.1"]

    error = failing("https://agent.example", delivery, seconds=0.2, resolve=hangs)
    assert error.failure is Failure.TIMEOUT


def test_nobody_there_is_unreachable(serve: Serve, delivery: Delivery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failing(f"http://127.0.0.1:{port}", delivery).failure is Failure.UNREACHABLE
    assert failing(serve(resets), delivery).failure is Failure.UNREACHABLE
    assert failing(serve(sends()), delivery).failure is Failure.UNREACHABLE


def test_an_unknown_name_is_unreachable(delivery: Delivery) -> None:
    def fails(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = failing("https://agent.example", delivery, resolve=fails)
    assert (error.failure, error.is_final) == (Failure.UNREACHABLE, False)
    assert "agent.example can't be looked up" in str(error)
    assert failing("https://agent.example", delivery, resolve=lambda host, port: []).failure is Failure.UNREACHABLE


LIES: dict[str, Behave] = {
    "another digest": lying(digest="e" * 64),
    "an older version": lying(version=41),
    "an older epoch": lying(epoch=11),
    "an older serial": lying(serial=33),
    "another tenant": lying(tenant=""),
    "another trainer": lying(trainer="other"),
    "it needs a model that it took": says(409, {"code": "need-model"}),
}


@pytest.mark.parametrize("how", LIES)
def test_an_ack_that_does_not_say_what_was_sent_confirms_nothing(how: str, serve: Serve, delivery: Delivery) -> None:
    def behave(stub: Stub, request: Request) -> None:
        if request.path.startswith("/models/"):
            honest(stub, request)
        else:
            LIES[how](stub, request)

    error = failing(serve(behave), delivery)
    assert (error.failure, error.is_final) == (Failure.LYING, False)


@pytest.mark.parametrize("served", [{"version": 41, "epoch": 11}, None], ids=["the old version", "nothing"])
def test_an_agent_that_confirms_and_goes_on_with_something_else_is_found_out(
    served: dict[str, int] | None, serve: Serve, delivery: Delivery
) -> None:
    def behave(stub: Stub, request: Request) -> None:
        if request.method == "GET":
            acks = [] if served is None else [ack_of(delivery.pointer, **served)]
            request.conn.sendall(answer(200, {"agent": "edge-1", "serving": acks}))
        else:
            honest(stub, request)

    assert failing(serve(behave), delivery).failure is Failure.LYING


def test_an_agent_in_trouble_is_busy_until_it_is_not(serve: Serve, delivery: Delivery) -> None:
    def behave(stub: Stub, request: Request) -> None:
        if len(stub.requests) <= 3:
            says(500, {"title": "trouble"})(stub, request)
        else:
            honest(stub, request)

    stub = serve(behave)
    assert [failing(stub, delivery).failure for _ in range(3)] == [Failure.BUSY] * 3
    assert adapter(stub).deliver(delivery, soon()).confirms(delivery.pointer)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, {"title": "bad"}, Failure.REFUSED),
        (401, {}, Failure.REFUSED),
        (403, {}, Failure.REFUSED),
        (409, {"code": "older", "detail": "it serves epoch 13"}, Failure.REFUSED),
        (413, {"title": "too large"}, Failure.REFUSED),
        (422, {"code": "refused", "detail": "no trusted key signed it"}, Failure.REFUSED),
        (429, {}, Failure.BUSY),
        (503, b"", Failure.BUSY),
        (507, {"title": "disk full"}, Failure.DISK),
    ],
)
def test_each_status_ends_in_its_failure(
    status: int, body: object, failure: Failure, serve: Serve, delivery: Delivery
) -> None:
    error = failing(serve(says(status, body)), delivery)
    assert error.failure is failure
    assert str(status) in str(error)


def test_what_the_agent_says_is_told_in_one_clean_line(serve: Serve, delivery: Delivery) -> None:
    error = failing(serve(says(422, {"code": "refused", "detail": "no\x1b[31m\nkey " + "x" * 1000})), delivery)
    assert "the agent answered 422: no�[31m�key" in str(error)
    assert len(str(error)) < 400


def test_an_answer_given_before_the_model_was_read_is_seen(serve: Serve, tmp_path: Path) -> None:
    def behave(stub: Stub, request: Request) -> None:
        if request.path.startswith("/models/"):
            request.conn.sendall(answer(413, {"code": "too-large", "title": "Too large"}))
            request.conn.shutdown(socket.SHUT_WR)
            while request.conn.recv(1 << 20):
                pass
        else:
            honest(stub, request)

    large = make_delivery(tmp_path / "large.bin", b"0" * (8 << 20))
    assert failing(serve(behave), large).failure is Failure.REFUSED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("99999999999999999999", 86_400.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:50:37", 60.0),
        ("-1", None),
        ("soon", None),
        ("٣", None),
        ("", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, 784_111_777_000) == seconds  # Sun, 06 Nov 1994 08:49:37 GMT


def test_the_wish_to_be_left_alone_is_handed_on(serve: Serve, delivery: Delivery) -> None:
    assert failing(serve(says(429, {}, Retry_After="7")), delivery).retry_after_s == 7.0
    assert failing(serve(says(503, {})), delivery).retry_after_s is None


def test_tls_needs_a_certificate_for_the_name_from_who_is_trusted(
    serve: Serve, delivery: Delivery, certificate: Callable[..., Path], tmp_path: Path
) -> None:
    right, other = certificate("127.0.0.1"), certificate("agent.example")
    stub = serve(tls=server_side(right))
    assert adapter(stub, ca_file=right).deliver(delivery, soon()).confirms(delivery.pointer)
    unknown = failing(stub, delivery)
    assert unknown.failure is Failure.UNREACHABLE
    assert "certificate is not accepted" in str(unknown)
    assert failing(stub, delivery, ca_file=other).failure is Failure.UNREACHABLE
    wrong_name = serve(tls=server_side(other))
    assert "certificate is not accepted" in str(failing(wrong_name, delivery, ca_file=other))
    named = adapter(
        f"https://agent.example:{wrong_name.port}",
        ca_file=other,
        allow_hosts=["agent.example"],
        resolve=lambda host, port: ["127.0.0.1"],
    )
    assert named.deliver(delivery, soon()).confirms(delivery.pointer)
    assert wrong_name.requests[-1].headers["host"] == f"agent.example:{wrong_name.port}"
    plain = serve()
    assert failing(plain.url.replace("http:", "https:"), delivery).failure is Failure.UNREACHABLE
    (tmp_path / "bad.pem").write_text("no certificates")
    assert failing(stub, delivery, ca_file=tmp_path / "bad.pem").failure is Failure.REFUSED
    assert failing(stub, delivery, ca_file=tmp_path / "none.pem").failure is Failure.REFUSED


def test_keys_of_tls_are_not_written_anywhere(
    serve: Serve, delivery: Delivery, certificate: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    right = certificate("127.0.0.1")
    adapter(serve(tls=server_side(right)), ca_file=right).deliver(delivery, soon())
    assert not (tmp_path / "keys").exists()


def test_proxies_of_the_environment_have_no_say(
    serve: Serve, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, stub = serve(), serve()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    adapter(stub).deliver(delivery, soon())
    assert proxy.requests == []


def test_a_name_is_looked_up_once_for_all_requests_of_a_delivery(serve: Serve, delivery: Delivery) -> None:
    stub, asked = serve(), []

    def rebinds(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    there = adapter(f"http://agent.example:{stub.port}", allow_hosts=["agent.example"], resolve=rebinds)
    assert there.deliver(delivery, soon()).confirms(delivery.pointer)
    assert (asked, len(stub.requests)) == ([("agent.example", stub.port)], 4)
    with pytest.raises(DeliveryError, match=r"169\.254\.169\.254") as raised:
        there.deliver(delivery, soon())
    assert (raised.value.failure, raised.value.is_final) == (Failure.FORBIDDEN, True)


def test_the_next_address_is_tried_when_one_does_not_answer(serve: Serve, delivery: Delivery) -> None:
    stub = serve()
    there = adapter(f"http://localhost:{stub.port}", resolve=lambda host, port: ["::1", "127.0.0.1"])
    assert there.deliver(delivery, soon()).confirms(delivery.pointer)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254", "https://10.0.0.1", "http://127.1", "file:///etc/passwd", "x"]
)
def test_what_is_not_allowed_is_never_connected_to(
    url: str, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(*_: object, **__: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket, "create_connection", connected)
    error = failing(url, delivery)
    assert (error.failure, error.is_final) == (Failure.FORBIDDEN, True)


def test_an_address_is_checked_before_it_is_kept() -> None:
    assert str(check_url("https://agent.example/base", [])) == "https://agent.example/base"
    assert str(check_url("http://localhost:8765", [])) == "http://localhost:8765"
    assert str(check_url("http://agents.internal", ["agents.internal"])) == "http://agents.internal"
    with pytest.raises(UsageError, match="query"):
        check_url("https://agent.example/?a=b", [])
    with pytest.raises(RefusedError, match="without TLS"):
        check_url("http://agent.example", [])
    with pytest.raises(RefusedError, match="private network"):
        check_url("https://10.0.0.1", [])


def test_the_token_is_read_each_time_and_shown_nowhere(serve: Serve, delivery: Delivery, tmp_path: Path) -> None:
    file, first, second = tmp_path / "token", "a" * 50, "b" * 50
    stub = serve(says(401, {"title": "who are you?"}))
    there = adapter(stub, token_file=file)
    file.touch(0o600)
    for token in (first, second):
        file.write_text(f"{token}\n")
        with pytest.raises(DeliveryError) as raised:
            there.deliver(delivery, soon())
        assert stub.requests[-1].headers["authorization"] == f"Bearer {token}"
        assert token not in f"{raised.value!r} {raised.value.context} {raised.value.hint} {there!r} {vars(there)}"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("a" * 50, 0o640, "others may read"),
        ("a" * 50, 0o604, "others may read"),
        ("short", 0o600, "too short"),
        ("a" * 50 + " " + "b" * 50, 0o600, "does not hold one token"),
        ("a" * 50 + "\r\nX-Injected: 1", 0o600, "does not hold one token"),
        ("é" * 50, 0o600, "does not hold one token"),
        ("", 0o600, "does not hold one token"),
    ],
)
def test_a_token_that_is_no_secret_is_not_sent(
    content: str, mode: int, why: str, serve: Serve, delivery: Delivery, tmp_path: Path
) -> None:
    stub, file = serve(), tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    error = failing(stub, delivery, token_file=file)
    assert (error.failure, len(stub.requests)) == (Failure.REFUSED, 0)
    assert why in str(error)


def test_a_token_file_that_is_missing_or_no_file_is_said(serve: Serve, delivery: Delivery, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, why in (("none", "no token file"), ("pipe", "is not a file"), ("", "is not a file")):
        assert why in str(failing(serve(), delivery, token_file=tmp_path / name))


def test_a_model_that_is_not_what_the_pointer_says_is_not_sent(serve: Serve, delivery: Delivery) -> None:
    stub = serve()
    delivery.model.write_bytes(b"shorter")
    assert failing(stub, delivery).failure is Failure.DISK
    delivery.model.unlink()
    assert failing(stub, delivery).failure is Failure.DISK
    assert [each.method for each in stub.requests] == ["PUT", "PUT"]
    assert stub.models == {}


def test_a_model_that_shrinks_while_it_is_sent_is_said(serve: Serve, tmp_path: Path) -> None:
    large = make_delivery(tmp_path / "large.bin", b"0" * (4 << 20))

    def behave(stub: Stub, request: Request) -> None:
        if request.path.startswith("/models/"):
            os.truncate(large.model, 1 << 20)
        honest(stub, request)

    error = failing(serve(behave), large)
    assert error.failure in (Failure.DISK, Failure.LYING), error


def test_a_large_model_is_sent_in_pieces(serve: Serve, tmp_path: Path) -> None:
    def behave(stub: Stub, request: Request) -> None:
        if request.path.startswith("/models/"):
            left, buffer = int(request.headers["content-length"]) - len(request.rest), bytearray(1 << 16)
            while left:
                left -= request.conn.recv_into(buffer)
            stub.models[request.path.removeprefix("/models/")] = b""
            request.conn.sendall(answer(201, {}))
        else:
            honest(stub, request)

    large = make_delivery(tmp_path / "large.bin", b"0" * (48 << 20))
    stub = serve(behave)
    tracemalloc.start()
    try:
        adapter(stub).deliver(large, soon())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_a_deadline_that_has_passed_sends_nothing(serve: Serve, delivery: Delivery) -> None:
    stub, clock = serve(), ManualClock()
    deadline = Deadline.after(clock, 1.0)
    clock.advance(2)
    with pytest.raises(DeliveryError) as raised:
        adapter(stub).deliver(delivery, deadline)
    assert (raised.value.failure, stub.requests) == (Failure.TIMEOUT, [])


def test_certificates_and_names_are_always_checked() -> None:
    from upm_cli.safehttp.tls import context_of

    context = context_of(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
