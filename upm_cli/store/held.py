"""Holding one committed state and every file it names in place, while workers commit and clean up.

The state is copied; each other file gets a second name (a hard link) in `held/`: whoever removes the first one does
not remove the file. That takes no room and no lock; what is removed between looking and linking makes it look again,
at a newer state. A kill leaves the names behind, and the next backup or `upm doctor --fix` removes them.
"""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upm_cli.clock import Clock
from upm_cli.errors import IntegrityError, StorageError
from upm_cli.store import blobs, fsio, lease, named, statelock
from upm_cli.store.kept import KeptState
from upm_cli.store.layout import HELD, STATE
from upm_cli.store.unit import Reader

LEASE: Final = "backup"
_LOOKS: Final = 3  # without the lock; then once more with it: nothing that a state names goes while nobody commits
_NO_LINKS: Final = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFile:
    """A file below the home: its path there, where its bytes are, and what they should be, if that is known."""

    path: str
    where: Path
    sha256: str | None = None


class Held:
    """A state that stays as it is, as long as the block that holds it."""

    def __init__(self, home: Path, state: Path, clock: Clock) -> None:
        self.state, self.files = state, tuple[HeldFile, ...]()
        self._store = KeptState(home, state, clock)

    def read(self) -> contextlib.AbstractContextManager[Reader]:
        """Open a view of it."""
        return self._store.read()

    def close(self) -> None:
        self._store.close()


class _GoneError(Exception):
    """A file that the state names is not there."""


@contextlib.contextmanager
def hold(home: Path, clock: Clock, *, command: str, lock_timeout_s: float) -> Iterator[Held]:
    """Hold the newest state and all it names for the time of the block; one process at a time.

    Raises BusyError naming the other one, IntegrityError when a file that the state names is missing, StorageError.
    """
    home = home.absolute()
    with lease.acquire(home, LEASE, command):
        release(home)
        try:
            held = _look(home, clock, command, lock_timeout_s)
            try:
                yield held
            finally:
                held.close()
        finally:
            release(home)


def release(home: Path) -> None:
    """Remove the second names; the caller has the lease."""
    for path in _names(home):
        fsio.remove_quietly(path)


def leftovers(home: Path) -> list[Path]:
    """Return the second names that a process which is no more left."""
    return [] if lease.holder(home, LEASE) is not None else list(_names(home))


def _names(home: Path) -> Iterator[Path]:
    for folder in _folders(home):
        if folder.is_dir():
            yield from sorted(folder.iterdir())


def _folders(home: Path) -> tuple[Path, Path]:
    return home / HELD, home / "blobs" / HELD


def _look(home: Path, clock: Clock, command: str, lock_timeout_s: float) -> Held:
    for _ in range(_LOOKS):
        with contextlib.suppress(_GoneError):
            return _linked(home, clock)
    try:
        with statelock.hold(home, clock, limit_s=lock_timeout_s, command=command):
            return _linked(home, clock)
    except _GoneError as exc:
        raise IntegrityError(
            f"{exc}, and the state names it: a backup of that would not be whole",
            hint="upm doctor lists everything that is missing or damaged",
            code="UPM-E191",
        ) from exc


def _linked(home: Path, clock: Clock) -> Held:
    for folder in _folders(home):
        fsio.make_folder(folder)
    release(home)
    state = home / HELD / "state.duckdb"
    fsio.copy(home / STATE, state)
    held = Held(home, state, clock)
    with contextlib.ExitStack() as undo:
        undo.callback(held.close)
        with held.read() as reader:
            found = named.of(reader)
        held.files = tuple(_link_all(home, found))
        missing = set(found.snapshots).difference(each.path for each in held.files)
        if missing:
            raise _GoneError(f"{min(missing)} is missing")
        undo.pop_all()
    return held


def _link_all(home: Path, found: named.NamedFiles) -> Iterator[HeldFile]:
    for number, segment in enumerate(found.segments):
        where = _second_name(home / segment.path, home / HELD / f"{number}")
        if fsio.size(where) != segment.size_bytes:
            raise _GoneError(f"{segment.path} does not have the {segment.size_bytes:,} bytes that were written")
        yield HeldFile(path=segment.path, where=where, sha256=segment.sha256)
    for digest in found.blobs:
        files = blobs.files(home, digest)
        if not files:
            raise _GoneError(f"blob {digest} is missing")
        for path in files:
            second = _second_name(path, home / "blobs" / HELD / path.name)
            yield HeldFile(path=path.relative_to(home).as_posix(), where=second)


def _second_name(path: Path, second: Path) -> Path:
    """Let `second` name the file at `path` too; where that can't be, the first name has to do."""
    try:
        fsio.keep_link(path, second)
    except StorageError as exc:
        cause: Any = exc.__cause__
        if isinstance(cause, FileNotFoundError):
            raise _GoneError(f"{path} is missing") from exc
        if not isinstance(cause, OSError) or cause.errno not in _NO_LINKS:
            raise
        return path
    return second
