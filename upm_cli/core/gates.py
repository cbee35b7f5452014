"""Gates: what may say no to a snapshot on its way to tenants.

A gate is a function from a candidate to a result with numbers; a refusal names the gate and what would satisfy it.
Whatever is missing, unknown or stale says no: nothing here is open by default but ring shadow, which nobody sees.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from upm_cli.core.plain import from_plain
from upm_cli.core.records import Ring
from upm_cli.core.signatures import SignatureState, Signed
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import RefusedError

SIGNATURE: Final = "signature"

# By an admin, with a reason and an end.
OVERRIDABLE: Final = ("evidence", "feature_drift", "freeze", "policy", "readiness", "shadow")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """What one gate says, with its numbers; `satisfy` tells what would make it allow."""

    gate: str
    allowed: bool
    detail: str
    satisfy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a contest said about the snapshot, or the lineage it comes from. Ages are of the newest window judged."""

    contest_id: str
    verdict: str  # pass | fail | unknown
    windows: int
    age_ms: int
    speaks: bool  # whether it is about this snapshot, against what serves now
    detail: str
    more: int | None = None  # about how many more windows a verdict needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a gate looks at: a verified snapshot on its way into a ring."""

    trainer: str
    version: int
    quarantined: bool
    quarantine_reason: str | None
    ring: Ring
    percent: int
    feature_enabled: bool  # features.unified_model
    descends_from_bad: int | None  # see `tainted_by`
    is_wider: bool = True  # more tenants would see it than see it now
    proof: Proof | None = None
    max_proof_age_ms: int = 0
    frozen: str | None = None  # the freeze that lasts, in words
    signature: Signed | None = None  # None: nobody asks for one (snapshot_manager.require_signature)
    others: tuple[GateResult, ...] = ()  # gates that were asked elsewhere
    overridden: frozenset[str] = frozenset()  # gates with an override in force

    @property
    def name(self) -> str:
        return snapshot_id(self.trainer, self.version)

    @property
    def exposes(self) -> bool:
        """Whether tenants would see it who don't now."""
        return self.ring is not Ring.SHADOW and self.is_wider


Gate = Callable[[Candidate], GateResult]


def quarantine_gate(candidate: Candidate) -> GateResult:
    """Allow what is not quarantined; holds for every ring, shadow too."""
    why = f"quarantined ({candidate.quarantine_reason or 'no reason given'})"
    return GateResult(
        gate="quarantine",
        allowed=not candidate.quarantined,
        detail=f"{candidate.name} is {why if candidate.quarantined else 'not quarantined'}",
        satisfy="activate another version, or lift it: "
        f"upm snapshot release {candidate.trainer} {candidate.version} --reason …",
        numbers={"version": candidate.version, "quarantined": candidate.quarantined},
    )


def lineage_gate(candidate: Candidate) -> GateResult:
    """Allow what did not learn on from a version that was rolled back."""
    bad = candidate.descends_from_bad
    return GateResult(
        gate="lineage",
        allowed=bad is None,
        detail=f"{candidate.name} learned on from v{bad}, which was rolled back"
        if bad
        else f"{candidate.name} descends from nothing rolled back",
        satisfy=""
        if bad is None
        else f"wait for a snapshot made since the rollback, or clear v{bad}: "
        f"upm snapshot release {candidate.trainer} {bad} --reason …",
        numbers={"version": candidate.version, "rolled_back_ancestor": bad},
    )


def feature_gate(candidate: Candidate) -> GateResult:
    """Allow exposure to tenants only while the feature is switched on; shadow is always allowed."""
    return GateResult(
        gate="feature",
        allowed=candidate.feature_enabled or candidate.ring is Ring.SHADOW,
        detail=f"features.unified_model is {'on' if candidate.feature_enabled else 'off'}",
        satisfy="set features.unified_model: true in upm.yaml, or activate with --to-stage shadow",
        numbers={"features.unified_model": candidate.feature_enabled, "ring": candidate.ring.value},
    )


def freeze_gate(candidate: Candidate) -> GateResult:
    """Allow more exposure outside of freezes only."""
    return GateResult(
        gate="freeze",
        allowed=candidate.frozen is None or not candidate.exposes,
        detail=f"frozen: {candidate.frozen}" if candidate.frozen else "not frozen",
        satisfy="wait until it ends; rollback works all the time",
        numbers={"frozen": candidate.frozen},
    )


def evidence_gate(candidate: Candidate) -> GateResult:
    """Allow more exposure only where a contest passed that is about this snapshot and not stale."""
    proof = candidate.proof
    numbers: dict[str, Any] = {"verdict": "unknown", "windows": 0}
    satisfy = "feed labelled windows until the drift monitor has a verdict: upm drift-report " + candidate.trainer
    if proof is not None:
        numbers = {"verdict": proof.verdict, "windows": proof.windows, "contest": proof.contest_id}
        numbers |= {"age_ms": proof.age_ms, "more": proof.more}
    if not candidate.exposes:
        said, allowed = "nobody sees it who does not now", True
    elif proof is None:
        said, allowed = "no contest has judged it", False
    elif not proof.speaks:
        said, allowed = f"{proof.contest_id} is not about {candidate.name}: {proof.detail}", False
        satisfy = f"activate latest, or begin a rollout, which judges it: upm rollout start {candidate.trainer}"
    elif proof.verdict != "pass":
        said, allowed = f"{proof.verdict} after {proof.windows:,} windows: {proof.detail}", False
        if proof.verdict == "fail":
            satisfy = (
                f"harm that was shown is never excepted; wait for a better one: upm drift-report {candidate.trainer}"
            )
        elif proof.more:
            satisfy = f"about {proof.more:,} more labelled windows are needed: upm drift-report {candidate.trainer}"
    elif not 0 <= proof.age_ms <= candidate.max_proof_age_ms:
        said, allowed = f"the evidence is {proof.age_ms / 3_600_000:.1f} h old", False
        satisfy = "see why nothing was judged since: upm status"
    else:
        said, allowed = f"pass on {proof.windows:,} windows: {proof.detail}", True
    return GateResult(gate="evidence", allowed=allowed, detail=said, satisfy=satisfy, numbers=numbers)


def signature_gate(candidate: Candidate) -> GateResult:
    """Allow tenants only what a believed key has signed; shadow needs no signature. What can't be checked says no."""
    found = candidate.signature or Signed()
    sign = f"upm snapshot sign {candidate.trainer} {candidate.version} (the first key: upm keys init)"
    satisfy = f"sign it: {sign}"
    if found.state is SignatureState.INVALID:
        satisfy = f"take another version; or find out who changed the signature, then sign it anew: {sign}"
    elif found.state is SignatureState.UNCHECKED:
        satisfy = "make it possible to check signatures: upm validate says what is missing"
    return GateResult(
        gate=SIGNATURE,
        allowed=found.is_signed or candidate.ring is Ring.SHADOW,
        detail=f"{candidate.name} is {found.words()}",
        satisfy=satisfy,
        numbers={"signature": found.state.value, "keyid": found.keyid, "require_signature": True},
    )


GATES: Final[tuple[Gate, ...]] = (quarantine_gate, lineage_gate, feature_gate, freeze_gate, evidence_gate)


def ask(candidate: Candidate, gates: Sequence[Gate] = GATES) -> tuple[GateResult, ...]:
    """Return what every gate says, those asked elsewhere too, with overrides in force applied.

    The gate `signature` is asked where signatures are asked for, whatever `gates` are.
    """
    asked = gates if candidate.signature is None else (*gates, signature_gate)
    results = [*(gate(candidate) for gate in asked), *candidate.others]
    return tuple(excepted(result, candidate.overridden) for result in results)


def may_be_excepted(gate: str, numbers: Mapping[str, Any]) -> bool:
    """Say whether an override can open a gate that said no with these numbers.

    Harm that was shown is never excepted, and no override gives anybody a right that their role has not.
    """
    is_harm = gate == "evidence" and numbers.get("verdict") == "fail"
    return gate in OVERRIDABLE and not is_harm and numbers.get("may") is not False


def excepted(result: GateResult, overridden: frozenset[str]) -> GateResult:
    """Return `result`, allowed where an override of its gate is in force and counts."""
    if result.allowed or result.gate not in overridden or not may_be_excepted(result.gate, result.numbers):
        return result
    numbers = {**result.numbers, "overridden": True}
    return replace(result, allowed=True, detail=f"overridden: {result.detail}", satisfy="", numbers=numbers)


def pass_gates(candidate: Candidate, gates: Sequence[Gate] = GATES) -> tuple[GateResult, ...]:
    """Return what every gate said; raises RefusedError naming the first that says no and what would satisfy it."""
    results = ask(candidate, gates)
    if not all(result.allowed for result in results):
        raise refusal(results)
    return results


def refusal(results: Sequence[GateResult]) -> RefusedError:
    """Return the error that names the first of `results` that says no, and tells what each of them said."""
    first, *rest = [result for result in results if not result.allowed]
    others = f" (and {', '.join(result.gate for result in rest)})" if rest else ""
    return RefusedError(
        f"gate {first.gate}: {first.detail}{others}",
        hint=first.satisfy,
        code="UPM-E051",
        context={"gate": first.gate, "gates": [as_context(result) for result in results]},
    )


def as_context(result: GateResult) -> dict[str, Any]:
    """Return what a gate said, for an error's context and for JSON."""
    said = {"gate": result.gate, "allowed": result.allowed, "detail": result.detail, "satisfy": result.satisfy}
    return {**result.numbers, **said}


def recompute(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the gates again about a recorded candidate; returns the outcome that was recorded."""
    said = outcome(ask(from_plain(Candidate, inputs["candidate"])))
    return said | {name: inputs[name] for name in ("bytes_are_right",) if name in inputs}


def outcome(results: Sequence[GateResult]) -> dict[str, Any]:
    """Return what the gates decided, in plain values."""
    return {
        "allowed": all(result.allowed for result in results),
        "gates": {result.gate: result.allowed for result in results},
    }
