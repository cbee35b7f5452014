"""Overrides: an admin's recorded, reasoned, expiring exception to a gate; a second person may have to agree."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.policy import check_approval, check_override
from upm_cli.core.records import Override
from upm_cli.ids import iso
from upm_cli.ops import authority
from upm_cli.store import overrides, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

HOUR_MS = 3_600_000


def grant(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    gate: str,
    *,
    actor: str,
    reason: str,
    for_ms: int | None = None,
    dry_run: bool = False,
) -> Override:
    """Except `gate` of trainer `name` for `for_ms` (default: as long as the policy allows).

    With `policy.second_approver` it counts once another person has approved it. Raises RefusedError where the actor
    may not, the gate can't be overridden, the reason is missing or the time too long; NotFoundError.
    """
    at_ms = clock.now_ms()
    longest_ms = settings.policy.override_hours * HOUR_MS
    override = Override(
        override_id=ids.uuid7(clock),
        trainer=name,
        gate=gate,
        reason=reason,
        actor=actor,
        approver=None,
        at_ms=at_ms,
        expires_at_ms=at_ms + (longest_ms if for_ms is None else for_ms),
    )
    _check(settings, store.home, override)
    with store.read() as reader:
        trainers.get(reader, name)
    if dry_run:
        return override
    with store.write(actor=actor) as tx:
        overrides.put(tx, override)
        tx.ledger(
            "override.grant",
            name,
            override_id=override.override_id,
            gate=gate,
            reason=reason,
            expires_at=iso(override.expires_at_ms),
            needs_approval=settings.policy.second_approver,
        )
    return override


def _check(settings: "Settings", home: Path, override: Override) -> None:
    check_override(
        override.gate,
        override.reason,
        actor=override.actor,
        role=authority.role(settings, home, override.actor),
        at_ms=override.at_ms,
        expires_at_ms=override.expires_at_ms,
        policy=authority.access(settings),
    )


def approve(store: "Store", clock: Clock, settings: "Settings", override_id: str, *, actor: str) -> Override:
    """Agree to another person's override. Raises RefusedError for one's own, or without the right; NotFoundError."""
    with store.write(actor=actor) as tx:
        found = overrides.get(tx, override_id)
        check_approval(
            found,
            approver=actor,
            role=authority.role(settings, store.home, actor),
            policy=authority.access(settings),
        )
        approved = replace(found, approver=actor)
        if approved != found:
            overrides.put(tx, approved)
            tx.ledger("override.approve", found.trainer, override_id=override_id, gate=found.gate, asked_by=found.actor)
    return approved


def withdraw(store: "Store", clock: Clock, override_id: str, *, actor: str, reason: str = "") -> Override:
    """End an override now; anybody may, as it only closes a gate again. Raises NotFoundError."""
    with store.write(actor=actor) as tx:
        found = overrides.get(tx, override_id)
        ended = replace(found, expires_at_ms=min(found.expires_at_ms, clock.now_ms()))
        if ended != found:
            overrides.put(tx, ended)
            tx.ledger("override.withdraw", found.trainer, override_id=override_id, gate=found.gate, reason=reason)
    return ended
