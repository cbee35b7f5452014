"""What is too much: bounds beyond which a window is not learned from."""

from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.blocks import Floats
from upm_cli.core.learning.label_scale import LabelScale
from upm_cli.core.window import F32Array

BoolArray = npt.NDArray[np.bool_]

MARGIN_LIMIT: Final = 1e5  # classes: exp has long saturated; only a learner that diverges gets here
STEP_LIMIT: Final = (
    100.0  # sgd: how far one window's step may move its own margin, in units of its residual, at least 1
)
GRADIENT_LIMIT: Final = 1e15  # norm of a batch's gradient; float32 ends at 3e38 and its square must fit


def far_classes(margins: F32Array) -> BoolArray | None:
    """Return which windows have a margin that is NaN or beyond the limit, (b,), or None when none has."""
    flat = margins if margins.ndim == 1 else margins.ravel()
    if np.dot(flat, flat) < MARGIN_LIMIT**2:
        return None
    return _any(~(np.abs(margins) <= MARGIN_LIMIT))


def far_numbers(margins: F32Array, y: F32Array, labels: LabelScale) -> BoolArray | None:
    """Return which windows have a prediction or label that is NaN or too far from the labels so far, or None."""
    table = margins.reshape(y.shape)
    limits = labels.limits()
    far = (~(np.abs(table - labels.centres) <= limits + np.abs(labels.centres))).any(axis=1)
    far |= labels.outliers(y)
    return far if far.any() else None


def long_steps(delta: F32Array, norms: Floats, rate: float) -> BoolArray | None:
    """Return which windows would by themselves move their own margin too far under plain gradient descent, or None."""
    size = np.abs(delta)
    far = _any(rate * size * norms.reshape(-1, *[1] * (delta.ndim - 1)) > STEP_LIMIT * np.maximum(1, size))
    return far if far.any() else None


def _any(far: BoolArray) -> BoolArray:
    return far if far.ndim == 1 else np.asarray(far.any(axis=1))
