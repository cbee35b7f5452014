"""How feature values are brought to one size while learning.

`MaxAbs` is the scaling of normalised online learning (Ross, Mineiro & Langford 2013): a feature is divided by the
largest magnitude seen so far, which is updated before the window is predicted. So |x| <= 1, predictions do not depend
on a feature's unit, and no pass over the data is needed. When the largest magnitude grows from s to s', a weight on the
scaled value stays as it is (so the one on the raw value shrinks by s / s', as in their algorithm NAG), while sums of
gradients are brought to the new unit: times s / s', sums of squares times its square.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from upm_cli.core.learning.blocks import Block
from upm_cli.core.learning.optimizers import IntpArray, Optimizer
from upm_cli.core.learning.weights import Weights
from upm_cli.core.window import F32Array

UNSEEN: Final = np.float32(np.finfo(np.float32).tiny)  # scale of a feature that was not seen: 0 / 0 can't happen
LONGEST_REACH: Final = 1 << 12  # batches


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

    factor = 1.0
    until = 0  # batches of the open block that are ready

    def prepare(self, block: Block, batch: int) -> None:
        """Write x and norms of `block`."""
        block.x = block.value
        wide = block.x.astype(np.float64)  # squares of raw values may be beyond float32
        block.norms = np.add.reduceat(wide * wide, block.starts)
        if block.has_unfit:
            block.norms[block.unfit] = 0
        self.until = len(block.rows) - 1

    def undo(self, block: Block, batch: int) -> None:
        """Forget what was prepared from `batch` on."""
        self.until = batch

    def count(self, block: Block, batch: int, learned: int) -> None:
        """Note that a batch was learned."""

    def scale(self, block: Block) -> F32Array:
        """Return the values to predict `block` with."""
        return block.value


class MaxAbs:
    """Divides each feature by the largest magnitude seen so far.

    `scales` (slots,) float32, 1 for the bias, `UNSEEN` where no feature was. `norms` sums the squared norms of all
    scaled windows learned, `windows` counts them: with N = norms, t = windows, `factor` = sqrt(t / N) makes the rate of
    adaptive rules independent of how many features a window has (the global factor of NAG).
    """

    def __init__(self, weights: Weights, optimizer: Optimizer) -> None:
        self.scales = np.full(weights.slots, UNSEEN, np.float32)
        self.scales[-1] = 1
        self.norms = 0.0
        self.windows = 0
        self._weights = weights
        self._optimizer = optimizer
        self._grown: _Growth | None = None
        self.until = 0  # batches of the open block that are ready
        self._reach = 1  # how many batches to try to do at once; changes no result

    @property
    def factor(self) -> float:
        return math.sqrt(self.windows / self.norms) if self.norms > 0 else 1.0

    def prepare(self, block: Block, batch: int) -> None:
        """Grow scales for some batches of `block` from `batch` on, and write their x, norms and sums.

        Many at once where that gives what one by one would give: where each feature that grows has one magnitude
        only in them (always so for counts of 1). `until` is the first batch that is not ready then.
        """
        if batch == 0:
            block.x = np.empty(block.at.size, np.float32)
            block.norms = np.zeros(len(block), np.float32)
            block.sums = [0.0] * (len(block.rows) - 1)
        while True:
            self.until = min(batch + self._reach, len(block.rows) - 1)
            if self._grow(block, batch, self.until):
                self._reach = min(2 * self._reach, LONGEST_REACH)
                return
            self._reach = max(1, self._reach // 4)

    def _grow(self, block: Block, batch: int, end: int) -> bool:
        """Do batches `batch` to `end` in one go; false, and nothing done, if that would not be exact."""
        first, stop = block.spans[batch], block.spans[end]
        at, size = block.at[first:stop], block.size[first:stop]
        scale = self.scales.take(at, None, None, "clip")
        grew = size > scale
        self._grown = None
        if np.count_nonzero(grew):
            where = np.flatnonzero(grew)
            slots, before = at[where], scale[where]
            np.maximum.at(self.scales, slots, size[where])
            after = self.scales.take(at, None, None, "clip")
            if end > batch + 1 and not (size == after)[after > scale].all():
                self.scales[slots] = before
                return False
            self._rescale(slots, where + first, before)
            scale = after
        self._divide(block, batch, end, scale)
        return True

    def _divide(self, block: Block, batch: int, end: int, scale: F32Array) -> None:
        """Write x, norms and sums of batches `batch` to `end`."""
        first, stop = block.spans[batch], block.spans[end]
        row, row_end = block.rows[batch], block.rows[end]
        x = np.divide(block.value[first:stop], scale, block.x[first:stop])
        norms = np.add.reduceat(x * x, block.starts[row:row_end] - first, 0, None, block.norms[row:row_end])
        if block.has_unfit:
            norms[block.unfit[row:row_end]] = 0
        firsts = [at - row for at in block.rows[batch:end]]
        block.sums[batch:end] = np.add.reduceat(norms.astype(np.float64), firsts).tolist()

    def _rescale(self, slots: IntpArray, positions: IntpArray, before: F32Array) -> None:
        """Bring the optimizer's sums at `slots` to their new scales, and remember what was."""
        seen = before > UNSEEN
        growth = self._grown = _Growth(slots, positions, before, slots[seen], {})
        if seen.any():
            ratio = (before[seen] / self.scales[growth.rescaled])[:, None]
            for name, degree in self._optimizer.degrees.items():
                rows = self._weights.rows(name)
                kept = growth.state[name] = rows[growth.rescaled]
                scaled = kept * (ratio if degree == 1 else ratio * ratio)
                rows[growth.rescaled] = np.maximum(scaled, self._optimizer.floor) if degree == 2 else scaled

    def undo(self, block: Block, batch: int) -> None:
        """Take back growth that came from `batch` or later batches only; they are to be prepared again."""
        self.until = batch
        growth, self._grown = self._grown, None
        if growth is None:
            return
        late = growth.positions >= block.spans[batch]
        late &= ~np.isin(growth.slots, growth.slots[~late])
        self.scales[growth.slots[late]] = growth.scales[late]
        rescaled = late[growth.scales > UNSEEN]
        for name, rows in growth.state.items():
            self._weights.rows(name)[growth.rescaled[rescaled]] = rows[rescaled]

    def count(self, block: Block, batch: int, learned: int) -> None:
        """Add a batch to N and t."""
        self.norms += block.sums[batch]
        self.windows += learned

    def scale(self, block: Block) -> F32Array:
        """Return the scaled values of `block` without learning from it: larger ones than seen count as the largest."""
        return np.divide(block.value, np.maximum(self.scales.take(block.at, None, None, "clip"), block.size))


Scaler = MaxAbs | Unscaled
