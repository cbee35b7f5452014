"""Which features occur most often, in bounded memory: Misra & Gries (1982) in its mergeable form."""

from typing import Final, Self

import numpy as np

from upm_cli.core.window import Csr, I64Array, U32Array

_ROWS: Final = 4096  # the summary is cut down after every so many rows, so never because of how they were handed in


class Frequent:
    """Counts of the most frequent features; between cuts of all.

    `missed` bounds how much any count is too low; while it is 0 all of them are exact. Every feature that stands for
    more than 1/(capacity + 1) of the entries is kept (Agarwal et al. 2012, theorem 1).
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity = capacity
        self.rows = 0
        self.missed = 0
        self.keys: U32Array = np.zeros(0, np.uint32)  # sorted
        self.counts: I64Array = np.zeros(0, np.int64)

    def add(self, x: Csr) -> None:
        """Count the features of the rows of `x`."""
        start = 0
        while start < len(x):
            stop = min(len(x), start + _ROWS - self.rows % _ROWS)
            keys, counts = np.unique(x.index[int(x.indptr[start]) : int(x.indptr[stop])], return_counts=True)
            self._join(keys, counts.astype(np.int64))
            self.rows += stop - start
            if self.rows % _ROWS == 0:
                self._cut()
            start = stop

    def merge(self, other: "Frequent") -> None:
        """Add the counts of other rows."""
        self._join(other.keys, other.counts)
        self.rows += other.rows
        self.missed += other.missed
        self._cut()

    def top(self, n: int) -> tuple[U32Array, I64Array]:
        """Return the `n` most frequent features and their counts, most frequent first; of equals, the smaller key."""
        order = np.lexsort((self.keys, -self.counts))[:n]
        return self.keys[order], self.counts[order]

    def _join(self, keys: U32Array, counts: I64Array) -> None:
        both, place = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        total = np.zeros(both.size, np.int64)
        np.add.at(total, place, np.concatenate([self.counts, counts]))
        self.keys, self.counts = both, total

    def _cut(self) -> None:
        if self.keys.size <= self.capacity:
            return
        less = int(np.partition(self.counts, -self.capacity - 1)[-self.capacity - 1])
        left = self.counts > less
        self.keys, self.counts = self.keys[left], self.counts[left] - less
        self.missed += less

    def dump(self) -> dict[str, np.ndarray]:
        """Return the whole state."""
        numbers = np.array([self.rows, self.missed], np.int64)
        return {"keys": self.keys, "counts": self.counts, "numbers": numbers}

    @classmethod
    def load(cls, capacity: int, arrays: dict[str, np.ndarray]) -> Self:
        """Return the counts that were dumped."""
        found = cls(capacity)
        found.keys, found.counts = arrays["keys"], arrays["counts"]
        found.rows, found.missed = (int(number) for number in arrays["numbers"])
        return found
