"""Connections of clients that are slow, many, or do not speak HTTP: none of them may keep others waiting."""

import asyncio
import socket
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from upm_cli.agent.server.options import Limits
from upm_cli.agent.server.problems import MEDIA_TYPE, ProblemError


class GuardedProtocol(H11Protocol):
    """Uvicorn's protocol with a time for heads and for taking answers, and a most of connections.

    When there are too many, the one that has waited longest without having sent a whole request gives way: whoever
    opens many and says nothing closes their own.
    """

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._waits_since: float | None = None  # for the rest of a head
        self._unsent = (0, 0.0)  # bytes that the client does not take, and since when
        self._watch: asyncio.TimerHandle | None = None

    @property
    def _watch_s(self) -> float:
        return min(self.limits.head_s, self.limits.stall_s) / 4

    @property
    def is_working(self) -> bool:
        """Whether a request has come in and is not yet answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # an answer's head and body are two writes: without this the second waits for the client's delayed ACK, 40 ms
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waits_since = self.loop.time()
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._end(ProblemError("busy", "there are too many connections", headers={"Retry-After": "1"}))
        self._watch = self.loop.call_later(self._watch_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self.is_working and self._waits_since is None:
            self._waits_since = self.loop.time()
        super().data_received(data)
        if self.is_working:
            self._waits_since = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.is_working and self.conn.trailing_data[0]:  # the next head has begun to come already
            self._waits_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        self._end(ProblemError("bad-request", "this is not HTTP/1.1"))

    def _make_room(self) -> bool:
        """Close the connection that has waited longest; return whether there was one."""
        waiting = [
            other
            for other in self.connections
            if isinstance(other, GuardedProtocol) and other is not self and not other.is_working
        ]
        oldest = min(waiting, key=lambda other: other._waits_since or 0.0, default=None)
        if oldest is None:
            return False
        oldest.transport.abort()
        return True

    def _look(self) -> None:
        now, size = self.loop.time(), self.transport.get_write_buffer_size()
        if size == 0 or size != self._unsent[0]:
            self._unsent = (size, now)
        if size and now - self._unsent[1] > self.limits.stall_s:
            self.transport.abort()
            return
        if self._waits_since is not None and now - self._waits_since > self.limits.head_s:
            self._end(ProblemError("too-slow", f"the head of a request has to come within {self.limits.head_s:g} s"))
        self._watch = self.loop.call_later(self._watch_s, self._look)

    def _end(self, problem: ProblemError) -> None:
        """Answer outside of any request, and close."""
        body = bytes(problem.response("").body)
        head = [
            f"HTTP/1.1 {problem.status} {problem.title}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in problem.headers.items()),
        ]
        if not self.transport.is_closing():
            self._waits_since = None
            self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
            self.transport.close()


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """Return the protocol under `limits`."""
    return type("Guarded", (GuardedProtocol,), {"limits": limits})
