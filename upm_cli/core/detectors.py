"""One-stream detectors: each says when, and with what chance of being wrong.

`BettingE` (a mean above a bound, ever), `EmpiricalBernstein` (bounds of a running average) and `ESR` (a change, with a
stated average run length) all have `update(y)` for one number or many, `state()` as plain numbers that survive JSON
exactly, and `restore(…)`.

`ESR` is the Shiryaev-Roberts e-detector of Shin, Ramdas & Rinaldo (2024), "E-detectors": for the null
E[y | past] <= m0, R <- (R + 1) (1 + l (y - m0)) makes R_n - n a supermartingale, so the first time it reaches A comes
after at least A numbers on average while the null holds. The cumulative-sum form, R <- max(R, 1) (1 + l (y - m0)), is
smaller at every step, hence also keeps it; it is slower to see a change.
"""

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.judging.betting import BettingE, checked, log_mean_exp
from upm_cli.core.judging.eb import EmpiricalBernstein
from upm_cli.core.window import F64Array

__all__ = ["ESR", "BettingE", "EmpiricalBernstein", "alarm_level", "change_bets"]

CHANGE_BETS = 20
KINDS = ("shiryaev-roberts", "cusum")


def alarm_level(rate_per_hour: float, hours_between_false_alarms: float, detectors: int = 1) -> float:
    """Return the level A at which `detectors` together raise a false alarm at most so often, on average.

    `rate_per_hour` is how many numbers each takes an hour. Each of J detectors gets J times the level: the number of
    their false alarms adds up.
    """
    level = detectors * rate_per_hour * hours_between_false_alarms
    if not 1 < level < math.inf or detectors < 1:
        raise ValueError(f"an average run length must be longer than one number, got {level}")
    return level


def change_bets(m0: float) -> F64Array:
    """Return the detector's bets, (20,), log-spaced in [0.02, 0.9 / m0]."""
    if not 0 < m0 < 1:
        raise ValueError(f"the bound m0 must lie between 0 and 1, got {m0}")
    return np.geomspace(0.02, 0.9 / m0, CHANGE_BETS)


class ESR:
    """Has the mean of this stream in [0, 1] risen above `m0`? Alarms when `stat` reaches `level`.

    While E[y | past] <= m0 the alarm comes after at least `level` numbers on average (`average_run_length`). It stays
    raised (`alarm_at`, the 1-based number of the row that raised it) until whoever is in charge starts a new detector.
    """

    def __init__(self, m0: float, level: float, kind: str = "shiryaev-roberts") -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if not 1 < level < math.inf:
            raise ValueError(f"the alarm level must be above 1, got {level}")
        self.m0 = m0
        self.level = level
        self.kind = kind
        self.n = 0
        self.alarm_at: int | None = None
        self._bets = change_bets(m0)
        self._log_r = np.full(CHANGE_BETS, -math.inf)  # log R of each bet; R is 0 before the first number

    @property
    def average_run_length(self) -> float:
        """Numbers until the first false alarm, on average, at least."""
        return self.level

    @property
    def log_stat(self) -> float:
        """Log of the mixture of R over the bets; -inf before the first number."""
        return float(log_mean_exp(self._log_r))

    @property
    def stat(self) -> float:
        """The mixture of R; inf where a float can't hold it."""
        return math.exp(self.log_stat) if self.log_stat < 709 else math.inf

    @property
    def alarmed(self) -> bool:
        return self.alarm_at is not None

    def update(self, y: float | npt.ArrayLike) -> None:
        """Take one number or (n,) numbers in [0, 1], in order; the same bytes however they are cut."""
        for gains in self.gains(y):
            self.step(gains)

    def gains(self, y: float | npt.ArrayLike) -> F64Array:
        """Return what numbers in [0, 1] (n,) bring each bet, (n, 20), for `step`: whoever changes the level between."""
        return np.log1p(np.outer(checked(y) - self.m0, self._bets))

    def step(self, gains: F64Array) -> None:
        """Take one number, by its row of `gains`."""
        restart = np.logaddexp if self.kind == "shiryaev-roberts" else np.maximum
        self._log_r = log_r = restart(self._log_r, 0.0) + gains
        self.n += 1
        if self.alarm_at is not None:
            return
        need = math.log(self.level)
        # a mixture is at most its largest part, which is quick to see
        if float(log_r.max()) >= need and float(log_mean_exp(log_r)) >= need:
            self.alarm_at = self.n

    def state(self) -> dict[str, Any]:
        return {"n": self.n, "alarm_at": self.alarm_at, "log_r": self._log_r.tolist() if self.n else []}

    @classmethod
    def restore(cls, m0: float, level: float, state: dict[str, Any], kind: str = "shiryaev-roberts") -> Self:
        """Return the detector that `state()` was taken from, exactly."""
        detector = cls(m0, level, kind)
        detector.n = int(state["n"])
        detector.alarm_at = state["alarm_at"]
        if detector.n:
            detector._log_r = np.array(state["log_r"], np.float64)
        return detector
