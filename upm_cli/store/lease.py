"""Leases: only one process may do a job (`trainer-main`, `ingest-main`) at a time.

A lease is an flock on `run/<name>.lease`: the kernel lets go of it when its process dies, however it dies. A process
that was stopped and goes on later still holds it; against late writes of an older life there are the fencing epochs
in the state.
"""

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from upm_cli import ids
from upm_cli.errors import BusyError
from upm_cli.store import fsio
from upm_cli.store.filelock import FileLock, Holder, current_holder, noted_holder
from upm_cli.store.layout import RUN

__all__ = ["Holder", "Lease", "acquire", "holder", "is_ours"]

_TRIES: Final = 5  # somebody who only looks whether the lease is held has it for some microseconds
_PAUSE_S: Final = 0.005


class Lease:
    """A lease that this process has, until `release` or the end of the `with` block."""

    def __init__(self, name: str, lock: FileLock) -> None:
        self.name = name
        self._lock = lock

    def release(self) -> None:
        """Let go; harmless when it is done twice."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire(home: Path, name: str, command: str) -> Lease:
    """Take the lease `name`, noting `command` for others to see.

    Raises BusyError naming the holder's pid and command when another process (or this one) has it.
    """
    path = _path(home, name)
    fsio.make_folder(path.parent)
    lock = FileLock(path)
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        for _ in range(_TRIES):
            if lock.try_acquire(command):
                undo.pop_all()
                return Lease(name, lock)
            time.sleep(_PAUSE_S)
    held_by = noted_holder(path)
    raise BusyError(
        f"{name} is already running: {held_by} since {ids.iso(held_by.since_ms)}",
        hint="wait for it, or look at it with: upm status",
        code="UPM-E070",
        context={"lease": name, "pid": held_by.pid, "command": held_by.command, "since_ms": held_by.since_ms},
    )


def holder(home: Path, name: str) -> Holder | None:
    """Return who has the lease `name`, or None."""
    return current_holder(_path(home, name))


def is_ours(home: Path, name: str) -> bool:
    """Say whether this process has the lease `name` for all to see: its file may have been removed and made anew."""
    found = holder(home, name)
    return found is not None and found.pid == os.getpid()


def _path(home: Path, name: str) -> Path:
    return home / RUN / f"{ids.check_name(name, 'lease')}.lease"
