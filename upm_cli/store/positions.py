"""How far everybody has come, in one small read: what many workers of one process look at before they do anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from upm_cli.store.unit import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerAt:
    """Where a trainer is."""

    stream: str
    fence: int
    desired: str
    log_position: int  # it has committed the log rows before this one
    served: int = 0  # number of the next served comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Trainers by name, the end of each stream's log, and the trainers that have a rollout under way."""

    trainers: Mapping[str, TrainerAt] = field(default_factory=dict)
    log_ends: Mapping[str, int] = field(default_factory=dict)
    rollouts: tuple[str, ...] = ()
    has_adapters: bool = False


def read(r: Reader) -> Positions:
    """Return the positions of all."""
    return Positions(
        trainers={row.pop("name"): TrainerAt(**row) for row in r.query("positions.trainers")},
        log_ends={row["name"]: int(row["next_seq"]) for row in r.query("positions.streams")},
        rollouts=tuple(row["trainer"] for row in r.query("positions.rollouts")),
        has_adapters=bool(r.query("positions.adapters")),
    )
