"""Losses of a linear margin: value and gradient.

`m` are margins: (b,) where there is one output, else (b, k). `aux` is what `prepare` made of the labels.
Values are float64, one a window (summed over the outputs it has); gradients are d value / d margin, float32.

| loss | value | gradient |
|---|---|---|
| logistic, y in {0, 1} | ln(1 + exp(-(2y-1) m)) | p - y |
| softmax | ln sum_j exp(m_j) - m_y | p_j - [j = y] |
| squared | (m - y)^2 / 2 | m - y |
| huber, d | (m - y)^2 / 2 up to abs(m - y) = d (included), then d (abs(m - y) - d/2) | m - y cut to [-d, d] |
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F32Array, F64Array

Aux = npt.NDArray[Any]


class Loss(Protocol):
    """One loss. `is_bounded`: each part of the gradient lies in [-1, 1], so only the margin can explode."""

    is_bounded: bool

    def prepare(self, y: F32Array) -> Aux:
        """Bring valid labels (n, k) into the form the gradient wants: row i of the result belongs to window i."""
        ...

    def gradient(self, m: F32Array, aux: Aux, out: F32Array) -> None:
        """Write the gradient at margins `m` to `out`, of the same shape."""
        ...

    def value(self, m: F32Array, y: F32Array) -> F64Array:
        """Return the loss of each window, (n,); `m` and `y` are (n, k)."""
        ...

    def predict(self, m: F32Array) -> F32Array:
        """Return what the margins (n, k) say: probabilities or values."""
        ...


class Logistic:
    """Log loss of one probability."""

    is_bounded = True

    def prepare(self, y: F32Array) -> Aux:
        return 1 - y[:, 0]

    def gradient(self, m: F32Array, aux: Aux, out: F32Array) -> None:
        np.exp(m, out)  # p - y = (1 - y) - 1 / (1 + exp(m))
        np.add(out, 1, out)
        np.reciprocal(out, out)
        np.subtract(aux, out, out)

    def value(self, m: F32Array, y: F32Array) -> F64Array:
        wrong = np.where(y[:, 0] > 0, -m[:, 0], m[:, 0]).astype(np.float64)
        return np.log1p(np.exp(-np.abs(wrong))) + np.maximum(wrong, 0)

    def predict(self, m: F32Array) -> F32Array:
        return (1 / (1 + np.exp(-m.astype(np.float64)))).astype(np.float32)


class Softmax:
    """Log loss of class probabilities; labels are class numbers."""

    is_bounded = True

    def prepare(self, y: F32Array) -> Aux:
        return y[:, 0].astype(np.intp)

    def gradient(self, m: F32Array, aux: Aux, out: F32Array) -> None:
        np.exp(m - m.max(axis=1, keepdims=True), out)
        out /= out.sum(axis=1, keepdims=True)
        out[np.arange(aux.size), aux] -= 1

    def value(self, m: F32Array, y: F32Array) -> F64Array:
        margin = m.astype(np.float64)
        own = margin[np.arange(y.shape[0]), y[:, 0].astype(np.intp)]
        top = margin.max(axis=1)
        return np.asarray(np.log(np.exp(margin - top[:, None]).sum(axis=1)) + top - own)

    def predict(self, m: F32Array) -> F32Array:
        if not m.shape[1]:
            return m.astype(np.float32)
        odds = np.exp(m.astype(np.float64) - m.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


class Squared:
    """Half the squared error, summed over the outputs that have a label (NaN: none)."""

    is_bounded = False

    def prepare(self, y: F32Array) -> Aux:
        return y[:, 0].copy() if y.shape[1] == 1 else y

    def gradient(self, m: F32Array, aux: Aux, out: F32Array) -> None:
        np.subtract(m, aux, out)
        if out.ndim > 1:
            out[np.isnan(aux)] = 0

    def value(self, m: F32Array, y: F32Array) -> F64Array:
        residual = _residual(m, y)
        return np.asarray((residual * residual / 2).sum(axis=1))

    def predict(self, m: F32Array) -> F32Array:
        return m.astype(np.float32)


class Huber(Squared):
    """Squared near the label, linear beyond `delta` (Huber 1964)."""

    def __init__(self, delta: float) -> None:
        self._delta = delta

    def gradient(self, m: F32Array, aux: Aux, out: F32Array) -> None:
        super().gradient(m, aux, out)
        np.clip(out, -self._delta, self._delta, out=out)

    def value(self, m: F32Array, y: F32Array) -> F64Array:
        far = np.abs(_residual(m, y))
        near = np.minimum(far, self._delta)
        return np.asarray((near * (far - near / 2)).sum(axis=1))


def _residual(m: F32Array, y: F32Array) -> F64Array:
    residual = m.astype(np.float64) - y.astype(np.float64)
    residual[np.isnan(y)] = 0
    return residual


def make_loss(name: str, huber_delta: float = 1.0) -> Loss:
    """Return the loss called `name`: logistic, softmax, squared or huber."""
    if name == "huber":
        return Huber(huber_delta)
    kinds: dict[str, type[Logistic] | type[Softmax] | type[Squared]] = {
        "logistic": Logistic,
        "softmax": Softmax,
        "squared": Squared,
    }
    return kinds[name]()
