"""The prediction log: lines that are written behind the back of whoever predicts, and never hold them up.

    <folder>/predictions-<agent>-000001.jsonl        finished, fsynced, never changed again
    <folder>/predictions-<agent>-000002.jsonl.part   being written, without fsync

A file is finished at 16 MiB, or when it is five minutes old. Lines wait in a queue of bounded length; when it is full,
or the disk is, they are dropped and counted. So are the oldest finished files when all of them take too much room.
"""

import contextlib
import fcntl
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

from upm_cli.agent.lines import Record, prediction_line
from upm_cli.clock import Clock
from upm_cli.errors import StorageError
from upm_cli.store import fsio

FILE_BYTES: Final = 16 << 20
TOTAL_BYTES: Final = 1 << 30
QUEUE_LINES: Final = 20_000
AGE_S: Final = 300.0
EVERY_S: Final = 0.1
PART: Final = ".part"
_BATCH: Final = 1000

Line = Record | bytes


class Log:
    """The log of one agent in one folder. Several processes may write there, each to files of its own."""

    def __init__(
        self,
        folder: Path,
        agent: str,
        clock: Clock,
        *,
        file_bytes: int = FILE_BYTES,
        total_bytes: int = TOTAL_BYTES,
        queue_lines: int = QUEUE_LINES,
    ) -> None:
        self.folder, self.agent = folder, agent
        self.written = 0
        self.dropped = 0
        self.error: StorageError | None = None
        self.error_since_ms = 0
        self._clock = clock
        self._file_bytes, self._total_bytes, self._queue_lines = file_bytes, total_bytes, queue_lines
        self._queue: deque[Line] = deque()
        self._part: _Part | None = None
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()  # of the part and what is being written to it
        self._counts = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, line: Line) -> None:
        """Have `line` written soon; it is dropped when too many are waiting."""
        if len(self._queue) >= self._queue_lines:
            with self._counts:
                self.dropped += 1
            return
        self._queue.append(line)
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Write what was put until now. For tests and the end; nobody who predicts needs it."""
        with self._lock:
            self._drain()

    def close(self) -> None:
        """Write what is waiting and finish the file."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            self._drain()
            self._finish()

    def after_fork(self) -> None:
        """In a child process: leave queue and file to the parent, and begin a file of its own."""
        self._queue.clear()
        if self._part is not None:
            os.close(self._part.fd)
            self._part = None
        self.written = self.dropped = 0
        self._begin()

    def _start(self) -> None:
        with self._counts:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._write_on, name=f"upm-log-{self.agent}", daemon=True)
                self._thread.start()

    def _write_on(self) -> None:
        while not self._stop.wait(EVERY_S):
            with self._lock:
                self._drain()
                if self._part is not None and self._clock.monotonic_s() - self._part.since_s >= AGE_S:
                    self._finish()

    def _drain(self) -> None:
        """Write all lines that wait, a batch at a time."""
        while self._queue:
            lines = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
            data = [line if isinstance(line, bytes) else prediction_line(line, self.agent) for line in lines]
            while data:
                del data[: self._write(data)]

    def _write(self, lines: list[bytes]) -> int:
        """Write as many of `lines` as the file has room for; return how many. What the disk refuses is dropped."""
        count = len(lines)
        try:
            part = self._part = self._part or self._open()
            count = part.room_for(lines, self._file_bytes)
            if count:
                part.write(b"".join(lines[:count]))
            if count < len(lines) or part.size >= self._file_bytes:
                self._finish()
        except (OSError, StorageError) as exc:
            told = exc if isinstance(exc, StorageError) else fsio.storage_error(exc, self.folder, "write to")
            self.error_since_ms = self.error_since_ms if self.error else self._clock.now_ms()
            self.error = told
            with self._counts:
                self.dropped += count
            return max(count, 1)
        self.error = None
        with self._counts:
            self.written += count
        return count

    def _open(self) -> "_Part":
        """Begin a new file, after finishing those of processes that died."""
        fsio.make_folder(self.folder)
        numbers = [0]
        for path in self.folder.glob(f"predictions-{self.agent}-*.jsonl*"):
            number = _number(path, self.agent)
            if number is not None:
                numbers.append(number)
                if path.suffix == PART:
                    _finish_orphan(path)
        number = max(numbers)
        while True:
            number += 1
            path = self.folder / f"predictions-{self.agent}-{number:06d}.jsonl{PART}"
            if not path.with_suffix("").exists():
                with contextlib.suppress(FileExistsError):
                    return _Part(path, self._clock.monotonic_s())

    def _finish(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.finish()
            self._make_room()

    def _make_room(self) -> None:
        """Remove the oldest finished files of this agent until the rest takes no more than it may."""
        paths = [p for p in self.folder.glob(f"predictions-{self.agent}-*.jsonl") if _number(p, self.agent) is not None]
        paths.sort(key=lambda path: _number(path, self.agent) or 0)
        sizes = [path.stat().st_size for path in paths]
        total = sum(sizes)
        for path, size in zip(paths[:-1], sizes, strict=False):
            if total <= self._total_bytes:
                return
            lines = _count_lines(path)
            if fsio.durable_unlink(path):
                with self._counts:
                    self.dropped += lines
            total -= size


class _Part:
    """The file that is being written; locked, so that others know that its writer lives."""

    def __init__(self, path: Path, since_s: float) -> None:
        self.path, self.since_s, self.size = path, since_s, 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(path, flags, 0o600)
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


def _number(path: Path, agent: str) -> int | None:
    """Return the number in the name of one of the agent's own files; None for another's."""
    text = path.name.removeprefix(f"predictions-{agent}-").removesuffix(PART).removesuffix(".jsonl")
    return int(text) if text.isascii() and text.isdecimal() and len(text) >= 6 else None


def _finish_orphan(path: Path) -> None:
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


def _count_lines(path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            count += piece.count(b"\n")
    return count
