"""Betting that also finds harm which begins late: some of the money is kept back and brought in step by step.

A gambler who bets from the first block on has lost nearly everything when a challenger that was good for a week turns
bad, and takes days to win it back. Here half of one unit of money is there at the start and w_t is added before block
t, with w_1 + w_2 + … = 1/2:

    R_0 = 1/2,  R_t(l) = (R_{t-1}(l) + w_t) (1 + l (y_t - m)),  w_t = (1 / log2(t + 1) - 1 / log2(t + 2)) / 2

Under the null E[y_t | past] <= m, R_t plus what is still kept back is a non-negative supermartingale that starts at 1:
by Ville's inequality the chance that R ever reaches 1/alpha is at most alpha, as without restarts. (It is the
Shiryaev-Roberts sum of `detectors`, with weights that add up to 1 in place of 1 each: an e-process, not a run length.)
Harm that begins at block t is found as if the betting began there, at the price of log(1 / w_t), which is about
log t + 2 log log t.
"""

import math

import numpy as np

from upm_cli.core.judging.betting import Bets, log_mean_exp
from upm_cli.core.window import F64Array, I64Array

FIRST = 0.5  # what is there before the first block


def log_added(t: I64Array) -> F64Array:
    """Return log w_t of the blocks with these numbers (n,), from 1; without cancellation also for large ones."""
    number = np.asarray(t, np.float64)
    left, right = np.log(number + 1), np.log(number + 2)
    share = (1 - FIRST) * math.log(2) * np.log1p(1 / (number + 1)) / (left * right)
    return np.asarray(np.log(share), np.float64)


class RestartingBets(Bets):
    """As `Bets`, with money added before every block. `seen` (streams,) int64: blocks of each stream so far."""

    def __init__(self, m: float, streams: int = 1) -> None:
        super().__init__(m, streams)
        self.seen: I64Array = np.zeros(streams, np.int64)
        self.log_wealth += math.log(FIRST)

    def grow(self, streams: int) -> None:
        """Make room for `streams` streams in all; new ones have seen nothing."""
        old = self.seen.size
        super().grow(streams)
        self.seen = np.concatenate([self.seen, np.zeros(streams - old, np.int64)])
        self.log_wealth[old:] = math.log(FIRST)

    def _run(self, stream: int, gains: F64Array) -> None:
        added = log_added(np.arange(1, gains.shape[0] + 1) + self.seen[stream])
        path, wealth = np.empty_like(gains), self.log_wealth[stream]
        for row, gain in enumerate(gains):
            wealth = np.logaddexp(wealth, added[row]) + gain
            path[row] = wealth
        self.log_wealth[stream] = wealth
        self.seen[stream] += gains.shape[0]
        self.log_e_max[stream] = max(float(self.log_e_max[stream]), float(log_mean_exp(path).max()))

    def _one_each(self, streams: I64Array, gains: F64Array) -> None:
        self.seen[streams] += 1
        wealth = np.logaddexp(self.log_wealth[streams], log_added(self.seen[streams])[:, None]) + gains
        self.log_wealth[streams] = wealth
        self.log_e_max[streams] = np.maximum(self.log_e_max[streams], log_mean_exp(wealth))
