"""Segments: the files of bulk facts that the state knows of."""

from collections.abc import Sequence

from upm_cli.core.records import Segment
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def add(tx: Tx, segment: Segment) -> None:
    """Register a file that is already there. Raises InvalidError when its range is taken."""
    tx.execute("segments.insert", **codec(Segment).encode(segment))


def list_for(r: Reader, kind: str, owner: str, from_seq: int = 0) -> list[Segment]:
    """Return the segments that hold anything at or after `from_seq`, in order."""
    rows = r.query("segments.list_for", kind=kind, owner=owner, from_seq=from_seq)
    return [codec(Segment).decode(row) for row in rows]


def last(r: Reader, kind: str, owner: str) -> Segment | None:
    """Return the newest segment, if there is one."""
    rows = r.query("segments.last", kind=kind, owner=owner)
    return codec(Segment).decode(rows[0]) if rows else None


def paths(r: Reader) -> set[str]:
    """Return the paths of all registered files."""
    return {row["path"] for row in r.query("segments.paths")}


def list_all(r: Reader) -> list[Segment]:
    """Return every registered file, by path."""
    return [codec(Segment).decode(row) for row in r.query("segments.list_all")]


def owners(r: Reader, kind: str) -> list[str]:
    """Return whose segments of `kind` there are."""
    return [row["owner"] for row in r.query("segments.owners", kind=kind)]


def replace(tx: Tx, old: Sequence[Segment], new: Segment) -> None:
    """Let `new` stand for `old`."""
    remove(tx, old)
    add(tx, new)


def remove(tx: Tx, segments: Sequence[Segment]) -> None:
    """Forget segments; their files become orphans and are collected later."""
    for segment in segments:
        row = codec(Segment).encode(segment)
        keys = ("kind", "owner", "first_seq", "last_seq")
        tx.execute("segments.remove", **{key: row[key] for key in keys})
