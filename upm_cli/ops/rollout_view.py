"""What a rollout is decided from: everything read from one state, at one moment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upm_cli.clock import Clock
from upm_cli.core.features.gate import feature_drift_gate
from upm_cli.core.gates import Candidate, GateResult, feature_gate, lineage_gate, quarantine_gate, signature_gate
from upm_cli.core.policy import ring_gate
from upm_cli.core.records import Evidence, FeatureWatch, Ring, RolloutRow, TenantRule
from upm_cli.core.rollout import state_from_json
from upm_cli.core.rollouts.holdout import Holdout
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.readiness import readiness_gate
from upm_cli.core.rollouts.routing import Lists
from upm_cli.core.rollouts.state import ContestKind, EvidenceView, Instant, Observation, RolloutState, served
from upm_cli.core.verdict import Verdict
from upm_cli.core.versions import abandoned, tainted_by
from upm_cli.errors import IntegrityError
from upm_cli.ops import authority, holdout, proof, readiness, signatures
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View
from upm_cli.ops.rollout_policy import policy_of
from upm_cli.store import dwells, evidence, feature_watches, monitors, rollouts, tenant_rules

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One trainer as of one state: its newest rollout, and what decides about it."""

    view: View
    row: RolloutRow | None
    state: RolloutState | None
    policy: RolloutPolicy
    rules: tuple[TenantRule, ...]
    evidence: Mapping[str, Evidence]
    position: int
    features: FeatureWatch | None  # None: nobody has looked yet
    shadow_ms: int | None  # accumulated time of the lineage in shadow; None: nobody has looked yet
    holdout: Holdout | None = None

    @classmethod
    def read(cls, reader: "Reader", settings: "Settings", name: str) -> "Seen":
        row, dwell = rollouts.newest(reader, name), dwells.find(reader, name)
        rules = tuple(tenant_rules.list_for(reader, name))
        view = View.read(reader, name)
        return cls(
            view=view,
            row=row,
            state=None if row is None else state_from_json(row.state),
            policy=policy_of(settings, rules),
            rules=rules,
            evidence=_not_abandoned(evidence.of(reader, name), view),
            position=monitors.get(reader, name).position,
            features=feature_watches.find(reader, name),
            shadow_ms=None if dwell is None else round(dwell.shadow_s * 1000),
            holdout=holdout.read(reader, settings, name, Lists.of(rules, ())),
        )


def _not_abandoned(found: Mapping[str, Evidence], view: View) -> dict[str, Evidence]:
    """Leave out the contest of a lineage that a rollback has left: what comes after it has not done that harm."""
    rewound = int(view.trainer.lineage[-1]["at_seq"]) if view.trainer.lineage else 0
    return {kind: row for kind, row in found.items() if kind != ContestKind.LINEAGE.value or row.first_seq >= rewound}


def instant(clock: Clock) -> Instant:
    """Return the moment on both clocks."""
    return Instant(wall_ms=clock.now_ms(), monotonic_ms=round(clock.monotonic_s() * 1000), era=clock.era())


def newest_sound(view: View) -> int | None:
    """Return the newest version that may be exposed: not quarantined, not learned on from what was rolled back."""
    left = abandoned(view.rows.values(), view.trainer.lineage)
    sound = (
        version
        for version, row in view.rows.items()
        if not row.quarantined and tainted_by(version, view.trainer.lineage, left) is None
    )
    return max(sound, default=None)


def observe(
    store: "Store", reader: "Reader", clock: Clock, settings: "Settings", seen: Seen, state: RolloutState
) -> Observation:
    """Return what the rollout `state` looks at."""
    view, moment = seen.view, instant(clock)
    candidate = state.version or state.asked_version or newest_sound(view)
    row = view.rows.get(candidate or 0)
    next_ring = seen.policy.stages[min(state.stage + 1, seen.policy.last_stage)].ring
    pin = view.pins.get(next_ring)
    return Observation(
        instant=moment,
        epoch=view.trainer.epoch,
        live=served(view.live, {move.decision_id: move.salt for move in view.live.values() if move.salt}),
        position=seen.position,
        evidence=evidence_view(seen.evidence, state),
        gates=_gates(store, reader, clock, settings, seen, state, candidate, next_ring),
        candidate=None if row is None else row.version,
        quarantined=None if row is None else row.quarantined,
        pinned=pin is not None and pin.version != candidate and pin.at_ms >= state.created_at_ms,
        frozen=authority.frozen(reader, settings, view.trainer.name, moment.wall_ms),
        harmed=_harmed(seen.evidence, state),
        tenants=_tenants(seen, state),
        shadow_ms=seen.shadow_ms,
        awaits_snapshot=candidate is None,
        overridden=frozenset(authority.in_force(reader, settings, store.home, view.trainer.name, moment.wall_ms)),
    )


def evidence_view(found: Mapping[str, Evidence], state: RolloutState) -> EvidenceView | None:
    """Return the contest that counts for `state` now, in the rollout's words; None when there is none."""
    row = found.get(state.contest_kind.value)
    if row is None:
        return None
    plain = row.findings
    is_ours = row.challenger == state.version and row.champion == state.champion
    return EvidenceView(
        verdict=Verdict(row.verdict),
        kind=ContestKind(row.kind),
        rollout_id=state.rollout_id if is_ours else "",
        stage=row.stage,
        version=row.challenger,
        champion=row.champion,
        n=int(plain.get("fresh_windows", 0)),
        first_seq=plain.get("fresh_first_seq", plain.get("first_seq")),
        last_seq=plain.get("last_seq"),
        as_of_ms=proof.judged_at_ms(row),
        contest_id=row.contest_id,
        more=proof.needed(plain),
        detail=proof.summary(plain),
        numbers=_numbers(plain),
    )


def _numbers(findings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers a verdict rests on, under short names."""
    numbers: dict[str, Any] = {}
    for name in ("promote", "harm", "tail"):
        measure = findings.get(name) or {}
        numbers |= {f"{name}_{key}": measure.get(key) for key in ("value", "low", "high", "threshold", "log_e")}
    known = {name: float(number) for name, number in numbers.items() if number is not None}
    return {name: number for name, number in known.items() if math.isfinite(number) or not name.endswith("_log_e")}


def _harmed(found: Mapping[str, Evidence], state: RolloutState) -> frozenset[str]:
    row = found.get(state.contest_kind.value)
    if row is None or row.challenger != state.version:
        return frozenset()
    return frozenset(row.findings.get("harmed") or ())


def _tenants(seen: Seen, state: RolloutState) -> frozenset[str]:
    """Return the tenants seen so far, as far as the contests know them one by one, but for those held out."""
    names: set[str] = set(state.admitted | state.held_tenants)
    for row in seen.evidence.values():
        names.update(row.findings.get("tenant_names") or ())
    return frozenset(name for name in names if seen.holdout is None or not seen.holdout.includes(name))


def _gates(
    store: "Store",
    reader: "Reader",
    clock: Clock,
    settings: "Settings",
    seen: Seen,
    state: RolloutState,
    candidate: int | None,
    next_ring: Ring,
) -> tuple[GateResult, ...]:
    """Ask what the rollout itself doesn't know: feature flag, lineage, bytes, signature, policy, readiness."""
    view = seen.view
    if candidate is None or candidate not in view.rows:
        return ()
    left = abandoned(view.rows.values(), view.trainer.lineage)
    row = view.rows[candidate]
    asked = Candidate(
        trainer=view.trainer.name,
        version=candidate,
        quarantined=row.quarantined,
        quarantine_reason=row.quarantine_reason,
        ring=next_ring,
        percent=seen.policy.stages[min(state.stage + 1, seen.policy.last_stage)].percent,
        feature_enabled=settings.features.unified_model,
        descends_from_bad=tainted_by(candidate, view.trainer.lineage, left),
        signature=signatures.asked(settings, store.home, row),
    )
    results = [quarantine_gate(asked), lineage_gate(asked), feature_gate(asked), _bytes_gate(store, seen, candidate)]
    if asked.signature is not None:
        results.append(signature_gate(asked))
    results.append(ring_gate(next_ring, authority.access(settings), shadow_ms=seen.shadow_ms))
    results += feature_gates(settings, view.trainer.name, seen.features, clock.now_ms())
    if state.stage == 0:
        found = readiness.assess(reader, clock, settings, store.home, view.trainer.name, shadow_ms=seen.shadow_ms)
        results.append(readiness_gate(found))
    return tuple(results)


def feature_gates(settings: "Settings", name: str, watch: FeatureWatch | None, now_ms: int) -> list[GateResult]:
    """Ask whether features drift, if that holds a rollout; else only if they do, as a warning."""
    holds = settings.rollout.on_feature_drift == "hold"
    asked = feature_drift_gate(
        name,
        watch,
        holds=holds,
        followed=settings.evidence.features,
        now_ms=now_ms,
        max_age_ms=settings.rollout.max_evidence_age_ms + settings.drift_monitor.window_duration_ms,
    )
    return [asked] if holds or asked.numbers["verdict"] == "fail" else []


def _bytes_gate(store: "Store", seen: Seen, candidate: int) -> GateResult:
    """Allow a candidate whose bytes are what they were."""
    try:
        snapshot_ops.load(store.home, seen.view.rows[candidate])
    except IntegrityError as exc:
        return GateResult(
            gate="bytes",
            allowed=False,
            detail=exc.message,
            satisfy=f"restore the file from a backup, or take a new one: upm snapshot create {seen.view.trainer.name}",
        )
    return GateResult(gate="bytes", allowed=True, detail=f"v{candidate} was read back and proven")
