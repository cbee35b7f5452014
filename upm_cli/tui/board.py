"""What is on the screens, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from upm_cli.core.records import Snapshot
from upm_cli.errors import UpmError
from upm_cli.ops import fleet
from upm_cli.ops.processes import Usage
from upm_cli.tui.told import Told
from upm_cli.tui.views import Drift, Rollout

if TYPE_CHECKING:
    from upm_cli.ops.strips import Strips


class Part(StrEnum):
    """What a screen may need besides the overview."""

    DRIFT = "drift"
    EVENTS = "events"
    SNAPSHOTS = "snapshots"
    ROLLOUT = "rollout"
    AGENTS = "agents"
    PROCESSES = "processes"
    STRIPS = "strips"  # read apart from the board, as it takes longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The board shows an instant that is over. `generation`: of the kept state it is from; None: from the record."""

    at_ms: int
    generation: int | None
    text: str  # what was recorded at that instant; empty: nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One look at the project; a part that was not asked for is None."""

    overview: Mapping[str, Any]  # as `upm status --json`
    details: Mapping[str, Mapping[str, Any]]  # by trainer, as `upm trainer show --json`
    trainer: str | None  # whose drift and snapshots these are; None: there is no trainer
    drift: Drift | None = None
    events: tuple[Told, ...] | None = None  # oldest first
    snapshots: tuple[Snapshot, ...] | None = None  # of `trainer`, newest first
    rollout: Rollout | None = None
    fleet: Mapping[str, Any] = field(default_factory=lambda: fleet.NOTHING)
    usage: Mapping[int, Usage] = field(default_factory=dict)  # by pid
    strips: "Strips | None" = None
    at_ms: int = 0
    past: Past | None = None
    troubles: Mapping[Part, UpmError] = field(default_factory=dict)  # parts that could not be read

    def with_strips(self, strips: "Strips") -> "Board":
        """Return the board with what was read apart from it."""
        return replace(self, strips=strips)

    def rings(self, shot: Snapshot) -> list[str]:
        """Return the rings that serve `shot`, one of `snapshots`."""
        live = self.details[shot.trainer]["active"] if shot.trainer in self.details else {}
        return [ring for ring, version in live.items() if version == shot.version]
