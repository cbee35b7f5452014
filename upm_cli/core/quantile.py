"""Order statistics of a finished sample: the P95 that drift is judged by, and the interval of a share."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


def p95_rank(n: int) -> int:
    """Return the 0-based rank of the P95 among `n` sorted values: floor(0.95 n), at most n - 1.

    In whole numbers, as 0.95 is not a binary fraction. Raises ValueError for an empty sample.
    """
    if n < 1:
        raise ValueError(f"a quantile needs at least one value, got n={n}")
    return min(95 * n // 100, n - 1)


def p95(values: npt.NDArray[Any]) -> float:
    """Return `sorted(values)[floor(0.95 n)]`: always one of the values, never an interpolation.

    `values` (n,) finite floats, not modified. P95 >= t exactly when at least n - floor(0.95 n) values are >= t.
    """
    rank = p95_rank(values.size)
    return float(np.partition(values, rank)[rank])


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of the share `hits / n` (Wilson 1927); (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
