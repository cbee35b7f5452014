"""Which feature names have been met: so that each is told once, and only once, at little cost."""

from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import I64Array, U32Array

CACHE_BITS: Final = 16
TABLE_BITS: Final = 12  # to begin with
DEFAULT_CAPACITY: Final = 2_000_000
_FACTORS: Final = (np.uint32(0x85EBCA6B), np.uint32(1), np.uint32(0x9E3779B1))  # odd, of the cache and the tables
_NOBODY: Final = np.uint32(0xFFFFFFFF)  # marks the first slot as empty: its own slot is another one under every factor


class _Table:
    """A direct-mapped table: each index has one slot, by the high bits of its product with `factor`."""

    def __init__(self, bits: int, factor: np.uint32) -> None:
        self._factor, self._shift = factor, np.uint32(32 - bits)
        self._slots: U32Array = np.zeros(1 << bits, np.uint32)
        self._slots[0] = _NOBODY  # where 0 is at home; anywhere else a 0 means empty

    def __len__(self) -> int:
        return self._slots.size

    def lacks(self, index: U32Array) -> I64Array:
        """Return the positions of those that are not in the table."""
        return np.flatnonzero(self._slots.take(self._slot(index)) != index)

    def add(self, index: U32Array) -> U32Array:
        """Put in those of `index`, distinct, that find their slot empty; return the others."""
        slot = self._slot(index)
        empty = self._slots.take(slot) == np.where(slot == 0, _NOBODY, np.uint32(0))
        self._slots[slot[empty]] = index[empty]
        return index.take(self.lacks(index))

    def _slot(self, index: U32Array) -> U32Array:
        return (index * self._factor) >> self._shift


class SeenNames:
    """The set of feature indexes whose names are known.

    A small table, which stays in the processor's cache, holds the names that were met first: these are the common ones.
    Two larger ones answer for almost all others; the few that find all three slots taken are kept sorted. When
    `capacity` names are known no more are told; `dropped` counts how many distinct ones each later block still brought.
    """

    def __init__(self, known: U32Array | None = None, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._count = 0
        self._cache = _Table(CACHE_BITS, _FACTORS[0])
        self._uncached: list[U32Array] = []
        self._overflow: U32Array
        self._clear(TABLE_BITS)
        if known is not None and known.size:
            self._add(np.unique(known.astype(np.uint32)))

    def __len__(self) -> int:
        return self._count

    def unseen(self, index: U32Array) -> I64Array:
        """Return positions in `index` (n,) that hold an index never met before, one for each; remember them."""
        missed = self._cache.lacks(index)
        left = index.take(missed)
        for table in self._tables:
            still = table.lacks(left)
            missed, left = missed.take(still), left.take(still)
        if not left.size:
            return missed
        fresh = ~_contains(self._overflow, left)
        new, first = _distinct(left[fresh])
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
        self._uncached.append(self._cache.add(new))
        held = sum(part.size for part in self._uncached)
        if 3 * held > len(self._tables[0]):
            self._uncached = [np.concatenate(self._uncached)]
            self._clear((4 * held).bit_length())
        left = self._uncached[-1]
        for table in self._tables:
            left = table.add(left)
        if left.size:
            self._overflow = np.union1d(self._overflow, left)

    def _clear(self, bits: int) -> None:
        self._tables = [_Table(bits, factor) for factor in _FACTORS[1:]]
        self._overflow = np.zeros(0, np.uint32)


def _distinct(index: U32Array) -> tuple[U32Array, I64Array]:
    """Return each of `index` once, sorted, and where it comes first: one sort of both in one word is fastest."""
    words = index.astype(np.uint64)
    words <<= np.uint64(32)
    words |= np.arange(index.size, dtype=np.uint64)
    words.sort()
    ordered = (words >> np.uint64(32)).astype(np.uint32)
    begins = np.ones(index.size, bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return ordered[begins], (words[begins] & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _contains(ordered: U32Array, index: U32Array) -> npt.NDArray[np.bool_]:
    if not ordered.size:
        return np.zeros(index.size, bool)
    found: npt.NDArray[np.bool_] = ordered.take(np.searchsorted(ordered, index), mode="clip") == index
    return found
