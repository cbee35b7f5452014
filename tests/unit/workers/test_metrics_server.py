"""The server of the metrics: who may ask, what is answered, and that nobody can keep it busy."""

import gzip
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import ManualClock, SystemClock
from upm_cli.errors import BusyError, UsageError
from upm_cli.workers import metrics_server
from upm_cli.workers.lifeline import Stop
from upm_cli.workers.metrics_server import Access, Limits, MetricsServer, is_loopback

TEXT = "# TYPE upm_state_generation gauge\nupm_state_generation 7\n"
TOKEN = b"0123456789abcdef0123456789abcdef"


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Served:
    """A server that runs, and ways to ask it."""

    def __init__(self, server: MetricsServer) -> None:
        self.server = server
        self.port: int = server.server_address[1]

    def ask(self, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, request: bytes) -> bytes:
        with self.connect() as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def serving(text: Callable[[], str] = lambda: TEXT, clock: Any = None, **more: Any) -> Iterator[Served]:
    clock = clock or SystemClock()
    more.setdefault("access", Access())
    stop = Stop()
    with MetricsServer("127.0.0.1", 0, text, clock, **more) as server:
        thread = threading.Thread(target=metrics_server.run, args=(server, stop, SystemClock()))
        thread.start()
        try:
            yield Served(server)
        finally:
            stop.signal = signal.SIGTERM
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


def test_a_scraper_gets_the_text(served: Served) -> None:
    status, headers, body = served.ask()
    assert (status, body.decode()) == (200, TEXT)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Server"] == "upm"
    assert served.server.url == f"http://127.0.0.1:{served.port}/metrics"


@pytest.mark.parametrize(
    ("asked", "packed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.00", False),
        ("br", False),
    ],
)
def test_it_is_packed_for_those_who_ask_for_it(served: Served, asked: str, packed: bool) -> None:
    _, headers, body = served.ask(Accept_Encoding=asked)
    assert ("Content-Encoding" in headers) == packed
    assert (gzip.decompress(body) if packed else body).decode() == TEXT


def test_health_and_other_paths(served: Served) -> None:
    assert served.ask("/healthz")[::2] == (200, b'{"status":"ok"}\n')
    assert served.ask("/metrics?name=x")[0] == 200
    status, headers, body = served.ask("/other")
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert json.loads(body)["detail"] == "there are /metrics and /healthz"


def test_a_head_has_no_body(served: Served) -> None:
    status, headers, body = served.ask(method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(TEXT)), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(served: Served, method: str) -> None:
    status, headers, _ = served.ask(method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n", 505),
        (b"GET /metrics\r\n\r\n", 421),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 421),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 421),
    ],
)
def test_what_is_no_proper_request_is_refused(served: Served, request_bytes: bytes, status: int) -> None:
    assert f"HTTP/1.1 {status} ".encode() in served.raw(request_bytes)


def test_a_web_page_can_not_ask_under_its_own_name(served: Served) -> None:
    assert served.ask(Host="evil.example")[0] == 421
    assert served.ask(Host=f"evil.example:{served.port}")[0] == 421
    assert served.ask("/healthz", Host="evil.example")[0] == 421
    for host in ("localhost", f"LOCALHOST:{served.port}", "127.0.0.1", "[::1]:9464", "10.0.0.7"):
        assert served.ask(Host=host)[0] == 200, host


def test_other_names_can_be_allowed() -> None:
    access = Access(hosts={"metrics.internal"})
    assert access.allows_host("metrics.internal:9464")
    assert not access.allows_host("metrics.internal.evil.example")


def test_with_a_token_only_those_who_have_it_may_ask() -> None:
    with serving(access=Access(token=TOKEN)) as served:
        status, headers, _ = served.ask()
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        for wrong in ("Bearer x", f"Basic {TOKEN.decode()}", f"Bearer {TOKEN.decode()}x", "Bearer", "ä"):
            assert served.ask(Authorization=wrong)[0] == 401, wrong
        assert served.ask(Authorization=f"bearer {TOKEN.decode()}", Host="prometheus.example")[0] == 200
        assert served.ask("/healthz")[0] == 200


def test_a_bug_is_answered_and_the_next_one_is_served() -> None:
    told: list[str] = []
    answers = iter([ZeroDivisionError("a bug"), TEXT])

    def text() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with serving(text, tell=told.append) as served:
        assert served.ask()[0] == 500
        assert served.ask()[0] == 200
    assert any("a bug" in line for line in told)
    assert any('"GET /metrics HTTP/1.1" 200' in line for line in told)


def test_a_client_that_dribbles_is_hung_up_on_when_its_time_is_over() -> None:
    clock = ManualClock()
    with serving(clock=clock, limits=Limits(idle_s=20, total_s=15)) as served, served.connect() as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: loc")
        until(lambda: served.server.busy == 1)
        clock.advance(14)
        assert served.ask()[0] == 200
        until(lambda: served.server.busy == 1)
        clock.advance(1)
        assert slow.recv(100) == b""
        until(lambda: served.server.busy == 0)


def test_a_silent_client_is_hung_up_on_soon() -> None:
    with serving(limits=Limits(idle_s=0.05)) as served, served.connect() as silent:
        assert silent.recv(100) == b""


def test_too_many_at_once_are_turned_away_and_later_ones_served() -> None:
    with serving(limits=Limits(connections=2)) as served:
        held = [served.connect() for _ in range(2)]
        until(lambda: served.server.busy == 2)
        assert served.raw(b"").startswith(b"HTTP/1.1 503 ")
        for one in held:
            one.close()
        until(lambda: served.server.busy == 0)
        assert served.ask()[0] == 200


def test_many_slow_clients_leave_nothing_behind() -> None:
    with serving(limits=Limits(connections=4, idle_s=0.05)) as served:
        slow = [served.connect() for _ in range(30)]
        until(lambda: served.ask()[0] == 200)
        until(lambda: served.server.busy == 0)
        for one in slow:
            one.close()


def test_an_answer_under_way_is_finished_before_the_end() -> None:
    asked, may_go_on = threading.Event(), threading.Event()

    def text() -> str:
        asked.set()
        assert may_go_on.wait(20)
        return TEXT

    stop, codes, answers = Stop(), [], []
    with MetricsServer("127.0.0.1", 0, text, SystemClock(), access=Access()) as server:
        running = threading.Thread(target=lambda: codes.append(metrics_server.run(server, stop, SystemClock())))
        running.start()
        asking = threading.Thread(target=lambda: answers.append(Served(server).ask()))
        asking.start()
        assert asked.wait(20)
        stop.signal = signal.SIGTERM
        until(lambda: server.socket.fileno() == -1)
        may_go_on.set()
        asking.join(20)
        running.join(20)
    assert codes == [143]
    assert answers[0][0] == 200


def test_a_port_that_is_taken_and_hosts_that_are_none() -> None:
    with (
        MetricsServer("127.0.0.1", 0, lambda: "", SystemClock(), access=Access()) as server,
        pytest.raises(BusyError, match=f"port {server.server_address[1]} of 127.0.0.1 is in use"),
    ):
        MetricsServer("127.0.0.1", server.server_address[1], lambda: "", SystemClock(), access=Access())
    with pytest.raises(UsageError, match="no address of this machine"):
        is_loopback("no such host")
    with pytest.raises(UsageError, match=r"can't listen on 192\.0\.2\.1"):
        MetricsServer("192.0.2.1", 0, lambda: "", SystemClock(), access=Access())


def test_which_addresses_only_this_machine_can_reach() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("127.8.9.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert not is_loopback("192.0.2.1")


def test_it_listens_on_ipv6_too() -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with MetricsServer("::1", 0, lambda: "", SystemClock(), access=Access()) as server:
        assert server.url == f"http://[::1]:{server.server_address[1]}/metrics"


def test_what_is_done_now_and_then_is_done_at_once_and_ends_with_the_block() -> None:
    times: list[int] = []
    with metrics_server.every(0.001, lambda: times.append(1)):
        until(lambda: len(times) >= 3)
