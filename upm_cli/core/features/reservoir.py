"""A fair sample of bounded size for each of many slots, without a random generator.

Every value has a priority, a hash of where it stands in the log and of its slot; a slot keeps the `size` values of
smallest priority (bottom-k sampling, Cohen & Kaplan 2007). So the sample is a function of the set of values alone: not
of their order, of how they were cut, or of which samples were merged.
"""

from typing import Final, Self

import numpy as np

from upm_cli.core.hashing import U64Array, hash_pairs
from upm_cli.core.window import F32Array, F64Array, I64Array

MOST_SLOTS: Final = 1 << 16
_PRIORITY_BITS: Final = np.uint64(48)


def priorities(salt: int, seq: I64Array, key: U64Array) -> U64Array:
    """Return the priority of the value at log row `seq` (n,) in the slot whose stable key is `key` (n,): 48 bits."""
    rows = hash_pairs(np.full(seq.size, salt, np.uint64), seq.astype(np.uint64))
    return hash_pairs(hash_pairs(rows, key), rows) >> (np.uint64(64) - _PRIORITY_BITS)


class Reservoir:
    """The values of smallest priority in each of `slots` slots, at most `size` each.

    A value of equal priority, one in 2^48, comes after those that were there before it.
    """

    def __init__(self, slots: int, size: int) -> None:
        if size < 1 or slots > MOST_SLOTS:
            raise ValueError(f"size must be at least 1 and slots at most {MOST_SLOTS}, got {size} and {slots}")
        self.slots, self.size = slots, size
        self._order: U64Array = np.zeros(0, np.uint64)  # slot and priority in one word, sorted
        self._value: F32Array = np.zeros(0, np.float32)
        self._limit: U64Array = np.arange(1, slots + 1, dtype=np.uint64) << _PRIORITY_BITS  # words from it on are out

    def __len__(self) -> int:
        return self._value.size

    def add(self, slot: I64Array, priority: U64Array, value: F32Array) -> None:
        """Offer values; all three (n,)."""
        self._offer((slot.astype(np.uint64) << _PRIORITY_BITS) | priority, slot, value)

    def merge(self, other: "Reservoir") -> None:
        """Take in the sample of other values, of as many slots."""
        self._offer(other._order, (other._order >> _PRIORITY_BITS).astype(np.int64), other._value)

    def _offer(self, order: U64Array, slot: I64Array, value: F32Array) -> None:
        chance = np.flatnonzero(order < self._limit.take(slot))
        if not chance.size:
            return
        order = np.concatenate([self._order, order[chance]])
        value = np.concatenate([self._value, value[chance]])
        by = order.argsort(kind="stable")
        order = order[by]
        begins = self._begins(order)
        kept = np.arange(order.size) - begins[(order >> _PRIORITY_BITS).astype(np.int64)] < self.size
        self._order, self._value = order[kept], value[by[kept]]
        full = np.flatnonzero(np.diff(begins) >= self.size)
        self._limit[full] = order[begins[full] + self.size - 1]

    def _begins(self, order: U64Array) -> I64Array:
        """Return where each slot begins in sorted words, and after the last one their number."""
        return order.searchsorted(np.arange(self.slots + 1, dtype=np.uint64) << _PRIORITY_BITS)

    def values(self) -> list[F64Array]:
        """Return the sorted sample of each slot."""
        bounds = self._begins(self._order)[1:-1]
        return [np.sort(part).astype(np.float64) for part in np.split(self._value, bounds)][: self.slots]

    def dump(self) -> dict[str, np.ndarray]:
        """Return the whole state."""
        return {"order": self._order, "value": self._value}

    @classmethod
    def load(cls, slots: int, size: int, arrays: dict[str, np.ndarray]) -> Self:
        """Return the reservoir that was dumped."""
        found = cls(slots, size)
        found._offer(arrays["order"], (arrays["order"] >> _PRIORITY_BITS).astype(np.int64), arrays["value"])
        return found
