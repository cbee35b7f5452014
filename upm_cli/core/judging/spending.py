"""How a budget of false alarms (alpha) is divided: among candidates, stages, attempts, and tenants as they appear.

Each rule gives shares that add up to at most 1 over everything that may ever come, and a share is fixed before the
evidence it is spent on is seen. So the union bound holds whatever happens later, and however many there will be.
"""

import math

import numpy as np

from upm_cli.core.window import F64Array

FIRST_ATTEMPT = 0.9  # share of a stage's alpha for the first attempt at it; the others divide the rest


def candidate_alpha(alpha: float, candidate: int, promoted: int) -> float:
    """Return the level at which candidate number `candidate` (from 1) is tested, after `promoted` were promoted.

    e-LOND (Xu & Ramdas 2024): alpha_j = alpha * g_j * (promoted + 1) with g_j = 6 / (pi j)^2, which add up to 1.
    Promoting at e >= 1 / alpha_j keeps the expected share of wrong promotions among all promotions at alpha at any
    time, under any dependence between the candidates. At most `alpha` itself.
    """
    if candidate < 1 or not 0 <= promoted < candidate:
        raise ValueError(f"candidate number {candidate} cannot come after {promoted} promotions")
    return alpha * min(1.0, 6.0 / (math.pi * candidate) ** 2 * (promoted + 1))


def stage_alpha(alpha: float, stages: int, attempt: int) -> float:
    """Return one stage's part of `alpha` at the given attempt (from 1).

    Each of `stages` has the same part. Nine tenths of it are for the first attempt; attempt a > 1 gets
    6 / (pi (a - 1))^2 of the rest, so any number of them stays within it.
    """
    if stages < 1 or attempt < 1:
        raise ValueError(f"stages and attempts count from 1, got {stages} and {attempt}")
    share = FIRST_ATTEMPT if attempt == 1 else (1 - FIRST_ATTEMPT) * 6.0 / (math.pi * (attempt - 1)) ** 2
    return alpha / stages * share


def arrival_shares(count: int) -> F64Array:
    """Return the share of alpha of the first `count` tenants in order of appearance, (count,) float64.

    The j-th (from 1), with 2^k <= j < 2^(k+1), gets 1 / ((k+1) (k+2) 2^k): the 2^k tenants of a doubling divide
    1/(k+1) - 1/(k+2) evenly, and these add up to 1. Compared with Bonferroni over a known number T the price is a
    factor of about log2(T)^2 in the e-value (a thousand tenants: 4 on top of 7 in its logarithm).
    """
    k = np.floor(np.log2(np.arange(1, count + 1, dtype=np.float64)))
    shares: F64Array = 1.0 / ((k + 1) * (k + 2) * 2.0**k)
    return shares
