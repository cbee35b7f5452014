"""Betting with money kept back: what is added adds up to one half, the guarantee holds, and late harm is found."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.judging.betting import Bets, bets
from upm_cli.core.judging.restarts import RestartingBets, log_added


def test_what_is_kept_back_is_one_half() -> None:
    added = np.exp(log_added(np.arange(1, 1_000_001)))
    assert added.sum() + 0.5 / math.log2(1_000_002) == pytest.approx(0.5, rel=1e-12)
    by_hand = [(1 / math.log2(t + 1) - 1 / math.log2(t + 2)) / 2 for t in (1, 2, 50)]
    assert np.exp(log_added(np.array([1, 2, 50]))) == pytest.approx(by_hand, rel=1e-12)
    far = np.array([10**12])
    assert float(log_added(far)[0]) == pytest.approx(math.log(0.5 * math.log(2) / 1e12 / math.log(1e12) ** 2), rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=3))
@settings(deadline=None)
def test_the_wealth_is_the_plain_recursion_however_rows_are_cut(y: list[float], cuts: list[int]) -> None:
    fold, whole = RestartingBets(0.3, 1), RestartingBets(0.3, 1)
    bounds = sorted({0, len(y), *(min(cut, len(y)) for cut in cuts)})
    for start, stop in itertools.pairwise(bounds):
        fold.update(np.zeros(stop - start, np.int64), np.array(y[start:stop]))
    whole.update(np.zeros(len(y), np.int64), np.array(y))
    wealth, best = [0.5] * 24, 1.0
    for t, value in enumerate(y, 1):
        added = (1 / math.log2(t + 1) - 1 / math.log2(t + 2)) / 2
        wealth = [(w + added) * (1 + bet * (value - 0.3)) for w, bet in zip(wealth, bets(0.3), strict=True)]
        best = max(best, sum(wealth) / 24)
    assert fold.log_wealth[0] == pytest.approx(np.log(wealth), rel=1e-9, abs=1e-9)
    assert fold.log_e_max[0] == pytest.approx(math.log(best), rel=1e-9, abs=1e-9)
    assert fold.log_wealth.tobytes() == whole.log_wealth.tobytes()
    assert fold.log_e_max.tobytes() == whole.log_e_max.tobytes()


def test_streams_side_by_side_have_the_bytes_of_each_alone() -> None:
    y = np.random.default_rng(1).random((7, 40))
    together, alone = RestartingBets(0.4, 3), RestartingBets(0.4, 1)
    together.grow(7)
    assert together.log_wealth.tolist() == RestartingBets(0.4, 7).log_wealth.tolist()
    for start in range(0, 40, 5):
        together.update(np.repeat(np.arange(7), 5), y[:, start : start + 5].ravel())
    alone.update(np.zeros(40, np.int64), y[4])
    assert together.log_wealth[4].tobytes() == alone.log_wealth[0].tobytes()
    assert together.log_e_max[4] == alone.log_e_max[0]
    assert together.seen.tolist() == [40] * 7


def test_at_the_boundary_it_seldom_cries_wolf_ever() -> None:
    rng, streams, n = np.random.default_rng(2), 1000, 800
    fold = RestartingBets(0.05, streams)
    for _ in range(n):
        fold.update(np.arange(streams), (rng.random(streams) < 0.05).astype(float))
    share = float((fold.log_e_max >= math.log(1 / 0.05)).mean())
    assert 0 < share <= 0.05


def test_harm_after_a_long_good_time_is_found_as_if_the_betting_began_there() -> None:
    rng, streams = np.random.default_rng(3), 40
    good, bad = rng.normal(0.5, 0.03, (3000, streams)).clip(0, 1), rng.normal(0.6, 0.03, (600, streams)).clip(0, 1)
    plain, restarting = Bets(0.55, streams), RestartingBets(0.55, streams)
    waits = {}
    for name, fold in (("plain", plain), ("restarting", restarting)):
        for row in good:
            fold.update(np.arange(streams), row)
        assert (fold.log_e_max < math.log(300)).all()
        found = np.full(streams, 601)
        for at, row in enumerate(bad, 1):
            fold.update(np.arange(streams), row)
            found = np.where((found > 600) & (fold.log_e_max >= math.log(300)), at, found)
        waits[name] = float(np.median(found))
    price = -float(log_added(np.array([3000]))[0]) + math.log(300 * 24)
    assert waits["restarting"] <= price / math.log1p(0.9 / 0.55 * 0.05) + 5
    assert waits["restarting"] < waits["plain"] / 2
