"""Sign-offs: a named person's word that the dashboard or the runbook a first production use needs is there."""

from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core.records import Signoff
from upm_cli.core.rollouts.readiness import SIGNED_OFF
from upm_cli.errors import UsageError
from upm_cli.nearest import choices
from upm_cli.ops import authority
from upm_cli.store import signoffs, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store


def sign(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    item: str,
    *,
    note: str,
    actor: str,
    dry_run: bool = False,
) -> tuple[Signoff, bool]:
    """Sign `item` off for trainer `name`; return the sign-off and whether that changed anything.

    Signed off by the same person before, it stays as it was. Raises RefusedError, UsageError, NotFoundError.
    """
    _check(store, settings, item, actor)
    signed = Signoff(trainer=name, item=item, note=note, actor=actor, at_ms=clock.now_ms())
    with store.write(actor=actor) as tx:
        trainers.get(tx, name)
        last = signoffs.of(tx, name).get(item)
        if last is not None and (last.actor, last.note) == (actor, note or last.note):
            return last, False
        if not dry_run:
            signoffs.put(tx, signed)
            tx.ledger("signoff.give", name, item=item, note=note)
    return signed, True


def withdraw(
    store: "Store", settings: "Settings", name: str, item: str, *, actor: str, reason: str = "", dry_run: bool = False
) -> tuple[Signoff | None, bool]:
    """Take a sign-off back; return what it was and whether that changed anything. Raises RefusedError, UsageError."""
    _check(store, settings, item, actor)
    with store.write(actor=actor) as tx:
        trainers.get(tx, name)
        last = signoffs.of(tx, name).get(item)
        if last is not None and not dry_run:
            signoffs.remove(tx, name, item)
            tx.ledger("signoff.withdraw", name, item=item, was_by=last.actor, reason=reason)
    return last, last is not None


def _check(store: "Store", settings: "Settings", item: str, actor: str) -> None:
    if item not in SIGNED_OFF:
        raise UsageError(f"nobody signs {item!r} off", hint=choices(item, SIGNED_OFF), code="UPM-E029")
    authority.require(settings, store.home, actor, "signoff")
