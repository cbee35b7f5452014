"""Reservoirs, frequency counts and sketches: the same however rows come, against slow and obvious ones."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from upm_cli.core.features.frequent import Frequent
from upm_cli.core.features.reservoir import Reservoir, priorities
from upm_cli.core.features.sketch import MISSING, NEW, Shape, Sketch
from upm_cli.core.hashing import hash_pair
from upm_cli.core.window import Csr

Row = list[tuple[int, float]]
FEATURES = np.array([3, 10, 77, 500], np.uint32)
SHAPE = Shape.of(
    FEATURES,
    [np.arange(100.0), np.array([1.0, 1.0, 1.0]), np.array([0.0, 2.0, 5.0]), np.repeat([0.5, 7.5], 50)],
)
rows_of = st.lists(
    st.lists(
        st.tuples(st.sampled_from([3, 10, 77, 500, 8, 9]), st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.5, 41.25, 99.0])),
        max_size=6,
    ),
    max_size=40,
)


def csr(rows: list[Row]) -> Csr:
    indptr = np.cumsum([0, *map(len, rows)])
    pairs = [pair for row in rows for pair in row]
    return Csr(
        indptr.astype(np.int64), np.array([i for i, _ in pairs], np.uint32), np.array([v for _, v in pairs], np.float32)
    )


def sketch(rows: list[Row], cuts: list[int], size: int = 5) -> Sketch:
    found = Sketch(SHAPE, sample_size=size, salt=9)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, stop in itertools.pairwise(bounds):
        found.add(csr(rows[start:stop]), np.arange(100 + start, 100 + stop))
    return found


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a
    )


@given(rows_of, st.lists(st.integers(0, 40), max_size=4))
@settings(deadline=None)
def test_a_sketch_is_the_same_however_its_rows_are_cut(rows: list[Row], cuts: list[int]) -> None:
    assert same(sketch(rows, cuts).dump(), sketch(rows, []).dump())


@given(rows_of, st.integers(0, 40))
@settings(deadline=None)
def test_a_merge_and_a_reload_change_nothing(rows: list[Row], cut: int) -> None:
    cut = min(cut, len(rows))
    first, second = Sketch(SHAPE, sample_size=5, salt=9), Sketch(SHAPE, sample_size=5, salt=9)
    first.add(csr(rows[:cut]), np.arange(100, 100 + cut))
    second.add(csr(rows[cut:]), np.arange(100 + cut, 100 + len(rows)))
    first.merge(second)
    whole = sketch(rows, [])
    assert same(first.dump(), whole.dump())
    again = Sketch.load(SHAPE, whole.dump(), sample_size=5, salt=9)
    assert same(again.dump(), whole.dump())
    again.add(csr(rows), np.arange(1000, 1000 + len(rows)))
    whole.add(csr(rows), np.arange(1000, 1000 + len(rows)))
    assert same(again.dump(), whole.dump()), "what was loaded goes on in the same way"


@given(rows_of)
@settings(deadline=None)
def test_the_cells_are_those_of_a_slow_count(rows: list[Row]) -> None:
    counts = sketch(rows, []).counts()
    assert counts.sum(axis=1).tolist() == [len(rows)] * FEATURES.size
    for slot, feature in enumerate(FEATURES.tolist()):
        sums = [np.float32(sum(v for i, v in row if i == feature)) for row in rows if any(i == feature for i, _ in row)]
        assert counts[slot, MISSING] == len(rows) - len(sums)
        expected: Counter[int] = Counter(_cell(slot, float(value)) for value in sums)
        assert {cell: int(n) for cell, n in enumerate(counts[slot, :MISSING]) if n} == dict(expected)


def _cell(slot: int, value: float) -> int:
    if slot == 0:  # 0..99 in order: deciles 9, 19, …, 89, the last cell is open
        return next((at for at, edge in enumerate(range(9, 90, 10)) if value <= edge), 9)
    levels = {1: [1.0], 2: [0.0, 2.0, 5.0], 3: [0.5, 7.5]}[slot]
    return levels.index(value) if value in levels else NEW


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(-9, 9, width=32)), max_size=60), st.randoms(), st.integers(1, 7))
@settings(deadline=None)
def test_a_reservoir_keeps_the_smallest_priorities_in_any_order(values: list[Any], random: Any, size: int) -> None:
    slot = np.array([s for s, _ in values], np.int64)
    value = np.array([v for _, v in values], np.float32)
    priority = priorities(4, np.arange(slot.size), slot.astype(np.uint64))
    order = list(range(slot.size))
    random.shuffle(order)
    found = Reservoir(3, size)
    for at in order:
        found.add(slot[at : at + 1], priority[at : at + 1], value[at : at + 1])
    for each in range(3):
        mine = [(int(p), float(v)) for s, p, v in zip(slot, priority, value, strict=True) if s == each]
        assert found.values()[each].tolist() == sorted(v for _, v in sorted(mine)[:size])


def test_priorities_are_uniform_and_differ_between_slots_and_salts() -> None:
    seq = np.arange(200_000)
    one, two = (priorities(1, seq, np.full(seq.size, key, np.uint64)) / 2.0**48 for key in (5, 6))
    other = priorities(2, seq, np.full(seq.size, 5, np.uint64)) / 2.0**48
    for sample in (one, two, other):
        assert stats.kstest(sample, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.01
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.01
    row = hash_pair(1, 77)
    assert priorities(1, np.array([77]), np.array([5], np.uint64)).tolist() == [hash_pair(hash_pair(row, 5), row) >> 16]


def test_a_sample_of_many_rows_has_the_distribution_of_all() -> None:
    value = np.random.default_rng(2).gamma(2.0, size=50_000).astype(np.float32)
    slot = np.zeros(value.size, np.int64)
    found = Reservoir(1, 1024)
    found.add(slot, priorities(1, np.arange(value.size), slot.astype(np.uint64)), value)
    assert len(found) == 1024
    assert stats.ks_2samp(found.values()[0], value).pvalue > 0.01


@pytest.mark.parametrize(("slots", "size"), [(1, 0), (65_537, 1)])
def test_a_reservoir_that_can_not_be_is_refused(slots: int, size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Reservoir(slots, size)


@given(rows_of, st.lists(st.integers(0, 40), max_size=4))
@settings(deadline=None)
def test_counts_that_fit_are_exact(rows: list[Row], cuts: list[int]) -> None:
    found = Frequent(10)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, stop in itertools.pairwise(bounds):
        found.add(csr(rows[start:stop]))
    expected = Counter(i for row in rows for i, _ in row)
    assert dict(zip(found.keys.tolist(), found.counts.tolist(), strict=True)) == dict(expected)
    ranked = sorted(expected.items(), key=lambda item: (-item[1], item[0]))[:3]
    assert list(zip(*(column.tolist() for column in found.top(3)), strict=True)) == ranked
    assert found.missed == 0


def test_counts_in_bounded_memory_keep_every_frequent_feature_within_the_stated_error() -> None:
    rng = np.random.default_rng(8)
    index = (rng.zipf(1.3, size=200_000) % 2**31).astype(np.uint32)
    x = Csr(np.arange(0, index.size + 1, 10), index, np.ones(index.size, np.float32))
    truth = Counter(index.tolist())
    whole, parts = Frequent(200), Frequent(200)
    whole.add(x)
    for start in range(0, len(x), 777):
        parts.add(x.slice(start, min(start + 777, len(x))))
    assert same(whole.dump(), parts.dump())
    assert same(Frequent.load(200, whole.dump()).dump(), whole.dump())
    assert 0 < whole.missed <= index.size / 201
    found = dict(zip(whole.keys.tolist(), whole.counts.tolist(), strict=True))
    assert all(key in found for key, count in truth.items() if count > index.size / 201)
    assert all(truth[key] - whole.missed <= count <= truth[key] for key, count in found.items())
    with pytest.raises(ValueError, match="at least 1"):
        Frequent(0)


def test_merged_counts_keep_the_bound_too() -> None:
    rng = np.random.default_rng(9)
    halves = [(rng.zipf(1.4, size=50_000) % 2**31).astype(np.uint32) for _ in range(2)]
    found = [Frequent(100), Frequent(100)]
    for one, index in zip(found, halves, strict=True):
        one.add(Csr(np.arange(0, index.size + 1, 10), index, np.ones(index.size, np.float32)))
    found[0].merge(found[1])
    truth = Counter(np.concatenate(halves).tolist())
    merged = found[0]
    assert merged.rows == 10_000
    assert merged.keys.size <= 100
    for key, count in zip(merged.keys.tolist(), merged.counts.tolist(), strict=True):
        assert truth[key] - merged.missed <= count <= truth[key]
