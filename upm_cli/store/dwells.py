"""Dwells: how long each lineage has been in shadow."""

from upm_cli.core.records import Dwell
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, dwell: Dwell) -> None:
    """Add or replace the dwell of a trainer."""
    tx.put("dwells", codec(Dwell).encode(dwell))


def find(r: Reader, trainer: str) -> Dwell | None:
    """Return the dwell of a trainer; None when nobody has looked yet."""
    rows = r.query("dwells.find", trainer=trainer)
    return codec(Dwell).decode(rows[0]) if rows else None
