"""Betting on "the mean is above m" equals the product it is defined by, and never overflows."""

import json
import math

import numpy as np
import pytest

from upm_cli.core.judging.betting import BETS, Bets, BettingE, bets, log_mean_exp


def wealth_by_hand(y: list[float], m: float) -> list[float]:
    """Mean over the bets of prod(1 + l (y - m)), after each y, in plain Python."""
    grid = [0.006 * (0.9 / m / 0.006) ** (k / (BETS - 1)) for k in range(BETS)]
    each = [1.0] * BETS
    path = []
    for value in y:
        each = [w * (1 + bet * (value - m)) for w, bet in zip(each, grid, strict=True)]
        path.append(sum(each) / BETS)
    return path


def test_e_value_is_the_mean_of_the_products_it_is_defined_by() -> None:
    y = np.random.default_rng(3).random(200).tolist()
    for m in (0.05, 0.4, 0.51, 0.95):
        stream = BettingE(m)
        path = wealth_by_hand(y, m)
        for value in y:
            stream.update(value)
        assert math.exp(stream.log_e) == pytest.approx(path[-1], rel=1e-10)
        assert math.exp(stream.log_e_max) == pytest.approx(max(1.0, *path), rel=1e-10)
        assert stream.p_value == pytest.approx(1 / max(1.0, *path), rel=1e-10)
        assert stream.n == 200


def test_nothing_seen_is_no_evidence() -> None:
    stream = BettingE(0.5)
    stream.update([])
    assert (stream.log_e, stream.log_e_max, stream.p_value, stream.n) == (0.0, 0.0, 1.0, 0)


def test_bets_are_log_spaced_and_keep_wealth_positive() -> None:
    for m in (0.01, 0.5, 0.99):
        grid = bets(m)
        assert grid[0] == pytest.approx(0.006)
        assert grid[-1] == pytest.approx(0.9 / m)
        assert np.allclose(np.diff(np.log(grid)), np.log(grid[1] / grid[0]))
        assert (1 - grid * m > 0.0999).all()


def test_a_hundred_thousand_extreme_numbers_neither_overflow_nor_vanish() -> None:
    up, down = BettingE(0.5), BettingE(0.5)
    up.update(np.ones(100_000))
    down.update(np.zeros(100_000))
    assert up.log_e == pytest.approx(100_000 * math.log1p(0.9) - math.log(BETS), rel=1e-11)
    assert down.log_e == pytest.approx(100_000 * math.log1p(-0.003) - math.log(BETS), rel=1e-11)
    assert down.log_e_max == 0.0


def test_the_highest_evidence_stays_when_the_stream_turns() -> None:
    stream = BettingE(0.5)
    stream.update(np.ones(50))
    best = stream.log_e_max
    stream.update(np.zeros(500))
    assert stream.log_e < 0 < best == stream.log_e_max


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan, math.inf, [0.5, math.nan], [[0.5]]])
def test_a_number_outside_0_and_1_is_refused_and_changes_nothing(bad: object) -> None:
    stream = BettingE(0.5)
    stream.update(0.7)
    before = stream.state()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        stream.update(bad)  # type: ignore[arg-type]
    assert stream.state() == before


@pytest.mark.parametrize("m", [0.0, 1.0, -0.1, math.nan])
def test_a_bound_outside_0_and_1_is_refused(m: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        BettingE(m)


def test_state_survives_json_exactly() -> None:
    rng = np.random.default_rng(4)
    whole, stream = BettingE(0.51), BettingE(0.51)
    y = rng.random(300)
    whole.update(y)
    for value in y:
        stream.update(value)
        stream = BettingE.restore(0.51, json.loads(json.dumps(stream.state())))
    assert stream.state() == whole.state()
    assert stream.m == 0.51


def test_streams_in_columns_equal_streams_alone() -> None:
    rng = np.random.default_rng(5)
    for counts in ([1, 1, 1], [40, 0, 3], [0, 0, 9], [2, 5, 7]):
        together = Bets(0.3, 1)
        together.grow(3)
        alone = [BettingE(0.3) for _ in counts]
        for _ in range(3):
            rows = [rng.random(count) for count in counts]
            together.update(np.repeat(np.arange(3), counts), np.concatenate(rows))
            for stream, y in zip(alone, rows, strict=True):
                stream.update(y)
        assert together.log_e().tolist() == [stream.log_e for stream in alone]
        assert together.log_e_max.tolist() == [stream.log_e_max for stream in alone]
        assert together.log_wealth.tolist() == [stream.state()["log_wealth"] for stream in alone]


def test_mixture_of_logs_is_the_log_of_the_mean() -> None:
    logs = np.array([[0.0, math.log(3)], [-2000.0, -2000.0], [2000.0, -math.inf]])
    assert log_mean_exp(logs) == pytest.approx([math.log(2), -2000.0, 2000.0 - math.log(2)])
