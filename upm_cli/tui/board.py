"""What is on the screens, as one value, and how it is read: only what changed, and never on the event loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from upm_cli.core.records import Snapshot
from upm_cli.ops import events, report, status
from upm_cli.ops.drift import policy_of
from upm_cli.ops.report_chart import Bar
from upm_cli.tui.project import Project
from upm_cli.tui.told import Told, told

EVENTS_SHOWN = 100


class Part(StrEnum):
    """What a screen may need besides the overview."""

    DRIFT = "drift"
    EVENTS = "events"
    SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The drift windows of one trainer, oldest first, and what they come to in a sentence."""

    bars: tuple[Bar, ...]
    limit: float
    headline: str
    failing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One look at the project; a part that was not asked for is None."""

    overview: Mapping[str, Any]  # as `upm status --json`
    details: Mapping[str, Mapping[str, Any]]  # by trainer, as `upm trainer show --json`
    trainer: str | None  # whose drift and snapshots these are; None: there is no trainer
    drift: Drift | None = None
    events: tuple[Told, ...] | None = None  # oldest first
    snapshots: tuple[Snapshot, ...] | None = None  # of `trainer`, newest first
    at_ms: int = 0

    def rings(self, shot: Snapshot) -> list[str]:
        """Return the rings that serve `shot`, one of `snapshots`."""
        live = self.details[shot.trainer]["active"] if shot.trainer in self.details else {}
        return [ring for ring, version in live.items() if version == shot.version]


class BoardReader:
    """Reads boards. The state is read again only when it changed or somebody began or ended to train.

    Not for two threads at once.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stamp: object = None
        self._details: dict[str, Mapping[str, Any]] = {}
        self._parts: dict[tuple[Part, str], Any] = {}

    def read(self, wanted: str | None, parts: frozenset[Part]) -> Board:
        """Return the board for the trainer `wanted` (else the first, the worst one). Raises UpmError."""
        project = self._project
        now_ms = project.clock.now_ms()
        workers = status.all_workers(project.store, now_ms)
        self._look()
        names = list(self._details)
        trainer = wanted if wanted in self._details else next(iter(names), None)
        return Board(
            overview=status.overview_of(project.store, list(self._details.values()), workers, now_ms),
            details=dict(self._details),
            trainer=trainer,
            drift=self._part(Part.DRIFT, trainer) if Part.DRIFT in parts else None,
            events=self._part(Part.EVENTS, "") if Part.EVENTS in parts else None,
            snapshots=self._part(Part.SNAPSHOTS, trainer) if Part.SNAPSHOTS in parts else None,
            at_ms=now_ms,
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
        key = (part, trainer)
        if key not in self._parts:
            self._parts[key] = self._load(part, trainer)
        return self._parts[key]

    def _load(self, part: Part, trainer: str) -> Any:
        store, settings = self._project.store, self._project.settings
        if part is Part.EVENTS:
            return told(events.newest(store, EVENTS_SHOWN))
        if part is Part.SNAPSHOTS:
            return tuple(reversed(status.snapshots_of(store, trainer)))
        return drift_of(report.build(store, trainer, policy_of(settings.drift_monitor)))


def drift_of(found: report.Report) -> Drift:
    """Return what the chart of a report shows: windows without a verdict have no value."""
    bars = tuple(
        Bar(line.window.started_at_ms, line.window.closed_at_ms, None if line.level == "unknown" else line.window.p95)
        for line in found.lines
        if line.level == "unknown" or line.window.p95 is not None
    )
    said = report.headline(found).removeprefix(f"{found.trainer}: ")
    return Drift(bars=bars, limit=found.policy.drift_threshold, headline=said, failing=bool(found.failing))
