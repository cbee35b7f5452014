"""The files behind segments: written once, checked by digest whenever they are read."""

import hashlib
from pathlib import Path

from upm_cli.core.records import Segment
from upm_cli.errors import IntegrityError
from upm_cli.store import fsio


class SegmentGoneError(IntegrityError):
    """The file of a segment is not there: it was merged into another one, or it was lost."""


def write(
    home: Path, folder: str, data: fsio.Bytes, *, kind: str, owner: str, seqs: tuple[int, int], rows: int, at_ms: int
) -> Segment:
    """Write `data` durably as `<folder>/<first>-<last>.<arrow|jsonl>` and return what its commit registers.

    Another file of that name, left by a commit that never happened or by a process that lost its lease, is never
    replaced: the new one then gets a part of its digest into its name.
    """
    digest = hashlib.sha256(data).hexdigest()
    first, last = seqs
    extension = "jsonl" if kind in ("dead", "late") else "arrow"
    fsio.make_folder(home / folder)
    path = f"{folder}/{first}-{last}.{extension}"
    if not fsio.durable_create(home / path, data) and _digest(home / path) != digest:
        path = f"{folder}/{first}-{last}.{digest[:12]}.{extension}"
        fsio.durable_write(home / path, data)
    fsio.touch(home / path)
    return Segment(
        kind=kind,
        owner=owner,
        first_seq=first,
        last_seq=last,
        rows=rows,
        path=path,
        size_bytes=len(data),
        digest=digest,
        created_at_ms=at_ms,
    )


def read(home: Path, segment: Segment) -> bytes:
    """Return the bytes of a segment's file.

    Raises SegmentGoneError when there is none, IntegrityError when they are not what was written.
    """
    path = home / segment.path
    with fsio.telling(path, "read"):
        try:
            data = path.read_bytes()
        except FileNotFoundError as exc:
            raise _gone(segment) from exc
    if len(data) != segment.size_bytes:
        raise damaged(segment, f"has {len(data):,} bytes, {segment.size_bytes:,} were written")
    if hashlib.sha256(data).hexdigest() != segment.digest:
        raise damaged(segment, "is not what was written: its sha256 differs")
    return data


def damaged(segment: Segment, why: str) -> IntegrityError:
    """Return the error for a segment whose file can't be trusted."""
    return IntegrityError(
        f"segment {segment.path} ({segment.kind} of {segment.owner}, {segment.first_seq}-{segment.last_seq}) {why}",
        hint="restore the file from a backup; upm doctor lists everything that is damaged",
        code="UPM-E094",
        context={"path": segment.path, "kind": segment.kind, "owner": segment.owner},
    )


def _gone(segment: Segment) -> SegmentGoneError:
    error = damaged(segment, "is missing")
    return SegmentGoneError(error.message, hint=error.hint, code="UPM-E093", context=error.context)


def _digest(path: Path) -> str:
    with fsio.telling(path, "read"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
