"""Which features of some windows are not distributed as in the reference: tests, effects and one decision for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from upm_cli.core.features.psi import distances, ks_p_value, psi, psi_p_value, spread
from upm_cli.core.features.sketch import MISSING, Sketch
from upm_cli.core.judging.multiplicity import benjamini_hochberg, holm
from upm_cli.core.window import F64Array, I64Array, U32Array

NEWCOMERS: Final = 20  # most frequent features unknown to the reference that are reported
LEAST_VALUES: Final = 50  # of a feature on either side, for a comparison of the values themselves
OUTER: Final = 100  # one in so many values at either end of the reference is cut for Wasserstein
_CORRECTIONS: Final = {"holm": holm, "bh": benjamini_hochberg}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as drift: significant among all features, and large enough to matter."""

    psi: float = 0.1
    w1: float = 0.1  # Wasserstein-1 in interquartile ranges of the reference
    correction: str = "holm"  # holm | bh
    min_windows: int = 500  # fewer are not judged: the p-value of PSI is too small below

    def __post_init__(self) -> None:
        if self.psi <= 0 or self.w1 <= 0 or self.min_windows < 1:
            raise ValueError("psi and w1 must be above 0, min_windows at least 1")
        if self.correction not in _CORRECTIONS:
            raise ValueError(f"correction must be holm or bh, got {self.correction!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One feature, now against the reference. `p_adjusted` is for all features that were tested together."""

    feature: int  # its 32-bit hash
    is_new: bool  # the reference does not have it among its counted features
    reference_present: float  # share of windows that have it
    present: float
    psi: float
    p: float
    p_adjusted: float
    ks: float | None  # distances of the values where present; None: too few, or only a handful of distinct ones
    w1: float | None
    is_large: bool  # PSI or W1 reaches its limit
    drifted: bool  # large and significant


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The reference side of the tests, with the same shape as the sketches that are held against it."""

    windows: int
    counts: I64Array  # (f, CELLS)
    samples: Sequence[F64Array]  # sorted values of each feature
    known: U32Array  # sorted hashes of all features that were counted, followed or not
    missed: int  # windows that a feature outside `known` may yet have been in


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tested:
    feature: int
    is_new: bool
    reference_present: float
    present: float
    psi: float
    p: float
    ks: float | None = None
    w1: float | None = None


def compare(baseline: Baseline, now: Sketch, limits: Limits, significance: float) -> tuple[Finding, ...]:
    """Return one finding for each followed feature and each frequent newcomer, in order of the shape, then newcomers.

    `significance` is the chance of any false `drifted` that is allowed among them. The p-value of a feature is that of
    its PSI, or twice the smaller of PSI's and KS's where values can be compared (Bonferroni). An empty `now` has none.
    """
    if not now.windows or not baseline.windows:
        return ()
    counts, values = now.counts(), now.sample.values()
    tested = [
        _followed(
            int(feature), baseline.counts[at], counts[at], baseline.samples[at], values[at], now.shape.discrete[at]
        )
        for at, feature in enumerate(now.shape.features.tolist())
    ]
    newcomers, untold = _newcomers(baseline, now)
    tested += newcomers
    p = np.array([one.p for one in tested] + [1.0] * untold)
    adjusted = _CORRECTIONS[limits.correction](p).tolist()
    return tuple(
        _decided(one, p_adjusted, limits, significance)
        for one, p_adjusted in zip(tested, adjusted[: len(tested)], strict=True)
    )


def _decided(one: _Tested, adjusted: float, limits: Limits, significance: float) -> Finding:
    large = one.psi >= limits.psi or (one.w1 is not None and one.w1 >= limits.w1)
    return Finding(
        feature=one.feature,
        is_new=one.is_new,
        reference_present=one.reference_present,
        present=one.present,
        psi=one.psi,
        p=one.p,
        p_adjusted=adjusted,
        ks=one.ks,
        w1=one.w1,
        is_large=large,
        drifted=large and adjusted <= significance,
    )


def _followed(
    feature: int, before: I64Array, counts: I64Array, old: F64Array, new: F64Array, discrete: bool
) -> _Tested:
    p, ks, w1 = psi_p_value(before, counts), None, None
    scale = spread(old)
    if not discrete and scale is not None and min(old.size, new.size) >= LEAST_VALUES:
        edge = old.size // OUTER
        ks, moved = distances(old, new, (float(old[edge]), float(old[-1 - edge])))
        w1 = moved / scale
        p = min(1.0, 2 * min(p, ks_p_value(ks, old.size, new.size)))
    return _Tested(
        feature=feature,
        is_new=False,
        reference_present=1 - int(before[MISSING]) / int(before.sum()),
        present=1 - int(counts[MISSING]) / int(counts.sum()),
        psi=psi(before, counts),
        p=p,
        ks=ks,
        w1=w1,
    )


def _newcomers(baseline: Baseline, now: Sketch) -> tuple[list[_Tested], int]:
    """Test the presence of the most frequent features that the reference did not count; return how many more there are.

    In the reference they count as often as can be. The others, being rarer, have larger p-values.
    """
    fresh = ~np.isin(now.others.keys, baseline.known)
    keys, counts = now.others.keys[fresh], np.minimum(now.others.counts[fresh], now.windows)
    order = np.lexsort((keys, -counts))[:NEWCOMERS]
    before = np.array([baseline.missed, baseline.windows - baseline.missed])
    found = []
    for key, count in zip(keys[order].tolist(), counts[order].tolist(), strict=True):
        after = np.array([count, now.windows - count])
        found.append(
            _Tested(
                feature=key,
                is_new=True,
                reference_present=baseline.missed / baseline.windows,
                present=count / now.windows,
                psi=psi(before, after),
                p=psi_p_value(before, after),
            )
        )
    return found, keys.size - order.size
