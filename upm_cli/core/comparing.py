"""Predictions and truths → comparisons, with what the base rate alone would have scored."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.scores import (
    base_rate_probabilities,
    brier_scores,
    class_scores,
    numeric_scores,
    structured_scores,
)
from upm_cli.core.window import F32Array, F64Array, I64Array, WindowBatch


@dataclass(slots=True)
class Comparer:
    """Makes comparisons in log order. `counts` (k,) are the labels of each class seen so far."""

    counts: F64Array = field(default_factory=lambda: np.zeros(0))

    def compare(
        self, seq: I64Array, rows: WindowBatch, predictions: F32Array, targets: npt.NDArray[np.float32], task: str
    ) -> Comparisons:
        """Compare n predictions made before learning with their truth.

        `seq` (n,) log positions of `rows`; `predictions` and `targets` as the learner gives and takes them (see
        `Learner`): (n, outputs), for multiclass `targets` (n, 1) are class numbers, for structured NaN is no truth.
        """
        n = seq.size
        nothing = np.full(n, np.nan, np.float32)
        prediction, truth, brier, base = nothing, np.full(n, np.nan), nothing, nothing
        if task == "structured":
            score = structured_scores(predictions, targets, ~np.isnan(targets))
        elif task == "regression":
            prediction, truth = predictions[:, 0], targets[:, 0].astype(np.float64)
            score = numeric_scores(prediction, truth)
        else:
            classes = targets[:, 0].astype(np.int64)
            truth = classes.astype(np.float64)
            if task == "binary":
                prediction = predictions[:, 0]
                score, brier = numeric_scores(prediction, truth), brier_scores(prediction, classes)
                base = brier_scores(self._base_rate(classes, 2)[:, 1], classes)
            else:
                width = max(int(classes.max(initial=0)) + 1, predictions.shape[1])
                wide = np.pad(predictions, ((0, 0), (0, width - predictions.shape[1])))
                prediction = wide[np.arange(n), classes]
                score, brier = class_scores(np.argmax(wide, axis=1), classes), brier_scores(wide, classes)
                base = brier_scores(self._base_rate(classes), classes)
        return Comparisons(seq, rows.start_ms, rows.window_id, rows.tenant, prediction, truth, score, brier, base)

    def _base_rate(self, classes: I64Array, known: int = 0) -> F64Array:
        probabilities, self.counts = base_rate_probabilities(self.counts, classes, known)
        return probabilities
