"""Confidence bounds of the running average of differences in [-1, 1], for streams that are mostly near 0.

The theorem behind `eb.EmpiricalBernstein` asks only that no number lies more than 1 beyond its prediction on the far
side: x_i - xhat_i >= -1 for a lower bound. For numbers in [-1, 1] that holds for any prediction xhat_i <= 0, so the
running mean, cut at 0, will do. Mapping [-1, 1] to [0, 1] instead would halve every number, and so take up to twice as
many. For the upper bound the same holds mirrored. Each side keeps its own sum of squared prediction errors.
"""

import math

import numpy as np
import numpy.typing as npt

from upm_cli.core.judging.eb import BISECTIONS, log_mixture


class DifferenceBounds:
    """Bounds of mean_i E[x_i | past], each at all times at once with probability 1 - alpha.

    State: n, `total` = sum(x), and for each side V = sum of squared errors of its predictions, which are the mean of
    the numbers before (with one 0 added), cut at 0.
    """

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        self.variance_above = 0.0  # V of the upper bound; predictions >= 0
        self.variance_below = 0.0  # V of the lower bound; predictions <= 0

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    def update(self, x: float | npt.ArrayLike) -> None:
        """Take one number or (n,) numbers in [-1, 1], in order; the same bytes however they are cut."""
        values = np.atleast_1d(np.asarray(x, np.float64))
        if values.ndim != 1 or not bool((np.abs(values) <= 1).all()):
            raise ValueError("differences must lie in [-1, 1]")
        if not values.size:
            return
        sums = np.add.accumulate(np.concatenate([[self.total], values]))
        predicted = sums[:-1] / np.arange(self.n + 1, self.n + 1 + values.size)
        above = np.concatenate([[self.variance_above], (values - np.maximum(predicted, 0.0)) ** 2])
        below = np.concatenate([[self.variance_below], (values - np.minimum(predicted, 0.0)) ** 2])
        self.variance_above = float(np.add.accumulate(above)[-1])
        self.variance_below = float(np.add.accumulate(below)[-1])
        self.total = float(sums[-1])
        self.n += values.size

    def log_e_above(self, mu: float) -> float:
        """Return the evidence that the running average is above `mu`."""
        return log_mixture(self.total - self.n * mu, self.variance_below)

    def log_e_below(self, mu: float) -> float:
        """Return the evidence that the running average is below `mu`."""
        return log_mixture(self.n * mu - self.total, self.variance_above)

    def lower(self, alpha: float) -> float:
        """Return the lower confidence bound at level 1 - alpha, in [-1, 1]; -1 as long as nothing is known."""
        return _lower(self.n, self.total, self.variance_below, alpha)

    def upper(self, alpha: float) -> float:
        """Return the upper confidence bound at level 1 - alpha, in [-1, 1]; 1 as long as nothing is known."""
        return -_lower(self.n, -self.total, self.variance_above, alpha)


def _lower(n: int, total: float, variance: float, alpha: float) -> float:
    need = math.log(1 / alpha)
    low, high = -1.0, total / n if n else -1.0
    if log_mixture(total - n * low, variance) < need:
        return low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if log_mixture(total - n * middle, variance) >= need:
            low = middle
        else:
            high = middle
    return low
