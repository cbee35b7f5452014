"""Cursors: how far each consumer has read the outbox."""

from upm_cli.store.unit import Reader, Tx


def get(r: Reader, name: str) -> int:
    """Return the position of the last event that consumer `name` has dealt with; 0 before the first."""
    rows = r.query("cursors.find", name=name)
    return int(rows[0]["position"]) if rows else 0


def put(tx: Tx, name: str, position: int) -> None:
    """Move the cursor of consumer `name`, with the commit of what it made of the events up to there."""
    tx.put("cursors", {"name": name, "position": position})
