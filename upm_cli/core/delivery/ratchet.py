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
    """The highest pointer that an agent has taken. `keyid` None: it was not signed, or nobody looked."""

    place: Place
    digest: str
    issued_at_ms: int
    keyid: str | None = None


def decide(pointer: Pointer, seen: Seen | None, trust: Trust | None, now_ms: int) -> Took:
    """Decide what to do with a pointer whose signatures were found to be right.

    A pointer that has expired is refused unless it is the one in use: an agent that was away takes the word of
    nobody who kept an old pointer for it.
    """
    if seen is not None and (pointer.place, pointer.digest) == (seen.place, seen.digest):
        return Took.SAME
    if pointer.expires_at_ms is not None and now_ms >= pointer.expires_at_ms:
        return Took.EXPIRED
    if seen is None or pointer.place > seen.place:
        return Took.NEWER
    if trust is not None and seen.keyid is not None and not trust.believes(seen.keyid):
        return Took.RESET
    if _lowers(pointer, seen):
        return Took.LOWERED
    return Took.FORKED if pointer.place == seen.place else Took.OLDER


def _lowers(pointer: Pointer, seen: Seen) -> bool:
    """Say whether `pointer` is a step down meant for this agent, and not one that was kept and is sent again."""
    is_meant = pointer.lowers_from is not None and pointer.lowers_from >= seen.place > pointer.place
    return is_meant and pointer.issued_at_ms > seen.issued_at_ms


REFUSED = frozenset({Took.OLDER, Took.FORKED, Took.EXPIRED})
