"""Labels as a learner takes them, and which of them it can't."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.protocol import Reject
from upm_cli.core.learning.spec import LearnerSpec
from upm_cli.core.window import F32Array, U8Array

LARGEST_LABEL: Final = 1e12


@dataclass(slots=True)
class Targets:
    """Labels of n windows: `y` (n, k) float32 and `reasons` (n,) uint8 Reject.

    Where a window is not to be learned from `y` is harmless: class 0, or NaN (no number).
    `grows`: labels are class numbers, and outputs grow with them.
    """

    y: F32Array
    reasons: U8Array
    nothing: float
    grows: bool

    def slice(self, start: int, stop: int) -> "Targets":
        """Return some of them; a copy."""
        return Targets(self.y[start:stop].copy(), self.reasons[start:stop], self.nothing, self.grows)

    def forget(self, rows: npt.NDArray[np.bool_]) -> None:
        """Make the labels of `rows` harmless."""
        self.y[rows] = self.nothing

    def widths(self, starts: list[int], outputs: int) -> list[int]:
        """Return how many outputs each batch has, when there were `outputs` before; `starts` ends with n."""
        if not self.grows:
            return [outputs] * (len(starts) - 1)
        largest = np.maximum.reduceat(self.y[:, 0], starts[:-1]).astype(np.int64) + 1
        return [int(width) for width in np.maximum.accumulate(np.maximum(largest, outputs))]

    @property
    def outputs(self) -> int:
        """How many outputs the labels need if they are classes; 0 where there are none."""
        return int(self.y.max(initial=-1)) + 1 if self.grows else 0


def read_targets(y: F32Array, n: int, spec: LearnerSpec) -> Targets:
    """Check labels, (n,) or (n, k). Raises ValueError when their shape is not that of n windows of this learner."""
    k = spec.outputs or 1
    table = np.asarray(y, np.float32).reshape(n, -1) if np.ndim(y) == 1 else np.asarray(y, np.float32)
    if table.shape != (n, k) and n:
        raise ValueError(f"{n} windows of a {spec.task} learner need labels of shape {(n, k)}, got {np.shape(y)}")
    table = table.reshape(n, k).copy()
    if spec.task == "binary":
        ok = ((table == 0) | (table == 1))[:, 0]
    elif spec.task == "multiclass":
        ok = ((table >= 0) & (table < spec.max_classes) & (table == np.floor(table)))[:, 0]
    else:
        present = ~np.isnan(table)
        ok = (~present | (np.abs(table) <= LARGEST_LABEL)).all(axis=1) & present.any(axis=1)
    nothing = 0.0 if spec.task in {"binary", "multiclass"} else np.nan
    table[~ok] = nothing
    return Targets(table, np.where(ok, Reject.NONE, Reject.LABEL).astype(np.uint8), nothing, spec.task == "multiclass")
