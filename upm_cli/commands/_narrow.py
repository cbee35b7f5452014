"""Where the columns of a table go on a terminal that is too narrow for all of them side by side.

Words, numbers and times stay whole as long as they can. What gives way, in this order: columns without a value; long
texts, which go under their row; columns that are called spare; then whatever is furthest right, under its row too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GAP: Final = 3  # between two columns
_SHORT: Final = (24, 12)  # a text up to this long stays on one line, a longer one gets that much: tried in this order
_WORD: Final = 32  # a longer word, such as a path or a digest, may be broken
_RARE: Final = 16  # what a column gets of which only few texts are long: those are broken into lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a column wants, in terminal cells: the longest of its texts and of their words, and what most texts want.

    The higher `spare`, the sooner it is left out; 0: never.
    """

    longest: int
    word: int
    usual: int
    empty: bool = False
    spare: int = 0

    @property
    def is_rarely_long(self) -> bool:
        return self.usual <= _RARE and self.longest > _SHORT[0]

    def least(self, short: int) -> int:
        """The width below which it would look broken."""
        if self.is_rarely_long:
            return _RARE
        return min(self.longest, max(short, min(self.word, _WORD)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`widths` of the columns that are side by side, by their index; `below` are those that go under their row."""

    widths: dict[int, int]
    below: tuple[int, ...]


def arrange(needs: Sequence[Need], room: int) -> Layout:
    """Return how to lay out columns in `room` cells; the first column is always beside."""
    long = [index for index, need in enumerate(needs) if need.longest > _SHORT[0]]
    long.sort(key=lambda index: -needs[index].longest)
    often = [index for index in long if not needs[index].is_rarely_long]
    spare = sorted((index for index, need in enumerate(needs) if need.spare), key=lambda i: (-needs[i].spare, -i))
    empty = [index for index, need in enumerate(needs) if need.empty]
    first_to_go = [*empty, *often, *spare]
    for short in _SHORT:
        beside = _fitting(needs, room, short, first_to_go)
        if _total(needs, beside, short) <= room:
            break
    else:
        beside = _fitting(needs, room, short, [*first_to_go, *reversed(range(len(needs)))])
    left_out = {*empty, *(index for index in spare if index not in long)}
    below = (index for index in range(len(needs)) if index not in beside and index not in left_out)
    return Layout(widths=_shared(needs, beside, room, short), below=tuple(below))


def _fitting(needs: Sequence[Need], room: int, short: int, first_to_go: Sequence[int]) -> list[int]:
    beside = list(range(len(needs)))
    for column in first_to_go:
        if _total(needs, beside, short) <= room:
            break
        if column != 0 and column in beside:
            beside.remove(column)
    return beside


def _total(needs: Sequence[Need], beside: Sequence[int], short: int) -> int:
    return sum(needs[column].least(short) for column in beside) + GAP * (len(beside) - 1)


def _shared(needs: Sequence[Need], beside: Sequence[int], room: int, short: int) -> dict[int, int]:
    """Give each its least, and what is left to those that lack least first: most get all that they want."""
    widths = {column: min(needs[column].least(short), room) for column in beside}
    left = max(room - _total(needs, beside, short), 0)
    wanting = sorted(beside, key=lambda column: needs[column].longest - widths[column])
    for served, column in enumerate(wanting):
        more = min(needs[column].longest - widths[column], left // (len(wanting) - served))
        widths[column] += more
        left -= more
    return widths
