"""The rollout ticker's job: look at every trainer's rollout now and then, so that time passes for it."""

from upm_cli.errors import UpmError
from upm_cli.ops import protect
from upm_cli.store import positions
from upm_cli.store.positions import Positions
from upm_cli.store.together import Steps
from upm_cli.workers.context import Worker, complain
from upm_cli.workers.job import Turn

LOOK_EVERY_S = 5.0  # at a trainer with a rollout under way
COUNT_EVERY_S = 120.0  # at any other: its time in shadow is counted
POLL_S = 0.5


class RolloutsJob:
    """Looks at all trainers. A turn is one look at one of them; what goes wrong with one does not stop the others."""

    poll_s = doze_s = POLL_S

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._looked_at_s: dict[str, float] = {}
        self._positions, self._token = Positions(), (0, 0)
        self._complained: dict[str, str] = {}
        self._looks = 0
        self._rounds = 0

    @property
    def progress(self) -> object:
        return [self._looks, self._rounds]

    def interest(self, _positions: Positions) -> object:
        """Nothing in particular: it goes by the clock."""
        return None

    def turn(self, *, finish: bool) -> Steps[Turn]:
        yield from ()  # a look commits by itself, if at all
        worker, now_s = self._worker, self._worker.clock.monotonic_s()
        name = self._next(now_s)
        if name is not None:
            self._looked_at_s[name] = now_s
            self._look(name)
            self._looks += 1
        else:
            self._rounds += 1
        worker.tell("looking", self._looks)
        worker.flush()
        if name is not None:
            return Turn.MOVED
        return Turn.DONE if finish else Turn.IDLE

    def closing(self) -> Steps[None]:
        yield from ()
        self._worker.tell("stopped", self._looks, force=True)
        self._worker.flush(force=True)

    def _next(self, now_s: float) -> str | None:
        """Return the trainer whose look is due for the longest time."""
        found = self._newest_positions()
        self._looked_at_s = {name: at_s for name, at_s in self._looked_at_s.items() if name in found.trainers}
        due = {}
        for name in found.trainers:
            every_s = LOOK_EVERY_S if name in found.rollouts else COUNT_EVERY_S
            due[name] = self._looked_at_s.get(name, now_s - every_s) + every_s
        first = min(due, key=lambda name: due[name], default=None)
        return first if first is not None and due[first] <= now_s else None

    def _newest_positions(self) -> Positions:
        """Return how far everybody has come; the state is read only when it is another one."""
        store = self._worker.store
        token = store.token()
        if token != self._token:
            with store.read() as reader:
                self._positions, self._token = positions.read(reader), token
        return self._positions

    def _look(self, name: str) -> None:
        worker = self._worker
        try:
            protect.look(worker.store, worker.clock, worker.settings, name)
            self._complained.pop(name, None)
        except UpmError as exc:
            if self._complained.get(name) != exc.message:  # once, not every five seconds
                self._complained[name] = exc.message
                complain(worker.name, exc)
