"""How far two samples are apart: PSI over bins with a p-value, Wasserstein-1 and Kolmogorov-Smirnov on values."""

import math
from typing import Final

import numpy as np

from upm_cli.core.window import F64Array, I64Array

_LEAST: Final = 5.0  # expected count of a cell from which on the chi-square approximation holds
_SMOOTHING: Final = 0.5  # added to each cell, so that an empty one has a finite logarithm


def psi(reference: I64Array, current: I64Array) -> float:
    """Return the population stability index of two rows of counts over the same bins, each (b,).

    sum of (c - r) * ln(c / r) over the shares r, c of the bins that either has; 0.5 is added to each count.
    0 when either is empty.
    """
    if not (reference.any() and current.any()):
        return 0.0
    used = (reference + current) > 0
    if not used.all():
        reference, current = reference[used], current[used]
    a, b = reference + _SMOOTHING, current + _SMOOTHING
    a /= np.add.reduce(a)
    b /= np.add.reduce(b)
    return float(np.add.reduce((b - a) * np.log(b / a)))


def psi_p_value(reference: I64Array, current: I64Array) -> float:
    """Return the chance of a PSI at least this large when both rows of counts come from the same distribution.

    PSI / (1/n + 1/m) is asymptotically chi-square with one degree less than bins (Yurdakul & Naranjo 2020). Cells
    that expect fewer than 5 in either sample are joined with their neighbours first; 1 when fewer than two are left.
    """
    a, b = pooled(reference, current)
    if a.size < 2:
        return 1.0
    return chi_square_tail(psi(a, b) / (1 / int(a.sum()) + 1 / int(b.sum())), a.size - 1)


def pooled(reference: I64Array, current: I64Array) -> tuple[I64Array, I64Array]:
    """Return both rows of counts with neighbours joined until each cell expects at least 5 in either sample."""
    here, there = reference.tolist(), current.tolist()
    smaller, larger = sorted((sum(here), sum(there)))
    if smaller == 0:
        return reference[:0], current[:0]
    needed = _LEAST * (smaller + larger)
    starts, held = [0], 0
    for at, (one, other) in enumerate(zip(here, there, strict=True), 1):
        held += one + other
        if held * smaller >= needed:
            starts.append(at)
            held = 0
    starts.pop()  # it begins after the end, or what is left is too little and joins the cell before
    starts = starts or [0]
    return np.add.reduceat(reference, starts), np.add.reduceat(current, starts)


def chi_square_tail(x: float, df: int) -> float:
    """Return P(X >= x) of a chi-square variable with `df` >= 1 degrees of freedom.

    The finite sums of Abramowitz & Stegun 26.4.4 and 26.4.5, all terms positive: no digits are lost in the tail.
    """
    if df < 1:
        raise ValueError(f"df must be at least 1, got {df}")
    if x <= 0:
        return 1.0
    half = x / 2
    odd = df % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    term = math.exp(-half) * (math.sqrt(half) / math.gamma(1.5) if odd else 1.0)
    for i in range(df // 2):
        total += term
        term *= half / (i + 1 + odd / 2)
    return min(1.0, total)


def distances(
    reference: F64Array, current: F64Array, within: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float]:
    """Return (Kolmogorov-Smirnov D, Wasserstein-1) of two sorted samples (n,) and (m,), neither empty.

    Both exact, ties included: max and integral of |F - G| over the empirical distribution functions. For equal sizes
    the second is the mean of |a - b| over matched order statistics. `within` cuts values to a range for the second,
    as single values far out would make it large by chance.
    """
    points = np.concatenate([reference, current])
    points.sort(kind="stable")
    gap = np.abs(
        reference.searchsorted(points, side="right") / reference.size
        - current.searchsorted(points, side="right") / current.size
    )
    return float(gap.max()), float((gap[:-1] * np.diff(points.clip(*within))).sum())


def ks_p_value(d: float, n: int, m: int) -> float:
    """Return the chance of a two-sample D at least this large under equal continuous distributions.

    Kolmogorov's limit at (sqrt(N) + 0.12 + 0.11 / sqrt(N)) D with N = nm / (n + m) (Stephens 1970). Ties make it larger
    than it need be, never smaller in the limit.
    """
    root = math.sqrt(n * m / (n + m))
    x = (root + 0.12 + 0.11 / root) * d
    if x < 0.2:
        return 1.0
    if x < 1.2:  # the other series of the theta function, as this one converges slowly here
        terms = (math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8 * x * x)) for k in range(1, 8))
        return min(1.0, max(0.0, 1 - math.sqrt(2 * math.pi) / x * math.fsum(terms)))
    return min(1.0, 2 * math.fsum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 8)))


def spread(ordered: F64Array) -> float | None:
    """Return the scale of a sorted sample: its interquartile range, else 1.349 standard deviations; None if constant.

    1.349 standard deviations are the interquartile range of a normal distribution.
    """
    n = ordered.size
    if n == 0:
        return None
    scale = float(ordered[(3 * n) // 4 if n > 1 else 0] - ordered[n // 4])
    if scale <= 0:
        scale = 1.349 * float(ordered.std())
    return scale if scale > 0 and math.isfinite(scale) else None
