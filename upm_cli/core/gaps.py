"""Holes in a stream: steps between released starts that are longer than expected."""

from typing import Final, Self

import numpy as np

from upm_cli.core.window import I64Array

BLOCK: Final = 64  # spacings from which the next expectation is learned
TIMES: Final = 3  # a hole is longer than this many usual spacings


class GapFinder:
    """Finds holes between consecutive released starts.

    A spacing is the difference of two consecutive starts when it is not 0. With `gap_ms` every longer spacing is a
    hole. Without it, a hole is a spacing of more than TIMES the (lower) median of the last complete block of BLOCK
    spacings; the first block has nothing to be compared with and has no holes. So what is a hole depends only on the
    starts in their order, not on how they are cut into batches.
    """

    def __init__(self, gap_ms: int | None = None) -> None:
        self.gap_ms = gap_ms
        self._last_ms: int | None = None
        self._usual_ms = 0  # median of the last complete block; 0: none yet
        self._block: I64Array = np.zeros(0, np.int64)  # spacings of the block that is not yet complete

    def find(self, starts: I64Array) -> I64Array:
        """Return the holes (k, 2) int64 as (from, to); `starts` (n,) never falls, also from call to call."""
        if not starts.size:
            return np.zeros((0, 2), np.int64)
        first = starts[0] if self._last_ms is None else self._last_ms
        steps = np.diff(starts, prepend=first)
        self._last_ms = int(starts[-1])
        at = np.flatnonzero(steps)
        spacings = steps[at]
        limits = self._limits(spacings)
        if self.gap_ms is not None:
            limits = np.full(spacings.size, self.gap_ms)
        hole = np.flatnonzero(spacings > limits)
        to = starts[at[hole]]
        return np.stack([to - spacings[hole], to], axis=1)

    def _limits(self, spacings: I64Array) -> I64Array:
        """Return the longest spacing (n,) that is no hole, and learn from `spacings`."""
        known = np.concatenate([self._block, spacings])
        full = known.size // BLOCK
        blocks = known[: full * BLOCK].reshape(full, BLOCK)
        medians = np.partition(blocks, BLOCK // 2 - 1, axis=1)[:, BLOCK // 2 - 1]
        usual = np.concatenate([[self._usual_ms], medians])
        limits = np.repeat(TIMES * usual, BLOCK)[self._block.size : known.size]
        limits[limits == 0] = np.iinfo(np.int64).max
        self._block = known[full * BLOCK :].copy()
        self._usual_ms = int(usual[-1])
        return limits

    def to_array(self) -> I64Array:
        """Return the state as one int64 array: [has a last start, last start, usual spacing, *spacings]."""
        head = [self._last_ms is not None, self._last_ms or 0, self._usual_ms]
        return np.concatenate([np.array(head, np.int64), self._block])

    @classmethod
    def from_array(cls, state: I64Array, gap_ms: int | None) -> Self:
        self = cls(gap_ms)
        self._last_ms = int(state[1]) if state[0] else None
        self._usual_ms = int(state[2])
        self._block = state[3:].copy()
        return self
