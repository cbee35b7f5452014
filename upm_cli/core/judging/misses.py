"""Has the share of bad scores risen above what the seed's rule allows? An e-detector with a stated run length.

The seed's rule lets 5 % of a window's scores reach the threshold. Here the scores of 20 comparisons in a row are one
number in [0, 1] (their share at or over the threshold; under the regret rule whether the block's regret is), and
`ESR` watches whether its mean rose above 5 %. While it has not, a false alarm comes after at least `level` blocks on
average; the level is what the budget of false alarms asks for at the pace at which blocks have come so far.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

import numpy as np

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.detectors import ESR
from upm_cli.core.judging.exceedance import LIMIT
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.window import F64Array, I64Array

BLOCK: Final = 20
SHARE: Final = 0.5  # of the budget of false alarms; the rest is for feature drift
LEAST_LEVEL: Final = 100.0  # blocks: below this an alarm says nothing


class _Block(NamedTuple):
    """So many scores in a row as one number. `first` and `last` are log rows, `at_ms` the newest event time so far."""

    mean: float
    first: int
    last: int
    at_ms: int


@dataclass(slots=True)
class Misses:
    """A fold over the comparisons of a lineage. State: one detector and one open block."""

    detector: ESR = field(default_factory=lambda: ESR(LIMIT, LEAST_LEVEL))
    alarm_seq: int | None = None  # log position at which the alarm was raised
    doubt_from: int = 0  # first log row after the share of bad scores was last as low as it should be
    _in_block: int = 0
    _block_from: int = 0  # log row of its first score
    _sum: float = 0.0
    _total: float = 0.0  # of all blocks
    _excess: float = 0.0  # running sum of (block - LIMIT), and its lowest value so far
    _lowest: float = 0.0
    _is_calm: bool = True  # the last block was the lowest
    _first_ms: int | None = None
    _newest_ms: int = 0

    def advance(self, table: Comparisons, threshold: float, budget: FalseAlarmBudget, *, by_regret: bool) -> None:
        """Take the next comparisons of the log; the same state however they are cut."""
        with np.errstate(invalid="ignore", over="ignore"):
            excess = (table.brier - table.base_brier).astype(np.float64)
        scores = excess if by_regret else table.score.astype(np.float64)
        usable = np.flatnonzero(np.isfinite(scores))
        if not usable.size:
            return
        scores, starts = scores[usable], table.start_ms[usable]
        self._first_ms = int(starts[0]) if self._first_ms is None else self._first_ms
        newest = np.maximum.accumulate(np.maximum(starts, self._newest_ms))
        values = scores if by_regret else (scores >= np.float32(threshold)).astype(np.float64)
        blocks = self._blocks(values, table.seq[usable], newest)
        shares = [float(block.mean >= threshold) if by_regret else block.mean for block in blocks]
        for block, share, gains in zip(blocks, shares, self.detector.gains(shares), strict=True):
            self._take(block, share, gains, budget)
        self._newest_ms = int(newest[-1])

    def _blocks(self, values: F64Array, seq: I64Array, newest: I64Array) -> list[_Block]:
        """Return the blocks that are full now; keep the rest."""
        ends = np.arange(BLOCK - self._in_block - 1, values.size, BLOCK)
        found, start = [], 0
        for end in ends.tolist():
            first = self._block_from if start == 0 and self._in_block else int(seq[start])
            total = _added(self._sum, values[start : end + 1])
            found.append(_Block(total / BLOCK, first, int(seq[end]), int(newest[end])))
            start, self._sum = end + 1, 0.0
        if start < values.size and (start or not self._in_block):
            self._block_from = int(seq[start])
        self._sum = _added(self._sum, values[start:])
        self._in_block = (self._in_block + values.size) % BLOCK
        if not self._in_block:
            self._block_from = 0
        return found

    def _take(self, block: _Block, y: float, gains: F64Array, budget: FalseAlarmBudget) -> None:
        detector, had = self.detector, self.detector.alarmed
        elapsed_ms = block.at_ms - (self._first_ms or 0)
        every_ms = max(elapsed_ms, 1) / (detector.n + 1)
        detector.level = max(LEAST_LEVEL, budget.looks(every_ms)) if elapsed_ms > 0 else math.inf
        detector.step(gains)
        if detector.alarmed and not had:
            self.alarm_seq = block.last
        if self._is_calm and not had:
            self.doubt_from = block.first
        self._total += y
        self._excess += y - LIMIT
        self._is_calm = self._excess <= self._lowest
        self._lowest = min(self._lowest, self._excess)

    @property
    def blocks(self) -> int:
        return self.detector.n

    @property
    def share(self) -> float | None:
        """Share of bad scores so far; None before the first full block."""
        return self._total / self.blocks if self.blocks else None

    def to_json(self) -> dict[str, Any]:
        """Return what is to be reported: whether it alarmed, the share, and the evidence against what it needs."""
        stat, level = self.detector.log_stat, self.detector.level
        return {
            "verdict": "fail" if self.detector.alarmed else "unknown",
            "value": self.share,
            "n": self.blocks * BLOCK,
            "threshold": LIMIT,
            "log_e": stat if math.isfinite(stat) else None,
            "log_e_threshold": math.log(level) if math.isfinite(level) else None,
            "average_run_length": level * BLOCK if math.isfinite(level) else None,
            "alarm_seq": self.alarm_seq,
        }

    def dump(self) -> dict[str, Any]:
        level = self.detector.level
        return {
            "detector": self.detector.state(),
            "level": level if math.isfinite(level) else None,
            "alarm_seq": self.alarm_seq,
            "doubt_from": self.doubt_from,
            "is_calm": self._is_calm,
            "in_block": self._in_block,
            "block_from": self._block_from,
            "sums": [self._sum, self._total, self._excess, self._lowest],
            "first_ms": self._first_ms,
            "newest_ms": self._newest_ms,
        }

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Self:
        found = cls(ESR.restore(LIMIT, LEAST_LEVEL, plain["detector"]), plain["alarm_seq"], plain["doubt_from"])
        found.detector.level = math.inf if plain["level"] is None else float(plain["level"])
        found._in_block, found._block_from = int(plain["in_block"]), int(plain["block_from"])
        found._is_calm = bool(plain["is_calm"])
        found._sum, found._total, found._excess, found._lowest = (float(value) for value in plain["sums"])
        found._first_ms, found._newest_ms = plain["first_ms"], int(plain["newest_ms"])
        return found


def _added(total: float, values: F64Array) -> float:
    """Add `values` to `total` one by one from the left."""
    return float(np.add.accumulate(np.concatenate([[total], values]))[-1])
