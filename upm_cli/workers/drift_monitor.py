"""The drift monitor worker: judge new comparisons as the trainer commits them, and look after what serves."""

from upm_cli.ops import feature_watch, protect, served_drift
from upm_cli.ops.drift import Judged, Memory, judge_new
from upm_cli.store import lease
from upm_cli.workers.context import Worker
from upm_cli.workers.lifeline import Upstream

POLL_S = 0.1
JUDGE_EVERY_S = 1.0


def run(worker: Worker, trainer: str, upstream: Upstream) -> int:
    """Judge until the trainer has finished and its comparisons are used up; return the exit code."""
    memory, features, served = Memory(), feature_watch.Memory(), served_drift.Memory()
    seen: tuple[int, int] | None = None
    compared = 0
    judged_at_s = -JUDGE_EVERY_S
    with lease.acquire(worker.store.home, worker.name, f"upm drift monitor of {trainer}"):
        while not worker.stop:
            may_end = upstream.closed()
            token = worker.store.token()
            now_s = worker.clock.monotonic_s()
            if may_end or (token != seen and now_s - judged_at_s >= JUDGE_EVERY_S):
                seen, judged_at_s = token, now_s
                judged = _judge(worker, trainer, memory, finish=may_end)
                told = _judge_served(worker, trainer, served, finish=may_end)
                compared += judged.compared + told.compared
                watched = feature_watch.watch(
                    worker.store, worker.clock, worker.settings, trainer, features, finish=may_end
                )
                if judged.more or watched.more or told.more:
                    seen = None
                    continue
                protect.look(worker.store, worker.clock, worker.settings, trainer)
            _tell(worker, trainer, compared)
            worker.flush()
            if may_end:
                break
            worker.clock.sleep(POLL_S)
        _tell(worker, trainer, compared, force=True, state="stopped")
        worker.flush(force=True)
    return worker.stop.exit_code() if worker.stop else 0


def _judge(worker: Worker, trainer: str, memory: Memory, *, finish: bool) -> Judged:
    return judge_new(
        worker.store,
        worker.clock,
        worker.settings.drift_monitor,
        trainer,
        finish=finish,
        memory=memory,
        recorder=worker.recorder,
        config_digest=worker.settings.full_digest(),
        contests=worker.settings,
    )


def _judge_served(
    worker: Worker, trainer: str, memory: served_drift.Memory, *, finish: bool
) -> served_drift.JudgedServed:
    return served_drift.judge_served(
        worker.store,
        worker.clock,
        worker.settings.drift_monitor,
        trainer,
        finish=finish,
        memory=memory,
        recorder=worker.recorder,
        config_digest=worker.settings.full_digest(),
    )


def _tell(worker: Worker, trainer: str, compared: int, *, force: bool = False, state: str = "judging") -> None:
    worker.tell(state, compared, force=force, trainer=trainer)
