"""Which feature names have been met: so that each is told once, and only once, at little cost."""

from typing import Final

import numpy as np

from upm_cli.core.window import I64Array, U32Array

CACHE_BITS: Final = 16
TABLE_BITS: Final = 14  # to begin with
DEFAULT_CAPACITY: Final = 2_000_000
_SPREADS: Final = (np.uint32(0x85EBCA6B), np.uint32(1), np.uint32(0x9E3779B1))  # of the cache and the two tables


class SeenNames:
    """The set of feature indexes whose names are known.

    A small table, which stays in the processor's cache, holds the names that were met first: these are the common ones.
    Two larger ones answer for almost all others; the few that find every place taken are kept sorted. When `capacity`
    names are known no more are told; `dropped` counts how many distinct ones each later block still brought. Index 0
    counts as 1, as 0 marks empty slots.
    """

    def __init__(self, known: U32Array | None = None, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._count = 0
        self._cache = _Table(CACHE_BITS, _SPREADS[0])
        self._uncached: list[U32Array] = []
        self._tables: list[_Table] = []
        self._overflow: U32Array
        self._clear(TABLE_BITS)
        if known is not None and known.size:
            self._add(np.unique(np.maximum(known.astype(np.uint32), np.uint32(1))))

    def __len__(self) -> int:
        return self._count

    def unseen(self, index: U32Array) -> I64Array:
        """Return positions in `index` (n,) that hold an index never met before, one for each; remember them."""
        keys = np.maximum(index, np.uint32(1))
        missed = self._cache.lacks(keys)
        keys = keys.take(missed)
        for table in self._tables:
            absent = table.lacks(keys)
            missed, keys = missed.take(absent), keys.take(absent)
        if not keys.size:
            return missed
        keys, first = _distinct(keys)
        if self._overflow.size:
            new = self._overflow.take(np.searchsorted(self._overflow, keys), mode="clip") != keys
            keys, first = keys[new], first[new]
        room = self.capacity - self._count
        self.dropped += max(0, keys.size - room)
        self._add(keys[:room])
        return missed.take(first[:room])

    def _add(self, new: U32Array) -> None:
        """Add `new`, sorted, distinct and none of them known."""
        self._count += new.size
        if self._count < 2 * len(self._cache):  # later, too few find a free slot to be worth the try
            new = self._cache.add(new)
        self._uncached.append(new)
        held = sum(part.size for part in self._uncached)
        if 3 * held > len(self._tables[0]):
            new = np.sort(np.concatenate(self._uncached))
            self._uncached = [new]
            self._clear((4 * held).bit_length())
        for table in self._tables:
            new = table.add(new)
        if new.size:
            self._overflow = np.union1d(self._overflow, new)

    def _clear(self, bits: int) -> None:
        self._tables = [_Table(bits, spread) for spread in _SPREADS[1:]]
        self._overflow = np.zeros(0, np.uint32)


class _Table:
    """A table in which each key, not 0, has one slot: by the high bits of its product with `spread`."""

    def __init__(self, bits: int, spread: np.uint32) -> None:
        self._slots: U32Array = np.zeros(1 << bits, np.uint32)
        self._spread, self._shift = spread, np.uint32(32 - bits)

    def __len__(self) -> int:
        return self._slots.size

    def lacks(self, keys: U32Array) -> I64Array:
        """Return the positions of those of `keys` that are not in the table."""
        return np.flatnonzero(self._slots.take(self._slot(keys)) != keys)

    def add(self, keys: U32Array) -> U32Array:
        """Put in those of `keys`, distinct, that find their slot empty; return the others."""
        slot = self._slot(keys)
        empty = self._slots.take(slot) == 0
        self._slots[slot[empty]] = keys[empty]
        homeless: U32Array = keys[self._slots.take(slot) != keys]
        return homeless

    def _slot(self, keys: U32Array) -> I64Array:
        return ((keys * self._spread) >> self._shift).astype(np.int64)


def _distinct(keys: U32Array) -> tuple[U32Array, I64Array]:
    """Return each of `keys` once, sorted, and a place where it is: one sort of both in one word is fastest."""
    words = keys.astype(np.uint64)
    words <<= np.uint64(32)
    words |= np.arange(keys.size, dtype=np.uint64)
    words.sort()
    ordered = (words >> np.uint64(32)).astype(np.uint32)
    begins = np.ones(keys.size, bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    return ordered[begins], (words[begins] & np.uint64(0xFFFFFFFF)).astype(np.int64)
