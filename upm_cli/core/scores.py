"""How far one prediction was from the truth: the seed's drift score, and Brier scores for class labels.

The seed score of one comparison is
- two numbers (a boolean is 0 or 1): |p - y|;
- two maps: the mean of |p_k - y_k| over the keys that are numbers in both; when they share no such key, the share of
  all keys that differ or are on one side only;
- anything else: 0 when equal, 1 when not.
A number that is not finite makes the score NaN: it is dropped from the statistics and counted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F32Array, F64Array, I64Array

BoolArray = npt.NDArray[np.bool_]


def seed_score(prediction: object, truth: object) -> float:
    """Return the seed's drift score of one comparison: the definition that the columnar forms are tested against."""
    if isinstance(prediction, int | float) and isinstance(truth, int | float):
        return _finite(abs(prediction - truth))
    if isinstance(prediction, Mapping) and isinstance(truth, Mapping):
        shared = prediction.keys() & truth.keys()
        numeric = [
            abs(prediction[key] - truth[key])
            for key in sorted(shared)
            if isinstance(prediction[key], int | float) and isinstance(truth[key], int | float)
        ]
        if numeric:
            return _finite(sum(numeric) / len(numeric))
        every = prediction.keys() | truth.keys()
        same = sum(prediction[key] == truth[key] for key in shared)
        return (len(every) - same) / len(every) if every else 0.0
    return float(prediction != truth)


def _finite(score: float) -> float:
    return score if np.isfinite(score) else float("nan")


def numeric_scores(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> F32Array:
    """Seed scores of n numbers: |p - y|; both (n,), result (n,) float32, NaN where either is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        score: F32Array = np.abs(prediction.astype(np.float64) - truth).astype(np.float32)
    score[~np.isfinite(score)] = np.nan
    return score


def class_scores(predicted: I64Array, truth: I64Array) -> F32Array:
    """Seed scores of n class numbers: 0 where equal, 1 where not; (n,) float32."""
    return np.asarray(predicted != truth, np.float32)


def structured_scores(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], shared: BoolArray) -> F32Array:
    """Seed scores of n maps of numbers with k known keys.

    `prediction`, `truth` (n, k); `shared` (n, k) says which keys row i has in both. Result (n,) float32: the mean
    absolute difference over the shared keys, 1 where none is shared, NaN where a shared number is not finite.
    """
    count = shared.sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.where(shared, np.abs(prediction.astype(np.float64) - truth), 0.0)
        score = np.where(count, gap.sum(axis=1) / np.maximum(count, 1), 1.0).astype(np.float32)
    score[~np.isfinite(score)] = np.nan
    return score


def brier_scores(probability: npt.NDArray[Any], truth: I64Array) -> F32Array:
    """Brier score of each row (Brier 1950), (n,) float32.

    `probability` (n,) of class 1 with truth 0/1: (p - y)^2, in [0, 1]; or (n, k): the sum over classes, in [0, 2].
    """
    if probability.ndim == 1:
        gap = probability.astype(np.float64) - truth
        return (gap * gap).astype(np.float32)
    gap = probability.astype(np.float64)
    gap[np.arange(truth.size), truth] -= 1.0
    return np.asarray(np.cumsum(gap * gap, axis=1)[:, -1], np.float32)  # one after the other: more zeros change nothing


def base_rate_probabilities(counts: F64Array, truth: I64Array, known: int = 0) -> tuple[F64Array, F64Array]:
    """Return what the class frequencies alone would have predicted for each row, and the counts after the last.

    `counts` (j,) labels of each class seen before; `truth` (n,) class numbers; `known` classes are there from the
    start. Row i of the result (n, k) knows the labels before it and not its own, with one label of each class added
    that had come by then, its own included (Laplace); classes that come later have probability 0.
    """
    classes = np.maximum.accumulate(np.maximum(truth + 1, max(known, counts.size)))
    k = int(classes[-1]) if classes.size else max(known, counts.size)
    seen = np.zeros((truth.size + 1, k))
    seen[np.arange(1, truth.size + 1), truth] = 1.0
    np.cumsum(seen, axis=0, out=seen)
    seen += np.pad(counts, (0, k - counts.size))
    before = np.where(np.arange(k) < classes[:, None], seen[:-1] + 1.0, 0.0)
    return before / before.sum(axis=1, keepdims=True), seen[-1].copy()


def running_means(counts: F64Array, totals: F64Array, targets: npt.NDArray[Any]) -> tuple[F64Array, F64Array, F64Array]:
    """Return the mean of the numbers before each row, and the counts and sums after the last.

    `counts`, `totals` (k,) of the numbers seen before, both empty at first; `targets` (n, k), NaN where there is no
    number. The means (n, k) are NaN where nothing came before. Added one row after the other: cutting changes nothing.
    """
    k = targets.shape[1]
    if counts.size != k:
        counts, totals = np.zeros(k), np.zeros(k)
    present = ~np.isnan(targets)
    numbers = np.where(present, targets, 0.0).astype(np.float64)
    every = np.cumsum(np.vstack([counts, present]), axis=0)
    sums = np.cumsum(np.vstack([totals, numbers]), axis=0)
    before = every[:-1]
    return np.where(before > 0, sums[:-1] / np.maximum(before, 1), np.nan), every[-1].copy(), sums[-1].copy()
