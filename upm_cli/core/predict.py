"""Predicting with the model in a snapshot: what an agent does with what it was handed."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from upm_cli.core.learning.model import LinearModel
from upm_cli.core.snapshot import SnapshotFormatError
from upm_cli.core.window import Csr, F32Array


class Model(Protocol):
    """Predicts; learns nothing."""

    def predict_many(self, x: Csr) -> F32Array:
        """Return (n, outputs): probability of 1, class probabilities, or values. Always finite."""
        ...

    def predict_one(self, index: Sequence[int], value: Sequence[float]) -> F32Array:
        """Return (1, outputs): the same for one window, whose elements are given one by one, sooner."""
        ...


def open_model(arrays: Mapping[str, npt.NDArray[Any]], manifest: Mapping[str, Any]) -> Model:
    """Return the model of a decoded snapshot, ready to predict often.

    Raises SnapshotFormatError when the manifest names no model, IntegrityError when it is of a kind or format that
    this version does not know.
    """
    model = manifest.get("model")
    if not isinstance(model, Mapping):
        raise SnapshotFormatError("the manifest describes no model")
    return LinearModel.load(arrays, model)


def model_predict(arrays: Mapping[str, npt.NDArray[Any]], manifest: Mapping[str, Any], x: Csr) -> F32Array:
    """Return the predictions, (n, outputs), of a decoded snapshot for the windows `x`."""
    return open_model(arrays, manifest).predict_many(x)
