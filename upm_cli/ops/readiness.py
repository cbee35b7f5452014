"""Is a lineage ready to leave shadow, and for its first use in production? The facts, read from the state."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.feedback.names import served_owner
from upm_cli.core.records import DriftStatus, DriftWindow, Incident
from upm_cli.core.rollouts.readiness import Facts, Readiness, ReadinessPolicy
from upm_cli.core.rollouts.readiness import assess as assess_facts
from upm_cli.ops import authority
from upm_cli.store import drift, dwells, incidents, signoffs, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader


def assess(
    reader: "Reader", clock: Clock, settings: "Settings", home: Path, name: str, *, shadow_ms: int | None = None
) -> Readiness:
    """Hold what is known of the lineage of `name` against the limits.

    Drift windows count from the last rewind of the trainer on: those before belong to what was rolled back.
    `shadow_ms`: the time a rollout has counted, None: what was counted outside of one.
    """
    trainer = trainers.get(reader, name)
    since = int(trainer.lineage[-1]["at_seq"]) if trainer.lineage else 0
    every = drift.list_for(reader, name)
    mine = [window for window in every if window.first_seq >= since]
    dwell = dwells.find(reader, name)
    if shadow_ms is None and dwell is not None:
        shadow_ms = round(dwell.shadow_s * 1000)
    section, signed = settings.policy, signoffs.of(reader, name)
    facts = Facts(
        now_ms=clock.now_ms(),
        shadow_ms=shadow_ms,
        passed=sum(window.verdict == "pass" for window in mine),
        failed=sum(window.verdict == "fail" for window in mine),
        unknown=sum(window.verdict == "unknown" for window in mine),
        last_quarantine_ms=_last_quarantine_ms(
            [*every, *drift.list_for(reader, served_owner(name))], incidents.list_for(reader, name)
        ),
        signoffs=signed,
        signers=frozenset(each.actor for each in signed.values() if authority.may_sign(settings, home, each.actor)),
    )
    return assess_facts(
        facts,
        ReadinessPolicy(
            min_shadow_hours=section.min_shadow_hours,
            readiness_share=section.readiness_share,
            readiness_quiet_hours=section.readiness_quiet_hours,
        ),
    )


def _last_quarantine_ms(windows: Iterable[DriftWindow], rolled_back: Iterable[Incident]) -> int | None:
    """Return when a version was last quarantined, by the monitor or by a rollback; None: never."""
    barred = (window for window in windows if window.status in (DriftStatus.QUARANTINED, DriftStatus.RESOLVED))
    at_ms = [int(window.metadata.get("quarantined_at_ms", window.closed_at_ms)) for window in barred]
    return max([*at_ms, *(incident.at_ms for incident in rolled_back)], default=None)
