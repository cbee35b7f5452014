"""The files of a prediction log: one that is being written, and what becomes of it."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from upm_cli.errors import StorageError
from upm_cli.store import fsio

PART: Final = ".part"


class Part:
    """The file that is being written; locked, so that others know that its writer lives."""

    def __init__(self, path: Path, since_s: float) -> None:
        self.path, self.since_s, self.size = path, since_s, 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(path, flags, 0o600)
        with contextlib.suppress(OSError):  # where there are no locks, nobody takes it for an orphan either
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def room_for(self, lines: list[bytes], most: int) -> int:
        """Return how many of `lines` still fit; one always fits into an empty file."""
        size = self.size
        for count, line in enumerate(lines):
            size += len(line)
            if size > most and (count or self.size):
                return count
        return len(lines)

    def write(self, data: bytes) -> None:
        """Append whole lines, or nothing. Raises OSError."""
        left = memoryview(data)
        try:
            while left:
                left = left[fsio.faults.write(self.fd, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self.size)
            raise
        self.size += len(data)

    def finish(self) -> None:
        """Make the file durable and give it its final name. Raises OSError, StorageError."""
        try:
            os.fsync(self.fd)
            if self.size:
                fsio.move(self.path, self.path.with_suffix(""))
            else:
                fsio.remove_quietly(self.path)
        finally:
            os.close(self.fd)


def number_of(path: Path, agent: str) -> int:
    """Return the number in the name of one of the agent's own files; 0 for another's."""
    text = path.name.removeprefix(f"predictions-{agent}-").removesuffix(PART).removesuffix(".jsonl")
    return int(text) if text.isascii() and text.isdecimal() and len(text) >= 6 else 0


def finish_orphan(path: Path) -> None:
    """Finish a file whose writer died: without its last line, if that was cut off."""
    with contextlib.suppress(OSError, StorageError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with os.fdopen(fd, "rb", closefd=False) as file:
                whole = file.read().rfind(b"\n") + 1
            os.ftruncate(fd, whole)
            os.fsync(fd)
            if whole:
                fsio.move(path, path.with_suffix(""))
            else:
                path.unlink()
        finally:
            os.close(fd)


def count_lines(path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            count += piece.count(b"\n")
    return count
