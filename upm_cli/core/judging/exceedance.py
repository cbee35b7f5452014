"""The seed's rule with its uncertainty: how sure is it that the share of bad scores is over the limit?

P95 >= threshold means that at least n - floor(0.95 n) of n scores reach the threshold. That is a count, so the share
behind it has an exact interval (Clopper & Pearson 1934). The interval is for independent scores and one look; many
looks at many windows need a detector with a stated run length (`detectors.ESR`).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from upm_cli.core.quantile import p95_rank

LIMIT = 0.05  # share of scores that may reach the threshold: the complement of the P95
_TINY = 1e-300
_EDGE = 1e-9  # from 0 and 1, within which no quantile is looked for first
_NEAR = 2.0**-46  # how far a quantile may be from where Newton's method ends


class ExceedVerdict(StrEnum):
    """What a window's count of bad scores says."""

    OK = "ok"
    BREACH = "breach"  # over the limit, and the lower bound of the share is over it too
    BREACH_UNSURE = "breach_unsure"  # over the limit, within what chance does
    INSUFFICIENT = "insufficient"  # too few scores to say anything; never counts as ok


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceedance:
    """A count of scores that reached the threshold, its share's bounds, and the verdict."""

    verdict: ExceedVerdict
    hits: int
    n: int
    low: float  # each bound holds with probability 1 - alpha
    high: float


def judge_exceedance(hits: int, n: int, *, is_enough: bool, alpha: float = 0.025) -> Exceedance:
    """Judge `hits` of `n` scores at or over the threshold by the seed's rule, and say how sure that is.

    `is_enough`: there are as many samples as a verdict needs. With both bounds at 0.025 the interval has 95 %.
    """
    low, high = exceed_bounds(hits, n, alpha)
    if n < 1 or not is_enough:
        verdict = ExceedVerdict.INSUFFICIENT
    elif hits < n - p95_rank(n):
        verdict = ExceedVerdict.OK
    else:
        verdict = ExceedVerdict.BREACH if low > LIMIT else ExceedVerdict.BREACH_UNSURE
    return Exceedance(verdict=verdict, hits=hits, n=n, low=low, high=high)


def exceed_bounds(hits: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the Clopper-Pearson lower and upper bounds of a share, each at level 1 - alpha; (0, 1) when n is 0."""
    if not 0 <= hits <= n or not 0 < alpha < 1:
        raise ValueError(f"{hits} of {n} at alpha {alpha} is no sample")
    low = 0.0 if hits == 0 else _beta_quantile(hits, n - hits + 1, alpha)
    high = 1.0 if hits == n else _beta_quantile(hits + 1, n - hits, 1 - alpha)
    return low, high


def _beta_quantile(a: float, b: float, p: float) -> float:
    """Return where I_x(a, b) reaches p, by halving [0, 1] sixty times.

    Between a point at which it is below p and one at which it is not, it need not be asked elsewhere: so Newton's
    method, which takes a tenth of the time, says where to look, and has no part in what is found.
    """
    guess, reach = _newton(a, b, p), _NEAR
    floor, ceiling = 0.0, 1.0
    while reach < 1:
        under, over = guess - reach, guess + reach
        if (under <= 0 or incomplete_beta(a, b, under) < p) and (over >= 1 or incomplete_beta(a, b, over) >= p):
            floor, ceiling = under, over
            break
        reach *= 16
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle <= floor or (middle < ceiling and incomplete_beta(a, b, middle) < p):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _newton(a: float, b: float, p: float) -> float:
    """Return about where I_x(a, b) is p; far off now and then."""
    mean = a / (a + b)
    x = mean + NormalDist().inv_cdf(p) * math.sqrt(mean * (1 - mean) / (a + b + 1))
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    for _ in range(8):
        x = min(max(x, _EDGE), 1 - _EDGE)
        density = math.exp((a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - log_beta)
        step = (incomplete_beta(a, b, x) - p) / max(density, _TINY)
        x -= max(min(step, x / 2), (x - 1) / 2)
        if abs(step) < 2.0**-28:  # its square is less than is looked at below
            break
    return x


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b); P(Binomial(n, p) >= k) is I_p(k, n - k + 1).

    Continued fraction of DLMF 8.17.22, evaluated by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - incomplete_beta(b, a, 1 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):  # a window asks for thousands of these: no calls in here
            d = 1 + term * d
            d = 1.0 / (d if d > _TINY or d < -_TINY else _TINY)
            c = 1 + term / c
            c = c if c > _TINY or c < -_TINY else _TINY
            step *= c * d
            value *= c * d
        if abs(step - 1) < 1e-15:
            break
    return min(1.0, math.exp(front) * value / a)


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
