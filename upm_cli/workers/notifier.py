"""The notifier's job: tell webhooks what happened, as soon as it did."""

from upm_cli.errors import BusyError
from upm_cli.ops import notify
from upm_cli.store.positions import Positions
from upm_cli.store.together import Steps
from upm_cli.workers.context import Worker
from upm_cli.workers.job import Turn

POLL_S = 0.5


class NotifyJob:
    """Tells every webhook what it is due. A turn is one pass; what is not taken is tried again by a later one."""

    poll_s = doze_s = POLL_S

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._sent = 0
        self._passes = 0
        self._due_at_ms: int | None = None
        self._token: tuple[int, int] | None = None

    @property
    def progress(self) -> object:
        return [self._sent, self._passes]

    def interest(self, _positions: Positions) -> object:
        """Nothing in particular: pauses go by the clock."""
        return None

    def turn(self, *, finish: bool) -> Steps[Turn]:
        yield from ()  # a pass commits by itself
        worker = self._worker
        self._passes += 1
        more = self._is_due() and self._tell()
        worker.tell("telling", self._sent)
        worker.flush()
        if more:
            return Turn.MOVED
        return Turn.DONE if finish else Turn.IDLE

    def closing(self) -> Steps[None]:
        yield from ()
        self._worker.tell("stopped", self._sent, force=True)
        self._worker.flush(force=True)

    def _is_due(self) -> bool:
        """Say whether a pass has anything to do; the state is read only when it is another one."""
        worker = self._worker
        token = worker.store.token()
        if token != self._token:
            self._due_at_ms, self._token = notify.due_at_ms(worker.store, worker.settings), token
        return self._due_at_ms is not None and self._due_at_ms <= worker.clock.now_ms()

    def _tell(self) -> bool:
        """Do one pass; say whether there is more to send at once."""
        worker = self._worker
        try:
            passed = notify.tick(worker.store, worker.clock, worker.settings, worker.project.folder, worker.jitter)
        except BusyError:
            return False  # somebody runs `upm notify run`
        self._sent += sum(each.sent for each in passed)
        return any(each.sent == notify.MOST_AT_ONCE for each in passed)
