"""Predictions and truths → comparisons, with what a trivial baseline would have scored on the same windows.

The baseline knows the labels before the window and nothing else: for classes how frequent each was, for numbers and
for each name of a map their mean.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.scores import (
    base_rate_probabilities,
    brier_scores,
    class_scores,
    numeric_scores,
    running_means,
    structured_scores,
)
from upm_cli.core.window import F32Array, F64Array, I64Array, WindowBatch


@dataclass(slots=True)
class Comparer:
    """Makes comparisons in log order.

    `counts` (k,) are the labels of each class, or of each output, seen so far; `totals` (k,) the sums of the numbers.
    """

    counts: F64Array = field(default_factory=lambda: np.zeros(0))
    totals: F64Array = field(default_factory=lambda: np.zeros(0))

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
            score, base_score = self._scores_of_numbers(predictions, targets)
        elif task == "regression":
            prediction, truth = predictions[:, 0], targets[:, 0].astype(np.float64)
            score, base_score = numeric_scores(prediction, truth), self._scores_of_numbers(predictions, targets)[1]
        else:
            classes = targets[:, 0].astype(np.int64)
            truth = classes.astype(np.float64)
            if task == "binary":
                prediction = predictions[:, 0]
                score, brier = numeric_scores(prediction, truth), brier_scores(prediction, classes)
                rate = self._base_rate(classes, 2)[:, 1]
                base, base_score = brier_scores(rate, classes), numeric_scores(rate, truth)
            else:
                width = max(int(classes.max(initial=0)) + 1, predictions.shape[1])
                wide = np.pad(predictions, ((0, 0), (0, width - predictions.shape[1])))
                prediction = wide[np.arange(n), classes]
                score, brier = class_scores(np.argmax(wide, axis=1), classes), brier_scores(wide, classes)
                rates = self._base_rate(classes)
                base, base_score = brier_scores(rates, classes), class_scores(np.argmax(rates, axis=1), classes)
        ids = rows.window_id, rows.tenant
        return Comparisons(seq, rows.start_ms, *ids, prediction, truth, score, brier, base, base_score)

    def _base_rate(self, classes: I64Array, known: int = 0) -> F64Array:
        probabilities, self.counts = base_rate_probabilities(self.counts, classes, known)
        return probabilities

    def _scores_of_numbers(self, predictions: F32Array, targets: npt.NDArray[np.float32]) -> tuple[F32Array, F32Array]:
        """Return the seed scores of the model and of the running means, (n,) each."""
        present = ~np.isnan(targets)
        means, self.counts, self.totals = running_means(self.counts, self.totals, targets)
        return structured_scores(predictions, targets, present), structured_scores(means, targets, present)
