"""A socket of which all uses together end by one moment, and from which only so much is read."""

import io
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from upm_cli.safehttp.faults import Fault, HttpError

#: Seconds that are left, more than zero. Raises an error of its own when there are none.
LeftS = Callable[[], float]


@dataclass(slots=True)
class Budget:
    """How many bytes may still come in."""

    left: int

    def take(self, size: int) -> None:
        self.left -= size


class TimedSocket:
    """What http.client needs of a socket. Each step gets the time that is left of the whole, never more."""

    def __init__(self, sock: socket.socket, left_s: LeftS, budget: Budget) -> None:
        self._sock, self._left_s, self._budget = sock, left_s, budget
        self._has_reader = False

    def sendall(self, data: Any) -> None:
        left = memoryview(data).cast("B")
        while left:
            self._sock.settimeout(self._left_s())
            left = left[self._sock.send(left) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        self._has_reader = True
        return io.BufferedReader(_Incoming(self._sock, self._left_s, self._budget))

    def close(self) -> None:
        """Let go of the socket; http.client does so while its answer is still to be read, then the reader has it."""
        if not self._has_reader:
            self._sock.close()


class _Incoming(io.RawIOBase):
    def __init__(self, sock: socket.socket, left_s: LeftS, budget: Budget) -> None:
        self._sock, self._left_s, self._budget = sock, left_s, budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._budget.left <= 0:
            raise HttpError(Fault.GARBLED, "it sends more than an answer may have")
        view = memoryview(buffer).cast("B")[: self._budget.left]
        self._sock.settimeout(self._left_s())
        size = self._sock.recv_into(view)
        self._budget.take(size)
        return size

    def close(self) -> None:
        if not self.closed:
            self._sock.close()
        super().close()
