"""Bounds of the running average of differences: the inequality in a slow loop, and what inverting it means."""

import math

import numpy as np
import pytest

from upm_cli.core.judging.eb import EmpiricalBernstein
from upm_cli.core.judging.eb_differences import DifferenceBounds

GRID = [0.003 * 300 ** (k / 23) for k in range(24)]


def log_e_by_hand(x: list[float], mu: float) -> float:
    """Evidence for "above mu": mean over the bets of exp(l (S - n mu) + (ln(1 - l) + l) V), predictions at most 0."""
    total = variance = 0.0
    for n, value in enumerate(x):
        variance += (value - min(0.0, total / (n + 1))) ** 2
        total += value
    terms = [bet * (total - len(x) * mu) + (math.log(1 - bet) + bet) * variance for bet in GRID]
    return math.log(sum(math.exp(term) for term in terms) / 24)


def test_evidence_of_both_sides_equals_a_slow_loop() -> None:
    x = np.clip(np.random.default_rng(1).normal(0.05, 0.3, 300), -1, 1).tolist()
    stream = DifferenceBounds()
    for at, value in enumerate(x, 1):
        stream.update(value)
        if at in (1, 2, 10, 100, 300):
            assert stream.log_e_above(-0.1) == pytest.approx(log_e_by_hand(x[:at], -0.1), abs=1e-9)
            mirrored = [-value for value in x[:at]]
            assert stream.log_e_below(0.2) == pytest.approx(log_e_by_hand(mirrored, -0.2), abs=1e-9)
    assert stream.mean == pytest.approx(sum(x) / 300)


def test_each_factor_of_the_evidence_has_mean_at_most_one_whatever_the_prediction() -> None:
    """The inequality everything rests on: E exp(l (x - E x) - psi (x - xhat)^2) <= 1, for laws on two points."""
    for bet in (0.003, 0.3, 0.9):
        psi = -math.log(1 - bet) - bet
        for predicted in (-1.0, -0.4, 0.0):
            for low, high, share in ((-1.0, 1.0, 0.5), (-1.0, 0.2, 0.9), (-0.3, 1.0, 0.01), (-1.0, -0.9, 0.5)):
                mean = low + (high - low) * share
                expected = sum(
                    weight * math.exp(bet * (x - mean) - psi * (x - predicted) ** 2)
                    for x, weight in ((low, 1 - share), (high, share))
                )
                assert expected <= 1 + 1e-12


def test_bounds_are_where_the_evidence_reaches_one_over_alpha() -> None:
    x = np.clip(np.random.default_rng(2).normal(0.0, 0.2, 800), -1, 1)
    stream = DifferenceBounds()
    stream.update(x)
    for alpha in (0.2, 0.05, 1e-4):
        low, high = stream.lower(alpha), stream.upper(alpha)
        assert low < x.mean() < high
        assert stream.log_e_above(low) == pytest.approx(math.log(1 / alpha), abs=1e-6)
        assert stream.log_e_below(high) == pytest.approx(math.log(1 / alpha), abs=1e-6)


def test_both_sides_mirror_each_other() -> None:
    x = np.clip(np.random.default_rng(3).normal(0.3, 0.4, 200), -1, 1)
    plain, mirrored = DifferenceBounds(), DifferenceBounds()
    plain.update(x)
    mirrored.update(-x)
    assert plain.upper(0.01) == -mirrored.lower(0.01)
    assert plain.lower(0.01) == -mirrored.upper(0.01)


def test_small_differences_need_about_half_of_what_mapping_to_0_and_1_needs() -> None:
    def rows(log_e_after: list[float]) -> int:
        return next(at for at, log_e in enumerate(log_e_after, 1) if log_e >= math.log(20))

    mapped, differences, paths = EmpiricalBernstein(), DifferenceBounds(), ([], [])
    for value in np.random.default_rng(4).normal(0.0, 0.02, 2000):
        mapped.update((value + 1) / 2)
        differences.update(value)
        paths[0].append(mapped.log_e_below((0.02 + 1) / 2))
        paths[1].append(differences.log_e_below(0.02))
    assert rows(paths[1]) < 0.6 * rows(paths[0])


def test_bounds_say_nothing_before_there_is_evidence() -> None:
    stream = DifferenceBounds()
    stream.update([])
    assert (stream.lower(0.05), stream.upper(0.05), stream.mean) == (-1.0, 1.0, None)
    stream.update([0.0, 0.1])
    assert (stream.lower(0.05), stream.upper(0.05)) == (-1.0, 1.0)


@pytest.mark.parametrize("bad", [1.01, -1.01, math.nan, [[0.0]]])
def test_a_number_outside_the_range_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        DifferenceBounds().update(bad)  # type: ignore[arg-type]
