"""What was not learned, kept as it came: dead letters and windows that came too late, as JSON lines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from upm_cli.core.records import Segment
from upm_cli.errors import InvalidError
from upm_cli.store import segmentfiles
from upm_cli.store.layout import LOG

KINDS = ("dead", "late")


def write(
    home: Path, stream: str, kind: str, rows: Sequence[Mapping[str, Any]], *, first_seq: int, created_at_ms: int
) -> Segment:
    """Write `rows` (not empty) as one file; the caller registers the segment in its commit.

    `kind` is "dead" or "late"; `first_seq` is the number of rows of that kind before these, so that every one has a
    number of its own.
    """
    if kind not in KINDS:
        raise InvalidError(f"{kind!r} is no kind of reject: {' or '.join(KINDS)}")
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    data = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    seqs = (first_seq, first_seq + len(rows) - 1)
    folder = f"{LOG}/{stream}/{kind}"
    return segmentfiles.write(
        home, folder, data, kind=kind, owner=stream, seqs=seqs, rows=len(rows), at_ms=created_at_ms
    )


def read(home: Path, segment: Segment) -> list[dict[str, Any]]:
    """Return the rows of a segment. Raises IntegrityError when its file is damaged or missing."""
    text = segmentfiles.read(home, segment).decode("utf-8", "surrogatepass")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def first(home: Path, segment: Segment, skip: int, limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` rows of a segment behind its first `skip`; the others are not even parsed."""
    if limit <= 0:
        return []
    lines = segmentfiles.read(home, segment).split(b"\n", skip + limit)[skip : skip + limit]
    return [json.loads(line.decode("utf-8", "surrogatepass")) for line in lines if line]
