"""The detectors of `upm_cli.core` over thousands of streams at once: the same formulas, laid out for speed.

Every function takes (streams, n) and returns the 1-based number of the row that raised the alarm, 0 for none. `agrees`
runs the detector that ships over the first streams, one number at a time, and must find the same rows.
"""

import math

import numpy as np

from upm_cli.core.detectors import ESR, BettingE, EmpiricalBernstein, change_bets
from upm_cli.core.judging.betting import bets
from upm_cli.core.judging.eb import MIXTURE, PSI
from upm_cli.core.judging.eb_differences import DifferenceBounds

Array = np.ndarray
STEPS, STREAMS = 64, 100  # chunk: small enough for the cache


def first(raised: Array) -> Array:
    """Return the 1-based column of the first True of each row, 0 where there is none."""
    return np.where(raised.any(axis=1), raised.argmax(axis=1) + 1, 0)


def betting(y: Array, m: float, alpha: float) -> Array:
    """When does the wealth of betting on "above m" reach 1/alpha?"""
    grid, need = bets(m), math.log(1 / alpha)
    alarms = np.zeros(y.shape[0], np.int64)
    for top in range(0, y.shape[0], STREAMS):
        part = y[top : top + STREAMS] - m
        log_wealth = np.zeros((part.shape[0], grid.size))
        found = np.zeros(part.shape[0], np.int64)
        for at in range(0, part.shape[1], STEPS):
            growth = np.multiply.accumulate(1 + part[:, at : at + STEPS, None] * grid, axis=1)
            scale = log_wealth.max(axis=1)
            wealth = np.exp(log_wealth - scale[:, None]) / grid.size
            log_e = np.log(np.matmul(growth, wealth[:, :, None])[:, :, 0]) + scale[:, None]
            hit = first(log_e >= need)
            found = np.where((found == 0) & (hit > 0), at + hit, found)
            log_wealth += np.log(growth[:, -1])
            if found.all():
                break
        alarms[top : top + STREAMS] = found
    return alarms


def bernstein(y: Array, mu: float, alpha: float) -> Array:
    """When does `EmpiricalBernstein` on `y` in [0, 1] rule out "the running average is at most mu"?"""
    alarms = np.zeros(y.shape[0], np.int64)
    t = np.arange(1, y.shape[1] + 1)
    for top in range(0, y.shape[0], STREAMS):
        part = y[top : top + STREAMS]
        total = np.cumsum(part, axis=1)
        variance = np.cumsum((part - (0.5 + total - part) / t) ** 2, axis=1)
        alarms[top : top + STREAMS] = mixture_alarms(total - t * mu, variance, alpha)
    return alarms


def not_worse(x: Array, margin: float, alpha: float) -> Array:
    """When does `DifferenceBounds` on `x` in [-1, 1] rule out "the running average is at least margin"?"""
    alarms = np.zeros(x.shape[0], np.int64)
    t = np.arange(1, x.shape[1] + 1)
    for top in range(0, x.shape[0], STREAMS):
        part = x[top : top + STREAMS]
        total = np.cumsum(part, axis=1)
        variance = np.cumsum((part - np.maximum((total - part) / t, 0.0)) ** 2, axis=1)
        alarms[top : top + STREAMS] = mixture_alarms(t * margin - total, variance, alpha)
    return alarms


def mixture_alarms(excess: Array, variance: Array, alpha: float) -> Array:
    """When does the mixture reach 1/alpha? Each (streams, n).

    It is at most its largest term, whose maximum over all bets is D - V ln(1 + D / V): only where that suffices is
    the mixture computed.
    """
    excess, variance = np.maximum(excess, 0.0), np.maximum(variance, 1e-300)
    possible = excess - variance * np.log1p(excess / variance) >= math.log(1 / alpha)
    alarms = np.zeros(excess.shape[0], np.int64)
    for row in np.flatnonzero(possible.any(axis=1)):
        where = np.flatnonzero(possible[row])
        logs = np.outer(excess[row, where], MIXTURE) - np.outer(variance[row, where], PSI)
        reached = np.flatnonzero(np.exp(np.minimum(logs, 700)).mean(axis=1) >= 1 / alpha)
        alarms[row] = where[reached[0]] + 1 if reached.size else 0
    return alarms


def peeked_t(x: Array, mu: float, alpha: float = 0.05, least: int = 30) -> Array:
    """When does a one-sided t-test of "the mean is at most mu", looked at after every row from `least` on, reject?"""
    from scipy.stats import t as student

    n = np.arange(1, x.shape[1] + 1)
    limit = np.full(n.size, student.ppf(1 - alpha, 1000))  # the quantile hardly moves from there on, and is slow
    limit[:1000] = student.ppf(1 - alpha, np.maximum(n[:1000] - 1, 1))
    alarms = np.zeros(x.shape[0], np.int64)
    for top in range(0, x.shape[0], STREAMS):
        part = x[top : top + STREAMS] - mu
        mean = np.cumsum(part, axis=1) / n
        spread = np.maximum(np.cumsum(part * part, axis=1) / n - mean * mean, 1e-18)
        alarms[top : top + STREAMS] = first((mean * np.sqrt(np.maximum(n - 1, 1) / spread) >= limit) & (n >= least))
    return alarms


class Change:
    """The e-detector over many streams, in plain numbers (an alarm stops a stream long before they overflow)."""

    def __init__(self, streams: int, m0: float, kind: str = "shiryaev-roberts") -> None:
        self.m0, self.kind, self.grid = m0, kind, change_bets(m0)
        self.r = np.zeros((streams, self.grid.size))

    def step(self, y: Array) -> Array:
        """Take one number for each stream and return the statistic of each."""
        start = self.r + 1 if self.kind == "shiryaev-roberts" else np.maximum(self.r, 1.0)
        self.r = start * (1 + np.outer(y - self.m0, self.grid))
        statistic: Array = self.r.mean(axis=1)
        return statistic

    def keep(self, streams: Array) -> None:
        self.r = self.r[streams]


def agrees(y: Array, alarms: Array, detector: str, limit: float, alpha: float, streams: int = 3) -> bool:
    """Say whether the shipped detector, fed one number at a time, raises its alarm on the same rows."""
    make = {"betting": lambda: BettingE(limit), "bernstein": EmpiricalBernstein, "not worse": DifferenceBounds}
    need = math.log(1 / alpha)
    for row in range(streams):
        stream, found = make[detector](), 0
        for at, value in enumerate(y[row].tolist(), 1):
            stream.update(value)
            if isinstance(stream, BettingE):
                log_e = stream.log_e
            elif isinstance(stream, DifferenceBounds):
                log_e = stream.log_e_below(limit)
            else:
                log_e = stream.log_e(limit)
            if log_e >= need:
                found = at
                break
        if found != alarms[row]:
            return False
    return True


def change_agrees(y: Array, m0: float, level: float, kind: str, alarms: Array) -> bool:
    """The same for the change detector; `y` (streams, n)."""
    for row, expected in zip(y, alarms.tolist(), strict=True):
        detector = ESR(m0, level, kind)
        detector.update(row)
        if (detector.alarm_at or 0) != expected:
            return False
    return True
