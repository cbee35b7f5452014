"""Order statistics of a finished sample: the P95 that drift is judged by."""

from typing import Any

import numpy as np
import numpy.typing as npt


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
