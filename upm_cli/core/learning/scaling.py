"""How feature values are brought to one size while learning.

`MaxAbs` is the scaling of normalised online learning (Ross, Mineiro & Langford 2013): a feature is divided by the
largest magnitude seen so far, which is updated before the window is predicted. So |x| <= 1, predictions do not depend on
a feature's unit, and no pass over the data is needed. When the largest magnitude grows from s to s', a weight on the
scaled value stays as it is (so the one on the raw value shrinks by s / s', as in their algorithm NAG), while sums of
gradients are brought to the new unit: times s / s', sums of squares times its square.
"""

import math
from dataclasses import dataclass

import numpy as np

from upm_cli.core.learning.blocks import Block
from upm_cli.core.learning.optimizers import IntpArray, Optimizer
from upm_cli.core.learning.weights import Weights
from upm_cli.core.window import F32Array


@dataclass(slots=True)
class _Growth:
    """What growing scales changed: `slots` with `positions` of their elements, the scales and state rows before."""

    slots: IntpArray
    positions: IntpArray
    scales: F32Array
    rescaled: IntpArray
    state: dict[str, F32Array]


class Unscaled:
    """Takes values as they are."""

    has_arrays = False
    factor = 1.0

    def open(self, block: Block, batch: int) -> None:
        block.x = block.value
        block.norms = _norms(block.x, block.starts)
        _forget_unfit(block)

    def ready(self, block: Block, batch: int) -> None:
        return

    def undo(self, block: Block, batch: int) -> None:
        return

    def count(self, block: Block, batch: int, learned: int) -> None:
        return

    def scale(self, block: Block) -> F32Array:
        return block.value


class MaxAbs:
    """Divides each feature by the largest magnitude seen so far.

    `scales` (slots,) float32, 0 where no feature was seen, 1 for the bias. `norms` sums the squared norms of all
    scaled windows learned, `windows` counts them: with N = norms, t = windows, `factor` = sqrt(t / N) makes the rate of
    adaptive rules independent of how many features a window has (the global factor of NAG).
    """

    has_arrays = True

    def __init__(self, weights: Weights, optimizer: Optimizer) -> None:
        self.scales = np.zeros(weights.slots, np.float32)
        self.scales[-1] = 1
        self.norms = 0.0
        self.windows = 0
        self._weights = weights
        self._optimizer = optimizer
        self._grown: list[_Growth] = []
        self._is_whole = False

    @property
    def factor(self) -> float:
        return math.sqrt(self.windows / self.norms) if self.norms > 0 else 1.0

    def open(self, block: Block, batch: int) -> None:
        """Scale all batches of `block` from `batch` on at once, where that gives what one by one would give.

        It does when each feature that grows has one magnitude only in the block (always so for counts of 1).
        """
        self._grown = []
        if batch == 0:
            block.x = np.empty(block.at.size, np.float32)
            block.norms = np.zeros(len(block), np.float32)
        first = block.spans[batch]
        at, size = block.at[first:], block.size[first:]
        scale = self.scales.take(at, mode="clip")
        grew = np.flatnonzero(size > scale)
        self._is_whole = True
        if grew.size:
            before = self.scales[at[grew]]
            np.maximum.at(self.scales, at[grew], size[grew])
            after = self.scales.take(at, mode="clip")
            self._is_whole = bool((size == after)[after > scale].all())
            if not self._is_whole:
                self.scales[at[grew]] = before
                return
            self._rescale(at[grew], grew + first, before)
            scale = after
        np.divide(block.value[first:], scale, block.x[first:])
        row = block.rows[batch]
        block.norms[row:] = _norms(block.x[first:], block.starts[row:] - first)
        _forget_unfit(block)

    def ready(self, block: Block, batch: int) -> None:
        """Scale one batch, if `open` left it to be done."""
        if self._is_whole:
            return
        first, stop = block.spans[batch], block.spans[batch + 1]
        at, size = block.at[first:stop], block.size[first:stop]
        scale = self.scales.take(at, mode="clip")
        grew = size > scale
        self._grown = []
        if grew.any():
            where = np.flatnonzero(grew)
            slots, before = at[where], scale[where]
            np.maximum.at(self.scales, slots, size[where])
            self._rescale(slots, where + first, before)
            scale[where] = self.scales[slots]
            self.scales.take(at, None, scale, "clip")
        np.divide(block.value[first:stop], scale, block.x[first:stop])
        rows = slice(block.rows[batch], block.rows[batch + 1])
        block.norms[rows] = _norms(block.x[first:stop], block.offsets[rows])
        if block.has_unfit:
            _forget_unfit(block)

    def _rescale(self, slots: IntpArray, positions: IntpArray, before: F32Array) -> None:
        """Bring the optimizer's sums at `slots` to their new scales, and remember what was."""
        seen = before > 0
        growth = _Growth(slots, positions, before, slots[seen], {})
        if seen.any():
            ratio = (before[seen] / self.scales[growth.rescaled])[:, None]
            for name, degree in self._optimizer.degrees.items():
                rows = self._weights.rows(name)
                kept = growth.state[name] = rows[growth.rescaled]
                scaled = kept * (ratio if degree == 1 else ratio * ratio)
                rows[growth.rescaled] = np.maximum(scaled, self._optimizer.floor) if degree == 2 else scaled
        self._grown.append(growth)

    def undo(self, block: Block, batch: int) -> None:
        """Take back growth that came from `batch` or later batches only."""
        for growth in self._grown:
            late = growth.positions >= block.spans[batch]
            late &= ~np.isin(growth.slots, growth.slots[~late])
            self.scales[growth.slots[late]] = growth.scales[late]
            rescaled = late[growth.scales > 0]
            for name, rows in growth.state.items():
                self._weights.rows(name)[growth.rescaled[rescaled]] = rows[rescaled]
        self._grown = []

    def count(self, block: Block, batch: int, learned: int) -> None:
        """Add a batch to N and t."""
        rows = block.norms[block.rows[batch] : block.rows[batch + 1]]
        self.norms += float(np.add.reduce(rows, dtype=np.float64))
        self.windows += learned

    def scale(self, block: Block) -> F32Array:
        """Return the scaled values of `block` without learning from it: larger ones than seen count as the largest."""
        return block.value / np.maximum(self.scales.take(block.at, mode="clip"), block.size)


Scaler = MaxAbs | Unscaled


def _norms(x: F32Array, starts: IntpArray) -> F32Array:
    return np.add.reduceat(x * x, starts)


def _forget_unfit(block: Block) -> None:
    if block.has_unfit:
        block.norms[block.unfit] = 0
