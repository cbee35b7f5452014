"""Streams: one event log each, and what its ingest worker has done."""

from upm_cli.core.records import Stream
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def find(r: Reader, name: str) -> Stream | None:
    """Return the stream called `name`, if there is one."""
    rows = r.query("streams.find", name=name)
    return codec(Stream).decode(rows[0]) if rows else None


def list_all(r: Reader) -> list[Stream]:
    """Return all streams by name."""
    return [codec(Stream).decode(row) for row in r.query("streams.list_all")]


def put(tx: Tx, stream: Stream) -> None:
    """Add or replace a stream."""
    tx.put("streams", codec(Stream).encode(stream))
