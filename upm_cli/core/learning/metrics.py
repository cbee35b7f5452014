"""How well a learner does while it learns: progressive (test-then-train) metrics, judged before each window is learned.

Sums are kept in float64 and added window by window in log order, so they do not depend on how the log was cut.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F32Array, F64Array

RECENT: Final = 1000
_SUMS: Final = ("n", "loss", "wrong", "absolute", "square", "brier")
_REPORTED: Final[Mapping[str, tuple[str, ...]]] = {
    "binary": ("wrong", "brier"),
    "multiclass": ("wrong", "brier"),
    "regression": ("absolute", "square"),
    "structured": ("absolute", "square"),
}


@dataclass(slots=True)
class Metrics:
    """Accumulators of one task: `sums` (6,) float64 in the order of `_SUMS`, and the last losses as a ring."""

    task: str
    sums: F64Array
    recent: F64Array  # (RECENT,), window number n at n % RECENT

    @classmethod
    def begin(cls, task: str) -> Self:
        return cls(task, np.zeros(len(_SUMS)), np.zeros(RECENT))

    def update(
        self, predictions: F32Array, targets: npt.NDArray[np.float32], losses: F64Array, ok: npt.NDArray[np.bool_]
    ) -> None:
        """Take n windows: predictions (n, k) made before learning, targets, losses (n,), and which were learned."""
        if not ok.all():
            predictions, targets, losses = predictions[ok], targets[ok], losses[ok]
        n = losses.size
        if not n:
            return
        rows = np.zeros((n + 1, len(_SUMS)))
        rows[0] = self.sums
        rows[1:, 0] = 1
        rows[1:, 1] = losses
        self._errors(rows[1:], predictions.astype(np.float64), targets)
        start = int(self.sums[0])
        self.sums = np.cumsum(rows, axis=0)[-1]
        tail = losses[-RECENT:]
        self.recent[(start + n - tail.size + np.arange(tail.size)) % RECENT] = tail

    def _errors(self, rows: F64Array, predictions: F64Array, targets: npt.NDArray[np.float32]) -> None:
        """Fill in what each window adds to the sums behind n and loss."""
        if self.task == "binary":
            p, y = predictions[:, 0], targets[:, 0]
            rows[:, 2] = (p >= 0.5) != (y == 1)
            rows[:, 5] = (p - y) ** 2
        elif self.task == "multiclass":
            truth = targets[:, 0].astype(np.int64)
            width = max(predictions.shape[1], int(truth.max()) + 1)
            gap = np.pad(predictions, ((0, 0), (0, width - predictions.shape[1])))
            rows[:, 2] = gap.argmax(axis=1) != truth
            gap[np.arange(truth.size), truth] -= 1
            rows[:, 5] = np.cumsum(gap * gap, axis=1)[:, -1]  # trailing zeros change nothing
        else:
            gap = predictions - targets
            there = ~np.isnan(gap)
            gap[~there] = 0
            count = np.maximum(there.sum(axis=1), 1)
            rows[:, 3] = np.abs(gap).sum(axis=1) / count
            rows[:, 4] = (gap * gap).sum(axis=1) / count

    def report(self) -> dict[str, float | int | None]:
        """Return the metrics for people: n, loss over everything and over the last 1,000, and the task's errors."""
        n = int(self.sums[0])
        if not n:
            return {"n": 0}
        mean = dict(zip(_SUMS, (self.sums / n).tolist(), strict=True))
        last = self.recent[: min(n, RECENT)]
        shown: dict[str, float | int | None] = {"n": n, "loss": mean["loss"], "loss_last_1000": float(np.mean(last))}
        names = _REPORTED[self.task]
        if "wrong" in names:
            shown |= {"accuracy": 1 - mean["wrong"], "brier": mean["brier"]}
        else:
            shown |= {"mae": mean["absolute"], "rmse": float(np.sqrt(mean["square"]))}
        return shown

    def arrays(self) -> dict[str, F64Array]:
        """Return the accumulators; `from_parts` takes them back."""
        return {"sums": self.sums.copy(), "recent": self.recent.copy()}

    @classmethod
    def from_parts(cls, task: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the metrics whose `arrays` these are. Raises KeyError or ValueError when they are not."""
        sums, recent = arrays["sums"].astype(np.float64), arrays["recent"].astype(np.float64)
        if task not in _REPORTED or sums.shape != (len(_SUMS),) or recent.shape != (RECENT,):
            raise ValueError(f"these are no metrics of a {task} task")
        return cls(task, sums, recent)
