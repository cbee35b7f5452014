"""Gates: what may say no to a snapshot on its way to tenants.

A gate is a function from a candidate to a result with numbers; a refusal names the gate and what would satisfy it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.core.records import Ring, Snapshot, Trainer
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import RefusedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a gate looks at: a verified snapshot on its way into a ring."""

    trainer: Trainer
    snapshot: Snapshot
    ring: Ring
    percent: int
    feature_enabled: bool  # features.unified_model
    descends_from_bad: int | None  # see `tainted_by`


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What one gate says, with its numbers; `satisfy` tells what would make it allow."""

    gate: str
    allowed: bool
    detail: str
    satisfy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


Gate = Callable[[Candidate], GateResult]


def quarantine_gate(candidate: Candidate) -> GateResult:
    """Allow what is not quarantined; holds for every ring, shadow too."""
    shot = candidate.snapshot
    return GateResult(
        gate="quarantine",
        allowed=not shot.quarantined,
        detail=f"{snapshot_id(shot.trainer, shot.version)} is "
        + (f"quarantined ({shot.quarantine_reason or 'no reason given'})" if shot.quarantined else "not quarantined"),
        satisfy=f"activate another version, or lift it: upm snapshot release {shot.trainer} {shot.version} --reason …",
        numbers={"version": shot.version, "quarantined": shot.quarantined},
    )


def lineage_gate(candidate: Candidate) -> GateResult:
    """Allow what did not learn on from a version that was rolled back."""
    shot, bad = candidate.snapshot, candidate.descends_from_bad
    name = snapshot_id(shot.trainer, shot.version)
    return GateResult(
        gate="lineage",
        allowed=bad is None,
        detail=f"{name} learned on from v{bad}, which was rolled back"
        if bad
        else f"{name} descends from nothing rolled back",
        satisfy=f"wait for a snapshot made since the rollback, or clear v{bad}: "
        f"upm snapshot release {shot.trainer} {bad} --reason …",
        numbers={"version": shot.version, "rolled_back_ancestor": bad},
    )


def feature_gate(candidate: Candidate) -> GateResult:
    """Allow exposure to tenants only while the feature is switched on; shadow is always allowed."""
    exposed = candidate.ring is not Ring.SHADOW
    return GateResult(
        gate="feature",
        allowed=candidate.feature_enabled or not exposed,
        detail=f"features.unified_model is {'on' if candidate.feature_enabled else 'off'}",
        satisfy="set features.unified_model: true in upm.yaml, or activate with --to-stage shadow",
        numbers={"features.unified_model": candidate.feature_enabled, "ring": candidate.ring.value},
    )


GATES: Final[tuple[Gate, ...]] = (quarantine_gate, lineage_gate, feature_gate)


def pass_gates(candidate: Candidate, gates: Sequence[Gate] = GATES) -> tuple[GateResult, ...]:
    """Return what every gate said; raises RefusedError naming the first that says no and what would satisfy it."""
    results = tuple(gate(candidate) for gate in gates)
    refused = [result for result in results if not result.allowed]
    if refused:
        raise RefusedError(
            f"gate {refused[0].gate}: {refused[0].detail}",
            hint=refused[0].satisfy,
            code="UPM-E051",
            context={"gates": [{"gate": r.gate, "allowed": r.allowed, **r.numbers} for r in results]},
        )
    return results
