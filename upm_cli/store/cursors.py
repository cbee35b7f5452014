"""Cursors: how far each consumer has read the outbox, and people the dead letters (`seen`)."""

from upm_cli.store.unit import Reader, Tx


def get(r: Reader, name: str) -> int:
    """Return the position of the last event that consumer `name` has dealt with; 0 before the first."""
    rows = r.query("cursors.find", name=name)
    return int(rows[0]["position"]) if rows else 0


def find(r: Reader, first: str, second: str, third: str) -> dict[str, int]:
    """Return the positions of those of three that have one."""
    rows = r.query("cursors.find_some", first=first, second=second, third=third)
    return {row["name"]: int(row["position"]) for row in rows}


def put(tx: Tx, name: str, position: int) -> None:
    """Move the cursor of consumer `name`, with the commit of what it made of the events up to there."""
    tx.put("cursors", {"name": name, "position": position})
