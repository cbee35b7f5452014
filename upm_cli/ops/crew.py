"""Threads that do jobs for one caller: a fixed number at a time, and none of them can keep the process."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

R = TypeVar("R")


class Crew(Generic[R]):
    """Runs jobs in `size` threads. A job that never ends can be given up: its thread is replaced, its result dropped.

    The threads are daemons: one that hangs in a system call does not keep the process from ending.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: queue.SimpleQueue[tuple[int, Callable[[], R]] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, R]] = queue.SimpleQueue()
        self._threads = 0
        self._waiting: set[int] = set()
        self._next = 0

    @property
    def busy(self) -> int:
        """How many jobs were submitted and neither collected nor given up."""
        return len(self._waiting)

    def submit(self, job: Callable[[], R]) -> int:
        """Let a thread do `job`, which must not raise; return its number."""
        self._next += 1
        self._waiting.add(self._next)
        self._jobs.put((self._next, job))
        if self._threads < min(self._size, len(self._waiting)):
            self._start()
        return self._next

    def collect(self, wait_s: float) -> list[tuple[int, R]]:
        """Return the results that are there, waiting up to `wait_s` for the first one."""
        found: list[tuple[int, R]] = []
        while self._waiting:
            try:
                number, result = self._results.get(timeout=wait_s) if wait_s > 0 else self._results.get_nowait()
            except queue.Empty:
                break
            wait_s = 0
            if number in self._waiting:
                self._waiting.discard(number)
                found.append((number, result))
        return found

    def give_up(self, number: int) -> None:
        """Forget a job that hangs; another thread takes the place of the one that it holds."""
        if number in self._waiting:
            self._waiting.discard(number)
            self._start()

    def close(self) -> None:
        """Let the threads end after the jobs they are at."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name=f"crew-{self._threads}", daemon=True).start()

    def _work(self) -> None:
        while (given := self._jobs.get()) is not None:
            number, job = given
            self._results.put((number, job()))


def in_parallel(jobs: Sequence[Callable[[], R]], parallel: int, patience_s: float) -> list[R | None]:
    """Do jobs, which must not raise, and return their results in order.

    None: it had not ended when none at all had ended for `patience_s`.
    """
    crew: Crew[R] = Crew(parallel)
    numbers = {crew.submit(job): n for n, job in enumerate(jobs)}
    found: list[R | None] = [None] * len(jobs)
    try:
        while ended := crew.collect(patience_s):
            for number, result in ended:
                found[numbers[number]] = result
    finally:
        crew.close()
    return found
