"""Exact intervals of a share, and the seed's rule with them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.judging.exceedance import ExceedVerdict, exceed_bounds, incomplete_beta, judge_exceedance
from upm_cli.core.quantile import p95


def tail(n: int, k: int, p: float) -> float:
    """P(Binomial(n, p) >= k), in whole numbers."""
    share = Fraction(p)
    return float(sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1)))


@pytest.mark.parametrize(("hits", "n"), [(1, 10), (5, 10), (9, 10), (2, 60), (30, 60)])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_bounds_are_the_shares_whose_binomial_tail_is_alpha(hits: int, n: int, alpha: float) -> None:
    low, high = exceed_bounds(hits, n, alpha)
    assert tail(n, hits, low) == pytest.approx(alpha, rel=1e-9)
    assert 1 - tail(n, hits + 1, high) == pytest.approx(alpha, rel=1e-9)


def sixty_halvings(a: float, b: float, p: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if incomplete_beta(a, b, middle) < p else (low, middle)
    return (low + high) / 2


@given(
    n=st.integers(1, 5000),
    hits=st.floats(0, 1) | st.floats(0, 0.02),
    alpha=st.sampled_from([0.025, 0.5, 1e-6, 0.999]),
)
@settings(max_examples=150, deadline=None)
def test_bounds_are_the_same_bytes_as_asking_at_each_of_sixty_halvings(n: int, hits: float, alpha: float) -> None:
    k = round(hits * n)
    low, high = exceed_bounds(k, n, alpha)
    assert low == (sixty_halvings(k, n - k + 1, alpha) if k else 0.0)
    assert high == (sixty_halvings(k + 1, n - k, 1 - alpha) if k < n else 1.0)


def test_bounds_of_none_and_of_all_have_closed_forms() -> None:
    assert exceed_bounds(0, 40, 0.01) == (0.0, pytest.approx(1 - 0.01 ** (1 / 40), rel=1e-12))
    assert exceed_bounds(40, 40, 0.01) == (pytest.approx(0.01 ** (1 / 40), rel=1e-12), 1.0)
    assert exceed_bounds(0, 0, 0.01) == (0.0, 1.0)


def test_bounds_of_large_samples_agree_with_the_beta_quantile() -> None:
    stats = pytest.importorskip("scipy.stats")
    for hits, n in ((51, 1000), (5000, 100_000), (3, 1_000_000), (999_990, 1_000_000)):
        low, high = exceed_bounds(hits, n, 0.01)
        assert low == pytest.approx(stats.beta.ppf(0.01, hits, n - hits + 1), rel=1e-9)
        assert high == pytest.approx(stats.beta.ppf(0.99, hits + 1, n - hits), rel=1e-9)


@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_incomplete_beta_has_its_closed_forms(x: float) -> None:
    assert incomplete_beta(1, 1, x) == pytest.approx(x, abs=1e-15)
    assert incomplete_beta(3, 1, x) == pytest.approx(x**3, abs=1e-15)
    assert incomplete_beta(1, 4, x) == pytest.approx(1 - (1 - x) ** 4, abs=1e-15)
    assert incomplete_beta(0.5, 0.5, x) == pytest.approx(2 / math.pi * math.asin(math.sqrt(x)), abs=1e-14)


def test_a_breach_by_count_is_the_breach_by_p95() -> None:
    rng = np.random.default_rng(9)
    for n in (1000, 1001, 1019, 1500):
        for hits in (n // 20 - 2, n // 20 - 1, n // 20, n // 20 + 1, n // 20 + 2):
            scores = np.concatenate([np.full(hits, 0.2), 0.19 * rng.random(n - hits)])
            found = judge_exceedance(hits, n, is_enough=True).verdict
            assert (found in (ExceedVerdict.BREACH, ExceedVerdict.BREACH_UNSURE)) == (p95(scores) >= 0.2)


@pytest.mark.parametrize(
    ("hits", "n", "verdict"),
    [
        (10, 1000, "ok"),
        (49, 1000, "ok"),
        (50, 1000, "breach_unsure"),
        (64, 1000, "breach_unsure"),  # exact lower bounds by scipy: 0.0496 and, of 65, 0.0505
        (65, 1000, "breach"),
        (999, 999, "insufficient"),
        (0, 0, "insufficient"),
    ],
)
def test_verdicts_around_the_limit(hits: int, n: int, verdict: str) -> None:
    found = judge_exceedance(hits, n, is_enough=n >= 1000)
    assert found.verdict == verdict
    assert found.low <= (hits / n if n else 0) <= found.high


def test_what_is_no_sample_is_refused() -> None:
    for hits, n, alpha in ((-1, 5, 0.1), (6, 5, 0.1), (1, 5, 0.0), (1, 5, 1.0)):
        with pytest.raises(ValueError, match="no sample"):
            exceed_bounds(hits, n, alpha)
