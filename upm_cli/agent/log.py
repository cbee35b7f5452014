"""The prediction log: lines that are written behind the back of whoever predicts, and never hold them up.

    <folder>/predictions-<agent>-000001.jsonl        finished, fsynced, never changed again
    <folder>/predictions-<agent>-000002.jsonl.part   being written, without fsync

A file is finished at 16 MiB, or when it is five minutes old. Lines wait in a queue of bounded length; when it is full,
or the disk is, they are dropped and counted. So are the oldest finished files when all of them take too much room.
"""

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import Final

from upm_cli.agent.lines import Record, prediction_line
from upm_cli.agent.parts import PART, Part, count_lines, finish_orphan, number_of
from upm_cli.agent.values import Problem
from upm_cli.clock import Clock
from upm_cli.errors import StorageError
from upm_cli.store import fsio

FILE_BYTES: Final = 16 << 20
TOTAL_BYTES: Final = 1 << 30
QUEUE_LINES: Final = 20_000
AGE_S: Final = 300.0
EVERY_S: Final = 0.1
_BATCH: Final = 16  # lines that are made into text before other threads have a chance to run

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
        self.problem: Problem | None = None
        self._clock = clock
        self._file_bytes, self._total_bytes, self._queue_lines = file_bytes, total_bytes, queue_lines
        self._queue: deque[Line] = deque()
        self._part: Part | None = None
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()  # of the part and what is being written to it
        self._counts = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, line: Line) -> None:
        """Have `line` written soon; it is dropped when too many are waiting."""
        if len(self._queue) >= self._queue_lines or self._stop.is_set():
            self._count(dropped=1)
            return
        self._queue.append(line)
        if self._thread is None:
            self._start()

    def flush(self) -> None:
        """Write what was put until now; nobody who predicts needs it."""
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
        """Write the lines that wait now, a batch at a time."""
        waiting = len(self._queue)
        while waiting > 0:
            batch = min(waiting, max(_BATCH, waiting // 16))  # many wait: getting on with it is more urgent
            lines = [self._queue.popleft() for _ in range(batch)]
            waiting -= len(lines)
            data = [line if isinstance(line, bytes) else prediction_line(line, self.agent) for line in lines]
            while data:
                del data[: self._write(data)]

    def _write(self, lines: list[bytes]) -> int:
        """Write as many of `lines` as the file has room for; return how many. What the disk refuses is dropped."""
        count = len(lines)
        try:
            part = self._part = self._part or self._open()
            count = part.room_for(lines, self._file_bytes)
            part.write(b"".join(lines[:count]))
        except (OSError, StorageError) as exc:
            self._failed(exc)
            self._count(dropped=count)
            return count
        self.problem = None
        self._count(written=count)
        if count < len(lines) or part.size >= self._file_bytes:
            self._finish()
        return count

    def _failed(self, exc: OSError | StorageError) -> None:
        told = exc if isinstance(exc, StorageError) else fsio.storage_error(exc, self.folder, "write to")
        since_ms = self.problem.since_ms if self.problem else self._clock.now_ms()
        self.problem = Problem(code=told.code, message=told.message, hint=told.hint, since_ms=since_ms)

    def _count(self, *, written: int = 0, dropped: int = 0) -> None:
        with self._counts:
            self.written += written
            self.dropped += dropped

    def _open(self) -> Part:
        """Begin a new file, after finishing those of processes that died."""
        fsio.make_folder(self.folder)
        numbers = [0]
        for path in self.folder.glob(f"predictions-{self.agent}-*.jsonl*"):
            number = number_of(path, self.agent)
            numbers.append(number)
            if number and path.suffix == PART:
                finish_orphan(path)
        number = max(numbers)
        while True:
            number += 1
            path = self.folder / f"predictions-{self.agent}-{number:06d}.jsonl{PART}"
            if not path.with_suffix("").exists():
                with contextlib.suppress(FileExistsError):
                    return Part(path, self._clock.monotonic_s())

    def _finish(self) -> None:
        """Finish the file; one that can't be stays as it is, and is finished later by whoever comes next."""
        part, self._part = self._part, None
        if part is None:
            return
        try:
            part.finish()
            self._make_room()
        except (OSError, StorageError) as exc:
            self._failed(exc)

    def _make_room(self) -> None:
        """Remove the oldest finished files of this agent until the rest takes no more than it may."""
        numbered = [(number_of(path, self.agent), path) for path in self.folder.glob(f"predictions-{self.agent}-*")]
        paths = [path for number, path in sorted(numbered) if number and path.suffix != PART]
        sizes = [path.stat().st_size for path in paths]
        total = sum(sizes)
        for path, size in zip(paths[:-1], sizes, strict=False):
            if total <= self._total_bytes:
                return
            lines = count_lines(path)
            if fsio.durable_unlink(path):
                self._count(dropped=lines)
            total -= size
