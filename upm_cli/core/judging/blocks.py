"""Means over blocks of windows in a row, kept for many streams at once.

One window's loss depends on the windows before it; means over blocks of 20 to 100 hardly do. A block that is not full
is carried on, so blocks depend on the windows and their order alone.
"""

import numpy as np

from upm_cli.core.window import F64Array, I64Array


class Blocks:
    """The open block of each stream: `counts` (streams,) int64 and `sums` (streams, columns) float64.

    Sums run over the windows one by one from the left: the same bytes however the windows are cut.
    """

    def __init__(self, size: int, columns: int, streams: int = 1) -> None:
        self.size = size
        self.counts = np.zeros(streams, np.int64)
        self.sums = np.zeros((streams, columns))

    def grow(self, streams: int) -> None:
        """Make room for `streams` streams in all."""
        new = streams - self.counts.size
        self.counts = np.concatenate([self.counts, np.zeros(new, np.int64)])
        self.sums = np.concatenate([self.sums, np.zeros((new, self.sums.shape[1]))])

    def add(self, stream: I64Array, values: F64Array) -> tuple[I64Array, F64Array]:
        """Take `values` (n, columns), each row for its `stream` (n,), and return the blocks they filled.

        Returns the stream (b,) and the means (b, columns) of each; blocks of one stream stand together, in order.
        """
        if not stream.size:
            return np.zeros(0, np.int64), np.zeros((0, values.shape[1]))
        order = np.argsort(stream, kind="stable")
        stream, values = stream[order], values[order]
        fresh = np.diff(stream, prepend=-1) != 0
        starts = np.flatnonzero(fresh)
        place = np.arange(stream.size) - np.repeat(starts, np.diff(np.append(starts, stream.size)))
        place += self.counts[stream]
        slot = np.cumsum(fresh | (place % self.size == 0)) - 1
        owners = np.zeros(int(slot[-1]) + 1, np.int64)
        owners[slot] = stream
        sums = np.zeros((owners.size, values.shape[1]))
        carried = slot[starts]
        sums[carried] = np.where((place[starts] % self.size == 0)[:, None], 0.0, self.sums[owners[carried]])
        for column in range(values.shape[1]):
            np.add.at(sums[:, column], slot, values[:, column])
        filled = np.zeros(owners.size, np.int64)
        filled[slot] = place % self.size + 1  # the last row of a slot has the last word
        full = filled == self.size
        last = np.flatnonzero(np.diff(owners, append=-1) != 0)
        self.counts[owners[last]] = np.where(full[last], 0, filled[last])
        self.sums[owners[last]] = np.where(full[last][:, None], 0.0, sums[last])
        return owners[full], sums[full] / self.size
