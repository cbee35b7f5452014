"""Windows in the form the hot path wants: whole batches, bias included, positions as intp."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.optimizers import IntpArray
from upm_cli.core.window import Csr, F32Array, U32Array

BLOCK_ELEMENTS: Final = 1 << 16  # prepared in one go: enough to forget the cost of a NumPy call, and still in cache
Floats = npt.NDArray[np.floating[Any]]
LARGEST_VALUE: Final = np.float32(1e30)


@dataclass(slots=True)
class Block:
    """Some whole batches of windows. Element arrays are (e,), a bias element in front of each window's features.

    `at` slot of each element · `value` · `size` its magnitude · `row` the
    window it is of · `starts` (n,) first element of each window · `offsets` (n,) the same counted from the start of its
    batch · `rows` and `spans` the first window and element of each batch, and the end · `unfit` (n,) bool windows
    that are predicted as if they had no features, and not learned · `has_unfit` whether there are any.
    """

    at: IntpArray
    value: F32Array
    size: F32Array
    row: IntpArray
    starts: IntpArray
    offsets: IntpArray
    rows: list[int]
    spans: list[int]
    unfit: npt.NDArray[np.bool_]
    bias: int
    has_unfit: bool = False
    x: F32Array = field(default_factory=lambda: np.zeros(0, np.float32))  # scaled values, where the scaler made them
    norms: Floats = field(default_factory=lambda: np.zeros(0, np.float32))  # (n,) squared norm of each scaled window
    sums: list[float] = field(default_factory=list)  # of norms, for each batch

    def __len__(self) -> int:
        return self.unfit.size

    def reject(self, rows: npt.NDArray[np.bool_]) -> None:
        """Take the features of `rows` (n,) bool out: they point to the bias with value 0, and scale nothing."""
        elements = rows[self.row]
        elements[self.starts] = False
        self.at[elements] = self.bias
        self.value[elements] = 0
        self.size[elements] = 0
        self.unfit |= rows
        self.has_unfit = bool(self.unfit.any())


def blocks(x: Csr, bits: int, batch_size: int) -> Iterator[tuple[int, Block]]:
    """Cut `x` into blocks of whole batches; yields the number of each block's first window and the block."""
    n = len(x)
    width = 2 + x.index.size // max(1, n)
    size = max(1, BLOCK_ELEMENTS // width // batch_size) * batch_size
    for first in range(0, n, size):
        yield first, make_block(x, first, min(first + size, n), bits, batch_size)


def make_block(x: Csr, first: int, stop: int, bits: int, batch_size: int) -> Block:
    """Return windows `first` to `stop` as one block; windows with a value that is not finite are already rejected."""
    n = stop - first
    a, b = int(x.indptr[first]), int(x.indptr[stop])
    counts = np.diff(x.indptr[first : stop + 1]).astype(np.intp)
    starts = (x.indptr[first:stop] - a + np.arange(n)).astype(np.intp)
    at, value = _with_bias(x.index[a:b], x.value[a:b], counts, starts, bits)
    size = np.abs(value)
    rows = [*range(0, n, batch_size), n]
    at_first = np.repeat(starts[:n:batch_size], batch_size)[:n]
    spans = [*starts[rows[:-1]].tolist(), at.size]
    block = Block(
        at,
        value,
        size,
        np.repeat(np.arange(n), counts + 1),
        starts,
        starts - at_first,
        rows,
        spans,
        np.zeros(n, np.bool_),
        1 << bits,
    )
    if not size.max(initial=0) <= LARGEST_VALUE:
        block.reject(np.logical_or.reduceat(~(size <= LARGEST_VALUE), starts))
    return block


def _with_bias(
    index: U32Array, value: F32Array, counts: IntpArray, starts: IntpArray, bits: int
) -> tuple[IntpArray, F32Array]:
    """Return slots and values with an element (bias slot, 1) put in front of each window."""
    n, slots = counts.size, index & np.uint32((1 << bits) - 1)
    at = np.empty(index.size + n, np.intp)
    values = np.empty(at.size, np.float32)
    if index.size and counts.min() == counts.max():
        width = int(counts[0])
        at.reshape(n, width + 1)[:, 1:] = slots.reshape(n, width)
        values.reshape(n, width + 1)[:, 1:] = value.reshape(n, width)
    else:
        is_feature = np.ones(at.size, np.bool_)
        is_feature[starts] = False
        at[is_feature] = slots
        values[is_feature] = value
    at[starts] = 1 << bits
    values[starts] = 1
    return at, values
