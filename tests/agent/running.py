"""An HTTP agent in a thread, and a client that says what it gets."""

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from upm_cli.agent.server.app import make_app
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.options import Limits, ServeOptions
from upm_cli.agent.server.run import _listen, _Server, configuration
from upm_cli.clock import Clock, SystemClock
from upm_cli.core import snapshot as snapshots
from upm_cli.core.delivery import places
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.testing import Publisher

NOW_MS = 1_764_000_000_000
Site = Trained = Any  # of conftest.py, which has that name in other folders too


@dataclass
class Got:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self.body
        found = self.json
        assert found["status"] == self.status
        assert found["request_id"] == self.headers["x-request-id"]
        return str(found["code"])


@dataclass
class Running:
    """One agent that listens."""

    options: ServeOptions
    fleet: Fleet
    port: int
    crashes: list[BaseException] = field(default_factory=list)
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        """Send one request on a connection of its own; `body` is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            return ask(connection, method, path, body, **self._authorized(headers))
        finally:
            connection.close()

    def _authorized(self, headers: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", **headers} if self.token else headers

    def get(self, path: str, **headers: str) -> Got:
        return self.request("GET", path, **headers)

    def put_model(self, pointer: Pointer, stored: bytes, **headers: str) -> Got:
        model = pointer.model
        return self.request(
            "PUT",
            f"/models/{pointer.digest}",
            stored,
            **{
                "Content_Type": "application/octet-stream",
                "Upm_Codec": model.codec,
                "Upm_Raw_Bytes": str(model.raw_bytes),
                "Upm_File_Digest": model.file_digest,
                **headers,
            },
        )

    def put_pointer(self, pointer: Pointer, envelope: bytes, **headers: str) -> Got:
        tenant = f"?tenant={quote(pointer.tenant, safe='')}" if pointer.tenant else ""
        path = f"/pointers/{quote(pointer.trainer)}{tenant}"
        return self.request("PUT", path, envelope, **{"Content_Type": "application/json", **headers})

    def push(self, publisher: Publisher, arrays: snapshots.Arrays, manifest: Any, **more: Any) -> Got:
        """Let `publisher` make a model and a pointer, and send both; return the answer to the pointer."""
        pointer = publisher.publish(arrays, manifest, **more)
        stored = (publisher.root / places.model(pointer.digest, pointer.model.codec)).read_bytes()
        assert self.put_model(pointer, stored).status in (200, 201)
        return self.put_pointer(pointer, publisher.sent[-1][1])


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Got:
    """Send one request on `connection` and return the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        named = {"Content-Type": "application/json", **named}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    return Got(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


@contextmanager
def running(
    folder: Path, *, clock: Clock | None = None, limits: Limits | None = None, **more: Any
) -> Iterator[Running]:
    """Run an agent until the block ends."""
    options = ServeOptions(folder=folder, port=0, limits=limits or Limits(), **{"name": "edge-1", **more})
    options.check()
    used = clock or SystemClock()
    fleet = Fleet(options, used)
    fleet.begin()
    listener = _listen(options)
    port = listener.getsockname()[1]
    made = Running(options, fleet, port)
    if options.token_file is not None:
        made.token = options.token_file.read_text().strip()
    server = _Server(configuration(options, make_app(fleet, options, used, made.crashes.append), made.crashes.append))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[listener]),), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()
    assert made.crashes == []


def raw(port: int, data: bytes, timeout_s: float = 10.0) -> bytes:
    """Send `data` and return all that comes back until the other side closes, however it does."""
    found = bytearray()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as sock,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
    ):
        sock.sendall(data)
        while piece := sock.recv(65536):
            found += piece
    return bytes(found)
