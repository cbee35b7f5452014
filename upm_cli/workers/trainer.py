"""The trainer worker: take the lease, fold over the log as it grows, commit, go on."""

from upm_cli.ops.tidy import EVERY_S, tidy_trainer
from upm_cli.ops.training import SupersededError, TrainingSession
from upm_cli.store import lease
from upm_cli.workers.context import Worker
from upm_cli.workers.lifeline import Upstream

POLL_S = 0.02  # a look at the state is one stat unless its file changed
COMMIT_EVERY_S = 1.0


def run(worker: Worker, trainer: str, upstream: Upstream) -> int:
    """Train until the upstream has finished and the log is used up, or until asked to stop; return the exit code."""
    with lease.acquire(worker.store.home, worker.name, f"upm trainer worker of {trainer}"):
        session = TrainingSession.open(worker.store, worker.clock, worker.settings, trainer, worker.recorder)
        committed_at_s = tidied_at_s = worker.clock.monotonic_s()
        while not worker.stop:
            may_end = upstream.closed()
            try:
                moved = session.step()
                due = worker.clock.monotonic_s() - committed_at_s >= COMMIT_EVERY_S
                if session.must_commit or (session.dirty and (due or not moved)):
                    session.commit()
                    committed_at_s = worker.clock.monotonic_s()
            except SupersededError:
                session = TrainingSession.open(worker.store, worker.clock, worker.settings, trainer, worker.recorder)
                continue
            _tell(worker, session)
            worker.flush()
            if worker.clock.monotonic_s() - tidied_at_s >= EVERY_S:
                tidy_trainer(worker.store, trainer)
                tidied_at_s = worker.clock.monotonic_s()
            if not moved:
                if may_end:
                    break
                worker.clock.sleep(POLL_S)
        session.close()
        tidy_trainer(worker.store, trainer)
        _tell(worker, session, force=True, state="stopped")
        worker.flush(force=True)
    return worker.stop.exit_code() if worker.stop else 0


def _tell(worker: Worker, session: TrainingSession, *, force: bool = False, state: str = "") -> None:
    trainer = session.trainer
    now = "paused" if session.is_paused else "waiting for labels" if session.is_deciding else "training"
    worker.tell(
        state or now,
        session.trained,
        force=force,
        trainer=trainer.name,
        loss=session.last_loss,
        lag=session.lag,
        version=trainer.last_version,
    )
