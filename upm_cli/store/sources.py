"""Source positions: how far each input file of a stream has been read."""

from upm_cli.core.records import SourcePosition
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def list_for(r: Reader, stream: str) -> list[SourcePosition]:
    """Return the positions of a stream, by path."""
    return [codec(SourcePosition).decode(row) for row in r.query("sources.list_for", stream=stream)]


def put(tx: Tx, position: SourcePosition) -> None:
    """Add or replace a position."""
    tx.put("sources", codec(SourcePosition).encode(position))


def forget(tx: Tx, stream: str) -> None:
    """Forget how far anything was read into a stream."""
    tx.execute("sources.forget", stream=stream)
