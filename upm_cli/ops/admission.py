"""What the gates look at before a snapshot goes into a ring, read from one state."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.activation import ActivationPlan
from upm_cli.core.gates import Candidate
from upm_cli.core.policy import may, ring_gate
from upm_cli.core.records import Ring
from upm_cli.core.versions import Live, abandoned, tainted_by
from upm_cli.ops import authority, dwell, signatures
from upm_cli.ops.decisions import View
from upm_cli.ops.proof import proof_of

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader


def candidate(
    reader: "Reader",
    clock: Clock,
    settings: "Settings",
    home: Path,
    view: View,
    plan: ActivationPlan,
    *,
    actor: str,
    tenants: Sequence[str] = (),
) -> Candidate:
    """Return `plan` as the gates see it: with the evidence, the policy's word and the overrides of this moment."""
    name, row, now_ms = view.trainer.name, view.rows[plan.version], clock.now_ms()
    left = abandoned(view.rows.values(), view.trainer.lineage)
    access = authority.access(settings)
    person = may(authority.role(settings, home, actor), f"activate.{plan.ring}", access)
    served = ring_gate(plan.ring, access, shadow_ms=round(dwell.shadow_s(reader, name) * 1000), tenants=tenants)
    return Candidate(
        trainer=name,
        version=plan.version,
        quarantined=row.quarantined,
        quarantine_reason=row.quarantine_reason,
        ring=plan.ring,
        percent=plan.percent,
        feature_enabled=settings.features.unified_model,
        descends_from_bad=tainted_by(plan.version, view.trainer.lineage, left),
        is_wider=is_wider(view.live, plan) or bool(tenants),
        proof=proof_of(reader, view, plan.version, now_ms),
        max_proof_age_ms=settings.rollout.max_evidence_age_ms,
        frozen=authority.frozen(reader, settings, name, now_ms),
        signature=signatures.asked(settings, home, row),
        others=(replace(person, gate="role"), served),  # a role is never excepted: an override is for one rule
        overridden=frozenset(authority.in_force(reader, settings, home, name, now_ms)),
    )


def is_wider(live: Live, plan: ActivationPlan) -> bool:
    """Say whether `plan` lets tenants see the version who don't see it now. A share keeps its draw, so it is nested."""
    if plan.ring is Ring.SHADOW:
        return False
    return not any(
        move.version == plan.version and move.percent >= plan.percent
        for ring, move in live.items()
        if ring is not Ring.SHADOW
    )
