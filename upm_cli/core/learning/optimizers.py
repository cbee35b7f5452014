"""Rules that move weights: each a pair of `init` and `update` with its state in plain arrays.

An update gets the gradient of one mini-batch as m elements: `at` (m,) flat weight positions, `g` (m,) float32. A
position may occur many times (a feature of several windows); what it gets is the sum over them. Weights that do not
occur are not touched: every rule is the sparse ("lazy") form, so its cost is that of the batch. `rate` is a number,
or (k,) where the flat positions run over k outputs. `g` may be overwritten.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.spec import LearnerSpec
from upm_cli.core.window import F32Array, F64Array

IntpArray = npt.NDArray[np.intp]
State = dict[str, F32Array]
Rate = float | F64Array

TINY: Final = np.float32(1e-20)  # what a sum of squares starts from, so that 0 / 0 can't happen


class Scratch:
    """Buffers that live from batch to batch and mean nothing between them."""

    def __init__(self) -> None:
        self._first = self._second = self._totals = np.zeros(0, np.float32)

    def first(self, size: int) -> F32Array:
        """Return (size,) float32 of any content; the same memory each time."""
        if self._first.size < size:
            self._first = np.empty(size + size // 2, np.float32)
        return self._first[:size]

    def second(self, size: int) -> F32Array:
        """Return another one."""
        if self._second.size < size:
            self._second = np.empty(size + size // 2, np.float32)
        return self._second[:size]

    def totals(self, at: IntpArray, g: F32Array, weights: int) -> F32Array:
        """Return for each element the sum of `g` over its position, (m,)."""
        if self._totals.size != weights:
            self._totals = np.zeros(weights, np.float32)
        np.add.at(self._totals, at, g)
        total = self._totals.take(at, None, self.second(at.size), "clip")
        self._totals[at] = 0
        return total


class Optimizer(Protocol):
    """One rule. `degrees` names its state arrays; each with how it scales with a feature's values (g: 1, g^2: 2)."""

    degrees: Mapping[str, int]
    floor: np.float32  # what sums of squares start from

    def init(self, weights: int) -> State:
        """Return the state for that many weights."""
        ...

    def update(
        self, state: State, w: F32Array, at: IntpArray, g: F32Array, rate: Rate, step: int, scratch: Scratch
    ) -> None:
        """Move `w` and `state` in place; `step` counts the batches, this one included."""
        ...


class Sgd:
    """w -= rate * sum g."""

    degrees: Mapping[str, int] = {}
    floor = np.float32(0)

    def init(self, weights: int) -> State:
        return {}

    def update(
        self, state: State, w: F32Array, at: IntpArray, g: F32Array, rate: Rate, step: int, scratch: Scratch
    ) -> None:
        _times(g, _negative(rate))
        np.add.at(w, at, g)


class Momentum:
    """v = momentum * v + sum g; w -= rate * v (Polyak 1964), both only where the batch has features."""

    degrees: Mapping[str, int] = {"velocity": 1}
    floor = np.float32(0)

    def __init__(self, momentum: float) -> None:
        self._momentum = momentum

    def init(self, weights: int) -> State:
        return {"velocity": np.zeros(weights, np.float32)}

    def update(
        self, state: State, w: F32Array, at: IntpArray, g: F32Array, rate: Rate, step: int, scratch: Scratch
    ) -> None:
        velocity = state["velocity"][at]
        velocity *= self._momentum
        velocity += scratch.totals(at, g, w.size)
        state["velocity"][at] = velocity
        w[at] -= _times(velocity, rate)


class AdaGrad:
    """n += sum g_i^2 over windows i; w -= rate * sum g_i / sqrt(n) (Duchi, Hazan & Singer 2011).

    All windows of a batch share the n after it: the delayed form of McMahan & Streeter 2014.
    """

    degrees: Mapping[str, int] = {"squares": 2}
    floor = TINY

    def init(self, weights: int) -> State:
        return {"squares": np.full(weights, TINY, np.float32)}

    def update(
        self, state: State, w: F32Array, at: IntpArray, g: F32Array, rate: Rate, step: int, scratch: Scratch
    ) -> None:
        squares = state["squares"]
        root = scratch.second(at.size)
        np.multiply(g, g, root)
        np.add.at(squares, at, root)
        squares.take(at, None, root, "clip")
        np.sqrt(root, root)
        if isinstance(rate, float):
            np.multiply(root, -1.0 / rate, root)
        else:
            _times(root, -1.0 / rate)
        np.divide(g, root, g)
        np.add.at(w, at, g)


class Adam:
    """Adam (Kingma & Ba 2015) with bias correction by the number of batches, moments kept only where features occur."""

    degrees: Mapping[str, int] = {"mean": 1, "squares": 2}
    floor = np.float32(0)
    beta1: Final = 0.9
    beta2: Final = 0.999
    epsilon: Final = 1e-8

    def init(self, weights: int) -> State:
        return {"mean": np.zeros(weights, np.float32), "squares": np.zeros(weights, np.float32)}

    def update(
        self, state: State, w: F32Array, at: IntpArray, g: F32Array, rate: Rate, step: int, scratch: Scratch
    ) -> None:
        total = scratch.totals(at, g, w.size)
        mean = self.beta1 * state["mean"][at] + (1 - self.beta1) * total
        squares = self.beta2 * state["squares"][at] + (1 - self.beta2) * (total * total)
        state["mean"][at] = mean
        state["squares"][at] = squares
        mean /= 1 - self.beta1**step
        squares /= 1 - self.beta2**step
        np.sqrt(squares, squares)
        squares += self.epsilon
        mean /= squares
        w[at] -= _times(mean, rate)


class Ftrl:
    """FTRL-proximal (McMahan et al. 2013): per-weight rates alpha / (beta + sqrt n), beta = 1; l1 gives exact zeros."""

    degrees: Mapping[str, int] = {"z": 1, "squares": 2}
    floor = np.float32(0)
    beta: Final = 1.0

    def __init__(self, l1: float, l2: float) -> None:
        self._l1, self._l2 = l1, l2

    def init(self, weights: int) -> State:
        return {"z": np.zeros(weights, np.float32), "squares": np.zeros(weights, np.float32)}

    def update(
        self, state: State, w: F32Array, at: IntpArray, g: F32Array, rate: Rate, step: int, scratch: Scratch
    ) -> None:
        before = np.sqrt(state["squares"][at])
        np.add.at(state["squares"], at, g * g)
        after = np.sqrt(state["squares"][at])
        sigma = _times(after - before, 1.0 / rate)
        z = state["z"][at] + scratch.totals(at, g, w.size) - sigma * w[at]
        state["z"][at] = z
        curvature = _times(after + np.float32(self.beta), 1.0 / rate)
        curvature += self._l2
        shrunk = np.sign(z) * np.maximum(np.abs(z) - np.float32(self._l1), 0)
        w[at] = -shrunk / curvature


def _negative(rate: Rate) -> Rate:
    return -rate


def _times(elements: F32Array, factor: Rate) -> F32Array:
    """Multiply `elements` in place by a number, or each group of k by (k,)."""
    if isinstance(factor, float):
        return np.multiply(elements, factor, elements)
    rows = elements.reshape(-1, factor.size)
    np.multiply(rows, factor.astype(np.float32), rows)
    return elements


def make_optimizer(spec: LearnerSpec) -> Optimizer:
    """Return the rule that `spec` names."""
    if spec.optimizer == "sgd":
        return Momentum(spec.momentum) if spec.momentum else Sgd()
    if spec.optimizer == "ftrl":
        return Ftrl(spec.l1, spec.l2)
    return Adam() if spec.optimizer == "adam" else AdaGrad()
