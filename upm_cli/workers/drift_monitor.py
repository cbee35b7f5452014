"""The drift monitor's job: judge new comparisons as the trainer commits them, and look after what serves."""

from upm_cli.ops import feature_watch, protect
from upm_cli.ops.drift import Judged, Memory, judge_new
from upm_cli.store import lease
from upm_cli.store.positions import Positions
from upm_cli.workers import interest
from upm_cli.workers.context import Worker
from upm_cli.workers.job import Turn, drive
from upm_cli.workers.lifeline import Upstream

POLL_S = 0.1
DOZE_S = 10.0
JUDGE_EVERY_S = 1.0


def run(worker: Worker, trainer: str, upstream: Upstream) -> int:
    """Judge until the trainer has finished and its comparisons are used up; return the exit code."""
    with lease.acquire(worker.store.home, worker.name, f"upm drift monitor of {trainer}"):
        return drive(worker, DriftJob(worker, trainer), upstream.closed)


class DriftJob:
    """Judges one trainer. A turn is one commit's worth of comparisons and log rows."""

    poll_s, doze_s = POLL_S, DOZE_S

    def __init__(self, worker: Worker, trainer: str) -> None:
        self._worker, self._name = worker, trainer
        self._memory, self._features = Memory(), feature_watch.Memory()
        self._seen: tuple[int, int] | None = None
        self._compared = 0
        self._looks = 0
        self._judged_at_s = worker.clock.monotonic_s() - JUDGE_EVERY_S

    @property
    def progress(self) -> object:
        return [self._looks, self._compared]

    def interest(self, positions: Positions) -> object:
        return interest.of_monitor(self._name, positions)

    def turn(self, *, finish: bool) -> Turn:
        worker = self._worker
        token, now_s = worker.store.token(), worker.clock.monotonic_s()
        is_news, is_time = token != self._seen, now_s - self._judged_at_s >= JUDGE_EVERY_S
        if finish or (is_news and is_time):
            self._seen, self._judged_at_s = token, now_s
            if self._look(finish=finish):
                self._seen, self._judged_at_s = None, now_s - JUDGE_EVERY_S
                return Turn.MOVED
            protect.look(worker.store, worker.clock, worker.settings, self._name)
        self._tell()
        worker.flush()
        if finish:
            return Turn.DONE
        return Turn.LATER if is_news and not is_time else Turn.IDLE

    def close(self) -> None:
        self._tell(force=True)
        self._worker.flush(force=True)

    def _look(self, *, finish: bool) -> bool:
        """Take in what came; return whether there is more."""
        worker = self._worker
        judged = self._judge(finish=finish)
        self._compared += judged.compared
        self._looks += 1
        watched = feature_watch.watch(
            worker.store, worker.clock, worker.settings, self._name, self._features, finish=finish
        )
        return judged.more or watched.more

    def _judge(self, *, finish: bool) -> Judged:
        worker = self._worker
        return judge_new(
            worker.store,
            worker.clock,
            worker.settings.drift_monitor,
            self._name,
            finish=finish,
            memory=self._memory,
            recorder=worker.recorder,
            config_digest=worker.settings.full_digest(),
            contests=worker.settings,
        )

    def _tell(self, *, force: bool = False) -> None:
        self._worker.tell("judging", self._compared, force=force, trainer=self._name)
