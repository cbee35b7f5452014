"""Confidence bounds of a bounded stream's mean that hold at all times at once.

`EmpiricalBernstein` bounds the running average of the conditional means, mean_i E[y_i | past], and needs nothing else
of the stream: it may drift, depend on its past, or break. Howard, Ramdas, McAuliffe & Sekhon (2021), theorem 4; used to
compare forecasters by Choe & Ramdas (2024): with psi(l) = -ln(1 - l) - l and any prediction yhat_i of y_i made before
it,

    exp(l sum_i (y_i - mu_i) - psi(l) V_t),  V_t = sum_i (y_i - yhat_i)^2,  0 <= l < 1

is a non-negative supermartingale that starts at 1. A fixed mixture over l keeps that, and inverting it at 1/alpha gives
a bound whose coverage over all t is at least 1 - alpha.

`predictable_lower` chooses its l as it goes (Waudby-Smith & Ramdas 2024, theorem 2): tighter on a few hundred numbers,
but for a mean that stays the same.
"""

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.judging.betting import checked, log_mean_exp
from upm_cli.core.window import F64Array

MIXTURE = np.geomspace(0.003, 0.9, 24)  # the l of the mixture
PSI = -np.log1p(-MIXTURE) - MIXTURE
BISECTIONS = 50


def log_mixture(excess: float, variance: float) -> float:
    """Return log of the mixture of exp(l excess - psi(l) variance); `variance` is V_t, `excess` is sum(y) - t mu."""
    return float(log_mean_exp(MIXTURE * excess - PSI * variance))


class EmpiricalBernstein:
    """Bounds of the running average of a stream in [0, 1], from below and from above.

    Each side alone holds at all times at once with probability 1 - alpha; for both together give each half of it.
    The same V serves both sides, as predicting 1 - y by 1 - yhat errs by the same amount. State: t, S = sum(y), V.
    """

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        self.variance = 0.0  # V_t: a sum, not a mean

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    def update(self, y: float | npt.ArrayLike) -> None:
        """Take one number or (n,) numbers in [0, 1], in order; the same bytes however they are cut.

        The prediction of each is yhat = (1/2 + sum of those before) / (1 + how many).
        """
        values = checked(y)
        if not values.size:
            return
        sums = np.add.accumulate(np.concatenate([[self.total], values]))
        predicted = (0.5 + sums[:-1]) / np.arange(self.n + 1, self.n + 1 + values.size)
        squares = np.concatenate([[self.variance], (values - predicted) ** 2])
        self.variance = float(np.add.accumulate(squares)[-1])
        self.total = float(sums[-1])
        self.n += values.size

    def log_e(self, mu: float) -> float:
        """Return the evidence that the running average is above `mu`; 1/alpha rules `mu` out from below."""
        return log_mixture(self.total - self.n * mu, self.variance)

    def log_e_below(self, mu: float) -> float:
        """Return the evidence that the running average is below `mu`."""
        return log_mixture(self.n * mu - self.total, self.variance)

    def lower(self, alpha: float) -> float:
        """Return the lower confidence bound at level 1 - alpha, in [0, 1]; 0 as long as nothing is known."""
        return self._bound(self.total, alpha)

    def upper(self, alpha: float) -> float:
        """Return the upper confidence bound at level 1 - alpha, in [0, 1]; 1 as long as nothing is known."""
        return 1.0 - self._bound(self.n - self.total, alpha)

    def _bound(self, total: float, alpha: float) -> float:
        need = math.log(1 / alpha)
        low, high = 0.0, total / self.n if self.n else 0.0
        if log_mixture(total - self.n * low, self.variance) < need:
            return 0.0
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            if log_mixture(total - self.n * middle, self.variance) >= need:
                low = middle
            else:
                high = middle
        return low

    def state(self) -> dict[str, Any]:
        return {"n": self.n, "total": self.total, "variance": self.variance}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        """Return the stream that `state()` was taken from, exactly."""
        stream = cls()
        stream.n, stream.total, stream.variance = int(state["n"]), float(state["total"]), float(state["variance"])
        return stream


def rows_until(rate: float, variance_rate: float, log_need: float, most: int = 10**9) -> int | None:
    """Return how many rows it takes until the mixture reaches `log_need`, if every row is like those so far.

    `rate` is the mean of y - mu over a row, `variance_rate` that of its squared prediction error. None when it never
    would: the mean is on the wrong side, or it takes more than `most` rows.
    """
    if rate <= 0 or log_mixture(most * rate, most * variance_rate) < log_need:
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if log_mixture(middle * rate, middle * variance_rate) >= log_need:
            high = middle
        else:
            low = middle
    return high


def predictable_lower(y: F64Array, alpha: float) -> F64Array:
    """Return the lower bound after each of `y` (n,) in [0, 1] by the predictable plug-in, (n,).

    Waudby-Smith & Ramdas (2024), theorem 2, with the bets of their equation 15 cut at 1/2, and each number predicted
    by the plain mean of those before it (the first by 0). It bounds a mean that is the same at every step
    (E[y_i | past] = mu); for one that moves use `EmpiricalBernstein`.
    """
    values = checked(y)
    t = np.arange(1, values.size + 1)
    means = (0.5 + np.cumsum(values)) / (t + 1)
    before = np.concatenate([[0.0], np.cumsum(values)[:-1] / t[:-1]])
    spread = (0.25 + np.cumsum((values - means) ** 2)) / (t + 1)
    spread_before = np.concatenate([[0.25], spread[:-1]])
    bet = np.minimum(0.5, np.sqrt(2 * math.log(1 / alpha) / (t * np.log(1 + t) * spread_before)))
    lost = np.cumsum((values - before) ** 2 * (-np.log1p(-bet) - bet))
    bound: F64Array = (np.cumsum(bet * values) - lost - math.log(1 / alpha)) / np.cumsum(bet)
    return np.maximum(bound, 0.0)
