"""Drift monitors: how far each trainer's comparisons have been judged."""

from upm_cli.core.records import Monitor
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def get(r: Reader, trainer: str) -> Monitor:
    """Return the monitor of a trainer; one that has not read anything yet if there is none."""
    rows = r.query("monitors.find", trainer=trainer)
    return codec(Monitor).decode(rows[0]) if rows else Monitor(trainer=trainer)


def put(tx: Tx, monitor: Monitor) -> None:
    """Add or replace a monitor."""
    tx.put("monitors", codec(Monitor).encode(monitor))
