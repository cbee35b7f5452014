"""One block while it is learned: what is known of its windows so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.blocks import Block
from upm_cli.core.learning.losses import Aux, Loss
from upm_cli.core.learning.model import finite
from upm_cli.core.learning.protocol import Learned, Reject
from upm_cli.core.learning.targets import Targets
from upm_cli.core.window import F32Array, U8Array


@dataclass(slots=True)
class Work:
    """A block with its labels, and room for margins and gradients.

    `widths` outputs in each batch · `margins`, `deltas` (n,) for a single output, else (n, widths[-1]); margins of
    classes that were not known yet are -inf · `reasons` (n,) Reject.
    """

    block: Block
    targets: Targets
    aux: Aux
    widths: list[int]
    margins: F32Array
    deltas: F32Array
    reasons: U8Array
    rows: list[slice]  # the windows of each batch

    @classmethod
    def begin(cls, block: Block, targets: Targets, loss: Loss, outputs: int, *, is_flat: bool) -> Self:
        """Reject what can be seen to be unfit before anything is predicted."""
        reasons = np.where(block.unfit, np.uint8(Reject.VALUE), targets.reasons)
        if reasons.any():
            unfit = reasons != Reject.NONE
            targets.forget(unfit)
            block.reject(unfit)
        widths = targets.widths(block.rows, outputs)
        shape = (len(block),) if is_flat else (len(block), widths[-1])
        margins = np.full(shape, -np.inf, np.float32)
        rows = [slice(start, stop) for start, stop in pairwise(block.rows)]
        return cls(block, targets, loss.prepare(targets.y), widths, margins, np.zeros(shape, np.float32), reasons, rows)

    def reject(self, rows: slice, which: npt.NDArray[np.bool_], reason: Reject) -> None:
        """Take windows `which` (b,) of a batch out: predicted without features, not learned."""
        unfit = np.zeros(len(self.block), np.bool_)
        unfit[rows] = which
        self.reasons[unfit & (self.reasons == Reject.NONE)] = reason
        self.targets.forget(unfit)
        self.block.reject(unfit)

    def keep(self, rows: slice, width: int, margins: F32Array, delta: F32Array) -> None:
        """Note margins and gradients of a batch with several outputs."""
        self.margins[rows, :width] = margins
        self.deltas[rows, :width] = delta

    def finish(self, loss: Loss) -> Learned:
        """Turn margins into predictions and losses."""
        n = len(self.block)
        margins, deltas = self.margins.reshape(n, -1), self.deltas.reshape(n, -1)
        rejected = self.reasons != Reject.NONE
        if self.block.has_unfit:
            margins = np.where(np.isneginf(margins), margins, finite(margins))
        losses = loss.value(margins, self.targets.y)
        squares = np.einsum("ij,ij->i", deltas, deltas) if deltas.shape[1] > 1 else deltas[:, 0] * deltas[:, 0]
        norms = np.sqrt(squares * self.block.norms).astype(np.float32)
        if self.block.has_unfit:
            losses[rejected] = np.nan
            norms[rejected] = 0
        return Learned(loss.predict(margins), losses, self.reasons, norms)


def joined(parts: Sequence[Learned], outputs: int) -> Learned:
    """Join what was learned from successive blocks; classes that came later get columns of 0."""
    if not parts:
        none = np.zeros(0, np.float32)
        return Learned(np.zeros((0, outputs), np.float32), np.zeros(0), np.zeros(0, np.uint8), none)
    return Learned(
        np.concatenate([_widened(part.predictions, outputs) for part in parts]),
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.reasons for part in parts]),
        np.concatenate([part.gradient_norms for part in parts]),
    )


def _widened(predictions: F32Array, outputs: int) -> F32Array:
    missing = outputs - predictions.shape[1]
    return np.pad(predictions, ((0, 0), (0, missing))) if missing else predictions
