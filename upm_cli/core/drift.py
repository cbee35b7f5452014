"""Is the model still right? Scores of comparisons, gathered into event-time windows, with a verdict for each.

The seed's rule: a window whose P95 (`sorted[floor(0.95 n)]`) of drift scores reaches `drift_threshold`, over at least
`sample_size` samples, fails. Fewer samples than that are no evidence for anything: the verdict is unknown and the
samples are carried into the next window, until there are enough.

Comparisons come in log order. A drift window is a run of them without gaps:
- it begins with the first comparison after the last closed window, and covers that comparison's event-time hour
  (`window_duration_ms`, aligned to the epoch), or the hour after the last closed window if that is later;
- the first comparison of a later hour closes it when it holds `sample_size` usable scores; otherwise the window
  grows to cover that hour too;
- a comparison of an hour that is closed already (a late window, a late label) counts where its truth became known:
  in the window that is open, and is counted as late.
So windows depend on the comparisons and their order alone, however they are cut into reads, and reading again from
the first comparison of the open window gives the same state.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

import numpy as np

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.judging.exceedance import ExceedVerdict, judge_exceedance
from upm_cli.core.quantile import p95
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F32Array, I64Array

BLOCK = 20  # comparisons of class labels that are scored together; a Brier score of one says little


class Rule(StrEnum):
    """Which number a window was judged by."""

    SEED = "seed"  # |p - y| and its kin, one score for each comparison
    REGRET = "regret"  # class labels: Brier of the model over Brier of the base rate, one score for 20 comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """When a window of comparisons counts as drift. Names are those of the `drift_monitor` section."""

    window_duration_ms: int = 3_600_000  # event time, aligned to 1970-01-01T00:00:00Z
    drift_threshold: float = 0.2  # a P95 that reaches this fails; unit of the label, or of the Brier score
    sample_size: int = 1000  # usable comparisons a verdict needs
    quarantine_enabled: bool = True  # a failed window bars the snapshots made from it
    score: str = "auto"  # auto: regret for class labels, the seed's score otherwise; seed: the seed's score always
    rule: str = "both"  # what may quarantine: seed (windows as judged here), evidence (contests), both

    def __post_init__(self) -> None:
        if self.window_duration_ms < 1:
            raise ValueError(f"window_duration_ms must be at least 1, got {self.window_duration_ms}")
        if not 0 < self.drift_threshold < float("inf"):
            raise ValueError(f"drift_threshold must be positive, got {self.drift_threshold}")
        if self.sample_size < 1:
            raise ValueError(f"sample_size must be at least 1, got {self.sample_size}")
        if self.score not in ("auto", "seed"):
            raise ValueError(f"score must be auto or seed, got {self.score!r}")
        if self.rule not in ("seed", "evidence", "both"):
            raise ValueError(f"rule must be seed, evidence or both, got {self.rule!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A sample of scores in numbers; `n` counts comparisons, `scores` what the quantile was taken over."""

    n: int
    scores: int
    dropped: int  # comparisons without a finite score
    mean: float | None = None
    p95: float | None = None
    max: float | None = None
    exceed: float | None = None  # share of scores that reach the threshold
    exceed_low: float = 0.0  # its exact 95 % interval (Clopper & Pearson)
    exceed_high: float = 1.0
    exceed_says: str = ExceedVerdict.INSUFFICIENT.value  # ok | breach | breach_unsure | insufficient


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedWindow:
    """One drift window: a run of comparisons, its numbers under both rules, and the verdict."""

    start_ms: int
    end_ms: int  # exclusive
    first_seq: int
    last_seq: int  # inclusive
    total: int  # comparisons in it
    late: int  # of them, those of an hour that was closed before
    verdict: Verdict
    rule: Rule
    seed: Stats
    regret: Stats | None  # None without class labels

    @property
    def stats(self) -> Stats:
        """The numbers of the rule in charge."""
        return self.regret if self.rule is Rule.REGRET and self.regret else self.seed


@dataclass(slots=True)
class _Open:
    """The run of comparisons that is still growing. `seed` and `regret` are in log order, NaN where unusable."""

    start: int  # first slot: event time in whole window durations since the epoch
    end: int  # last slot
    first_seq: int
    last_seq: int = -1
    total: int = 0
    late: int = 0
    usable: int = 0
    usable_regret: int = 0
    seed: list[F32Array] = field(default_factory=list)
    regret: list[F32Array] = field(default_factory=list)

    def samples(self, policy: DriftPolicy) -> int:
        return self.usable_regret if policy.score == "auto" and self.usable_regret else self.usable


@dataclass(slots=True)
class DriftState:
    """A fold over comparisons that closes drift windows. Memory: 8 bytes for each comparison of the open window."""

    policy: DriftPolicy
    closed_until_ms: int | None = None
    _open: _Open | None = None

    @classmethod
    def resume(cls, policy: DriftPolicy, closed_until_ms: int | None) -> Self:
        """Return the state after the window that ended at `closed_until_ms`; go on with the comparison after it."""
        return cls(policy, closed_until_ms)

    def advance(self, comparisons: Comparisons) -> list[JudgedWindow]:
        """Take the next comparisons of the log and return the windows they closed, oldest first."""
        return list(self._advance(comparisons))

    @property
    def last_seq(self) -> int | None:
        """The last comparison of the open window; None when there is none."""
        return None if self._open is None else self._open.last_seq

    def close(self) -> JudgedWindow | None:
        """Judge what has been gathered so far and close it: nothing more will come; None when nothing has."""
        return None if self._open is None else self._close(self._open)

    def open_window(self) -> JudgedWindow | None:
        """Judge what has been gathered so far without closing it; None when nothing has."""
        return None if self._open is None else _judge(self._open, self.policy)

    def _advance(self, table: Comparisons) -> Iterator[JudgedWindow]:
        if not len(table):
            return
        slots = table.start_ms // self.policy.window_duration_ms
        with np.errstate(invalid="ignore", over="ignore"):
            excess = table.brier - table.base_brier
        done = 0
        for at in self._boundaries(slots):
            if at > done:
                self._gather(table, slots, excess, done, at)
            done = at
            slot = int(slots[at])
            if self._open is not None and self._open.samples(self.policy) >= self.policy.sample_size:
                yield self._close(self._open)
            if self._open is None:
                first = slot if self.closed_until_ms is None else max(slot, self._next_slot())
                self._open = _Open(first, first, int(table.seq[at]))
            else:
                self._open.end = slot
        self._gather(table, slots, excess, done, len(table))

    def _boundaries(self, slots: I64Array) -> list[int]:
        """Rows of a later slot than everything before them in the open window."""
        if self._open is None:
            floor = int(slots[0]) if self.closed_until_ms is None else max(int(slots[0]), self._next_slot())
            newest = np.maximum(np.maximum.accumulate(slots), floor)
            return [0, *(np.flatnonzero(newest[1:] > newest[:-1]) + 1).tolist()]
        newest = np.maximum.accumulate(np.concatenate([[self._open.end], slots]))
        rows: list[int] = np.flatnonzero(newest[1:] > newest[:-1]).tolist()
        return rows

    def _next_slot(self) -> int:
        assert self.closed_until_ms is not None
        return -(-self.closed_until_ms // self.policy.window_duration_ms)

    def _gather(self, table: Comparisons, slots: I64Array, excess: F32Array, start: int, stop: int) -> None:
        window = self._open
        assert window is not None
        seed, regret = table.score[start:stop], excess[start:stop]
        window.seed.append(seed)
        window.regret.append(regret)
        window.usable += int(np.isfinite(seed).sum())
        window.usable_regret += int(np.isfinite(regret).sum())
        window.late += int((slots[start:stop] < window.start).sum())
        window.total += stop - start
        window.last_seq = int(table.seq[stop - 1])

    def _close(self, window: _Open) -> JudgedWindow:
        judged = _judge(window, self.policy)
        self.closed_until_ms = judged.end_ms
        self._open = None
        return judged


def _judge(window: _Open, policy: DriftPolicy) -> JudgedWindow:
    window.seed, window.regret = [np.concatenate(window.seed)], [np.concatenate(window.regret)]
    seed = seed_stats(window.seed[0], policy.drift_threshold, policy.sample_size)
    regret = None
    if window.usable_regret:
        regret = regret_stats(window.regret[0], policy.drift_threshold, policy.sample_size)
    rule = Rule.REGRET if regret and policy.score == "auto" else Rule.SEED
    return JudgedWindow(
        start_ms=window.start * policy.window_duration_ms,
        end_ms=(window.end + 1) * policy.window_duration_ms,
        first_seq=window.first_seq,
        last_seq=window.last_seq,
        total=window.total,
        late=window.late,
        verdict=judge(regret if regret and rule is Rule.REGRET else seed, policy),
        rule=rule,
        seed=seed,
        regret=regret,
    )


def judge(stats: Stats, policy: DriftPolicy) -> Verdict:
    """Return the seed's verdict on `stats`. Compared as float32, which is what scores are kept in."""
    if stats.n < policy.sample_size or stats.p95 is None:
        return Verdict.UNKNOWN
    return Verdict.FAIL if np.float32(stats.p95) >= np.float32(policy.drift_threshold) else Verdict.PASS


def seed_stats(scores: F32Array, threshold: float, sample_size: int = 1000) -> Stats:
    """Sum up seed scores, (n,) float32 with NaN where there is none."""
    usable = scores[np.isfinite(scores)]
    return _stats(usable, usable.size, scores.size - usable.size, threshold, sample_size)


def regret_stats(excess: F32Array, threshold: float, sample_size: int = 1000, *, block: int = BLOCK) -> Stats:
    """Sum up class predictions by regret: max(0, mean of (model's Brier - base rate's Brier)) over blocks.

    `excess` (n,) float32, that difference for each comparison, NaN where there is none. Blocks are `block` usable
    comparisons in a row; the last one also takes the remainder, so it holds up to 2 * block - 1.
    """
    usable = excess[np.isfinite(excess)].astype(np.float64)
    blocks = max(1, usable.size // block)
    starts = np.arange(blocks) * block
    if usable.size:
        sizes = np.diff(np.append(starts, usable.size))
        scores = np.maximum(np.add.reduceat(usable, starts) / sizes, 0.0).astype(np.float32)
    else:
        scores = usable.astype(np.float32)
    return _stats(scores, usable.size, excess.size - usable.size, threshold, sample_size)


def _stats(scores: F32Array, n: int, dropped: int, threshold: float, sample_size: int) -> Stats:
    if not scores.size:
        return Stats(n=n, scores=0, dropped=dropped)
    hits = int((scores >= np.float32(threshold)).sum())
    sure = judge_exceedance(hits, scores.size, is_enough=n >= sample_size)
    return Stats(
        n=n,
        scores=scores.size,
        dropped=dropped,
        mean=float(scores.mean(dtype=np.float64)),
        p95=shortest(p95(scores)),
        max=shortest(float(scores.max())),
        exceed=hits / scores.size,
        exceed_low=sure.low,
        exceed_high=sure.high,
        exceed_says=sure.verdict.value,
    )


def shortest(value: float) -> float:
    """Return the shortest decimal that is `value` in float32: 0.2 for 0.200000003, so that it reads as it was meant."""
    return float(str(np.float32(value)))
