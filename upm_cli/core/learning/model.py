"""The model agents load: what a learner predicts with, and nothing it learns with.

Arrays of a linear model, rows in the order of `slots`:

    slots   (m,) uint32    ascending slot numbers; the last one is the bias, slot 2^bits
    weights (m, outputs) float32   on raw values: the scaling is folded in
    limits  (m,) float32   largest magnitude learned from; larger values count as this. Absent: no limit

meta: `{"kind": "linear", "format": 1, "task", "link": "logistic"|"softmax"|"identity", "bits", "outputs"}`.
The prediction for features (index, value): margin_k = sum_i weights[slot_i, k] * clip(value_i, -limit_i, limit_i) +
weights[bias, k] with slot_i = index_i mod 2^bits (slots not listed weigh 0), then 1/(1+exp(-m)), softmax, or m itself.
A window with a value that is not finite is predicted as if it had no features.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.blocks import blocks
from upm_cli.core.learning.losses import make_loss
from upm_cli.core.learning.optimizers import IntpArray
from upm_cli.core.window import Csr, F32Array
from upm_cli.errors import IntegrityError

FORMAT: Final = 1
MAX_BITS: Final = 28  # as of a learner; a table of these sizes is made before anything else is known
MAX_OUTPUTS: Final = 65_536
MODEL_LIMIT: Final = 1e13  # margins are cut to this, so that a prediction is always finite
_LOSS_OF_LINK: Final = {"logistic": "logistic", "softmax": "softmax", "identity": "squared"}
LINK_OF_LOSS: Final = {"logistic": "logistic", "softmax": "softmax", "squared": "identity", "huber": "identity"}
_PREDICT_ROWS: Final = 32  # a batch for the arithmetic only; predictions do not depend on it
_UNFOLDED: Final = 1 << 20
_SURELY_FINITE: Final = 9e12  # below MODEL_LIMIT, however both are rounded
_NO_NEGATIVE_ZERO: Final = np.float32(0)
_FIRST: Final = np.zeros(1, np.intp)


def finite(margins: F32Array) -> F32Array:
    """Return margins without NaN or infinity: NaN is 0, the rest is cut to the largest."""
    return np.clip(np.nan_to_num(margins, nan=0.0, posinf=MODEL_LIMIT, neginf=-MODEL_LIMIT), -MODEL_LIMIT, MODEL_LIMIT)


class LinearModel:
    """A linear model unfolded into tables for fast prediction."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        self.bits, self.outputs = int(meta["bits"]), int(meta["outputs"])
        if not (1 <= self.bits <= MAX_BITS and 0 <= self.outputs <= MAX_OUTPUTS):
            raise ValueError(f"{self.bits} bits and {self.outputs} outputs can't be")
        self._loss = make_loss(_LOSS_OF_LINK[meta["link"]])
        slots, weights = arrays["slots"], arrays["weights"]
        if not slots.size or int(slots.max()) != 1 << self.bits or weights.shape != (slots.size, self.outputs):
            raise ValueError("slots and weights do not fit bits and outputs")
        if "limits" in arrays and arrays["limits"].shape != slots.shape:
            raise ValueError("limits do not fit slots")
        rows = (1 << self.bits) + 1
        self._table = np.zeros((rows, self.outputs), np.float32)
        self._limits: F32Array | None = np.zeros(rows, np.float32) if "limits" in arrays else None
        for first in range(0, slots.size, _UNFOLDED):  # by parts, as the memory for that is on top of the model's
            part = slice(first, first + _UNFOLDED)
            at = slots[part].astype(np.intp)
            self._table[at] = weights[part]
            if self._limits is not None:
                self._limits[at] = arrays["limits"][part]

    @classmethod
    def load(cls, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> Self:
        """Return the model. Raises IntegrityError when the parts are not those of a model this version knows."""
        try:
            if meta["kind"] != "linear" or meta["format"] != FORMAT:
                raise ValueError(f"kind {meta['kind']!r}, format {meta['format']!r}")
            return cls(arrays, meta)
        except (KeyError, ValueError, IndexError, TypeError) as exc:
            raise IntegrityError(
                f"this is not a linear model of format {FORMAT}: {exc}",
                hint="use the upm that wrote the snapshot, or a newer one",
                code="UPM-E096",
            ) from exc

    def predict_many(self, x: Csr) -> F32Array:
        """Return (n, outputs): probability of 1, class probabilities, or values. Always finite."""
        with np.errstate(all="ignore"):
            return self._loss.predict(finite(self.margins(x)))

    def predict_one(self, index: Sequence[int], value: Sequence[float]) -> F32Array:
        """Return (1, outputs): bit for bit what `predict_many` returns for a window with these elements, sooner.

        `index` are feature hashes of at least `bits` bits and `value` their values: finite, at most 1e30 in magnitude
        when rounded to float32.
        """
        at = np.array([0, *index], np.intp)
        at &= (1 << self.bits) - 1
        at[0] = 1 << self.bits
        x = np.array([1.0, *value], np.float32)
        x += _NO_NEGATIVE_ZERO
        with np.errstate(all="ignore"):
            if self._limits is not None:
                limit = self._limits.take(at, mode="clip")
                x = x.clip(-limit, limit)
            parts = self._table.take(at, axis=0, mode="clip")
            parts *= x[:, None]
            margins: F32Array = np.add.reduceat(parts, _FIRST, axis=0)
            if not (margins.size and margins.min() > -_SURELY_FINITE and margins.max() < _SURELY_FINITE):
                margins = finite(margins)
            return self._loss.predict(margins)

    def margins(self, x: Csr) -> F32Array:
        """Return (n, outputs) before the link."""
        found = np.zeros((len(x), self.outputs), np.float32)
        with np.errstate(all="ignore"):
            for first, block in blocks(x, self.bits, _PREDICT_ROWS):
                value = block.value
                if self._limits is not None:
                    limit = self._limits.take(block.at, mode="clip")
                    value = np.clip(value, -limit, limit)
                parts = self._table[block.at] * value[:, None]
                np.add.reduceat(parts, block.starts, axis=0, out=found[first : first + len(block)])
        return found


def linear_model(
    slots: IntpArray, weights: F32Array, limits: F32Array | None, *, bits: int, task: str, loss: str
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return arrays and meta of a model; `weights` (m, k) are on scaled values where `limits` (m,) are given.

    Raises nothing: a weight that a tiny limit would make infinite is cut to the largest float32.
    """
    arrays: dict[str, npt.NDArray[Any]] = {"slots": slots.astype(np.uint32)}
    if limits is not None:
        largest = np.finfo(np.float32).max
        with np.errstate(all="ignore"):
            folded = weights.astype(np.float64) / np.where(limits > 0, limits, 1)[:, None]
        weights = np.clip(folded, -largest, largest).astype(np.float32)
        arrays["limits"] = limits
    arrays["weights"] = np.ascontiguousarray(weights)
    meta = {
        "kind": "linear",
        "format": FORMAT,
        "task": task,
        "link": LINK_OF_LOSS[loss],
        "bits": bits,
        "outputs": int(weights.shape[1]),
    }
    return arrays, meta
