"""One request at a time, to an address that was looked up once and found to be allowed."""

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from upm_cli.errors import IntegrityError, StorageError
from upm_cli.safehttp import addresses
from upm_cli.safehttp.addresses import Allowed
from upm_cli.safehttp.faults import Fault, HttpError
from upm_cli.safehttp.resolve import Resolve, resolved, system_resolve
from upm_cli.safehttp.sockets import Budget, LeftS, TimedSocket
from upm_cli.safehttp.tls import context_of
from upm_cli.safehttp.urls import Address, Url

HEADER_BYTES: Final = 64 << 10
BODY_BYTES: Final = 1 << 20
_PIECE: Final = 256 << 10
_MOST_ADDRESSES: Final = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `body` is empty where it was streamed elsewhere."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBody:
    """A request's body that is read from a file while it is sent; exactly `size` bytes."""

    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a URL leads, once and for all: requests go to these addresses, whatever its name says later."""

    url: Url
    addresses: tuple[Address, ...]
    ca_file: Path | None = None

    @classmethod
    def look_up(
        cls, url: Url, allowed: Allowed, left_s: LeftS, *, ca_file: Path | None = None, resolve: Resolve | None = None
    ) -> "Site":
        """Return where `url` leads. Raises HttpError, and RefusedError when nothing may be sent there."""
        found = [url.host] if url.literal is not None else resolved(url, left_s, resolve or system_resolve)
        checked = addresses.check(url, list(dict.fromkeys(found)), allowed)
        return cls(url=url, addresses=checked[:_MOST_ADDRESSES], ca_file=ca_file)

    def request(
        self,
        method: str,
        path: str,
        left_s: LeftS,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | FileBody = b"",
        body_bytes: int = BODY_BYTES,
        into: Callable[[bytes], Any] | None = None,
    ) -> Reply:
        """Send one request to `path` below the URL's own path ("": to just the URL), and return what comes back.

        At most `body_bytes` of a body are taken, and handed to `into` piece by piece where that is given and the
        status is 200. Any status is an answer, redirects too. Raises HttpError, and what `left_s` and `into` raise.
        """
        budget = Budget(HEADER_BYTES)
        with _telling(self.url), closing(_Connection(self, left_s, budget)) as connection:
            self._send(connection, method, self._target(path), dict(headers or {}), body)
            with closing(connection.getresponse()) as response:
                budget.left = HEADER_BYTES + 2 * body_bytes  # chunks have sizes around them
                return _read(response, body_bytes, into)

    def _target(self, path: str) -> str:
        return self.url.path.rstrip("/") + path if path else (self.url.path or "/") + self.url.query

    def _send(
        self, connection: "_Connection", method: str, path: str, headers: dict[str, str], body: bytes | FileBody
    ) -> None:
        headers = {"Host": self.url.authority, "Accept": "application/json", "Connection": "close", **headers}
        content: bytes | _Exactly = body if isinstance(body, bytes) else _Exactly(body)
        if method not in ("GET", "HEAD"):
            headers["Content-Length"] = str(len(body) if isinstance(body, bytes) else body.size)
        try:
            connection.request(method, path, body=content or None, headers=headers)
        except (BrokenPipeError, ConnectionResetError):
            if not connection.is_open:
                raise
            # it may have answered before it had read everything, and closed; then the answer is there to be read


class _Exactly(io.RawIOBase):
    """The reading side of a FileBody: never more than its size, and an error when there is less."""

    def __init__(self, body: FileBody) -> None:
        self._file, self._left = body.file, body.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        try:
            piece = self._file.read(min(size, self._left) if size >= 0 else self._left)
        except OSError as exc:
            raise StorageError(f"can't read what is to be sent: {exc.strerror}", code="UPM-E013") from exc
        if self._left and not piece:
            raise IntegrityError("the file that is being sent has become shorter", code="UPM-E090")
        self._left -= len(piece)
        return piece


class _Connection(http.client.HTTPConnection):
    """A connection of http.client's that goes to a Site's addresses and nowhere else."""

    def __init__(self, site: Site, left_s: LeftS, budget: Budget) -> None:
        super().__init__(site.url.host, site.url.port, blocksize=_PIECE)
        self._site, self._left_s, self._budget = site, left_s, budget

    @property
    def is_open(self) -> bool:
        return self.sock is not None

    def connect(self) -> None:
        plain = _first_that_answers(self._site, self._left_s)
        try:
            opened = plain if self._site.url.scheme == "http" else _wrap(plain, self._site, self._left_s)
        except BaseException:
            plain.close()
            raise
        self.sock: Any = TimedSocket(opened, self._left_s, self._budget)


def _first_that_answers(site: Site, left_s: LeftS) -> socket.socket:
    """Return a connection to one of the addresses; each gets a fair part of the time that is left."""
    for number, address in enumerate(site.addresses, 1):
        remaining = len(site.addresses) - number + 1
        try:
            made = socket.create_connection((str(address), site.url.port), timeout=left_s() / remaining)
        except OSError:
            if remaining == 1:
                raise
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made
    raise HttpError(Fault.UNREACHABLE, f"{site.url.host} has no address")


def _wrap(plain: socket.socket, site: Site, left_s: LeftS) -> socket.socket:
    context = context_of(site.ca_file)
    plain.settimeout(left_s())
    return context.wrap_socket(plain, server_hostname=site.url.host)


def _read(response: http.client.HTTPResponse, most: int, into: Callable[[bytes], Any] | None) -> Reply:
    lengths = response.headers.get_all("Content-Length", [])
    if len(set(lengths)) > 1 or (lengths and (response.chunked or not lengths[0].strip().isdecimal())):
        raise HttpError(Fault.GARBLED, "it says in several ways how long its answer is")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HttpError(Fault.GARBLED, "its answer is packed, which was not asked for")
    kept: list[bytes] = []
    sink = into if into is not None and response.status == 200 else kept.append
    size = 0
    while piece := response.read(min(_PIECE, most + 1 - size)):
        size += len(piece)
        if size > most:
            raise HttpError(Fault.GARBLED, f"its answer has more than {most:,} bytes")
        sink(piece)
    if response.length:
        raise HttpError(Fault.GARBLED, "its answer was cut off")
    return Reply(response.status, response.headers, b"".join(kept))


@contextmanager
def _telling(url: Url) -> Iterator[None]:
    """Turn what sockets, TLS and http.client raise into an HttpError about `url`."""
    where = f"{url.scheme}://{url.authority}"
    try:
        yield
    except HttpError as exc:
        raise HttpError(exc.fault, f"{where}: {exc.message}") from exc
    except ssl.SSLCertVerificationError as exc:
        raise HttpError(Fault.UNREACHABLE, f"{where}: its certificate is not accepted: {exc.verify_message}") from exc
    except TimeoutError as exc:
        raise HttpError(Fault.TIMEOUT, f"{where} did not answer in time") from exc
    except http.client.RemoteDisconnected as exc:
        raise HttpError(Fault.UNREACHABLE, f"{where} closed the connection without an answer") from exc
    except (http.client.HTTPException, ValueError) as exc:
        raise HttpError(Fault.GARBLED, f"{where}: its answer is not HTTP ({type(exc).__name__})") from exc
    except OSError as exc:
        raise HttpError(Fault.UNREACHABLE, f"{where} can't be reached: {exc.strerror or exc}") from exc
