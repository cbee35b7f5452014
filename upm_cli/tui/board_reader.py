"""Reading boards: only what changed, and never on the event loop."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.ops import drift_marks, events, fleet, processes, report, rollout_history, status, tenants
from upm_cli.ops import rollout_status as rollouts
from upm_cli.ops.drift import policy_of
from upm_cli.ops.processes import Usage
from upm_cli.tui.board import Board, Part
from upm_cli.tui.project import Project
from upm_cli.tui.telling import told
from upm_cli.tui.told import Told
from upm_cli.tui.viewing import drift_of
from upm_cli.tui.views import Drift, Rollout

EVENTS_SHOWN: Final = 400
AGES_S: Final = 5.0  # a part that time changes, as gates do, is read again after so long


class BoardReader:
    """Reads boards. The state is read again only when it changed or somebody began or ended to train.

    Not for two threads at once.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stamp: object = None
        self._details: dict[str, Mapping[str, Any]] = {}
        self._parts: dict[tuple[Part, str], tuple[float, Any]] = {}

    def read(self, wanted: str | None, parts: frozenset[Part]) -> Board:
        """Return the board for the trainer `wanted` (else the first, the worst one). Raises UpmError."""
        project = self._project
        now_ms = project.clock.now_ms()
        workers = status.all_workers(project.store, now_ms)
        self._look()
        names = list(self._details)
        trainer = wanted if wanted in self._details else next(iter(names), None)
        found: dict[Part, Any] = {}
        troubles: dict[Part, UpmError] = {}
        for part in sorted((parts | {Part.AGENTS}) - {Part.PROCESSES, Part.STRIPS}):
            try:
                found[part] = self._part(part, "" if part in _OF_ALL else trainer)
            except UpmError as exc:
                troubles[part] = exc
        agents = found.get(Part.AGENTS) or fleet.NOTHING
        overview = status.overview_of(project.store, list(self._details.values()), workers, now_ms)
        return Board(
            overview={**overview, "problems": [*overview["problems"], *fleet.problems(agents)]},
            details=dict(self._details),
            trainer=trainer,
            drift=found.get(Part.DRIFT),
            events=found.get(Part.EVENTS),
            snapshots=found.get(Part.SNAPSHOTS),
            rollout=found.get(Part.ROLLOUT),
            fleet=agents,
            usage=_usage(workers) if Part.PROCESSES in parts else {},
            at_ms=now_ms,
            troubles=troubles,
        )

    def _look(self) -> None:
        """Read the trainers again if something changed; forget the parts that hung on it."""
        project = self._project
        stamp = (project.store.token(), status.being_trained(project.store, self._details))
        if stamp == self._stamp:
            return
        shown = status.all_trainers(project.store, project.settings)
        self._details = {row["name"]: row for row in shown}
        self._parts.clear()
        self._stamp = (stamp[0], frozenset(row["name"] for row in shown if row["trained_by"] is not None))

    def _part(self, part: Part, trainer: str | None) -> Any:
        if trainer is None:
            return None
        key, now_s = (part, trainer), self._project.clock.monotonic_s()
        read_at_s, value = self._parts.get(key, (0.0, None))
        if key not in self._parts or (part in _AGING and now_s - read_at_s >= AGES_S):
            value = _LOADERS[part](self._project, trainer)
            self._parts[key] = (now_s, value)
        return value


def _usage(workers: list[dict[str, Any]]) -> dict[int, Usage]:
    pids = {int(worker["pid"]) for worker in workers if worker["alive"] and worker.get("pid")}
    return {pid: found for pid in pids if (found := processes.usage(pid)) is not None}


def _events(project: Project, _: str) -> tuple[Told, ...]:
    return told(events.newest(project.store, EVENTS_SHOWN))


def _snapshots(project: Project, trainer: str) -> tuple[Snapshot, ...]:
    return tuple(reversed(status.snapshots_of(project.store, trainer)))


def _drift(project: Project, trainer: str) -> Drift:
    found = report.build(project.store, trainer, policy_of(project.settings.drift_monitor))
    with project.store.read() as reader:
        happened = drift_marks.of(reader, trainer, [line.window for line in found.lines])
    return drift_of(found, happened)


def _rollout(project: Project, trainer: str) -> Rollout:
    store, clock, settings = project.store, project.clock, project.settings
    with store.read() as reader:
        if not status.has_run(reader, trainer):
            return Rollout(shown=None)
        has_one = rollouts.has_any(reader, trainer)
        known = tuple(tenants.known(reader, settings, trainer))
        planned = () if has_one else tuple(rollouts.planned(reader, clock, settings, trainer))
    if not has_one:
        return Rollout(shown=None, tenants=known, planned=tuple(rollouts.stages_json(planned, None)))
    shown = rollouts.as_json(rollouts.standing(store, clock, settings, trainer))
    return Rollout(shown=shown, decisions=tuple(rollout_history.history(store, trainer)["decisions"]), tenants=known)


def _agents(project: Project, _: str) -> Mapping[str, Any]:
    return fleet.overview(project.store, project.settings, project.clock.now_ms())


_LOADERS: Final[Mapping[Part, Callable[[Project, str], Any]]] = {
    Part.EVENTS: _events,
    Part.SNAPSHOTS: _snapshots,
    Part.DRIFT: _drift,
    Part.ROLLOUT: _rollout,
    Part.AGENTS: _agents,
}
_OF_ALL: Final = (Part.EVENTS, Part.AGENTS)  # parts that are of no single trainer
_AGING: Final = (Part.ROLLOUT, Part.AGENTS)  # parts that time changes, though the state is the same
