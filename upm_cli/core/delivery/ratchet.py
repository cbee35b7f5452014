"""Whether an agent takes a pointer: never back to an older one, unless that is what was signed for.

What an agent remembers for each (trainer, tenant) is the highest place it has taken and the key that signed it
(TUF calls the attacks rollback, freeze and fast-forward). When that key is no longer believed, whoever had it may have
sent the agent far ahead: then the memory counts for nothing, and any believed pointer is taken.
"""

from dataclasses import dataclass
from enum import StrEnum

from upm_cli.core.delivery.pointer import Place, Pointer
from upm_cli.core.delivery.trust import Trust


class Took(StrEnum):
    """What an agent does with a pointer, and why."""

    NEWER = "newer"
    SAME = "same"  # it has it already
    LOWERED = "lowered"  # older, and a signed pointer says from where down
    RESET = "reset"  # its memory was signed by a key that is not believed any more
    OLDER = "older"  # refused
    FORKED = "forked"  # refused: the same place with another model
    EXPIRED = "expired"  # refused: it was no longer valid when it came


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The highest pointer that an agent has taken. `keyid` None: it was not signed, or nobody looked.

    `stepped_from` is how high it had been when it was sent down, and `stepped_at_ms` when that was issued: what was
    issued before is old, though it lies above `place`.
    """

    place: Place
    digest: str
    issued_at_ms: int
    keyid: str | None = None
    stepped_from: Place | None = None
    stepped_at_ms: int = 0


def decide(pointer: Pointer, seen: Seen | None, trust: Trust | None, now_ms: int) -> Took:
    """Decide what to do with a pointer whose signatures were found to be right.

    A pointer that has expired is refused unless it is the one in use: an agent that was away takes the word of
    nobody who kept an old pointer for it.
    """
    if seen is not None and (pointer.place, pointer.digest) == (seen.place, seen.digest):
        return Took.SAME
    if pointer.expires_at_ms is not None and now_ms >= pointer.expires_at_ms:
        return Took.EXPIRED
    if seen is None or (pointer.place > seen.place and not _is_passed(pointer, seen)):
        return Took.NEWER
    if trust is not None and seen.keyid is not None and not trust.believes(seen.keyid):
        return Took.RESET
    if _lowers(pointer, seen):
        return Took.LOWERED
    return Took.FORKED if pointer.place == seen.place else Took.OLDER


def after(pointer: Pointer, seen: Seen | None, took: Took, keyid: str | None) -> Seen:
    """Return what is remembered once `pointer`, signed by the key `keyid`, was taken as `took` says."""
    high, at_ms = (None, 0) if seen is None or took is Took.RESET else (seen.stepped_from, seen.stepped_at_ms)
    if seen is not None and took is Took.LOWERED:
        high, at_ms = max(seen.place, high or seen.place), pointer.issued_at_ms
    if high is not None and pointer.place > high:
        high, at_ms = None, 0
    return Seen(
        place=pointer.place,
        digest=pointer.digest,
        issued_at_ms=pointer.issued_at_ms,
        keyid=keyid,
        stepped_from=high,
        stepped_at_ms=at_ms,
    )


def _is_passed(pointer: Pointer, seen: Seen) -> bool:
    """Say whether `pointer` is of the time before the agent was sent down, and so is sent again by somebody."""
    was_below = seen.stepped_from is not None and pointer.place <= seen.stepped_from
    return was_below and pointer.issued_at_ms <= seen.stepped_at_ms


def _lowers(pointer: Pointer, seen: Seen) -> bool:
    """Say whether `pointer` is a step down meant for this agent, and not one that was kept and is sent again."""
    is_meant = pointer.lowers_from is not None and pointer.lowers_from >= seen.place > pointer.place
    return is_meant and pointer.issued_at_ms > seen.issued_at_ms


REFUSED = frozenset({Took.OLDER, Took.FORKED, Took.EXPIRED})
