"""Who is held against whom: which contests a trainer needs now."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from upm_cli.core.records import Activation, Ring, RolloutRow, Snapshot, Trainer

LINEAGE: Final = "lineage"
CANDIDATE: Final = "candidate"
_EXPOSING: Final = ("progressing", "paused", "degraded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A challenger and a champion. Another match is another contest."""

    kind: str  # lineage | candidate
    challenger: int | None  # None: the lineage as it learns
    champion: int | None  # None: the trivial baseline
    rewinds: int = 0  # how often the lineage was put back; for a candidate 0
    rollout_id: str = ""  # whose candidate it is
    min_seq: int = 0  # neither has learned from windows from here on, nor does the lineage before its last rewind count

    @property
    def label(self) -> str:
        """The match in short: kind, champion and challenger."""
        champion = "baseline" if self.champion is None else str(self.champion)
        return f"{self.kind}/{champion}/{'lineage' if self.challenger is None else self.challenger}"

    @property
    def versions(self) -> tuple[int, ...]:
        """The snapshots that have to be scored."""
        return tuple(each for each in (self.challenger, self.champion) if each is not None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        return cls(**plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A contest that is needed: the match, the stage it is for, and from where on windows count for that stage."""

    match: Match
    stage: int = 0
    since_seq: int = 0
    candidate: int = 1  # how many candidates there were, this one included
    promoted: int = 0  # how many of those before it went all the way
    held: frozenset[str] = frozenset()  # tenants that the rollout holds back from the candidate


def wanted(
    trainer: Trainer,
    live: Mapping[Ring, Activation],
    rollouts: Iterable[RolloutRow],
    snapshots: Iterable[Snapshot],
) -> list[Wanted]:
    """Return the lineage's contest, and the candidate's if one is exposed. `rollouts` oldest first."""
    rows = {shot.version: shot for shot in snapshots}
    past = list(rollouts)
    newest = past[-1] if past else None
    exposing = newest if newest is not None and _is_exposing(newest) else None
    champion = exposing.champion if exposing else _global(live)
    rewound = int(trainer.lineage[-1]["at_seq"]) if trainer.lineage else 0
    in_shadow = newest if newest is not None and newest.stage == 0 and newest.ended_at_ms is None else None
    lineage = Match(
        kind=LINEAGE,
        challenger=None,
        champion=champion,
        rewinds=len(trainer.lineage),
        min_seq=max(rewound, _after(rows, champion)),
    )
    found = [Wanted(match=lineage, since_seq=_since(in_shadow))]
    pair = (exposing.version, exposing.champion) if exposing else _exposed(live)
    if pair is not None and pair[0] is not None and pair[0] != pair[1]:
        match = Match(
            kind=CANDIDATE,
            challenger=pair[0],
            champion=pair[1],
            rollout_id=exposing.rollout_id if exposing else "",
            min_seq=max(_after(rows, pair[0]), _after(rows, pair[1])),
        )
        promoted = sum(row.phase == "promoted" for row in past[:-1])
        number, stage = (exposing.number, exposing.stage) if exposing else (1, 0)
        found.append(
            Wanted(
                match=match,
                stage=stage,
                since_seq=_since(exposing),
                candidate=max(number, promoted + 1),
                promoted=promoted if exposing else 0,
                held=frozenset(exposing.state.get("held_tenants", ())) if exposing else frozenset(),
            )
        )
    return found


def _is_exposing(row: RolloutRow) -> bool:
    """Say whether the rollout shows its version to tenants, or has just turned back from it."""
    is_watched = row.phase == "promoted" and row.ended_at_ms is None
    return row.version is not None and row.stage > 0 and (is_watched or (row.phase in _EXPOSING and not _is_over(row)))


def _is_over(row: RolloutRow) -> bool:
    return row.ended_at_ms is not None and not row.state.get("is_undoing")


def _since(row: RolloutRow | None) -> int:
    return int(row.state.get("since_seq", 0)) if row is not None else 0


def _global(live: Mapping[Ring, Activation]) -> int | None:
    current = live.get(Ring.GLOBAL)
    return current.version if current is not None and current.percent > 0 else None


def _exposed(live: Mapping[Ring, Activation]) -> tuple[int, int | None] | None:
    """Return what some tenants get and what the others get, when somebody exposed it by hand."""
    canary, everybody = live.get(Ring.CANARY), live.get(Ring.GLOBAL)
    if canary is not None and canary.percent > 0 and canary.version != _global(live):
        return canary.version, _global(live)
    if everybody is not None and 0 < everybody.percent < 100:
        return everybody.version, everybody.rest_version
    return None


def _after(rows: Mapping[int, Snapshot], version: int | None) -> int:
    """Return the first log row that `version` has not learned from."""
    return rows[version].last_seq + 1 if version is not None and version in rows else 0
