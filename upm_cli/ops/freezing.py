"""Freezes: while one lasts nothing is exposed further. Rollback, abort and keeping a tenant out work all the time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.records import Freeze
from upm_cli.errors import UsageError
from upm_cli.ids import iso
from upm_cli.ops import authority
from upm_cli.store import freezes, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

EVERY = ""  # the name under which all trainers are frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What is frozen now, or was until it was lifted. `is_done`: it was so before, nothing changed."""

    trainer: str  # "" for all of them
    freeze: Freeze | None  # None: there was none to lift
    is_done: bool


def freeze(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    *,
    until_ms: int | None,
    actor: str,
    reason: str,
    dry_run: bool = False,
) -> Frozen:
    """Freeze trainer `name` (EVERY: all) until `until_ms`, or until it is lifted (None).

    A freeze that lasts already and ends at the same time stays as it is. Raises UsageError without a reason or for an
    end that has passed, RefusedError when the actor may not, NotFoundError.
    """
    authority.require(settings, store.home, actor, "freeze")
    now_ms = clock.now_ms()
    if not reason.strip():
        raise UsageError("a freeze needs a reason: it is what everybody is told", hint="--reason '…'", code="UPM-E029")
    if until_ms is not None and until_ms <= now_ms:
        raise UsageError(f"{iso(until_ms)} has passed", hint="--until 8h, or a time to come", code="UPM-E029")
    made = Freeze(trainer=name, reason=reason, actor=actor, at_ms=now_ms, until_ms=until_ms)
    with store.write(actor=actor) as tx:
        if name != EVERY:
            trainers.get(tx, name)
        last = next((each for each in freezes.list_all(tx) if each.trainer == name), None)
        is_done = last is not None and last.until_ms == until_ms and (last.until_ms or now_ms + 1) > now_ms
        if last is not None and is_done:
            return Frozen(trainer=name, freeze=last, is_done=True)
        if not dry_run:
            freezes.put(tx, made)
            until = None if until_ms is None else iso(until_ms)
            tx.ledger("freeze.set", name or "*", until=until, reason=reason)
    return Frozen(trainer=name, freeze=made, is_done=False)


def unfreeze(
    store: "Store", settings: "Settings", name: str, *, actor: str, reason: str = "", dry_run: bool = False
) -> Frozen:
    """Lift a freeze that a person called; those of the calendar are in `rollout.freeze`. Raises RefusedError."""
    authority.require(settings, store.home, actor, "unfreeze")
    with store.write(actor=actor) as tx:
        last = next((each for each in freezes.list_all(tx) if each.trainer == name), None)
        if last is not None and not dry_run:
            freezes.remove(tx, name)
            tx.ledger("freeze.lift", name or "*", was=last.reason, by=last.actor, reason=reason)
    return Frozen(trainer=name, freeze=last, is_done=last is None)
