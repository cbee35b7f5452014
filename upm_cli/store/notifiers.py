"""Notifiers: how far each webhook has been told what happened."""

from upm_cli.core.records import Notifier
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def find(r: Reader, name: str) -> Notifier | None:
    """Return how far webhook `name` has been told; None: it was never looked at."""
    rows = r.query("notifiers.find", name=name)
    return codec(Notifier).decode(rows[0]) if rows else None


def list_all(r: Reader) -> list[Notifier]:
    """Return all of them, by name."""
    return [codec(Notifier).decode(row) for row in r.query("notifiers.list_all")]


def put(tx: Tx, row: Notifier) -> None:
    """Add or replace one."""
    tx.put("notifiers", codec(Notifier).encode(row))
