"""The record of control actions: `ledger.jsonl`, appended, fsynced and hash-chained.

One canonical JSON object a line: `n` (from 1), `at`, `actor`, `action`, `subject`, `details`, `prev` and `hash`, the
sha256 of the line without `hash`; `prev` is the hash before it. Entries are appended and synced first, then the state
commits with the new head. If the process dies between the two, the lines after the committed head tell of something
that never happened, and the next commit cuts them off.

The chain shows every changed, removed or inserted entry. It can't show that the file and the state were both
rewritten by somebody who may write both.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upm_cli import ids
from upm_cli.errors import IntegrityError
from upm_cli.store import fsio
from upm_cli.store.layout import LEDGER
from upm_cli.store.rows import to_json

_TAIL: Final = 1 << 16  # bytes read at first where only the newest entries are wanted


@dataclass(frozen=True, slots=True)
class Head:
    """The committed end of the ledger."""

    count: int = 0
    hash: str = ""
    offset: int = 0  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One action, not yet numbered."""

    at_ms: int
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `verify` found good: committed entries, and lines after the committed head that the next commit cuts."""

    entries: int
    uncommitted: int
    head_hash: str


def append(home: Path, head: Head, entries: Sequence[Entry]) -> Head:
    """Cut what was never committed, append `entries` after `head`, fsync, and return the new head."""
    path = home / LEDGER
    trim(home, head)
    if not entries:
        return head
    lines, count, last = [], head.count, head.hash
    for entry in entries:
        count += 1
        record = _record(count, entry, last)
        last = record["hash"]
        lines.append(to_json(record).encode() + b"\n")
    return Head(count, last, fsio.append(path, b"".join(lines)))


def trim(home: Path, head: Head) -> None:
    """Cut off what lies after the committed head: entries of a commit that never happened."""
    path = home / LEDGER
    with fsio.telling(path, "look at"):
        size = path.stat().st_size if path.exists() else 0
    if size > head.offset:
        fsio.cut(path, head.offset)


def read(home: Path, head: Head | None = None) -> list[dict[str, Any]]:
    """Return the entries, oldest first; up to `head` if given. Raises IntegrityError at a line that is no entry."""
    return _parse(_bytes(home, head))


def newest(home: Path, head: Head, limit: int) -> list[dict[str, Any]]:
    """Return the last `limit` entries up to `head`, oldest first, without reading the whole file."""
    path, size, lines = home / LEDGER, _TAIL, [b""]
    with fsio.telling(path, "read"):
        if not path.exists():
            return []
        with path.open("rb") as file:
            while len(lines) < limit + 2 and size < 2 * max(head.offset, _TAIL):
                file.seek(max(0, head.offset - size))
                lines = file.read(min(size, head.offset)).split(b"\n")
                size *= 2
    last = lines[:-1][-limit:] if limit else []
    return [_entry(line, head.count - len(last) + n) for n, line in enumerate(last, 1)]


def since(home: Path, start: Head, head: Head, actions: Collection[str]) -> list[dict[str, Any]] | None:
    """Return the entries of these `actions` after `start` and up to `head`, oldest first; others are not even parsed.

    None when `start` is no longer part of this ledger (the state was restored): begin anew with `Head()`. The chain
    is not checked here, see `verify`; raises IntegrityError at a line that should be an entry and is none.
    """
    if head.count < start.count:
        return None
    with fsio.telling(home / LEDGER, "read"):
        data = _part(home / LEDGER, start.offset, head.offset)
    lines = data.split(b"\n")[:-1]
    follows = json.dumps({"prev": start.hash}, separators=(",", ":"))[1:-1].encode()
    if (lines and follows not in lines[0]) or (not lines and start.hash != head.hash):
        return None
    wanted = tuple(
        f'{{"action":{json.dumps(action)},'.encode() for action in actions
    )  # keys are sorted: it is the first
    return [_entry(line, start.count + n) for n, line in enumerate(lines, 1) if line.startswith(wanted)]


def following(home: Path, start: Head, end: Head) -> list[dict[str, Any]] | None:
    """Return all entries after `start` and up to `end`, oldest first; None when `start` is no part of this ledger.

    `end` is that of a chain that was proven, see `end`.
    """
    entries = read(home, end)
    if start.count > len(entries) or (start.count and entries[start.count - 1]["hash"] != start.hash):
        return None
    return entries[start.count :]


def _part(path: Path, start: int, end: int) -> bytes:
    if start >= end:
        return b""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def verify(home: Path, head: Head | None = None) -> Verified:
    """Check the whole chain, and that it ends where the state says (`head`).

    Raises IntegrityError naming the first bad entry.
    """
    entries = _parse(_bytes(home, head))
    previous = ""
    for n, entry in enumerate(entries, 1):
        _check(entry, n, previous)
        previous = entry["hash"]
    if head is None:
        return Verified(entries=len(entries), uncommitted=0, head_hash=previous)
    if len(entries) < head.count:
        raise _broken(len(entries) + 1, f"is missing: the state knows {head.count} entries")
    if previous != head.hash:
        raise _broken(head.count, "is not the one the state was committed with")
    rest = _bytes(home, None)[head.offset :]
    uncommitted = sum(bool(line) for line in rest.split(b"\n"))
    return Verified(entries=len(entries), uncommitted=uncommitted, head_hash=previous)


def end(home: Path) -> Head:
    """Return the head after the last whole, verified entry in the file, whatever the state says."""
    data = _bytes(home, None)
    count, last, offset = 0, "", 0
    for line in data.splitlines(keepends=True):
        try:
            if not line.endswith(b"\n"):
                break
            entry = _parse(line)[0]
            _check(entry, count + 1, last)
        except IntegrityError:
            break
        count, last, offset = count + 1, entry["hash"], offset + len(line)
    return Head(count, last, offset)


def _record(n: int, entry: Entry, previous: str) -> dict[str, Any]:
    record = {
        "n": n,
        "at": ids.iso(entry.at_ms),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "details": dict(entry.details),
        "prev": previous,
    }
    return {**record, "hash": _digest(record)}


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json({k: v for k, v in record.items() if k != "hash"}).encode()).hexdigest()


def _check(entry: Mapping[str, Any], n: int, previous: str) -> None:
    if entry.get("n") != n:
        raise _broken(n, f"has the number {entry.get('n')!r}: an entry was removed, added or moved")
    if entry.get("prev") != previous:
        raise _broken(n, "does not follow the entry before it")
    if entry.get("hash") != _digest(entry):
        raise _broken(n, "was changed: its hash does not match")


def _bytes(home: Path, head: Head | None) -> bytes:
    path = home / LEDGER
    with fsio.telling(path, "read"):
        data = path.read_bytes() if path.exists() else b""
    return data if head is None else data[: head.offset]


def _parse(data: bytes) -> list[dict[str, Any]]:
    *lines, rest = data.split(b"\n")
    entries = [_entry(line, n) for n, line in enumerate(lines, 1)]
    if rest:
        raise _broken(len(lines) + 1, "does not end")
    return entries


def _entry(line: bytes, n: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        is_as_written = isinstance(entry, dict) and to_json(entry).encode() == line
    except (ValueError, RecursionError) as exc:
        raise _broken(n, "is not readable") from exc
    if not is_as_written:
        raise _broken(n, "is not in the form it was written in")
    return dict(entry)


def _broken(n: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"ledger entry {n} {why}",
        hint=f"compare {LEDGER} with a backup; everything before entry {n} is good",
        code="UPM-E092",
        context={"entry": n},
    )
