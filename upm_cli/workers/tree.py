"""A small tree of worker processes: start, watch, restart, hand down the end of input, stop.

When a worker is started again, given up or killed is decided as for a supervisor's workers (core/supervision.py).
"""

import math
import random
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from upm_cli.clock import Clock
from upm_cli.core import supervision
from upm_cli.core.supervision import Action, Exit, Observation, Phase, Policy, State
from upm_cli.exit_codes import ExitCode
from upm_cli.workers import forked

RESTARTS = 3  # within RESTART_WINDOW_S; one more and the tree gives up
RESTART_WINDOW_S = 60.0
GRACE_S = 20.0  # from SIGTERM to SIGKILL
POLL_S = 0.05

#: Somebody waits for the end of the tree: pauses are short, and how far it comes is for them to watch.
POLICY = Policy(
    backoff_s=0.2,
    backoff_most_s=2.0,
    intensity=RESTARTS,
    window_s=RESTART_WINDOW_S,
    start_s=math.inf,
    stuck_s=math.inf,
    grace_s=GRACE_S,
)


@dataclass(slots=True)
class Child:
    """One worker of the tree. When `upstream` ends well, this worker's standard input is closed: drain and exit."""

    name: str
    argv: Sequence[str]
    upstream: str | None = None
    is_vital: bool = True  # False: when it fails for good the others go on
    process: forked.Process | None = None
    state: State = field(default_factory=State)

    @property
    def finished(self) -> bool:
        return self.state.phase in (Phase.EXITED, Phase.FATAL)

    @property
    def has_failed(self) -> bool:
        return self.state.phase is Phase.FATAL

    @property
    def code(self) -> int:
        """How it ended, as shells say it."""
        code = self.state.code or 0
        return code if code >= 0 else 128 - code

    @property
    def reads_pipe(self) -> bool:
        """Whether it reads our standard input: what it had read and not committed can't be read again."""
        return "-" in self.argv


class Tree:
    """Runs children until all have finished, one fails for good, or a stop is asked for."""

    def __init__(
        self, clock: Clock, children: Sequence[Child], *, jitter: random.Random, may_restart: bool = True
    ) -> None:
        self._clock = clock
        self._children = {child.name: child for child in children}
        self._jitter = jitter
        self._policy = replace(POLICY, may_restart=may_restart)

    @property
    def restarts(self) -> int:
        return sum(child.state.restarts for child in self._children.values())

    @property
    def failed(self) -> Child | None:
        """The worker that failed for good, and ended the tree with that."""
        return next((child for child in self._children.values() if child.has_failed and child.is_vital), None)

    def run(self, stop: Callable[[], int | None], tick: Callable[[], None]) -> int:
        """Run to the end and return an exit code; `stop` gives a signal number once one came, `tick` shows progress."""
        forked.preload(child.argv[0] for child in self._children.values())
        try:
            while True:
                asked = stop()
                if asked is not None:
                    self._stop_all()
                    return 128 + asked
                self._look(wanted=True)
                failed = self.failed
                if failed is not None:
                    self._stop_all()
                    return failed.code or ExitCode.INTERNAL
                tick()
                if all(child.finished for child in self._children.values()):
                    return ExitCode.DONE
                self._clock.sleep(POLL_S)
        finally:
            self._kill_all()

    def _look(self, *, wanted: bool) -> None:
        """Look at every worker once, and do what is to be done."""
        now_s = self._clock.monotonic_s()
        for child in self._children.values():
            code = child.process.poll() if child.process is not None and child.state.is_alive else None
            ended = None if code is None else Exit(code=code)
            seen = Observation(wanted=wanted, is_ready=True, exit=ended, chance=self._jitter.random())
            policy = replace(self._policy, may_restart=False) if child.reads_pipe else self._policy
            child.state, actions = supervision.decide(child.state, seen, policy, now_s)
            if ended is not None:
                self._hand_down(child)
            for action in actions:
                self._act(child, action)

    def _hand_down(self, child: Child) -> None:
        """Let those below know that a worker has ended well; one that has not keeps them waiting."""
        self._close_stdin(child)
        if child.state.phase is Phase.EXITED:
            for below in self._children.values():
                if below.upstream == child.name:
                    self._close_stdin(below)

    def _act(self, child: Child, action: Action) -> None:
        if action is Action.START:
            self._start(child)
        elif child.process is not None and action is Action.TERMINATE:
            child.process.terminate()
        elif child.process is not None:
            child.process.kill()

    def _start(self, child: Child) -> None:
        stdin = subprocess.PIPE if child.upstream else (None if child.reads_pipe else subprocess.DEVNULL)
        child.process = forked.start(child.argv, stdin=stdin, own_group=not child.reads_pipe)
        upstream = self._children.get(child.upstream or "")
        if child.upstream and (upstream is None or upstream.finished):
            self._close_stdin(child)

    @staticmethod
    def _close_stdin(child: Child) -> None:
        if child.process is not None and child.process.stdin is not None:
            child.process.stdin.close()

    def _stop_all(self) -> None:
        """Ask every worker to end, and wait; one that takes too long is killed."""
        self._look(wanted=False)
        while any(child.state.is_alive for child in self._children.values()):
            self._clock.sleep(POLL_S)
            self._look(wanted=False)

    def _kill_all(self) -> None:
        for child in self._children.values():
            if child.process is not None and child.process.poll() is None:
                child.process.kill()
            self._close_stdin(child)
            if child.process is not None:
                child.process.wait()
