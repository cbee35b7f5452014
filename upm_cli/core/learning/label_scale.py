"""Where numeric labels lie and how far they spread, so that a number's unit does not matter either.

An adaptive rule moves a weight by about its rate whatever the size of the gradient. For numbers the rate is
therefore multiplied by the spread of the labels seen so far, and the bias starts at the mean of the first batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F32Array, F64Array

OUTLIER: Final = 1e6  # in spreads: beyond this, a label or a prediction is not learned from
SETTLED: Final = 1000  # labels after which the spread is trusted to tell an outlier
LARGEST_MARGIN: Final = 1e13


@dataclass(frozen=True, slots=True)
class LabelScale:
    """For each of k outputs: labels counted, their centre (mean of the first batch), sum of squares around it."""

    counts: F64Array
    centres: F64Array
    squares: F64Array

    @classmethod
    def begin(cls, outputs: int) -> Self:
        return cls(np.zeros(outputs), np.zeros(outputs), np.zeros(outputs))

    def after(self, y: F32Array) -> "LabelScale":
        """Return the scale after a batch (b, k), NaN where there is no label."""
        present = ~np.isnan(y)
        counts = np.cumsum(present, axis=0)[-1]
        values = np.where(present, y, 0.0)
        fresh = (self.counts == 0) & (counts > 0)
        means = np.cumsum(values, axis=0)[-1] / np.maximum(counts, 1)
        centres = np.where(fresh, means, self.centres)
        around = np.where(present, y - centres, 0.0)
        return LabelScale(self.counts + counts, centres, self.squares + np.cumsum(around * around, axis=0)[-1])

    def fresh(self, after: "LabelScale") -> npt.NDArray[np.intp]:
        """Return the outputs that have their first labels in the batch that led to `after`."""
        return np.flatnonzero((self.counts == 0) & (after.counts > 0))

    @property
    def spreads(self) -> F64Array:
        """Root mean square distance from the centre, (k,)."""
        return np.sqrt(self.squares / np.maximum(self.counts, 1))

    def limits(self) -> F64Array:
        """How far from the centre a label or a prediction may be, (k,)."""
        bound = OUTLIER * np.maximum(self.spreads, 1e-6 * np.maximum(np.abs(self.centres), 1))
        return np.where(self.counts >= SETTLED, np.minimum(bound, LARGEST_MARGIN), LARGEST_MARGIN)

    def outliers(self, y: F32Array) -> npt.NDArray[np.bool_]:
        """Which rows of (b, k) have a label beyond the limits, (b,)."""
        return np.asarray((np.abs(y - self.centres) > self.limits()).any(axis=1))

    def arrays(self) -> dict[str, F64Array]:
        return {"label_counts": self.counts, "label_centres": self.centres, "label_squares": self.squares}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return what `arrays` was called on. Raises KeyError."""
        return cls(*(arrays[f"label_{name}"].astype(np.float64) for name in ("counts", "centres", "squares")))
