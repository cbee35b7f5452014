"""The alarm on the share of bad scores: silent while it is allowed, quick when it rises, at the pace of the budget."""

import numpy as np
import pytest

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.judging.misses import BLOCK, Misses
from upm_cli.core.window import Strings

BUDGET = FalseAlarmBudget.parse("1 per 90d")


def table(scores: np.ndarray, first: int = 0, every_ms: int = 1000, *, brier: np.ndarray | None = None) -> Comparisons:
    n = scores.size
    nothing = np.full(n, np.nan, np.float32)
    text = Strings.empty(n)
    return Comparisons(
        np.arange(first, first + n), np.arange(first, first + n) * every_ms, text, text, nothing, np.zeros(n),
        scores.astype(np.float32), nothing if brier is None else brier.astype(np.float32),
        nothing if brier is None else np.zeros(n, np.float32), nothing,
    )  # fmt: skip


def scores(rate: float, n: int, seed: int) -> np.ndarray:
    return np.where(np.random.default_rng(seed).random(n) < rate, 0.5, 0.05)


def test_a_stream_at_the_limit_gives_no_alarm_and_one_above_it_soon_does() -> None:
    for seed in range(5):
        quiet = Misses()
        quiet.advance(table(scores(0.05, 20_000, seed)), 0.2, BUDGET, by_regret=False)
        assert quiet.alarm_seq is None
        assert quiet.share == pytest.approx(0.05, abs=0.01)
        loud = Misses()
        loud.advance(
            table(np.concatenate([scores(0.03, 10_000, seed), scores(0.2, 5000, seed)])), 0.2, BUDGET, by_regret=False
        )
        assert loud.alarm_seq is not None
        assert 10_000 < loud.alarm_seq < 11_500
        assert 9_500 < loud.doubt_from <= loud.alarm_seq


def test_the_level_is_what_the_budget_asks_for_at_the_pace_of_the_blocks() -> None:
    one = Misses()
    one.advance(table(np.full(2000, 0.05)), 0.2, BUDGET, by_regret=False)
    # 100 blocks of 20 seconds in 1999 seconds: 90 days hold about 389,000 of them
    assert one.detector.level == pytest.approx(90 * 86_400 / 19.99, rel=1e-6)
    assert one.to_json()["average_run_length"] == pytest.approx(one.detector.level * BLOCK)
    slow = Misses()
    slow.advance(table(np.full(2000, 0.05), every_ms=100_000), 0.2, BUDGET, by_regret=False)
    assert slow.detector.level == pytest.approx(one.detector.level / 100, rel=1e-6)


def test_without_the_passing_of_time_there_is_no_alarm() -> None:
    stuck = Misses()
    stuck.advance(table(np.full(5000, 0.9), every_ms=0), 0.2, BUDGET, by_regret=False)
    assert stuck.alarm_seq is None
    assert stuck.to_json()["log_e_threshold"] is None
    again = Misses.load(stuck.dump())
    assert again.dump() == stuck.dump()


def test_class_labels_count_blocks_by_their_regret() -> None:
    calm = np.where(np.arange(20_000) % 2, 0.9, 0.05)  # |p - y| is large half of the time, regret is not
    one = Misses()
    one.advance(table(calm, brier=np.full(20_000, -0.1)), 0.2, BUDGET, by_regret=True)
    assert one.share == 0.0
    assert one.alarm_seq is None
    two = Misses()
    two.advance(table(calm, brier=np.full(20_000, 0.3)), 0.2, BUDGET, by_regret=True)
    assert two.share == 1.0
    assert two.alarm_seq is not None


def test_scores_that_could_not_be_made_are_left_out() -> None:
    some = np.full(100, 0.05)
    some[::2] = np.nan
    one = Misses()
    one.advance(table(some), 0.2, BUDGET, by_regret=False)
    assert one.blocks == 2  # of 50
