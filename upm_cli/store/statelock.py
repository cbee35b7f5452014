"""The lock of the state: one writer at a time on this machine, and whoever waits gets a turn."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from upm_cli.clock import Clock
from upm_cli.errors import BusyError
from upm_cli.store import layout
from upm_cli.store.filelock import FileLock, noted_holder

POLL_S: Final = 0.001  # between two tries
YIELD_S: Final = 0.002  # after letting go: longer than a poll, so that a busy writer can't starve the others


@contextlib.contextmanager
def hold(home: Path, clock: Clock, *, limit_s: float, command: str) -> Iterator[None]:
    """Hold the lock for the block. Raises BusyError naming the holder after `limit_s`."""
    lock = FileLock(home / layout.LOCK)
    deadline_s = clock.monotonic_s() + limit_s
    try:
        while not lock.try_acquire(command):
            if clock.monotonic_s() >= deadline_s:
                raise busy(home, limit_s)
            clock.sleep(POLL_S)
        yield
    finally:
        lock.release()
        time.sleep(YIELD_S)  # real time, whatever the clock: it is for other processes


def busy(home: Path, waited_s: float) -> BusyError:
    """Return the error for a lock that somebody else has."""
    holder = noted_holder(home / layout.LOCK)
    return BusyError(
        f"the state is locked by {holder}; waited {waited_s:g} s",
        hint="try again, or look at it with: upm status",
        code="UPM-E071",
        context={"pid": holder.pid, "command": holder.command, "waited_s": waited_s},
    )
