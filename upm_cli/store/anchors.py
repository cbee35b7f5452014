"""Anchors: the snapshot that the hold-out of each trainer stays on."""

from upm_cli.core.records import Anchor
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def find(r: Reader, trainer: str) -> Anchor | None:
    """Return the anchor of a trainer, if it has one."""
    rows = r.query("anchors.find", trainer=trainer)
    return codec(Anchor).decode(rows[0]) if rows else None


def put(tx: Tx, anchor: Anchor) -> None:
    """Add or replace the anchor of a trainer."""
    tx.put("anchors", codec(Anchor).encode(anchor))


def remove(tx: Tx, trainer: str) -> None:
    """Let the trainer have no anchor."""
    tx.execute("anchors.forget", trainer=trainer)
