"""The change detectors: their recursion in plain numbers, the alarm, and how often a false one may come."""

import json
import math

import numpy as np
import pytest

from upm_cli.core.detectors import ESR, BettingE, EmpiricalBernstein, alarm_level, change_bets


def path_by_hand(y: list[float], m0: float, kind: str) -> list[float]:
    """The mixture of R after each number, in plain Python without logarithms."""
    grid = [0.02 * (0.9 / m0 / 0.02) ** (k / 19) for k in range(20)]
    r = [0.0] * 20
    path = []
    for value in y:
        start = [x + 1 if kind == "shiryaev-roberts" else max(x, 1.0) for x in r]
        r = [x * (1 + bet * (value - m0)) for x, bet in zip(start, grid, strict=True)]
        path.append(sum(r) / 20)
    return path


@pytest.mark.parametrize("kind", ["shiryaev-roberts", "cusum"])
def test_statistic_and_alarm_equal_the_recursion_in_plain_numbers(kind: str) -> None:
    rng = np.random.default_rng(7)
    y = np.concatenate([rng.random(300) < 0.05, rng.random(200) < 0.3]).astype(float).tolist()
    path = path_by_hand(y, 0.05, kind)
    detector = ESR(0.05, 1000.0, kind)
    found = []
    for value in y:
        detector.update(value)
        found.append(detector.stat)
    assert found == pytest.approx(path, rel=1e-9)
    first = next(at for at, stat in enumerate(path, 1) if stat >= 1000)
    assert 300 < first < 400
    assert detector.alarm_at == first
    assert detector.alarmed


@pytest.mark.parametrize("kind", ["shiryaev-roberts", "cusum"])
def test_restoring_at_any_index_alarms_at_the_same_index(kind: str) -> None:
    rng = np.random.default_rng(8)
    y = np.concatenate([rng.random(60), 0.5 + rng.random(40) / 2])
    whole = ESR(0.5, 200.0, kind)
    whole.update(y)
    assert whole.alarm_at is not None
    for cut in range(y.size + 1):
        first = ESR(0.5, 200.0, kind)
        first.update(y[:cut])
        second = ESR.restore(0.5, 200.0, json.loads(json.dumps(first.state())), kind)
        second.update(y[cut:])
        assert second.alarm_at == whole.alarm_at
        assert second.state() == whole.state()


def test_an_alarm_stays_raised_when_the_stream_is_good_again() -> None:
    detector = ESR(0.5, 50.0)
    detector.update(np.ones(30))
    raised = detector.alarm_at
    detector.update(np.zeros(1000))
    assert raised is not None
    assert detector.alarm_at == raised
    assert detector.n == 1030


def test_statistic_of_an_endless_breach_is_infinite_but_its_logarithm_is_not() -> None:
    detector = ESR(0.5, 50.0)
    assert detector.log_stat == -math.inf
    assert detector.stat == 0.0
    detector.update(np.ones(5000))
    assert detector.stat == math.inf
    assert detector.log_stat == pytest.approx(5000 * math.log1p(0.9), rel=1e-3)


def test_average_run_length_is_stated_and_grows_with_detectors() -> None:
    level = alarm_level(1500, 336)
    assert level == 504_000
    assert alarm_level(1500, 336, detectors=3) == 3 * 504_000
    assert ESR(0.05, level).average_run_length == 504_000


@pytest.mark.parametrize(("rate", "hours", "detectors"), [(0, 1, 1), (1, 1, 1), (math.inf, 1, 1), (10, 10, 0)])
def test_a_run_length_that_says_nothing_is_refused(rate: float, hours: float, detectors: int) -> None:
    with pytest.raises(ValueError, match="average run length"):
        alarm_level(rate, hours, detectors)


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ESR(1.0, 100)
    with pytest.raises(ValueError, match="level must be above 1"):
        ESR(0.5, math.inf)
    with pytest.raises(ValueError, match="shiryaev-roberts, cusum"):
        ESR(0.5, 100, "page")
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        ESR(0.5, 100).update(math.nan)


def test_bets_keep_the_statistic_positive() -> None:
    for m0 in (0.01, 0.5, 0.9):
        grid = change_bets(m0)
        assert grid.size == 20
        assert grid[0] == pytest.approx(0.02)
        assert grid[-1] == pytest.approx(0.9 / m0)


def test_the_three_detectors_are_in_one_place() -> None:
    streams = [BettingE(0.5), EmpiricalBernstein(), ESR(0.5, 100)]
    for stream in streams:
        stream.update([0.1, 0.9])
    assert [stream.state()["n"] for stream in streams] == [2, 2, 2]
