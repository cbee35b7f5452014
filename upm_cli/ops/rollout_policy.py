"""The rollout's policy: what the settings and the tenants' rules say, as the core decides by it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from upm_cli.core.features.gate import GATE
from upm_cli.core.gates import SIGNATURE
from upm_cli.core.records import TenantRule
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.stage_text import parse_stage

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings

HOUR_MS = 3_600_000


def policy_of(settings: "Settings", rules: Iterable[TenantRule] = ()) -> RolloutPolicy:
    """Return what `rollout.*`, `policy.*` and the tenants that are allowed or denied by name make up together."""
    rollout, shadow_ms = settings.rollout, settings.policy.min_shadow_hours * HOUR_MS
    named = list(rules)
    asked = ["quarantine", "lineage", "feature", "bytes", "policy"]
    asked += [SIGNATURE] if settings.snapshot_manager.require_signature else []
    asked += [GATE] if rollout.on_feature_drift == "hold" else []
    return RolloutPolicy(
        stages=tuple(parse_stage(text) for text in rollout.stages),
        min_tenants=rollout.min_tenants,
        min_shadow_ms=shadow_ms,
        watch_ms=rollout.watch_ms,
        unknown_deadline_ms=rollout.unknown_deadline_ms,
        max_evidence_age_ms=rollout.max_evidence_age_ms,
        max_gap_ms=rollout.max_gap_ms,
        max_held_share=rollout.max_held_share,
        on_harm=rollout.on_harm,
        on_quarantine=rollout.on_quarantine,
        automatic=rollout.automatic,
        required_gates=tuple(asked),
        allow=tuple(rule.tenant_id for rule in named if rule.rule == "allow"),
        deny=tuple(rule.tenant_id for rule in named if rule.rule == "deny"),
        canary_tenants=settings.policy.canary_tenants,
    )
