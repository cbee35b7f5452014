"""Drift that is small but stays: an e-detector for each feature over the looks, with one average run length for all."""

from typing import Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.detectors import CHANGE_BETS, change_bets
from upm_cli.core.features.sketch import Arrays
from upm_cli.core.window import F64Array, I64Array


class FeatureAlarms:
    """`size` detectors like `detectors.ESR`, in columns, on y = 1 where a look found the feature changed, else 0.

    While E[y | past] <= `rate` holds for every feature it takes at least `run_length` looks on average until any of
    them alarms: each one does at `size * run_length`. An alarm stays raised until `restart`; `at` (size,) has
    the seq of the look that raised it, or -1.
    """

    def __init__(self, size: int, *, rate: float, run_length: float) -> None:
        if not run_length >= 1:
            raise ValueError(f"run_length must be at least 1, got {run_length}")
        self.rate, self.level = rate, max(size, 1) * run_length
        self._bets = change_bets(rate)
        self._log_r: F64Array = np.full((size, CHANGE_BETS), -np.inf)
        self.at: I64Array = np.full(size, -1, np.int64)

    def update(self, changed: npt.NDArray[np.bool_], seq: int) -> None:
        """Take in one look: which features it found changed, (size,), and where it ended."""
        gains = np.log1p(np.outer(changed - self.rate, self._bets))
        self._log_r = np.logaddexp(self._log_r, 0.0) + gains
        self.at[(self.at < 0) & (self.log_stat() >= np.log(self.level))] = seq

    def restart(self, which: npt.NDArray[np.bool_]) -> None:
        """Begin the detectors `which` (size,) anew, without an alarm."""
        self._log_r[which], self.at[which] = -np.inf, -1

    def log_stat(self) -> F64Array:
        """Return the log of each detector's value, (size,): to be held against the log of `level`."""
        return np.asarray(np.logaddexp.reduce(self._log_r, axis=1) - np.log(CHANGE_BETS), np.float64)

    def dump(self) -> Arrays:
        """Return the whole state."""
        return {"log_r": self._log_r, "at": self.at}

    @classmethod
    def load(cls, arrays: Arrays, *, rate: float, run_length: float) -> Self:
        """Return the detectors that were dumped."""
        found = cls(arrays["at"].size, rate=rate, run_length=run_length)
        found._log_r, found.at = arrays["log_r"].copy(), arrays["at"].copy()
        return found
