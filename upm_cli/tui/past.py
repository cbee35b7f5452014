"""Boards of instants that are over: the same values, read from a kept state or put together from the record."""

from collections.abc import Mapping
from typing import Any

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.ops import drift_marks, events, report, rollout_history, rollout_then, status, tenants
from upm_cli.ops import rollout_status as rollouts
from upm_cli.ops import then as ops
from upm_cli.ops.drift import policy_of
from upm_cli.tui.board import Board, Part, Past
from upm_cli.tui.board_reader import EVENTS_SHOWN
from upm_cli.tui.project import Project
from upm_cli.tui.telling import told
from upm_cli.tui.told import Told
from upm_cli.tui.viewing import contests_of, drift_of
from upm_cli.tui.views import Contest, Drift, Rollout


class PastReader:
    """Reads boards of one instant after the other; what was read of the last one is kept. Not for two threads."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._then: ops.Then | None = None
        self._parts: dict[tuple[Part, str], Any] = {}

    def read(self, at_ms: int, text: str, wanted: str | None, parts: frozenset[Part]) -> Board:
        """Return the board of `at_ms` for the trainer `wanted`; `text` is what was recorded then. Raises UpmError."""
        then = self._look(at_ms)
        details: dict[str, Mapping[str, Any]] = {row["name"]: row for row in then.details}
        trainer = wanted if wanted in details else next(iter(details), None)
        found: dict[Part, Any] = {}
        troubles: dict[Part, UpmError] = {}
        for part in sorted(parts & _LOADERS.keys()):
            try:
                found[part] = self._part(then, part, "" if part is Part.EVENTS else trainer)
            except UpmError as exc:
                troubles[part] = exc
        overview = status.overview_of(self._project.store, then.details, [], at_ms)
        return Board(
            overview=overview,
            details=details,
            trainer=trainer,
            drift=found.get(Part.DRIFT),
            events=found.get(Part.EVENTS),
            snapshots=found.get(Part.SNAPSHOTS),
            rollout=found.get(Part.ROLLOUT),
            at_ms=at_ms,
            past=Past(at_ms=at_ms, generation=then.generation, text=text),
            troubles=troubles,
        )

    def close(self) -> None:
        """Let go of the kept state that was read last."""
        if self._then is not None:
            self._then.close()
            self._then = None

    def _look(self, at_ms: int) -> ops.Then:
        if self._then is None or self._then.at_ms != at_ms:
            self.close()
            self._parts.clear()
            self._then = ops.look_back(self._project.store, self._project.settings, at_ms)
        return self._then

    def _part(self, then: ops.Then, part: Part, trainer: str | None) -> Any:
        if trainer is None:
            return None
        if (part, trainer) not in self._parts:
            self._parts[(part, trainer)] = _LOADERS[part](self._project, then, trainer)
        return self._parts[(part, trainer)]


def _events(project: Project, then: ops.Then, _: str) -> tuple[Told, ...]:
    return told(events.newest(project.store, EVENTS_SHOWN, then.at_ms))


def _snapshots(project: Project, then: ops.Then, trainer: str) -> tuple[Snapshot, ...]:
    return tuple(reversed(then.snapshots(trainer)))


def _drift(project: Project, then: ops.Then, trainer: str) -> Drift:
    policy = policy_of(project.settings.drift_monitor)
    contests: tuple[Contest, ...] = ()
    if then.generation is not None:
        found = report.build(then.store, trainer, policy)
    else:
        found = report.of_windows(trainer, policy, then.windows(trainer))
        contests = contests_of(then.entries, trainer)
    with then.store.read() as reader:
        happened = drift_marks.of(reader, trainer, [line.window for line in found.lines], then.at_ms)
    return drift_of(found, happened, contests)


def _rollout(project: Project, then: ops.Then, trainer: str) -> Rollout:
    standing = rollout_then.standing_then(then, project.settings, trainer)
    until = {entry["n"] for entry in then.entries}
    decisions = rollout_history.history(project.store, trainer)["decisions"] if standing is not None else []
    known: tuple[tenants.Known, ...] = ()
    if then.generation is not None:
        with then.store.read() as reader:
            known = tuple(tenants.known(reader, project.settings, trainer))
    return Rollout(
        shown=None if standing is None else rollouts.as_json(standing),
        decisions=tuple(each for each in decisions if each["ledger"] in until),
        tenants=known,
    )


_LOADERS = {Part.EVENTS: _events, Part.SNAPSHOTS: _snapshots, Part.DRIFT: _drift, Part.ROLLOUT: _rollout}
