"""An HTTP agent on bare sockets that behaves as badly as it is told to."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from upm_cli.core.delivery import envelope, pointer


@dataclass
class Request:
    """What came in: the head taken apart, and the socket from which the body can be read."""

    method: str
    path: str
    headers: dict[str, str]
    conn: socket.socket
    rest: bytes

    def body(self) -> bytes:
        data, size = bytearray(self.rest), int(self.headers.get("content-length", "0"))
        while len(data) < size and (more := self.conn.recv(65536)):
            data += more
        return bytes(data)


Behave = Callable[["Stub", Request], None]


class Stub:
    """Listens on loopback, one thread for each connection, until closed. `behave` answers each request."""

    def __init__(self, behave: Behave | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave or honest
        self.over = threading.Event()
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.models: dict[str, bytes] = {}
        self.acks: dict[tuple[str, str], dict[str, Any]] = {}
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(conn,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError), conn:
            if self._tls is None:
                self._handle(conn)
            else:
                with self._tls.wrap_socket(conn, server_side=True) as wrapped:
                    self._handle(wrapped)

    def _handle(self, conn: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = conn.recv(4096)
            if not more or more[0] == 0x16:  # a client that begins with TLS
                return
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        request = Request(method, path, headers, conn, rest)
        self.requests.append(request)
        self.behave(self, request)


def answer(status: int, body: Any, **headers: str) -> bytes:
    """Return a whole response, with a JSON body unless `body` is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Some Reason", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def says(status: int, body: Any, **headers: str) -> Behave:
    """Return a behaviour: read the request, then always answer the same."""

    def behave(stub: Stub, request: Request) -> None:
        request.body()
        request.conn.sendall(answer(status, body, **headers))

    return behave


def sends(*pieces: bytes, for_ever: bytes = b"", hang: bool = False) -> Behave:
    """Return a behaviour: send these bytes, whatever they are; then the same again and again, or nothing more."""

    def behave(stub: Stub, request: Request) -> None:
        request.body()
        for piece in pieces:
            request.conn.sendall(piece)
        while for_ever and not stub.over.is_set():
            request.conn.sendall(for_ever)
        if hang:
            stub.over.wait(30)

    return behave


def resets(stub: Stub, request: Request) -> None:
    """Close with RST instead of FIN."""
    request.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.conn.close()


def drips(stub: Stub, request: Request) -> None:
    """Send an endless header, a byte at a time, each soon enough for a timeout that only counts silence."""
    request.body()
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: ":
        request.conn.sendall(bytes([byte]))
    while not stub.over.wait(0.02):
        request.conn.sendall(b"x")


def honest(stub: Stub, request: Request) -> None:
    """Be an agent that takes everything and tells the truth."""
    request.conn.sendall(honest_answer(stub, request))


def honest_answer(stub: Stub, request: Request) -> bytes:
    url, body = urlsplit(request.path), request.body()
    stub.bodies.append(body)
    if request.method == "PUT" and url.path.startswith("/models/"):
        stub.models[url.path.removeprefix("/models/")] = body
        return answer(201, {})
    if request.method == "PUT":
        asked = pointer.decode(envelope.decode(body, pointer.PAYLOAD_TYPE).payload)
        if asked.digest not in stub.models:
            return answer(409, {"code": "need-model", "title": "Send the model first", "status": 409})
        stub.acks[asked.trainer, asked.tenant] = ack = ack_of(asked)
        return answer(200, ack)
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    found = [ack for key, ack in stub.acks.items() if key == (query.get("trainer"), query.get("tenant"))]
    return answer(200, {"agent": "edge-1", "serving": found})


def ack_of(asked: pointer.Pointer, **changes: Any) -> dict[str, Any]:
    """Return the ack of an agent that serves what was asked for, with some fields changed."""
    ack = {
        "schema_version": 1,
        "agent": "edge-1",
        "trainer": asked.trainer,
        "tenant": asked.tenant,
        "version": asked.version,
        "digest": asked.digest,
        "epoch": asked.place.epoch,
        "serial": asked.place.serial,
        "loaded_at": "2026-11-29T12:00:00.000Z",
    }
    return {**ack, **changes}
