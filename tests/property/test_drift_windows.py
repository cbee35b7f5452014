"""Drift windows do not depend on how comparisons are read, and equal a slow, obvious account of them."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy, DriftState, JudgedWindow, Rule
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import Strings

D = 100  # window duration in these tests, ms


@dataclass(frozen=True)
class Row:
    at: int
    score: float
    brier: float = math.nan
    base: float = math.nan


def table(rows: list[Row], first_seq: int = 0) -> Comparisons:
    n = len(rows)
    return Comparisons(
        seq=np.arange(first_seq, first_seq + 3 * n, 3),
        start_ms=np.array([row.at for row in rows], np.int64),
        window_id=Strings.empty(n),
        tenant=Strings.empty(n),
        prediction=np.zeros(n, np.float32),
        truth=np.zeros(n),
        score=np.array([row.score for row in rows], np.float32),
        brier=np.array([row.brier for row in rows], np.float32),
        base_brier=np.array([row.base for row in rows], np.float32),
        base_score=np.full(len(rows), np.nan, np.float32),
    )


@dataclass
class Slow:
    """One comparison at a time, lists, no arrays."""

    sample_size: int
    raw: bool = False
    until: int | None = None
    rows: list[Row] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0
    closed: list[tuple[object, ...]] = field(default_factory=list)

    def numbers(self) -> tuple[int, float | None, float | None]:
        known = [row for row in self.rows if math.isfinite(row.brier) and math.isfinite(row.base)]
        excess = [float(np.float32(row.brier) - np.float32(row.base)) for row in known]
        scores = [float(np.float32(row.score)) for row in self.rows if math.isfinite(row.score)]
        n = len(scores)
        if excess and not self.raw:
            n = len(excess)
            cuts = [20 * i for i in range(max(1, n // 20))]
            scores = [max(0.0, sum(excess[a:b]) / len(excess[a:b])) for a, b in zip(cuts, [*cuts[1:], n], strict=True)]
        if not scores:
            return n, None, None
        return n, sorted(scores)[int(0.95 * len(scores))], max(scores)

    def take(self, row: Row, seq: int) -> None:
        slot = row.at // D
        if self.rows and slot > self.last:
            if self.numbers()[0] >= self.sample_size:
                self.close()
            else:
                self.last = slot
        if not self.rows:
            self.first = self.last = slot if self.until is None else max(slot, self.until // D)
        self.rows.append(row)
        self.seqs.append(seq)

    def view(self) -> tuple[object, ...]:
        n, p95, top = self.numbers()
        late = sum(row.at // D < self.first for row in self.rows)
        return (self.first * D, (self.last + 1) * D, self.seqs[0], self.seqs[-1], len(self.rows), late, n, p95, top)

    def close(self) -> None:
        self.closed.append(self.view())
        self.until = (self.last + 1) * D
        self.rows, self.seqs = [], []


def view(window: JudgedWindow) -> tuple[object, ...]:
    found = window.stats
    ends = (window.start_ms, window.end_ms, window.first_seq, window.last_seq)
    return (*ends, window.total, window.late, found.n, found.p95, found.max)


def same(ours: list[tuple[object, ...]], theirs: list[tuple[object, ...]]) -> None:
    assert [window[:7] for window in ours] == [window[:7] for window in theirs]
    for mine, slow in zip(ours, theirs, strict=True):
        for a, b in zip(mine[7:], slow[7:], strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(float(str(a)), float(str(b)), rtol=2e-6, atol=1e-7)


scores = st.one_of(st.floats(0, 2, width=32), st.sampled_from([math.nan, math.inf, 0.2]))
numeric = st.builds(Row, st.integers(-250, 900), scores)
classes = st.builds(Row, st.integers(-250, 900), scores, scores, st.sampled_from([0.0, 0.25, 0.5, math.nan, math.inf]))
streams = st.one_of(
    st.lists(numeric, min_size=1, max_size=120),
    st.lists(classes, min_size=1, max_size=120),
    st.lists(numeric, min_size=1, max_size=120).map(lambda rows: sorted(rows, key=lambda row: row.at)),
)


def cut(rows: list[Row], cuts: list[int]) -> list[Comparisons]:
    places = [0, *sorted(min(place, len(rows)) for place in cuts), len(rows)]
    return [table(rows[a:b], 3 * a) for a, b in pairwise(places)]


@settings(max_examples=500, deadline=None)
@given(streams, st.lists(st.integers(0, 120), max_size=8), st.integers(1, 30), st.booleans())
def test_windows_are_those_of_a_slow_loop_however_the_comparisons_are_cut(
    rows: list[Row], cuts: list[int], sample_size: int, raw: bool
) -> None:
    policy = DriftPolicy(window_duration_ms=D, sample_size=sample_size, score="seed" if raw else "auto")
    slow = Slow(sample_size, raw)
    for at, row in enumerate(rows):
        slow.take(row, 3 * at)
    state = DriftState(policy)
    closed = [window for part in cut(rows, cuts) for window in state.advance(part)]
    same([view(window) for window in closed], slow.closed)
    still_open = state.open_window()
    assert still_open is not None
    same([view(still_open)], [slow.view()])

    whole = DriftState(policy)
    assert repr(whole.advance(table(rows))) == repr(closed), "to the last bit"
    assert repr(whole.open_window()) == repr(still_open)


@settings(max_examples=400, deadline=None)
@given(streams, st.integers(0, 120), st.integers(1, 30))
def test_reading_again_from_the_open_window_gives_the_same_state(rows: list[Row], stop: int, sample_size: int) -> None:
    policy = DriftPolicy(window_duration_ms=D, sample_size=sample_size)
    stop = min(stop, len(rows))
    first = DriftState(policy)
    closed = first.advance(table(rows[:stop]))
    still_open = first.open_window()
    again = still_open.first_seq // 3 if still_open else stop

    resumed = DriftState.resume(policy, closed[-1].end_ms if closed else None)
    assert resumed.advance(table(rows[again:stop], 3 * again)) == []
    rest = table(rows[stop:], 3 * stop)
    assert repr(resumed.advance(rest)) == repr(first.advance(rest))
    assert repr(resumed.open_window()) == repr(first.open_window())


@settings(max_examples=400, deadline=None)
@given(streams, st.integers(1, 30))
def test_every_comparison_is_in_exactly_one_window_and_no_closed_one_is_unknown(
    rows: list[Row], sample_size: int
) -> None:
    state = DriftState(DriftPolicy(window_duration_ms=D, sample_size=sample_size))
    windows = state.advance(table(rows))
    last = state.open_window()
    assert last is not None
    assert sum(window.total for window in [*windows, last]) == len(rows)
    for before, after in pairwise([*windows, last]):
        assert before.last_seq + 3 == after.first_seq
        assert before.end_ms <= after.start_ms
    assert all(window.verdict is not Verdict.UNKNOWN for window in windows)
    for window in [*windows, last]:
        assert window.start_ms % D == 0 == window.end_ms % D
        assert window.seed.n + window.seed.dropped == window.total
        assert (window.rule is Rule.REGRET) == (window.regret is not None)
