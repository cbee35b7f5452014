"""What a rollout is, and what is seen when it is looked at: the values that decisions are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from upm_cli.core.gates import GateResult
from upm_cli.core.records import Activation, Ring
from upm_cli.core.rollouts.exposure import Exposure
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.verdict import Verdict


class Phase(StrEnum):
    """Where a rollout stands. The last three are ends: only `retry` begins anew from there."""

    PENDING = "pending"  # not started
    PROGRESSING = "progressing"
    PAUSED = "paused"  # waits for a person; exposure stays as it is
    PROMOTED = "promoted"  # all tenants, watched, done
    ABORTED = "aborted"  # given up by a person, or overtaken by one
    DEGRADED = "degraded"  # the candidate did harm or was quarantined; rolled back


ENDED = (Phase.PROMOTED, Phase.ABORTED, Phase.DEGRADED)


class ContestKind(StrEnum):
    """Whose predictions the evidence compares: the lineage's as it learns, or a frozen snapshot's."""

    LINEAGE = "lineage"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """A moment on both clocks. `monotonic_ms` only compares within one `era` (the id of the machine's boot)."""

    wall_ms: int
    monotonic_ms: int
    era: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one ring serves. `rollout_id`: the rollout that moved it there, if one did."""

    version: int
    percent: int
    epoch: int
    rollout_id: str | None = None


Rings = Mapping[Ring, Served]


def served(live: Mapping[Ring, Activation], rollouts: Mapping[str, str] | None = None) -> dict[Ring, Served]:
    """Return what the rings reaching tenants serve. `rollouts`: decision id → rollout id, where a rollout decided."""
    known = rollouts or {}
    return {
        ring: Served(
            version=live[ring].version,
            percent=live[ring].percent,
            epoch=live[ring].epoch,
            rollout_id=known.get(live[ring].decision_id),
        )
        for ring in (Ring.CANARY, Ring.GLOBAL)
        if ring in live
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """What a contest says now, and which contest it is. Nothing in it is taken on trust: see `evidence_gate`."""

    verdict: Verdict
    kind: ContestKind
    rollout_id: str
    stage: int  # the stage for which its promote test was begun
    version: int | None  # challenger; None for the lineage
    champion: int | None  # None: the trivial baseline
    n: int  # windows counted at this stage
    first_seq: int | None  # the first and last of them in the log
    last_seq: int | None
    as_of_ms: int | None  # wall time at which the last of them was judged
    contest_id: str = ""
    more: int | None = None  # about how many more windows a verdict needs
    detail: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything one decision looks at, as of one state and one moment. What could not be read is None."""

    instant: Instant
    epoch: int  # the trainer's
    live: Rings  # rings canary and global
    position: int  # next seq of the log that will be judged
    evidence: EvidenceView | None = None
    gates: tuple[GateResult, ...] = ()  # what the gates say to the next step
    candidate: int | None = None  # the version that would leave shadow: the one asked for, or the newest sound one
    quarantined: bool | None = None  # whether the candidate is
    pinned: bool = False  # a rollback keeps automatic moves out of the next ring
    shadow_ms: int | None = None  # accumulated time of the lineage in shadow
    frozen: str | None = None  # the freeze window that is open, in words
    harmed: frozenset[str] = frozenset()  # tenants for which the candidate is worse
    tenants: frozenset[str] = frozenset()  # all tenants seen so far
    overridden: frozenset[str] = frozenset()  # gates with an override in force
    awaits_snapshot: bool = False  # there is no sound one yet that gates could be asked about; older records don't say


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutState:
    """One rollout as it is kept. Its id is the salt of the tenants' places."""

    rollout_id: str
    trainer: str
    phase: Phase = Phase.PENDING
    stage: int = 0
    percent: int = 0  # of the stage, when it was entered
    asked_version: int | None = None  # None: the newest sound snapshot when it leaves shadow
    version: int | None = None  # the candidate, from the first percent on
    champion: int | None = None  # what it replaces; None: nothing is live in ring global
    held_ms: int = 0  # accumulated time in this stage
    left_held_ms: int = 0  # what the stage before had when it was left, in case the move never happened
    unknown_ms: int = 0  # how long a due step has been waiting for a verdict
    since_seq: int = 0  # evidence counts from here in the log
    last: Instant | None = None  # the last look
    epoch: int = 0  # the trainer's, when last decided
    seen: Mapping[Ring, Served] = field(default_factory=dict)  # what the rings served then
    is_moving: bool = False  # a step was decided and not yet seen in the rings
    is_undoing: bool = False  # a rollback was decided and not yet seen in the rings
    is_harmed: bool = False  # the candidate failed; this rollout never exposes more
    cause: str = ""  # of a pause or an end: operator | harm | quarantine | unknown | overtaken | watched
    by: str = ""
    reason: str = ""
    holding: str = ""  # gates that held the step back at the last look
    admitted: frozenset[str] = frozenset()
    held_tenants: frozenset[str] = frozenset()
    created_at_ms: int = 0
    stage_at_ms: int = 0  # wall time at which the stage was entered; for people, decides nothing
    updated_at_ms: int = 0

    @property
    def contest_kind(self) -> ContestKind:
        """The contest that counts now."""
        return ContestKind.LINEAGE if self.stage == 0 else ContestKind.CANDIDATE

    @property
    def has_ended(self) -> bool:
        return self.phase in ENDED


def new_rollout(rollout_id: str, trainer: str, *, at_ms: int, version: int | None = None) -> RolloutState:
    """Return a rollout that has not started; `version` None: the newest sound snapshot when it leaves shadow."""
    return RolloutState(
        rollout_id=rollout_id, trainer=trainer, asked_version=version, created_at_ms=at_ms, updated_at_ms=at_ms
    )


def exposure_of(state: RolloutState, policy: RolloutPolicy) -> Exposure:
    """Return who sees the candidate now. Nobody once the rollout was given up, everybody once it is promoted."""
    is_over = state.phase in (Phase.ABORTED, Phase.DEGRADED)
    in_canary = 0 <= state.stage < len(policy.stages) and policy.stages[state.stage].ring is Ring.CANARY
    return Exposure(
        salt=state.rollout_id,
        percent=0 if is_over else state.percent,
        allow=frozenset(policy.allow),
        deny=frozenset(policy.deny),
        held=state.held_tenants,
        admitted=state.admitted,
        min_tenants=policy.min_tenants,
        eligible=frozenset(policy.canary_tenants) if in_canary else None,
    )
