"""Feature drift: are the windows that come still like those the model learned from?

Advice, never a reason to roll back by itself. The reference is learned once from a range of the log; after it every
row of the log is folded into the open look, a stretch of event time at least `window_duration_ms` long with at least
`min_windows` windows. A closed look is tested feature by feature. All of it is a function of the rows of the log.

The budget of false alarms is split in two halves: the looks, each at the significance that it leaves for one look; and
an e-detector for each feature on "p < 0.01 and large", which finds what is small but stays. Its alarm is over, and it
begins anew, after `OVER` looks in a row that did not find the feature so.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from upm_cli.core.features.alarms import FeatureAlarms
from upm_cli.core.features.frequent import Frequent
from upm_cli.core.features.sketch import VALUES, Arrays, Shape, Sketch, part
from upm_cli.core.features.tests import Baseline, Finding, Limits, compare
from upm_cli.core.hashing import hash_pairs
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.window import F64Array, I64Array, RowKind, U32Array, WindowBatch

_COUNTED: Final = 20_000  # features counted in the reference, to find the most frequent ones and know newcomers

_LARGER: Final = 4  # samples of the reference, in those of a look: its chance deviations are in all looks alike
_P: Final = 0.01  # a look finds a feature changed below this p-value, if the change is large
_RATE: Final = 0.02  # share of looks that may do so without any change: twice as many, as p-values are approximate

OVER: Final = 12  # looks without a change after which an alarm is over
_LEAST_SHARE: Final = 1 / 64  # of the windows that count, however many there are
_LONGEST: Final = 4  # durations that a look may take longer because of the share

Rows = Iterable[tuple[int, WindowBatch]]  # (seq of the first row, rows), in log order


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePolicy:
    """How features are followed and when a change counts."""

    max_features: int = 200
    sample_size: int = 1024  # values kept of each feature and look
    window_duration_ms: int = 3_600_000
    share: float = 1.0  # of the windows that count in looks, drawn by a hash of where they stand in the log
    budget: FalseAlarmBudget = field(default_factory=lambda: FalseAlarmBudget.parse("1 per 90d"))
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.max_features < 0 or self.sample_size < 1 or self.window_duration_ms < 1:
            raise ValueError("max_features must be at least 0, sample_size and window_duration_ms at least 1")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    @property
    def significance(self) -> float:
        """The chance of a false flag that each look may have, over all its features."""
        return self.budget.share(0.5).per_look(self.window_duration_ms)

    @property
    def run_length(self) -> float:
        """Looks to a false alarm, on average, of all detectors together."""
        return self.budget.share(0.5).looks(self.window_duration_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where some windows lie: log rows, and event time in Unix milliseconds (the end is exclusive)."""

    first_seq: int
    last_seq: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What features looked like. Its arrays are not modified."""

    span: Span
    shape: Shape
    baseline: Baseline
    salt: int

    def sketch(self, policy: FeaturePolicy) -> Sketch:
        """Return an empty sketch to be held against this reference."""
        return Sketch(self.shape, sample_size=policy.sample_size, salt=self.salt)

    def thinned(self, policy: FeaturePolicy) -> FeaturePolicy:
        """Return `policy` with the share of windows that its looks need, if windows come as they did here.

        1 divided by a power of two, 1/64 at least, and such that `min_windows` of them come in four durations. So a
        busy log costs little, and a slow one is not starved.
        """
        duration_ms = self.span.end_ms - self.span.start_ms
        expected = _LONGEST * self.baseline.windows * policy.window_duration_ms / duration_ms
        share = 1.0
        while share > _LEAST_SHARE and share * expected >= 2 * policy.limits.min_windows:
            share /= 2
        return replace(policy, share=share)

    def dump(self) -> Arrays:
        """Return the whole of it."""
        baseline, span = self.baseline, self.span
        sizes = np.array([sample.size for sample in baseline.samples], np.int64)
        numbers = [span.first_seq, span.last_seq, span.start_ms, span.end_ms, baseline.windows, baseline.missed]
        found: Arrays = {
            "numbers": np.array(numbers, np.int64),
            "salt": np.array([self.salt], np.uint64),
            "cells": baseline.counts,
            "known": baseline.known,
            "sizes": sizes,
            "values": np.concatenate([np.zeros(0), *baseline.samples]).astype(np.float32),
        }
        return found | self.shape.dump()

    @classmethod
    def load(cls, arrays: Arrays) -> Self:
        """Return the reference that was dumped."""
        first_seq, last_seq, start_ms, end_ms, windows, missed = (int(number) for number in arrays["numbers"])
        ends = np.cumsum(arrays["sizes"])
        values: F64Array = arrays["values"].astype(np.float64)
        return cls(
            span=Span(first_seq=first_seq, last_seq=last_seq, start_ms=start_ms, end_ms=end_ms),
            shape=Shape(features=arrays["features"], edges=arrays["edges"], discrete=arrays["discrete"].astype(bool)),
            baseline=Baseline(
                windows=windows,
                counts=arrays["cells"],
                samples=np.split(values, ends[:-1]) if ends.size else [],
                known=arrays["known"],
                missed=missed,
            ),
            salt=int(arrays["salt"][0]),
        )


def learn_reference(scan: Callable[[], Rows], policy: FeaturePolicy, salt: int) -> Reference | None:
    """Return what the windows of `scan()` look like; None when there are none.

    `scan` is called three times and yields the same rows each time: to find the most frequent features, to sample
    their values, and to count them over the cells chosen from the sample. `salt` is a hash of whose windows these are.
    """
    counted, span = Frequent(_COUNTED), None
    for seq, rows in windows_of(scan()):
        counted.add(rows.x)
        span = _reaching(span, seq, rows)
    if span is None:
        return None
    features = np.sort(counted.top(policy.max_features)[0])
    blank = np.full((features.size, VALUES), np.inf, np.float32)
    first = _sketched(scan, Shape(features=features, edges=blank, discrete=np.zeros(features.size, bool)), policy, salt)
    sketch = _sketched(scan, Shape.of(features, first.sample.values()), policy, salt)
    baseline = Baseline(
        windows=sketch.windows,
        counts=sketch.counts(),
        samples=sketch.sample.values(),
        known=counted.keys,
        missed=counted.missed,
    )
    return Reference(span=span, shape=sketch.shape, baseline=baseline, salt=salt)


def _sketched(scan: Callable[[], Rows], shape: Shape, policy: FeaturePolicy, salt: int) -> Sketch:
    sketch = Sketch(shape, sample_size=_LARGER * policy.sample_size, salt=salt)
    for seq, rows in windows_of(scan()):
        sketch.add(rows.x, seq)
    return sketch


def windows_of(parts: Rows) -> Iterator[tuple[I64Array, WindowBatch]]:
    """Yield (seqs, rows) of the feature windows among log rows, never an empty part."""
    for first, rows in parts:
        at = np.flatnonzero(rows.kind == RowKind.WINDOW)
        if at.size:
            yield first + at, rows if at.size == len(rows) else rows.take(at)


def _reaching(span: Span | None, seq: I64Array, rows: WindowBatch) -> Span:
    start, end = int(rows.start_ms.min()), int(rows.start_ms.max()) + 1
    if span is None:
        return Span(first_seq=int(seq[0]), last_seq=int(seq[-1]), start_ms=start, end_ms=end)
    return Span(
        first_seq=span.first_seq,
        last_seq=int(seq[-1]),
        start_ms=min(span.start_ms, start),
        end_ms=max(span.end_ms, end),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the windows of a stretch of event time. `sketch` is what it saw; it is not modified any more."""

    span: Span
    sketch: Sketch
    findings: tuple[Finding, ...]
    is_judged: bool  # enough windows; otherwise its findings are unknown

    @property
    def windows(self) -> int:
        return self.sketch.windows


class FeatureDrift:
    """Folds log rows, in order and cut in any way, into looks. Rows of an earlier slot count in the open look."""

    def __init__(self, reference: Reference, policy: FeaturePolicy) -> None:
        self.reference, self.policy = reference, policy
        self.looks = 0  # judged ones
        self.alarms = FeatureAlarms(reference.shape.features.size, rate=_RATE, run_length=policy.run_length)
        self._flagged = np.zeros(reference.shape.features.size, bool)  # by the last closed look
        self._quiet = np.zeros(reference.shape.features.size, np.int64)  # looks in a row without a change
        self._open: Sketch | None = None
        self._span = reference.span
        self._slot = 0  # newest of the open look, in units of the duration

    def fold(self, first_seq: int, rows: WindowBatch) -> list[Look]:
        """Take in the log rows from `first_seq` on; return the looks that they closed, in order."""
        closed: list[Look] = []
        for seq, windows in self._drawn(first_seq, rows):
            slots = windows.start_ms // self.policy.window_duration_ms
            floor = int(slots[0]) if self._open is None else max(self._slot, int(slots[0]))
            newest = np.maximum(np.maximum.accumulate(slots), floor)
            cuts = [0, *(np.flatnonzero(newest[1:] > newest[:-1]) + 1).tolist(), len(windows)]
            for start, stop in itertools.pairwise(cuts):
                closed += self._close_before(int(newest[start]))
                self._gather(int(newest[start]), seq[start:stop], windows.slice(start, stop))
        return closed

    def _drawn(self, first_seq: int, rows: WindowBatch) -> Iterator[tuple[I64Array, WindowBatch]]:
        """Yield the windows among `rows` that count."""
        if self.policy.share == 1:
            yield from windows_of([(first_seq, rows)])
            return
        at = np.flatnonzero(rows.kind == RowKind.WINDOW)
        salt = np.full(at.size, self.reference.salt, np.uint64)
        chance = hash_pairs(hash_pairs((first_seq + at).astype(np.uint64), salt), salt) >> np.uint64(32)
        at = at[chance < np.uint64(round(self.policy.share * (1 << 32)))]
        if at.size:
            yield first_seq + at, rows.take(at)

    def open_look(self) -> Look | None:
        """Return what the open look finds so far; nothing changes by it."""
        return None if self._open is None else self._look(self._open)

    def drifting(self) -> U32Array:
        """Return the followed features that the last closed look flagged, or whose detectors raised the alarm."""
        return self.reference.shape.features[self._flagged | (self.alarms.at >= 0)]

    def _close_before(self, slot: int) -> list[Look]:
        if self._open is None or slot <= self._slot or self._open.windows < self.policy.limits.min_windows:
            return []
        look = self._look(self._open)
        self._open = None
        self.looks += 1
        followed = look.findings[: self.alarms.at.size]
        changed = np.array([one.is_large and one.p < _P for one in followed], bool)
        self.alarms.update(changed, look.span.last_seq)
        self._quiet = np.where(changed, 0, self._quiet + 1)
        self.alarms.restart((self.alarms.at >= 0) & (self._quiet >= OVER))
        self._flagged = np.array([one.drifted for one in followed], bool)
        return [look]

    def _gather(self, slot: int, seq: I64Array, rows: WindowBatch) -> None:
        length = self.policy.window_duration_ms
        if self._open is None:
            self._open = self.reference.sketch(self.policy)
            self._span = Span(first_seq=int(seq[0]), last_seq=int(seq[-1]), start_ms=slot * length, end_ms=0)
        self._open.add(rows.x, seq)
        self._slot = slot
        self._span = replace(self._span, last_seq=int(seq[-1]), end_ms=(slot + 1) * length)

    def _look(self, sketch: Sketch) -> Look:
        policy = self.policy
        findings = compare(self.reference.baseline, sketch, policy.limits, policy.significance)
        judged = sketch.windows >= policy.limits.min_windows
        return Look(span=self._span, sketch=sketch, findings=findings, is_judged=judged)

    def dump(self) -> Arrays:
        """Return the state between two rows, without the reference."""
        span = [self._span.first_seq, self._span.last_seq, self._span.start_ms, self._span.end_ms]
        found: Arrays = {"fold": np.array([self.looks, self._slot, self._open is not None, *span], np.int64)}
        found |= {"flagged": self._flagged, "quiet": self._quiet}
        found |= {f"alarms.{name}": array for name, array in self.alarms.dump().items()}
        if self._open is not None:
            found |= {f"open.{name}": array for name, array in self._open.dump().items()}
        return found

    @classmethod
    def load(cls, reference: Reference, policy: FeaturePolicy, arrays: Arrays) -> Self:
        """Return the fold that was dumped; it goes on as if it had never stopped."""
        found = cls(reference, policy)
        found.looks, found._slot, is_open, *span = (int(number) for number in arrays["fold"])
        found._flagged, found._quiet = arrays["flagged"].astype(bool), arrays["quiet"].copy()
        found._span = Span(first_seq=span[0], last_seq=span[1], start_ms=span[2], end_ms=span[3])
        found.alarms = FeatureAlarms.load(part(arrays, "alarms"), rate=_RATE, run_length=policy.run_length)
        if is_open:
            found._open = Sketch.load(
                reference.shape, part(arrays, "open"), sample_size=policy.sample_size, salt=reference.salt
            )
        return found
