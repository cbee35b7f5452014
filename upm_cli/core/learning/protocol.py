"""What every learner is, whatever its model."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.spec import LearnerSpec
from upm_cli.core.window import Csr, F32Array, F64Array, U8Array


class Reject(IntEnum):
    """Why a window was predicted but not learned."""

    NONE = 0
    VALUE = 1  # a feature is NaN, infinite or beyond 1e30
    LABEL = 2  # the label is missing, not finite, beyond 1e12, or not one of the task's
    EXPLODING = 3  # the margin, the residual or the step is beyond its bound
    STEP = 4  # the step of its whole batch was not finite


REJECT_TEXT = {
    Reject.NONE: "",
    Reject.VALUE: "a feature value is not finite",
    Reject.LABEL: "the label can't be learned from",
    Reject.EXPLODING: "the prediction or the step is beyond its bound",
    Reject.STEP: "the step of its batch was not finite",
}


@dataclass(slots=True)
class Learned:
    """What `learn_many` saw on n windows.

    `predictions` (n, outputs) float32 made before each window's batch was learned, always finite; columns of classes
    that came later are 0 · `losses` (n,) float64 of these predictions, NaN for rejected windows · `reasons` (n,) uint8
    Reject · `gradient_norms` (n,) float32, norm of each window's own gradient before clipping, 0 for rejected windows.
    """

    predictions: F32Array
    losses: F64Array
    reasons: U8Array
    gradient_norms: F32Array

    @property
    def rejected(self) -> npt.NDArray[np.bool_]:
        """Which windows were not learned, (n,) bool."""
        return np.asarray(self.reasons != Reject.NONE)


class Learner(Protocol):
    """Predicts, then learns. Its bytes are a function of its spec and of the windows learned, in their order."""

    spec: LearnerSpec

    @property
    def outputs(self) -> int:
        """How many numbers a prediction has; with multiclass it grows."""
        ...

    def predict_many(self, x: Csr) -> F32Array:
        """Return (n, outputs): probability of 1, class probabilities, or values. Finite; changes nothing."""
        ...

    def learn_many(self, x: Csr, y: F32Array) -> Learned:
        """Predict, then learn, n windows in mini-batches of `spec.batch_size`, the last one perhaps shorter.

        `y` is (n,) or (n, 1): 0/1, class number or value; structured: (n, outputs), NaN where a number is missing.
        Neither is modified. Calls that cut the stream at multiples of `batch_size` give the same bytes as one call.
        """
        ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of everything needed to go on besides `meta`; canonical, no empty array."""
        ...

    def meta(self) -> dict[str, Any]:
        """Return the rest of the state as plain JSON values."""
        ...

    def model(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return what agents need to predict, see `upm_cli.core.learning.model`."""
        ...
