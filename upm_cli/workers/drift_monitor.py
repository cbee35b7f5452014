"""The drift monitor's job: judge new comparisons as the trainer commits them, and look after what serves."""

from upm_cli.ops import feature_watch, protect, served_drift
from upm_cli.ops.drift import Judged, Memory, judging
from upm_cli.store import lease
from upm_cli.store.positions import Positions
from upm_cli.store.together import Steps
from upm_cli.workers import interest
from upm_cli.workers.context import Worker
from upm_cli.workers.job import Turn, drive
from upm_cli.workers.lifeline import Upstream

POLL_S = 0.1
DOZE_S = 60.0  # where a ticker looks after what serves, as in a supervisor's processes
LOOKS_EVERY = 2.0  # commits of a trainer that are judged together, in a process that has much to do


def run(worker: Worker, trainer: str, upstream: Upstream) -> int:
    """Judge until the trainer has finished and its comparisons are used up; return the exit code."""
    with lease.acquire(worker.store.home, worker.name, f"upm drift monitor of {trainer}"):
        return drive(worker, DriftJob(worker, trainer), upstream.closed)


class DriftJob:
    """Judges one trainer. A turn is one commit's worth of comparisons and log rows.

    With `has_ticker` somebody else lets time pass for rollouts: then they are looked at here when there are findings.
    """

    poll_s, doze_s = POLL_S, DOZE_S

    def __init__(self, worker: Worker, trainer: str, *, has_ticker: bool = False) -> None:
        self._worker, self._name, self._has_ticker = worker, trainer, has_ticker
        self._memory, self._features, self._served = Memory(), feature_watch.Memory(), served_drift.Memory()
        self._seen: tuple[int, int] | None = None
        self._compared = 0
        self._looks = 0
        self._judged_at_s = worker.clock.monotonic_s() - self._every_s

    @property
    def progress(self) -> object:
        return [self._looks, self._compared]

    def interest(self, positions: Positions) -> object:
        return interest.of_monitor(self._name, positions)

    def turn(self, *, finish: bool) -> Steps[Turn]:
        worker = self._worker
        token, now_s = worker.store.token(), worker.clock.monotonic_s()
        has_changed, is_time = token != self._seen, now_s - self._judged_at_s >= self._every_s
        if finish or (has_changed and is_time):
            self._seen, self._judged_at_s = token, now_s
            is_news, more = yield from self._look(finish=finish)
            if is_news or not (more or self._has_ticker):
                protect.look(worker.store, worker.clock, worker.settings, self._name)
            if more:
                self._seen, self._judged_at_s = None, now_s - self._every_s
                return Turn.MOVED
        self._tell()
        worker.flush()
        if finish:
            return Turn.DONE
        return Turn.LATER if has_changed and not is_time else Turn.IDLE

    def closing(self) -> Steps[None]:
        yield from ()  # each look was committed
        self._tell("stopped", force=True)
        self._worker.flush(force=True)

    @property
    def _every_s(self) -> float:
        pace_s = self._worker.pace.commit_s
        return pace_s if pace_s <= 1.0 else LOOKS_EVERY * pace_s

    def _look(self, *, finish: bool) -> Steps[tuple[bool, bool]]:
        """Take in what came; return whether anything was found, and whether there is more."""
        worker = self._worker
        judged = yield from self._judging(finish=finish)
        told = self._judge_served(finish=finish)
        self._compared += judged.compared + told.compared
        self._looks += 1
        watched = feature_watch.watch(
            worker.store, worker.clock, worker.settings, self._name, self._features, finish=finish
        )
        is_news = bool(judged.closed or judged.quarantined or judged.verdicts or told.closed or told.quarantined)
        return is_news, judged.more or watched.more or told.more

    def _judging(self, *, finish: bool) -> Steps[Judged]:
        worker = self._worker
        return judging(
            worker.store,
            worker.clock,
            worker.settings.drift_monitor,
            self._name,
            finish=finish,
            memory=self._memory,
            recorder=worker.recorder,
            config_digest=worker.config_digest,
            contests=worker.settings,
        )

    def _judge_served(self, *, finish: bool) -> served_drift.JudgedServed:
        worker = self._worker
        return served_drift.judge_served(
            worker.store,
            worker.clock,
            worker.settings.drift_monitor,
            self._name,
            finish=finish,
            memory=self._served,
            recorder=worker.recorder,
            config_digest=worker.config_digest,
        )

    def _tell(self, state: str = "judging", *, force: bool = False) -> None:
        self._worker.tell(state, self._compared, force=force, trainer=self._name)
