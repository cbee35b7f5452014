"""Sign-offs: what named persons vouch for."""

from upm_cli.core.records import Signoff
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, signoff: Signoff) -> None:
    """Add or replace a sign-off."""
    tx.put("signoffs", codec(Signoff).encode(signoff))


def of(r: Reader, trainer: str) -> dict[str, Signoff]:
    """Return the sign-offs of a trainer, by item."""
    found = [codec(Signoff).decode(row) for row in r.query("signoffs.list_for", trainer=trainer)]
    return {signoff.item: signoff for signoff in found}


def remove(tx: Tx, trainer: str, item: str) -> None:
    """Take a sign-off back."""
    tx.execute("signoffs.remove", trainer=trainer, item=item)
