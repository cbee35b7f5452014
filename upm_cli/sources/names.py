"""Which feature names have been met: so that each is told once, and only once, at little cost."""

from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import I64Array, U32Array

CACHE_BITS: Final = 16
TABLE_BITS: Final = 12  # to begin with
DEFAULT_CAPACITY: Final = 2_000_000
_CACHE_MASK: Final = np.uint32((1 << CACHE_BITS) - 1)


class SeenNames:
    """The set of feature indexes whose names are known.

    A small direct-mapped cache by the low bits of the index holds the names that were met first, which are the common
    ones; a table by the high bits, four times as large as needed, answers for almost all others; the few that find
    both places taken are kept sorted. When `capacity` names are known no more are told; `dropped` counts how many
    distinct ones each later block still brought.
    """

    def __init__(self, known: U32Array | None = None, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._count = 0
        self._cache = _empty(CACHE_BITS)
        self._known: list[U32Array] = []  # all that are not in the cache
        self._table: U32Array
        self._overflow: U32Array
        self._clear(TABLE_BITS)
        if known is not None and known.size:
            self._add(np.unique(known.astype(np.uint32)))

    def __len__(self) -> int:
        return self._count

    def unseen(self, index: U32Array) -> I64Array:
        """Return positions in `index` (n,) that hold an index never met before, one for each; remember them."""
        missed: I64Array = np.flatnonzero(self._cache.take(index & _CACHE_MASK) != index)
        left = index.take(missed)
        homeless = np.flatnonzero(self._table.take(left >> self._shift) != left)
        missed, left = missed.take(homeless), left.take(homeless)
        if not left.size:
            return missed
        fresh = ~_contains(self._overflow, left)
        new, first = np.unique(left[fresh], return_index=True)
        room = self.capacity - self._count
        if new.size > room:
            self.dropped += new.size - room
            new, first = new[:room], first[:room]
        self._add(new)
        told: I64Array = missed[fresh][first]
        return told

    def _add(self, new: U32Array) -> None:
        """Add `new`, distinct and none of them known."""
        self._count += new.size
        new = _place(self._cache, new, new & _CACHE_MASK, np.uint32(0))
        self._known.append(new)
        held = sum(part.size for part in self._known)
        if 3 * held > self._table.size:
            new = np.concatenate(self._known)
            self._known = [new]
            self._clear((4 * held).bit_length())
        new = _place(self._table, new, new >> self._shift, self._shift)
        if new.size:
            self._overflow = np.union1d(self._overflow, new)

    def _clear(self, bits: int) -> None:
        self._shift = np.uint32(32 - bits)
        self._table = _empty(bits) << self._shift
        self._overflow = np.zeros(0, np.uint32)


def _empty(bits: int) -> U32Array:
    """Return a table in which no slot holds what can belong there."""
    return np.arange(1 << bits, dtype=np.uint32) ^ np.uint32(1)


def _place(table: U32Array, index: U32Array, slot: U32Array, shift: np.uint32) -> U32Array:
    """Put each of `index` into its slot if that is empty; return those that found no place."""
    empty = table.take(slot) == (slot ^ np.uint32(1)) << shift
    table[slot[empty]] = index[empty]
    homeless: U32Array = index[table.take(slot) != index]
    return homeless


def _contains(ordered: U32Array, index: U32Array) -> npt.NDArray[np.bool_]:
    if not ordered.size:
        return np.zeros(index.size, bool)
    found: npt.NDArray[np.bool_] = ordered.take(np.searchsorted(ordered, index), mode="clip") == index
    return found
