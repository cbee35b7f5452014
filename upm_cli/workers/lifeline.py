"""How a worker learns that it should stop, that its upstream has finished, or that its parent is gone."""

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PR_SET_PDEATHSIG = 1


class Stop:
    """Set by SIGTERM or SIGINT; the loop looks at it between two units of work."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def install(self) -> None:
        """Take over SIGTERM and SIGINT; a second one while stopping changes nothing."""
        signal.signal(signal.SIGTERM, self._receive)
        signal.signal(signal.SIGINT, self._receive)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over both signals for the length of a block, when in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def exit_code(self) -> int:
        """Return 128 + the signal number, as shells expect."""
        return 128 + (self.signal or 0)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number


def die_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Ask the kernel for the signal `number` when the parent dies (Linux); leave at once if it is already gone.

    SIGKILL also ends a process that was stopped or does not listen; what it had not committed is void anyway.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(128 + signal.SIGTERM)


def die_with_lifeline(fd: int = 0) -> None:
    """End this process as soon as the other end of `fd` is closed, whatever its main thread does.

    The kernel sees to it where it can (`die_with_parent`); this is for where it can't.
    """

    def wait() -> None:
        while True:
            try:
                if os.read(fd, 4096) == b"":
                    break
            except OSError:
                break
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


class Upstream:
    """Standard input as a lifeline: while it is open the upstream may still deliver; its end means drain and exit."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._closed = False

    def closed(self) -> bool:
        """Say, without waiting, whether the upstream has finished."""
        while not self._closed and select.select([self._fd], [], [], 0)[0]:
            self._closed = os.read(self._fd, 4096) == b""
        return self._closed
