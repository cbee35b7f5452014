"""Logs of the supervisor and its workers: JSON lines in `run/logs/<worker>.log`, bounded, newest file last.

A file that has grown to its limit is put aside as `.log.1`, an older one as `.log.2`, and so on. Nothing is ever
synced, and a log that can't be written is given up line by line: work goes on without it.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from upm_cli import ids
from upm_cli.errors import StorageError
from upm_cli.store import fsio
from upm_cli.store.layout import RUN

FOLDER: Final = "logs"
MAX_LINE_BYTES: Final = 8192  # of one text; what is longer is cut
_SUFFIX: Final = ".log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was said. `at` is an ISO instant in UTC, so lines sort by it."""

    at: str
    worker: str
    level: str  # info, warning or error; "out": a worker's own words on its stderr
    text: str

    def encode(self) -> bytes:
        text = self.text.encode(errors="backslashreplace")[:MAX_LINE_BYTES].decode(errors="ignore")
        line = {"at": self.at, "worker": self.worker, "level": self.level, "text": text}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"


class LogFile:
    """The log of one worker, open for writing. `lost` counts lines that could not be written."""

    def __init__(self, home: Path, worker: str, *, most_bytes: int, keep: int) -> None:
        self._path = folder(home) / f"{ids.check_name(worker, 'worker')}{_SUFFIX}"
        self._most_bytes, self._keep = most_bytes, keep
        self._fd: int | None = None
        self._size = 0
        self.lost = 0

    def write(self, lines: Iterable[Line]) -> None:
        """Append whole lines."""
        for line in lines:
            data = line.encode()
            try:
                if self._fd is not None and self._size + len(data) > self._most_bytes:
                    self._put_aside()
                self._open()
                if self._fd is not None:
                    fsio.extend(self._fd, data, self._path)
                    self._size += len(data)
            except StorageError:
                self.lost += 1
                self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        if self._fd is None:
            fsio.make_folder(self._path.parent)
            self._fd = fsio.open_append(self._path)
            self._size = os.fstat(self._fd).st_size

    def _put_aside(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            newer = _aside(self._path, number - 1) if number > 1 else self._path
            if newer.exists():
                fsio.shift(newer, _aside(self._path, number))
        if not self._keep:
            fsio.remove_quietly(self._path)


@dataclass(slots=True)
class Following:
    """Lines as they come, over all workers (or one), whatever file is put aside meanwhile."""

    home: Path
    worker: str | None = None
    _files: dict[Path, tuple[IO[bytes], int]] = field(default_factory=dict)

    def skip(self) -> None:
        """Begin behind what is there now."""
        for path in _current(self.home, self.worker):
            self._open(path, at_end=True)

    def poll(self) -> list[Line]:
        """Return what was written since the last call, in the order of time."""
        found: list[Line] = []
        for path in _current(self.home, self.worker):
            if path not in self._files:
                self._open(path)
        for path, (file, inode) in list(self._files.items()):
            found += _lines(file)
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino != inode:  # put aside: what was written to it last, then the new one
                    found += _lines(file)
                    file.close()
                    self._open(path)
                    found += _lines(self._files[path][0])
        return sorted(found, key=lambda line: line.at)

    def close(self) -> None:
        for file, _ in self._files.values():
            file.close()
        self._files.clear()

    def _open(self, path: Path, *, at_end: bool = False) -> None:
        file = path.open("rb")
        if at_end:
            file.seek(0, os.SEEK_END)
        self._files[path] = (file, os.fstat(file.fileno()).st_ino)


def folder(home: Path) -> Path:
    """Return where the logs lie."""
    return home / RUN / FOLDER


def workers(home: Path) -> list[str]:
    """Return the workers that have a log, by name."""
    return [path.name.removesuffix(_SUFFIX) for path in _current(home, None)]


def tail(home: Path, worker: str | None, count: int) -> list[Line]:
    """Return the last `count` lines of a worker, or of all of them together, oldest first."""
    found: list[Line] = []
    for path in _current(home, worker):
        own: list[Line] = []
        for part in (path, *_asides(path)):
            if len(own) >= count:
                break
            with contextlib.suppress(FileNotFoundError), part.open("rb") as file:
                own = [*_lines(file), *own]
        found += own[-count:] if count else []
    found.sort(key=lambda line: line.at)
    return found[-count:] if count else []


def drop_old(home: Path, older_than_ms: int) -> int:
    """Remove logs that were last written before `older_than_ms`; return how many files that were."""
    dropped = 0
    for path in folder(home).glob(f"*{_SUFFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime_ns // 1_000_000 < older_than_ms:
                fsio.remove_quietly(path)
                dropped += 1
    return dropped


def _current(home: Path, worker: str | None) -> list[Path]:
    pattern = "*" if worker is None else ids.check_name(worker, "worker")
    return sorted(folder(home).glob(f"{pattern}{_SUFFIX}"))


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _asides(path: Path) -> Iterator[Path]:
    """Yield the files that were put aside, newest first."""
    number = 1
    while (found := _aside(path, number)).exists():
        yield found
        number += 1


def _lines(file: IO[bytes]) -> list[Line]:
    """Return the whole lines from here on; of what is being written now the rest is left."""
    start = file.tell()
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    file.seek(start + len(whole))
    return [line for line in map(_parse, whole.split(b"\n")) if line is not None]


def _parse(raw: bytes) -> Line | None:
    if not raw:
        return None
    try:
        found: Mapping[str, Any] = json.loads(raw)
        return Line(**{key: str(found[key]) for key in ("at", "worker", "level", "text")})
    except (ValueError, KeyError, TypeError):
        return None
