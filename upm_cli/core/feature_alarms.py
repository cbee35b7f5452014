"""Drift that is small but stays: an e-detector for each feature over the looks, with one average run length for all.

The e-Shiryaev-Roberts procedure (Shin, Ramdas & Rinaldo 2022) on y = 1 where a look found the feature changed, else 0.
While E[y | past] <= `rate` it takes at least `run_length` looks on average until any of the features alarms.
"""

from typing import Final, Self

import numpy as np

from upm_cli.core.feature_sketch import Arrays
from upm_cli.core.window import F64Array, I64Array

BETS: Final = 20
_SMALLEST: Final = 0.02
_CAP: Final = 1e300


class FeatureAlarms:
    """`size` detectors; each alarms at `size * run_length`, and keeps the position of its first alarm."""

    def __init__(self, size: int, *, rate: float, run_length: float) -> None:
        if not (0 < rate < 1 and run_length >= 1):
            raise ValueError(f"rate must lie between 0 and 1, run_length be at least 1: got {rate}, {run_length}")
        self.rate, self.threshold = rate, size * run_length
        self._bets: F64Array = np.geomspace(_SMALLEST, 0.9 / rate, BETS)
        self._r: F64Array = np.zeros((size, BETS))
        self.at: I64Array = np.full(size, -1, np.int64)  # seq of the look that raised the alarm; -1: none

    def update(self, changed: np.ndarray, seq: int) -> None:
        """Take in one look: which features it found changed, (size,) of booleans, and where it ended."""
        growth = 1 + self._bets * (changed[:, None].astype(np.float64) - self.rate)
        self._r = np.minimum((self._r + 1) * growth, _CAP)
        self.at[(self.at < 0) & (self.evidence() >= self.threshold)] = seq

    def evidence(self) -> F64Array:
        """Return the e-detector of each feature, (size,): to be held against `threshold`."""
        return np.asarray(self._r.mean(axis=1), np.float64)

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {"r": self._r, "at": self.at}

    @classmethod
    def load(cls, arrays: Arrays, *, rate: float, run_length: float) -> Self:
        """Return the detectors that were dumped."""
        found = cls(arrays["at"].size, rate=rate, run_length=run_length)
        found._r, found.at = arrays["r"].copy(), arrays["at"].copy()
        return found
