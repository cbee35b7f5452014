"""Bounds of a running average: the published formula in a slow loop, golden numbers, and what inverting them means."""

import json
import math

import numpy as np
import pytest

from upm_cli.core.judging.eb import EmpiricalBernstein, log_mixture, predictable_lower, rows_until

GRID = [0.003 * 300 ** (k / 23) for k in range(24)]
GOLDEN_STREAM = ((np.arange(1, 201) * 0.6180339887498949) % 1) ** 2


def log_e_by_hand(y: list[float], mu: float) -> float:
    """Howard et al. (2021), theorem 4, mixed over the grid, in plain Python."""
    total = variance = 0.0
    for t, value in enumerate(y):
        variance += (value - (0.5 + total) / (t + 1)) ** 2
        total += value
    terms = [bet * (total - len(y) * mu) - (-math.log(1 - bet) - bet) * variance for bet in GRID]
    return math.log(sum(math.exp(term) for term in terms) / 24)


def test_evidence_equals_the_theorem_in_a_slow_loop() -> None:
    y = np.random.default_rng(1).beta(2, 5, 300).tolist()
    stream = EmpiricalBernstein()
    for at, value in enumerate(y, 1):
        stream.update(value)
        if at in (1, 2, 10, 100, 300):
            assert stream.log_e(0.2) == pytest.approx(log_e_by_hand(y[:at], 0.2), abs=1e-9)
            mirrored = [1 - value for value in y[:at]]
            assert stream.log_e_below(0.4) == pytest.approx(log_e_by_hand(mirrored, 0.6), abs=1e-9)
    assert stream.mean == pytest.approx(sum(y) / 300)


def test_lower_bound_has_the_golden_values() -> None:
    stream = EmpiricalBernstein()
    found = {}
    for at, value in enumerate(GOLDEN_STREAM, 1):
        stream.update(value)
        found[at] = stream.lower(0.05)
    assert [round(found[at], 4) for at in (50, 100, 200)] == [0.1142, 0.1995, 0.2496]


def test_predictable_lower_bound_agrees_with_the_authors_code() -> None:
    bound = predictable_lower(GOLDEN_STREAM, 0.05)
    assert bound[[49, 99, 199]] == pytest.approx([0.17484606, 0.23634137, 0.26847499], abs=1e-8)
    assert bound[0] == 0.0


def test_bounds_are_where_the_evidence_reaches_one_over_alpha() -> None:
    y = np.random.default_rng(2).random(500)
    stream = EmpiricalBernstein()
    stream.update(y)
    for alpha in (0.2, 0.05, 1e-4):
        low, high = stream.lower(alpha), stream.upper(alpha)
        assert low < y.mean() < high
        assert stream.log_e(low) == pytest.approx(math.log(1 / alpha), abs=1e-6)
        assert stream.log_e_below(high) == pytest.approx(math.log(1 / alpha), abs=1e-6)


def test_upper_bound_is_the_lower_bound_of_the_complement() -> None:
    y = np.random.default_rng(3).beta(1, 9, 400)
    plain, mirrored = EmpiricalBernstein(), EmpiricalBernstein()
    plain.update(y)
    mirrored.update(1 - y)
    assert plain.upper(0.01) == pytest.approx(1 - mirrored.lower(0.01), abs=1e-12)


def test_bounds_say_nothing_before_there_is_evidence() -> None:
    stream = EmpiricalBernstein()
    stream.update([])
    assert (stream.lower(0.05), stream.upper(0.05), stream.mean, stream.log_e(0.3)) == (0.0, 1.0, None, 0.0)
    stream.update([0.2, 0.9])
    assert (stream.lower(0.05), stream.upper(0.05)) == (0.0, 1.0)


def test_state_survives_json_exactly() -> None:
    y = np.random.default_rng(4).random(200)
    whole, stream = EmpiricalBernstein(), EmpiricalBernstein()
    whole.update(y)
    for value in y:
        stream.update(value)
        stream = EmpiricalBernstein.restore(json.loads(json.dumps(stream.state())))
    assert stream.state() == whole.state()


@pytest.mark.parametrize("bad", [1.5, -0.1, math.nan])
def test_a_number_outside_0_and_1_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        EmpiricalBernstein().update(bad)


def test_rows_until_is_the_first_row_at_which_the_mixture_suffices() -> None:
    for rate, variance, need in ((0.05, 0.01, 5.0), (0.2, 0.0, 3.0), (0.01, 0.1, 4.0)):
        found = rows_until(rate, variance, need)
        slow = next(n for n in range(1, 100_000) if log_mixture(n * rate, n * variance) >= need)
        assert found == slow


def test_rows_until_gives_up_on_a_stream_on_the_wrong_side() -> None:
    assert rows_until(0.0, 0.1, 3.0) is None
    assert rows_until(-0.1, 0.1, 3.0) is None
    assert rows_until(1e-4, 0.1, 3.0, most=100) is None
