"""What a worker does over and over: a job gives one turn at a time, so that several may share a process.

A turn is made of steps (store/together.py): where it wants something committed it yields that unit of work, and whoever
gives the turns commits it, alone or with those of other jobs.

A job has the lease of its name from the beginning, which its caller holds. It is dropped, without `closing`, after any
error: what it had not committed is void, and another one begins where the last commit ended.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from upm_cli.store import together
from upm_cli.store.positions import Positions
from upm_cli.store.together import Steps
from upm_cli.workers.context import Worker


class Turn(Enum):
    """How one turn went."""

    MOVED = auto()  # something got done, and there may be more: come again at once
    IDLE = auto()  # there is nothing to do now
    LATER = auto()  # there is something to do, but it is not time yet
    DONE = auto()  # `finish` was asked for, and everything is used up


class Job(Protocol):
    """One of the things a worker process does."""

    @property
    def poll_s(self) -> float:
        """How long to wait after a turn that found nothing, alone in a process."""
        ...

    @property
    def doze_s(self) -> float:
        """How long to wait then, where somebody watches what it is interested in."""
        ...

    @property
    def progress(self) -> object:
        """A plain value that changes whenever something got done; equal again only when nothing was."""
        ...

    def interest(self, positions: Positions) -> object:
        """Return, as a plain value, the state of what this job works on: another one means that there is news."""
        ...

    def turn(self, *, finish: bool) -> Steps[Turn]:
        """Do one piece of work. `finish`: nothing more will come, end when all is used up."""
        ...

    def closing(self) -> Steps[None]:
        """Commit what is not, and let go. The job is not used after that."""
        ...


def drive(worker: Worker, job: Job, finish: Callable[[], bool]) -> int:
    """Give the job turns until it is done, or the worker is asked to stop; return the exit code.

    `finish` says whether the upstream has ended. It is asked before each turn: what came before its end is seen.
    """
    while not worker.stop:
        turn = together.alone(worker.store, job.turn(finish=finish()))
        if turn is Turn.DONE:
            break
        if turn is not Turn.MOVED:
            worker.clock.sleep(job.poll_s)
    together.alone(worker.store, job.closing())
    return worker.stop.exit_code() if worker.stop else 0
