"""Words for versions, and which version learned on from which."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from upm_cli.core.records import Activation, Ring, Snapshot, SnapshotStatus
from upm_cli.errors import NotFoundError, UsageError
from upm_cli.nearest import hint_for

Live = Mapping[Ring, Activation]
Lineage = Sequence[Mapping[str, Any]]

_VERSION = re.compile(r"v?0*([1-9][0-9]{0,8})")
_WORDS: Final = ("latest", "active", "previous")


def snapshot_id(trainer: str, version: int) -> str:
    """Return the id that events and messages use, `main@42`."""
    return f"{trainer}@{version}"


def is_version_word(word: str) -> bool:
    """Say whether `word` can only be meant as a version: a number, v42, latest, active, previous, @2h."""
    return word in _WORDS or word.startswith("@") or _VERSION.fullmatch(word) is not None


def resolve_version(word: str, trainer: str, versions: Sequence[int], live: Live, ring: Ring | None = None) -> int:
    """Return the version that `word` names: 42, v42, 0042, latest, active or previous.

    `versions` are those that exist; `active` and `previous` mean `ring`, or what `default_ring` says.
    Raises UsageError for any other word, NotFoundError where the word names nothing.
    """
    if match := _VERSION.fullmatch(word):
        version = int(match[1])
        if version not in versions:
            raise _no_version(f"v{version}", trainer, versions)
        return version
    if word == "latest":
        if not versions:
            raise _no_version("latest", trainer, versions)
        return max(versions)
    if word not in _WORDS:
        raise UsageError(
            f"{word!r} is not a version of {trainer}",
            hint=hint_for(
                word,
                _WORDS,
                f"use a number (42, v42), one of {', '.join(_WORDS)}, or @2h for what was active two hours ago",
            ),
            code="UPM-E029",
        )
    where = ring or default_ring(live)
    current = live.get(where) if where else None
    found = None if current is None else current.version if word == "active" else current.previous_version
    if found is None:
        raise NotFoundError(
            f"trainer {trainer} has no {word} version" + (f" in {where}" if where else ""),
            hint=f"see upm snapshot list {trainer}, then upm activate {trainer} VERSION",
            code="UPM-E044",
        )
    return found


def _no_version(word: str, trainer: str, versions: Sequence[int]) -> NotFoundError:
    known = f"it has v{min(versions)} to v{max(versions)}" if versions else "it has none yet"
    hint = f"upm snapshot create {trainer}"
    if versions:
        hint = hint_for(word, [f"v{version}" for version in versions], f"upm snapshot list {trainer}")
    return NotFoundError(f"trainer {trainer} has no snapshot {word}; {known}", hint=hint, code="UPM-E044")


def default_ring(live: Live) -> Ring | None:
    """Return the ring that moved last among those that reach tenants, or shadow if none does; None: nothing is live."""
    reaching = [a for ring, a in live.items() if ring is not Ring.SHADOW]
    return max(reaching or live.values(), key=lambda a: a.epoch).ring if live else None


def parent_version(version: int, lineage: Lineage) -> int | None:
    """Return the version that `version` learned on from, or None for the first.

    It is the one before, unless the trainer was put back in between: then it is where it was put back to.
    """
    for rewind in reversed(lineage):
        if rewind["last_version"] == version - 1:
            return int(rewind["to_version"])
    return version - 1 or None


def abandoned(snapshots: Iterable[Snapshot], lineage: Lineage) -> set[int]:
    """Return the versions that a rollback left and nobody has released since, whether their rows still exist or not."""
    rows = {s.version: s for s in snapshots}
    left = {int(r["from_version"]) for r in lineage if int(r["from_version"]) not in rows}
    return left | {s.version for s in rows.values() if s.status is SnapshotStatus.ROLLED_BACK and s.quarantined}


def _stretches(version: int, lineage: Lineage) -> Iterator[tuple[int, int, Mapping[str, Any] | None]]:
    """Yield the versions that `version` learned through, newest first: (first, last) without a rewind in between.

    The third value is the rewind that the stretch began with, None for the oldest stretch.
    """
    at = version
    while at > 0:
        before = [rewind for rewind in lineage if rewind["last_version"] < at]
        rewind = max(
            reversed(before), key=lambda each: int(each["last_version"]), default=None
        )  # of equals, the newest
        yield (int(rewind["last_version"]) + 1 if rewind else 1), at, rewind
        at = int(rewind["to_version"]) if rewind else 0


def tainted_by(version: int, lineage: Lineage, bad: Iterable[int]) -> int | None:
    """Return the version in `bad` that `version` is or descends from, the newest of them, or None."""
    barred = set(bad)
    for first, last, _ in _stretches(version, lineage):
        if hits := [each for each in barred if first <= each <= last]:
            return max(hits)
    return None


def skipped_ranges(version: int, lineage: Lineage) -> list[list[int]]:
    """Return the parts of the log, (first, last) seq, that rollbacks kept `version` from learning from."""
    rewinds = [rewind for _, _, rewind in _stretches(version, lineage) if rewind]
    ranges = [[int(rewind["skipped_from_seq"]), int(rewind["skipped_to_seq"])] for rewind in reversed(rewinds)]
    return [each for each in ranges if each[0] <= each[1]]
