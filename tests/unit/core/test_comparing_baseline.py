"""What the trivial baseline would have scored, against a loop that remembers every label."""

from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.comparing import Comparer
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.window import WindowBatch


def compare(task: str, targets: np.ndarray[Any, Any], outputs: int, cuts: list[int]) -> Comparisons:
    """Compare with a model that says 0 of everything, in pieces that end at `cuts`."""
    comparer, parts = Comparer(), []
    edges = sorted({0, len(targets), *(cut for cut in cuts if cut < len(targets))})
    for start, stop in pairwise(edges):
        seq = np.arange(start, stop)
        guesses = np.zeros((stop - start, outputs), np.float32)
        parts.append(comparer.compare(seq, WindowBatch.empty(stop - start), guesses, targets[start:stop], task))
    return Comparisons.concat(parts)


cuts = st.lists(st.integers(1, 30), max_size=4)
numbers = st.integers(-50, 50).map(lambda n: n / 4)


@given(labels=st.lists(numbers, min_size=1, max_size=30), cuts=cuts)
def test_the_baseline_of_numbers_is_the_mean_of_those_before(labels: list[float], cuts: list[int]) -> None:
    found = compare("regression", np.array(labels, np.float32)[:, None], 1, cuts)
    assert np.isnan(found.base_score[0])
    for i in range(1, len(labels)):
        assert found.base_score[i] == pytest.approx(abs(labels[i] - fmean(labels[:i])), rel=1e-6, abs=1e-6)
    assert np.isnan(found.base_brier).all()


@given(rows=st.lists(st.tuples(numbers | st.none(), numbers | st.none()), min_size=1, max_size=30), cuts=cuts)
def test_the_baseline_of_maps_is_the_mean_of_each_name(
    rows: list[tuple[float | None, float | None]], cuts: list[int]
) -> None:
    table = np.array([[np.nan if y is None else y for y in row] for row in rows], np.float32)
    found = compare("structured", table, 2, cuts)
    for i, row in enumerate(rows):
        gaps = []
        for k, y in enumerate(row):
            before = [each[k] for each in rows[:i] if each[k] is not None]
            if y is not None:
                gaps.append(abs(y - fmean(before)) if before else float("nan"))  # type: ignore[type-var]
        expected = fmean(gaps) if gaps else 1.0
        assert found.base_score[i] == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True)


@given(labels=st.lists(st.integers(0, 1), min_size=1, max_size=30), cuts=cuts)
def test_the_baseline_of_yes_and_no_is_how_often_it_was_yes(labels: list[int], cuts: list[int]) -> None:
    found = compare("binary", np.array(labels, np.float32)[:, None], 1, cuts)
    for i, y in enumerate(labels):
        rate = (sum(labels[:i]) + 1) / (i + 2)
        assert found.base_score[i] == pytest.approx(abs(rate - y), rel=1e-6)
        assert found.base_brier[i] == pytest.approx((rate - y) ** 2, rel=1e-6)


def test_the_baseline_of_names_is_the_most_frequent_so_far() -> None:
    found = compare("multiclass", np.array([[0], [1], [1], [1], [0], [2]], np.float32), 1, [3])
    assert found.base_score[2:].tolist() == [1, 0, 1, 1]  # 0 and 1 are even, then it is 1
