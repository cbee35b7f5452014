"""The HTTP server behind `upm metrics serve`: small, for scrapers, and not to be kept busy by anybody.

A connection gets one answer. It has to be done with within a few seconds, however slowly its other end reads or
writes, and only so many are open at once; further ones are turned away.
"""

import contextlib
import errno
import gzip
import hmac
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from upm_cli.clock import Clock
from upm_cli.errors import BusyError, UsageError
from upm_cli.telemetry.metrics.exposition import CONTENT_TYPE
from upm_cli.workers.lifeline import Stop

POLL_S: Final = 0.2
WAIT_S: Final = 10.0
_ALLOW: Final = {HTTPStatus.METHOD_NOT_ALLOWED: (("Allow", "GET, HEAD"),)}
_LOCAL: Final = frozenset({"localhost"})
_TURNED_AWAY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a client may ask of the server."""

    connections: int = 16  # open at once
    idle_s: float = 5.0  # without a byte
    total_s: float = 15.0  # of one connection, from its beginning to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may ask. Without a token anybody who reaches the port may, if the request names this machine."""

    token: bytes | None = None
    hosts: Collection[str] = ()  # names that requests may be sent to, besides localhost and addresses

    def allows_host(self, header: str) -> bool:
        """Say whether a Host header names this machine: a web page can make a browser ask under its own name only."""
        if self.token is not None:
            return True  # which no web page knows
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
        name = name.strip("[]").lower()
        return name in _LOCAL or name in self.hosts or _is_address(name)

    def allows(self, authorization: str) -> bool:
        """Say whether the Authorization header has the token, in a time that tells nothing about it."""
        if self.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`. Raises UsageError for a name that nobody knows."""
    return all(ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for _, address in _addresses(host, 0))


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        raise UsageError(f"--host {host!r} is no address of this machine: {exc}", code="UPM-E029") from exc
    return [(family, address) for family, _, _, _, address in found]


class MetricsServer(ThreadingHTTPServer):
    """Answers GET /metrics with what `exposition` returns, and GET /healthz."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(
        self,
        host: str,
        port: int,
        exposition: Callable[[], str],
        clock: Clock,
        *,
        access: Access,
        limits: Limits | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Listen. `tell` hears of each answer. Raises BusyError when the port is taken, UsageError for no address."""
        self.exposition, self.access, self.tell = exposition, access, tell
        self.limits = limits or Limits()
        self._clock = clock
        self._slots = threading.BoundedSemaphore(self.limits.connections)
        self._open: dict[socket.socket, float] = {}  # connection → when it has to be over
        self._mutex = threading.Lock()
        self.address_family, address = _addresses(host, port)[0]
        try:
            super().__init__(address[:2], Handler)
        except OSError as exc:
            raise _cannot_listen(host, port, exc) from exc
        self.timeout = POLL_S

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if self.address_family is socket.AF_INET6 else str(host)
        return f"http://{name}:{port}/metrics"

    def server_bind(self) -> None:
        """Bind as the base class does, without looking its own name up in the DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or turn the client away when too many are there."""
        if not self._slots.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(_TURNED_AWAY)
            self.shutdown_request(request)
            return
        with self._mutex:
            self._open[request] = self._clock.monotonic_s() + self.limits.total_s
        try:
            threading.Thread(target=self._serve, args=(request, client_address), daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._forget(request)
            raise

    def _serve(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, request: socket.socket) -> None:
        with self._mutex:
            self._open.pop(request, None)
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was too slow, is no news."""

    def close_late(self) -> None:
        """Hang up on connections whose time is over."""
        now_s = self._clock.monotonic_s()
        with self._mutex:
            late = [connection for connection, until_s in self._open.items() if now_s >= until_s]
            for connection in late:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def busy(self) -> int:
        """How many connections are open."""
        with self._mutex:
            return len(self._open)


def _cannot_listen(host: str, port: int, exc: OSError) -> BusyError | UsageError:
    if exc.errno == errno.EADDRINUSE:
        return BusyError(f"port {port} of {host} is in use", hint="name another one: --port", code="UPM-E070")
    return UsageError(f"can't listen on {host} port {port}: {exc.strerror or exc}", code="UPM-E029")


def run(server: MetricsServer, stop: Stop, clock: Clock) -> int:
    """Serve until a signal comes, let answers that are under way finish, and return the exit code."""
    while not stop:
        server.handle_request()
        server.close_late()
    server.socket.close()
    while server.busy:
        server.close_late()
        clock.sleep(POLL_S / 10)
    return stop.exit_code()


@contextlib.contextmanager
def every(seconds: float, do: Callable[[], None]) -> Iterator[None]:
    """Do something at once and then now and then, in a thread beside the block.

    At its end the block waits for what is under way, but not for long.
    """
    over = threading.Event()

    def loop() -> None:
        do()
        while not over.wait(seconds):
            do()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WAIT_S)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: MetricsServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.request.settimeout(self.server.limits.idle_s)
        super().setup()

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host") or []
        path = self.path.partition("?")[0]
        if len(hosts) != 1 or not self.server.access.allows_host(hosts[0]):
            self._problem(HTTPStatus.MISDIRECTED_REQUEST, "the Host header names another machine: see --allow-host")
        elif path == "/healthz":
            self._answer(HTTPStatus.OK, b'{"status":"ok"}\n', "application/json")
        elif path != "/metrics":
            self._problem(HTTPStatus.NOT_FOUND, "there are /metrics and /healthz")
        elif not self.server.access.allows(self.headers.get("Authorization", "")):
            self._problem(HTTPStatus.UNAUTHORIZED, "a bearer token is needed", ("WWW-Authenticate", "Bearer"))
        else:
            self._metrics()

    do_HEAD = do_GET  # noqa: N815 - the name is that of the base class

    def _metrics(self) -> None:
        try:
            text = self.server.exposition()
        except Exception as exc:  # a bug must not end the server
            self.server.tell(f"error: {exc!r}")
            self._problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the metrics could not be collected")
            return
        self._answer(HTTPStatus.OK, text.encode(), CONTENT_TYPE)

    def _problem(self, status: HTTPStatus, detail: str, *extra: tuple[str, str]) -> None:
        body = json.dumps({"status": status, "title": status.phrase, "detail": detail}) + "\n"
        self._answer(status, body.encode(), "application/problem+json", *extra)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str, *extra: tuple[str, str]) -> None:
        more = [*extra, ("Vary", "Accept-Encoding")]
        was_read = hasattr(self, "headers")  # else it was no request
        if was_read and _takes_gzip(self.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=5, mtime=0)
            more.append(("Content-Encoding", "gzip"))
        self.close_connection = True
        self.request_version = self.protocol_version  # HTTP/0.9, and nonsense, would get no status line
        self.send_response(status)
        more += [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
        for name, value in (*more, ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not even a request, and methods that nobody here takes."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._problem(status, message or status.description, *_ALLOW.get(status, ()))

    def version_string(self) -> str:
        return "upm"

    def log_message(self, format: str, *args: Any) -> None:
        self.server.tell(f"{self.client_address[0]} {format % args}")


def _takes_gzip(header: str) -> bool:
    """Say whether an Accept-Encoding header wants gzip ("gzip;q=0" does not)."""
    for part in header.split(","):
        coding, _, parameters = part.strip().partition(";")
        quality = parameters.replace(" ", "").partition("q=")[2]
        if coding.strip().lower() in ("gzip", "*"):
            return quality.rstrip("0").rstrip(".") not in ("0", "") if quality else True
    return False
