"""Freezes: times in which nothing is exposed further, called by a person."""

from upm_cli.core.records import Freeze
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, freeze: Freeze) -> None:
    """Add or replace the freeze of a trainer (or of all: an empty name)."""
    tx.put("freezes", codec(Freeze).encode(freeze))


def list_all(r: Reader) -> list[Freeze]:
    """Return all freezes, those that ended too."""
    return [codec(Freeze).decode(row) for row in r.query("freezes.list_all")]


def remove(tx: Tx, trainer: str) -> None:
    """Lift a freeze."""
    tx.execute("freezes.remove", trainer=trainer)
