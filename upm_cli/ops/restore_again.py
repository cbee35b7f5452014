"""What a restore does again, in its own commit: nothing that was taken back on record may be live in silence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.clock import Clock
from upm_cli.core.past import Entry
from upm_cli.core.records import Freeze, TenantRule, TrainerStatus
from upm_cli.core.restoring import Fate, Settled, barred, settle, trainer_of
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import NotFoundError
from upm_cli.ids import iso, parse_iso
from upm_cli.ops.redoing import Redoing, Redone, bar
from upm_cli.ops.restore_rollback import roll_back
from upm_cli.store import freezes, overrides, signoffs, snapshots, tenant_rules, trainers

if TYPE_CHECKING:
    from upm_cli.store.unit import Tx


def carry_out(tx: "Tx", home: Path, clock: Clock, entries: Sequence[Entry], *, actor: str) -> list[Redone]:
    """Do again what `entries`, which the state in `tx` does not know, took back; say what becomes of each.

    Rollbacks swap the rings, bar the version and put the trainer back, as they did; quarantines, pauses, freezes and
    denied tenants hold again. Where that can't be done exactly, the trainer is frozen until a person lifts it.
    """
    redoing = Redoing(tx, home, clock, actor, barred(entries))
    told = [_redo(redoing, settled) for settled in settle(entries)]
    for trainer, reasons in sorted(redoing.holds.items()):
        _freeze(redoing, trainer, reasons)
    return told


def _redo(redoing: Redoing, settled: Settled) -> Redone:
    entry = settled.entry
    if settled.undone_by is not None:
        return Redone(entry=entry, fate=Fate.SUPERSEDED, done=f"#{settled.undone_by} undid it")
    if settled.fate is not Fate.AGAIN:
        return Redone(entry=entry, fate=settled.fate)
    if entry["subject"] != "*" and trainers.find(redoing.tx, trainer_of(entry)) is None:
        return Redone(entry=entry, fate=Fate.RUN, done=f"there is no trainer {trainer_of(entry)} in that state")
    return _ACTIONS[entry["action"]](redoing, settled)


def _quarantine(redoing: Redoing, settled: Settled) -> Redone:
    entry, name = settled.entry, trainer_of(settled.entry)
    rows = {row.version: row for row in snapshots.list_for(redoing.tx, name)}
    known = [version for version in settled.bars if version in rows]
    unknown = [f"v{version}" for version in settled.bars if version not in rows]
    for version in known:
        bar(redoing, rows[version], entry)
    redoing.record(entry, snapshot_ids=[snapshot_id(name, version) for version in settled.bars])
    said = [f"{', '.join(f'v{version}' for version in known)} barred again"] if known else []
    if unknown:
        redoing.hold(name, f"{', '.join(unknown)} of {name} was barred and is not in this state yet")
        said.append(f"{', '.join(unknown)} not in that state: {name} is frozen until you have looked at it")
    return Redone(entry=entry, fate=Fate.AGAIN, done="; ".join(said) or "nothing was left to bar")


def _pause(redoing: Redoing, settled: Settled) -> Redone:
    entry, name = settled.entry, trainer_of(settled.entry)
    reason = str(entry["details"].get("reason") or "paused before the state was restored")
    row = trainers.get(redoing.tx, name)
    trainers.put(redoing.tx, replace(row, desired="pause", status=TrainerStatus.PAUSED, pause_reason=reason))
    redoing.record(entry)
    return Redone(entry=entry, fate=Fate.AGAIN, done=f"{name} is paused")


def _freeze_again(redoing: Redoing, settled: Settled) -> Redone:
    entry = settled.entry
    until, now_ms = entry["details"].get("until"), redoing.clock.now_ms()
    until_ms = None if until is None else parse_iso(until)
    if until_ms is not None and until_ms <= now_ms:
        return Redone(entry=entry, fate=Fate.SUPERSEDED, done="it has ended")
    name = "" if entry["subject"] == "*" else str(entry["subject"])
    reason = str(entry["details"].get("reason") or "")
    made = Freeze(trainer=name, reason=reason, actor=str(entry["actor"]), at_ms=now_ms, until_ms=until_ms)
    freezes.put(redoing.tx, made)
    redoing.record(entry, until=until)
    return Redone(entry=entry, fate=Fate.AGAIN, done=f"{name or 'everything'} is frozen")


def _deny(redoing: Redoing, settled: Settled) -> Redone:
    entry, name = settled.entry, trainer_of(settled.entry)
    tenant = str(entry["details"]["tenant"])
    for row in tenant_rules.list_for(redoing.tx, name):
        if row.tenant_id == tenant:
            tenant_rules.remove(redoing.tx, name, tenant, row.rule)
    rule = TenantRule(
        trainer=name,
        tenant_id=tenant,
        rule="deny",
        rollout_id="",
        reason=str(entry["details"].get("reason") or ""),
        actor=str(entry["actor"]),
        at_ms=redoing.clock.now_ms(),
    )
    tenant_rules.put(redoing.tx, rule)
    redoing.record(entry, tenant=tenant)
    return Redone(entry=entry, fate=Fate.AGAIN, done=f"tenant {tenant} is kept out")


def _end_override(redoing: Redoing, settled: Settled) -> Redone:
    entry = settled.entry
    override_id = str(entry["details"]["override_id"])
    try:
        found = overrides.get(redoing.tx, override_id)
    except NotFoundError:
        return Redone(entry=entry, fate=Fate.NOTHING, done="the override is not in that state either")
    ended = min(found.expires_at_ms, max(found.at_ms, redoing.clock.now_ms()))
    overrides.put(redoing.tx, replace(found, expires_at_ms=ended))
    redoing.record(entry, override_id=override_id, gate=found.gate)
    return Redone(entry=entry, fate=Fate.AGAIN, done=f"gate {found.gate} is asked again")


def _end_signoff(redoing: Redoing, settled: Settled) -> Redone:
    entry, name, item = settled.entry, trainer_of(settled.entry), str(settled.entry["details"]["item"])
    if item in signoffs.of(redoing.tx, name):
        signoffs.remove(redoing.tx, name, item)
    redoing.record(entry, item=item)
    return Redone(entry=entry, fate=Fate.AGAIN, done=f"nobody vouches for {item}")


def _hold_rollout(redoing: Redoing, settled: Settled) -> Redone:
    """A rollout that was stopped goes no further: it is frozen, as its machine can't be moved from here."""
    entry, name = settled.entry, trainer_of(settled.entry)
    verb = str(entry["action"]).partition(".")[2]
    redoing.hold(name, f"{entry['action']} by {entry['actor']} is not in this state")
    return Redone(entry=entry, fate=Fate.RUN, done=f"{name} is frozen until you {verb} it again")


def _freeze(redoing: Redoing, trainer: str, reasons: Sequence[str]) -> None:
    """Freeze `trainer` until a person lifts it; a freeze that lasts as long stays as it is."""
    now_ms = redoing.clock.now_ms()
    last = next((each for each in freezes.list_all(redoing.tx) if each.trainer == trainer), None)
    if last is not None and last.until_ms is None:
        return
    reason = f"the state was restored at {iso(now_ms)[:19].replace('T', ' ')}Z: {'; '.join(dict.fromkeys(reasons))}"
    freezes.put(redoing.tx, Freeze(trainer=trainer, reason=reason, actor=redoing.actor, at_ms=now_ms))
    redoing.tx.ledger("freeze.set", trainer, until=None, reason=reason)


def _roll_back(redoing: Redoing, settled: Settled) -> Redone:
    return Redone(entry=settled.entry, fate=Fate.AGAIN, done=roll_back(redoing, settled.entry))


_ACTIONS: Final[Mapping[str, Callable[[Redoing, Settled], Redone]]] = {
    "snapshot.rollback": _roll_back,
    "rollout.withdraw": _roll_back,
    "rollout.pause": _hold_rollout,
    "rollout.abort": _hold_rollout,
    "drift.quarantine": _quarantine,
    "drift.served": _quarantine,
    "drift.extend": _quarantine,
    "evidence.quarantine": _quarantine,
    "trainer.pause": _pause,
    "freeze.set": _freeze_again,
    "tenant.deny": _deny,
    "override.withdraw": _end_override,
    "signoff.withdraw": _end_signoff,
}
