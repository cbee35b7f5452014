"""The trainer's job: fold over the log as it grows, commit, go on."""

from upm_cli.core.records import Trainer
from upm_cli.errors import BusyError
from upm_cli.ops.tidy import EVERY_S, tidy_trainer
from upm_cli.ops.training import SupersededError, TrainingSession
from upm_cli.store import lease
from upm_cli.store.positions import Positions
from upm_cli.store.together import Steps, alone
from upm_cli.workers import interest
from upm_cli.workers.context import Worker
from upm_cli.workers.job import Turn, drive
from upm_cli.workers.lifeline import Upstream

POLL_S = 0.02  # a look at the state is one stat unless its file changed
DOZE_S = 5.0


def run(worker: Worker, trainer: str, upstream: Upstream) -> int:
    """Train until the upstream has finished and the log is used up, or until asked to stop; return the exit code."""
    with lease.acquire(worker.store.home, worker.name, f"upm trainer worker of {trainer}"):
        return drive(worker, alone(worker.store, TrainerJob.opening(worker, trainer)), upstream.closed)


class TrainerJob:
    """Trains one trainer. A turn is one segment of the log, or a commit that is due."""

    poll_s, doze_s = POLL_S, DOZE_S

    def __init__(self, worker: Worker, trainer: str, session: TrainingSession) -> None:
        self._worker, self._name = worker, trainer
        self._session = session
        self._committed_at_s = self._tidied_at_s = worker.clock.monotonic_s()
        self._tidied: Trainer | None = None  # as it was when files were merged last

    @classmethod
    def opening(cls, worker: Worker, trainer: str) -> "Steps[TrainerJob]":
        """Take the trainer over, and begin."""
        return cls(worker, trainer, (yield from _opening(worker, trainer)))

    @property
    def progress(self) -> object:
        return [self._session.next_seq, self._session.trained]

    def interest(self, positions: Positions) -> object:
        return interest.of_trainer(self._name, positions)

    def turn(self, *, finish: bool) -> Steps[Turn]:
        worker, session, clock = self._worker, self._session, self._worker.clock
        try:
            moved = session.step()
            due = clock.monotonic_s() - self._committed_at_s >= worker.pace.commit_s
            if session.must_commit or (session.dirty and (due or not session.is_ahead)):
                yield from session.committing()
                self._committed_at_s = clock.monotonic_s()
        except SupersededError as exc:
            self._refuse_to_fight(exc)
            self._session = yield from _opening(worker, self._name)
            return Turn.MOVED
        self._tell()
        worker.flush()
        if clock.monotonic_s() - self._tidied_at_s >= EVERY_S:
            if self._tidied != session.trainer:
                tidy_trainer(worker.store, self._name)
            self._tidied, self._tidied_at_s = session.trainer, clock.monotonic_s()
        if moved and (finish or session.is_ahead or session.is_deciding):
            return Turn.MOVED
        return Turn.DONE if finish else Turn.IDLE

    def closing(self) -> Steps[None]:
        yield from self._session.closing()
        tidy_trainer(self._worker.store, self._name)
        self._tell("stopped", force=True)
        self._worker.flush(force=True)

    def _refuse_to_fight(self, cause: SupersededError) -> None:
        """Raise BusyError when it was another worker who took the trainer, and not a rollback that moved it.

        That happens to a process that was stopped for long, when somebody took its lease by removing the file.
        """
        worker = self._worker
        if not lease.is_ours(worker.store.home, worker.name):
            raise BusyError(
                f"another worker has taken trainer {self._name}; what this one had not committed is left to it",
                hint="nothing is lost; upm ps shows who works",
                code="UPM-E075",
                context={"trainer": self._name},
            ) from cause

    def _tell(self, ended: str = "", *, force: bool = False) -> None:
        session = self._session
        state = "paused" if session.is_paused else "waiting for labels" if session.is_deciding else "training"
        self._worker.tell(
            ended or state,
            session.trained,
            force=force,
            trainer=session.trainer.name,
            loss=session.loss,
            lag=session.lag,
            version=session.trainer.last_version,
        )


def _opening(worker: Worker, trainer: str) -> Steps[TrainingSession]:
    return TrainingSession.opening(worker.store, worker.clock, worker.settings, trainer, worker.recorder)
