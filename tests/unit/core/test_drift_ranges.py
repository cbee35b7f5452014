"""Several drift windows in one: exact for one, between the P95s of all, and right about the threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.drift_ranges import WindowScores, pooled, within
from upm_cli.core.quantile import p95

THRESHOLD = 0.2
SCORES = st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.19, 0.2, 0.21, 0.5, 1.0, 7.0]), min_size=1, max_size=90)


def kept(scores: list[float], end_ms: int = 0, threshold: float = THRESHOLD) -> WindowScores:
    """Return what the record of a drift window keeps of its scores."""
    values = np.array(scores)
    return WindowScores(
        end_ms=end_ms,
        n=values.size,
        scores=values.size,
        mean=float(values.mean()),
        p95=p95(values),
        max=float(values.max()),
        threshold=threshold,
        exceed=float((values >= threshold).mean()),
    )


def test_no_window_says_nothing() -> None:
    assert pooled([]) is None


@settings(deadline=None)
@given(SCORES)
def test_one_window_says_what_its_record_says(scores: list[float]) -> None:
    found = pooled([kept(scores)])
    assert found is not None
    assert (found.p95, found.max, found.n) == (p95(np.array(scores)), max(scores), len(scores))


@settings(deadline=None)
@given(st.lists(SCORES, min_size=2, max_size=8))
def test_several_windows_agree_with_their_scores_taken_together(windows: list[list[float]]) -> None:
    found = pooled([kept(scores) for scores in windows])
    together = np.array([score for scores in windows for score in scores])
    each = [p95(np.array(scores)) for scores in windows]
    assert found is not None
    assert found.mean == pytest.approx(float(together.mean()))
    assert found.max == together.max()
    assert (found.windows, found.n) == (len(windows), together.size)
    assert min(each) - 1e-9 <= found.p95 <= max(each) * (1 + 1e-9)
    assert (found.p95 >= THRESHOLD) == (p95(together) >= THRESHOLD)


def test_it_is_close_to_the_quantile_of_smooth_scores() -> None:
    chance = np.random.default_rng(5)
    windows = [list(chance.exponential(scale, 1200)) for scale in (0.03, 0.05, 0.04, 0.08)]
    found = pooled([kept(scores) for scores in windows])
    assert found is not None
    assert found.p95 == pytest.approx(p95(np.concatenate(windows)), rel=0.05)


def test_thresholds_may_have_changed_in_between() -> None:
    found = pooled([kept([0.1] * 50, threshold=0.3), kept([0.4] * 50, threshold=0.1)])
    assert found is not None
    assert found.p95 == pytest.approx(0.4, rel=0.05)


def test_a_range_is_counted_back_from_the_newest_window_in_event_time() -> None:
    hour = 3_600_000
    windows = [kept([0.1], end_ms=end * hour) for end in (1, 2, 24, 25)]
    assert [window.end_ms // hour for window in within(windows, hour)] == [25]
    assert [window.end_ms // hour for window in within(windows, 24 * hour)] == [2, 24, 25]
    assert within([], hour) == []
