"""Losses in [0, 1] of predictions on the same windows, so that two models can be compared window by window.

    binary            Brier: (p - y)^2
    multiclass        half the Brier score: sum over classes of (p_k - y_k)^2, over 2
    numbers, maps     min(1, seed score / loss_scale)

A loss that can't be made (no usable label, a number that is not finite) is NaN, never 0.
"""

from typing import Final

import numpy as np

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.scores import brier_scores, numeric_scores, structured_scores
from upm_cli.core.window import F32Array, F64Array

CLASSES: Final = ("binary", "multiclass")
WRONG: Final = 0.25  # loss from which a class prediction is a bad miss: half of it or more went to a wrong class


def of_comparisons(table: Comparisons, task: str, loss_scale: float) -> tuple[F64Array, F64Array]:
    """Return the losses of the predictions made before learning and of the trivial baseline, (n,) each."""
    if task in CLASSES:
        half = 2.0 if task == "multiclass" else 1.0
        return table.brier.astype(np.float64) / half, table.base_brier.astype(np.float64) / half
    return _scaled(table.score, loss_scale), _scaled(table.base_score, loss_scale)


def of_predictions(predictions: F32Array, targets: F32Array, task: str, loss_scale: float) -> F64Array:
    """Return the losses (n,) of `predictions` (n, outputs) against `targets` as the learner takes them.

    For multiclass `targets` (n, 1) are class numbers; a class the model does not know had probability 0. A row without
    any number in `targets` has no loss.
    """
    n = len(targets)
    if not n:
        return np.zeros(0)
    if task == "structured":
        score = structured_scores(predictions, targets, ~np.isnan(targets))
        score[np.isnan(targets).all(axis=1)] = np.nan
        return _scaled(score, loss_scale)
    if task == "regression":
        return _scaled(numeric_scores(predictions[:, 0], targets[:, 0].astype(np.float64)), loss_scale)
    known = np.isfinite(targets[:, 0])
    classes = np.where(known, targets[:, 0], 0).astype(np.int64)
    if task == "binary":
        losses = brier_scores(predictions[:, 0], classes).astype(np.float64)
    else:
        outputs = predictions.shape[1]
        wide = np.pad(predictions, ((0, 0), (0, 1)))
        losses = brier_scores(wide, np.minimum(classes, outputs)).astype(np.float64) / 2
    losses[~known] = np.nan
    return losses


def bad_miss(task: str, threshold: float, loss_scale: float, *, by_score: bool) -> float:
    """Return the loss from which a prediction is a bad miss, in (0, 1].

    Numbers and maps: where the seed score reaches the drift `threshold`. Classes: where half of the probability or more
    went to a wrong class; |p - y| says little of class labels, unless `by_score` asks for it.
    """
    if task not in CLASSES:
        return min(1.0, threshold / loss_scale)
    return min(1.0, threshold * threshold) if by_score else WRONG


def _scaled(score: F32Array, loss_scale: float) -> F64Array:
    return np.minimum(1.0, score.astype(np.float64) / loss_scale)
