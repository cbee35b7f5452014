"""Evidence that a bounded stream's mean is above a bound, as the wealth of a gambler who bets on it.

Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", section 4: for y in [0, 1] and
the null E[y_i | past] <= m at every step, K_t(l) = prod_i (1 + l (y_i - m)) with 0 <= l < 1/m is a non-negative
supermartingale that starts at 1, and so is a mixture of them over fixed bets l. By Ville's inequality the chance that
it ever reaches 1/alpha is at most alpha, however often anyone looks and whatever the dependence.

Kept as the logarithm of each bet's wealth. The null is about every step, not about the average: a stream that is
above m for a while and below it for longer breaks it. For averages take `eb.EmpiricalBernstein`.
"""

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F64Array, I64Array

BETS = 24  # size of the mixture
SMALLEST_BET, LARGEST_BET = 0.006, 0.9  # the largest in units of 1 / m


def bets(m: float, count: int = BETS) -> F64Array:
    """Return the mixture's bets on "the mean is above m", (count,), log-spaced in [0.006, 0.9 / m]."""
    if not 0 < m < 1:
        raise ValueError(f"the bound m must lie between 0 and 1, got {m}")
    return np.geomspace(SMALLEST_BET, LARGEST_BET / m, count)


def checked(y: float | npt.ArrayLike) -> F64Array:
    """Return `y` as a new or shared (n,) float64 array. Raises ValueError unless all of it lies in [0, 1]."""
    values = np.atleast_1d(np.asarray(y, np.float64))
    if values.ndim != 1 or not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError("a stream of evidence takes numbers in [0, 1]")
    return values


def log_mean_exp(logs: F64Array) -> F64Array:
    """Return log(mean(exp(row))) of each row of (n, K): the logarithm of a mixture with equal weights.

    Summed from left to right, so that a row gives the same bytes alone and among others.
    """
    top = logs.max(axis=-1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    summed = np.add.accumulate(np.exp(logs - shift), axis=-1)[..., -1]
    with np.errstate(divide="ignore"):  # log 0 is -inf: nothing in any of them
        means: F64Array = np.log(summed / logs.shape[-1]) + shift[..., 0]
    return means


class Bets:
    """Wealth of many streams at once that share the bound `m`.

    `log_wealth` (streams, K) float64, `log_e_max` (streams,) the highest log e-value each stream ever had (0 at its
    start). An update adds one row at a time to its stream, so it gives the same bytes however the rows are cut.
    """

    def __init__(self, m: float, streams: int = 1) -> None:
        self.m = m
        self.bets = bets(m)
        self.log_wealth = np.zeros((streams, BETS))
        self.log_e_max = np.zeros(streams)

    def grow(self, streams: int) -> None:
        """Make room for `streams` streams in all; new ones have seen nothing."""
        new = streams - self.log_e_max.size
        self.log_wealth = np.concatenate([self.log_wealth, np.zeros((new, BETS))])
        self.log_e_max = np.concatenate([self.log_e_max, np.zeros(new)])

    def log_e(self) -> F64Array:
        """Return the log e-value of each stream now, (streams,)."""
        return log_mean_exp(self.log_wealth)

    def update(self, stream: I64Array, y: F64Array) -> None:
        """Take `y` (n,) in [0, 1], each for its `stream` (n,). Rows of one stream stand together, in their order."""
        gains = np.log1p(np.outer(y - self.m, self.bets))
        starts = np.flatnonzero(np.diff(stream, prepend=-1))
        lengths = np.diff(np.append(starts, stream.size))
        if starts.size <= lengths.max(initial=0):
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                self._run(int(stream[start]), gains[start : start + length])
        else:
            for step in range(int(lengths.max())):
                rows = starts[lengths > step] + step
                self._one_each(stream[rows], gains[rows])

    def _run(self, stream: int, gains: F64Array) -> None:
        path = np.add.accumulate(np.concatenate([self.log_wealth[stream : stream + 1], gains]), axis=0)
        self.log_wealth[stream] = path[-1]
        best = float(log_mean_exp(path[1:]).max())
        self.log_e_max[stream] = max(float(self.log_e_max[stream]), best)

    def _one_each(self, streams: I64Array, gains: F64Array) -> None:
        wealth = self.log_wealth[streams] + gains
        self.log_wealth[streams] = wealth
        self.log_e_max[streams] = np.maximum(self.log_e_max[streams], log_mean_exp(wealth))


class BettingE:
    """Is the mean of this stream above `m`? One stream; `log_e` is the evidence that it is.

    `e = exp(log_e)` is an e-value at any time of one's choosing, and P(log_e_max >= log(1/alpha)) <= alpha over the
    whole life of the stream while E[y | past] <= m.
    """

    def __init__(self, m: float) -> None:
        self.n = 0
        self._one = Bets(m)

    @property
    def m(self) -> float:
        return self._one.m

    @property
    def log_e(self) -> float:
        return float(self._one.log_e()[0])

    @property
    def log_e_max(self) -> float:
        return float(self._one.log_e_max[0])

    @property
    def p_value(self) -> float:
        """1 / max e: a p-value that holds at any time."""
        return math.exp(-self.log_e_max)

    def update(self, y: float | npt.ArrayLike) -> None:
        """Take one number or (n,) numbers in [0, 1], in order; the same bytes however they are cut."""
        values = checked(y)
        self._one.update(np.zeros(values.size, np.int64), values)
        self.n += values.size

    def state(self) -> dict[str, Any]:
        return {"n": self.n, "log_wealth": self._one.log_wealth[0].tolist(), "log_e_max": self.log_e_max}

    @classmethod
    def restore(cls, m: float, state: dict[str, Any]) -> Self:
        """Return the stream that `state()` was taken from, exactly."""
        stream = cls(m)
        stream.n = int(state["n"])
        stream._one.log_wealth[0] = state["log_wealth"]
        stream._one.log_e_max[0] = state["log_e_max"]
        return stream
