"""One exclusive lock on one file, held by the kernel for a process, with a note of who holds it."""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from upm_cli import procs
from upm_cli.store import fsio


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock, as far as it told. `since_ms` is when it took it.

    `started` is when its process began, in the kernel's ticks: with the pid it names one process for good. 0: unknown.
    """

    pid: int
    command: str
    since_ms: int
    started: int = 0

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.command or 'upm'})" if self.pid else "another process"


class FileLock:
    """An flock on `path`. The file stays when the lock goes; the kernel lets go when the process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def try_acquire(self, command: str) -> bool:
        """Take the lock if nobody has it. Raises StorageError when the file can't be opened."""
        if self._fd is None:
            self._fd = fsio.open_lock(self.path)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        note = {"pid": os.getpid(), "command": command, "started": procs.started(os.getpid())}
        fsio.overwrite(self._fd, json.dumps(note).encode(), self.path)
        return True

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def noted_holder(path: Path) -> Holder:
    """Return what the last process that took the lock at `path` wrote into it; pid 0 when unreadable."""
    try:
        note = json.loads(path.read_bytes())
        since_ms = path.stat().st_mtime_ns // 1_000_000
        started = int(note.get("started", 0))
        return Holder(pid=int(note["pid"]), command=str(note["command"]), since_ms=since_ms, started=started)
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(pid=0, command="", since_ms=0)


def current_holder(path: Path) -> Holder | None:
    """Return who holds the lock at `path` now, or None when nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise fsio.storage_error(exc, path, "open") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return noted_holder(path)
    finally:
        os.close(fd)
    return None
