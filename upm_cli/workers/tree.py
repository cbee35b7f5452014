"""A small tree of worker processes: start, watch, restart, hand down the end of input, stop."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from upm_cli.clock import Clock
from upm_cli.exit_codes import ExitCode
from upm_cli.workers.context import PARENT

RESTARTS = 3  # within RESTART_WINDOW_S; one more and the tree gives up
RESTART_WINDOW_S = 60.0
GRACE_S = 20.0  # from SIGTERM to SIGKILL
POLL_S = 0.05

#: A worker that ends with one of these said why; starting it again would only say so again.
_FINAL = frozenset(
    {ExitCode.USAGE, ExitCode.INVALID, ExitCode.NOT_FOUND, ExitCode.REFUSED, ExitCode.BUSY, ExitCode.INTEGRITY}
)


@dataclass(slots=True)
class Child:
    """One worker of the tree. When `upstream` ends well, this worker's standard input is closed: drain and exit."""

    name: str
    argv: Sequence[str]
    upstream: str | None = None
    is_vital: bool = True  # False: when it fails for good the others go on
    process: subprocess.Popen[bytes] | None = None
    restarted_at_s: list[float] = field(default_factory=list)
    retry_at_s: float | None = None
    code: int | None = None

    @property
    def finished(self) -> bool:
        return self.code is not None


class Tree:
    """Runs children until all have finished, one fails for good, or a stop is asked for."""

    def __init__(
        self, clock: Clock, children: Sequence[Child], *, jitter: random.Random, may_restart: bool = True
    ) -> None:
        self._clock = clock
        self._children = {child.name: child for child in children}
        self._jitter = jitter
        self._restarting = may_restart
        self.restarts = 0

    def run(self, stop: Callable[[], int | None], tick: Callable[[], None]) -> int:
        """Run to the end and return an exit code; `stop` gives a signal number once one came, `tick` shows progress."""
        try:
            for child in self._children.values():
                self._start(child)
            while not all(child.finished for child in self._children.values()):
                asked = stop()
                if asked is not None:
                    self._stop_all()
                    return 128 + asked
                self._reap()
                failed = [child for child in self._children.values() if child.code and child.is_vital]
                if failed:
                    self._stop_all()
                    return failed[0].code or ExitCode.INTERNAL
                tick()
                self._clock.sleep(POLL_S)
            tick()
            return ExitCode.DONE
        finally:
            self._kill_all()

    def _start(self, child: Child) -> None:
        stdin = subprocess.PIPE if child.upstream else (None if "-" in child.argv else subprocess.DEVNULL)
        environment = {**os.environ, PARENT: str(os.getpid())}
        # One thread for linear algebra: the order of summation is part of the promise that bytes repeat.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        child.process = subprocess.Popen(
            [sys.executable, "-m", "upm_cli.workers", *child.argv],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            env=environment,
            process_group=None if stdin is None else 0,  # only the terminal's own group may read from it
        )
        child.retry_at_s = None
        upstream = self._children.get(child.upstream or "")
        if child.upstream and (upstream is None or upstream.finished):
            self._close_stdin(child)

    def _reap(self) -> None:
        now = self._clock.monotonic_s()
        for child in self._children.values():
            if child.retry_at_s is not None and now >= child.retry_at_s:
                self._start(child)
            if child.finished or child.process is None or child.retry_at_s is not None:
                continue
            code = child.process.poll()
            if code is None:
                continue
            if code == 0:
                child.code = 0
                for below in self._children.values():
                    if below.upstream == child.name:
                        self._close_stdin(below)
            elif code in _FINAL or not self._may_restart(child, now):
                child.code = code if code > 0 else 128 - code
            else:
                self._schedule(child, now)

    def _may_restart(self, child: Child, now: float) -> bool:
        if "-" in child.argv:
            return False  # what it had read of a pipe and not committed can't be read again: say so instead
        child.restarted_at_s = [at for at in child.restarted_at_s if now - at < RESTART_WINDOW_S]
        return self._restarting and len(child.restarted_at_s) < RESTARTS

    def _schedule(self, child: Child, now: float) -> None:
        self._close_stdin(child)
        child.restarted_at_s.append(now)
        self.restarts += 1
        child.retry_at_s = now + self._jitter.uniform(0, 0.1 * 2 ** len(child.restarted_at_s))

    @staticmethod
    def _close_stdin(child: Child) -> None:
        if child.process is not None and child.process.stdin is not None:
            child.process.stdin.close()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        processes = [child.process for child in self._children.values() if child.process is not None]
        return [process for process in processes if process.poll() is None]

    def _stop_all(self) -> None:
        for process in self._running():
            process.send_signal(signal.SIGTERM)
        deadline = self._clock.monotonic_s() + GRACE_S
        while self._running() and self._clock.monotonic_s() < deadline:
            self._clock.sleep(POLL_S)

    def _kill_all(self) -> None:
        for process in self._running():
            process.kill()
        for child in self._children.values():
            self._close_stdin(child)
            if child.process is not None:
                child.process.wait()
