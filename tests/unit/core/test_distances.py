"""PSI, its p-value, Wasserstein and Kolmogorov-Smirnov against SciPy, closed forms and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from upm_cli.core.features.psi import chi_square_tail, distances, ks_p_value, pooled, psi, psi_p_value, spread
from upm_cli.core.judging.multiplicity import benjamini_hochberg, holm


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 10, 11, 25, 60])
def test_the_chi_square_tail_is_scipys_also_far_out(df: int) -> None:
    for x in (1e-3, 0.5, 1.0, 3.84, df, 2.0 * df, 50.0, 300.0):
        assert chi_square_tail(x, df) == pytest.approx(stats.chi2.sf(x, df), rel=1e-12)


def test_the_chi_square_tail_has_its_closed_forms_and_limits() -> None:
    assert chi_square_tail(6.0, 2) == pytest.approx(math.exp(-3), rel=1e-15)
    assert chi_square_tail(1.0, 1) == pytest.approx(math.erfc(math.sqrt(0.5)), rel=1e-15)
    assert chi_square_tail(0.0, 5) == chi_square_tail(-1.0, 5) == 1.0
    with pytest.raises(ValueError, match="at least 1"):
        chi_square_tail(1.0, 0)


def test_psi_is_the_symmetric_divergence_of_the_smoothed_shares() -> None:
    a, b = np.array([10, 20, 70, 0]), np.array([30, 20, 50, 0])
    p, q = np.array([10.5, 20.5, 70.5]) / 101.5, np.array([30.5, 20.5, 50.5]) / 101.5
    assert psi(a, b) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-12)
    assert psi(a, a) == 0.0
    assert psi(a, b) == pytest.approx(psi(b, a))


def test_without_a_sample_there_is_no_distance() -> None:
    none, some = np.zeros(3, np.int64), np.array([5, 5, 90])
    assert psi(none, some) == psi(some, none) == 0.0
    assert psi_p_value(none, some) == psi_p_value(none, none) == 1.0


def test_cells_are_joined_until_both_samples_expect_five() -> None:
    a, b = np.array([1, 2, 500, 490, 4, 3]), np.array([0, 1, 55, 44, 0, 0])
    x, y = pooled(a, b)
    assert (x.tolist(), y.tolist()) == ([503, 497], [56, 44])
    spaced_a, spaced_b = np.array([700, 0, 0, 0, 300]), np.array([450, 0, 0, 0, 50])
    assert [cells.tolist() for cells in pooled(spaced_a, spaced_b)] == [[700, 300], [450, 50]]
    expected = (x + y) * y.sum() / (x.sum() + y.sum())
    assert expected.min() >= 5
    assert psi_p_value(np.array([1000, 1]), np.array([1000, 0])) == 1.0, "one cell is left: nothing can be tested"


def test_psi_has_its_stated_chance_of_a_small_p_value() -> None:
    rng = np.random.default_rng(7)
    shares = np.array([0.1] * 9 + [0.06, 0.04])
    a, b = rng.multinomial(5000, shares, 2000), rng.multinomial(800, shares, 2000)
    p = np.array([psi_p_value(x, y) for x, y in zip(a, b, strict=True)])
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() == pytest.approx(level, abs=0.2 * level + 3 * math.sqrt(level / p.size))


@pytest.mark.parametrize(("n", "m", "digits"), [(50, 50, 3), (200, 77, 3), (40, 1000, 1), (1000, 1000, 9)])
def test_distances_are_scipys_with_and_without_ties(n: int, m: int, digits: int) -> None:
    rng = np.random.default_rng(n + m)
    a, b = np.sort(rng.normal(size=n).round(digits)), np.sort(rng.normal(0.2, 1.3, size=m).round(digits))
    d, w1 = distances(a, b)
    assert d == pytest.approx(stats.ks_2samp(a, b).statistic, rel=1e-12)
    assert w1 == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-9)


def test_wasserstein_can_be_of_values_cut_to_a_range() -> None:
    rng = np.random.default_rng(11)
    a, b = np.sort(rng.lognormal(size=300)), np.sort(rng.lognormal(0.3, 2.0, size=500))
    d, w1 = distances(a, b, (0.2, 4.0))
    assert d == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert w1 == pytest.approx(stats.wasserstein_distance(a.clip(0.2, 4.0), b.clip(0.2, 4.0)), rel=1e-9)


def test_wasserstein_of_equal_sizes_is_the_mean_gap_of_matched_quantiles() -> None:
    rng = np.random.default_rng(1)
    a, b = np.sort(rng.exponential(size=300)), np.sort(rng.exponential(1.4, size=300))
    assert distances(a, b)[1] == pytest.approx(np.abs(a - b).mean(), rel=1e-12)
    assert distances(a, a) == (0.0, 0.0)


@pytest.mark.parametrize(("n", "m"), [(100, 100), (1024, 1024), (1024, 60)])
def test_the_ks_p_value_is_near_the_exact_one(n: int, m: int) -> None:
    for d in (0.05, 0.1, 0.15, 0.2):
        exact = float(stats.ks_2samp(*_with_distance(n, m, d), method="exact").pvalue)
        d_exact = distances(*_with_distance(n, m, d))[0]
        assert ks_p_value(d_exact, n, m) == pytest.approx(exact, rel=0.25, abs=0.01)
    assert ks_p_value(0.0, n, m) == 1.0
    assert ks_p_value(1.0, n, m) < 1e-20


def _with_distance(n: int, m: int, d: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples whose distribution functions are about `d` apart."""
    return np.arange(n) / n, d + np.arange(m) / m


def test_the_ks_p_value_falls_without_a_jump_where_the_series_change() -> None:
    x = np.linspace(0.0, 0.12, 500)
    p = np.array([ks_p_value(float(d), 1000, 1000) for d in x])
    assert (np.diff(p) <= 1e-12).all()
    assert np.abs(np.diff(p)).max() < 0.02


def test_the_spread_is_the_interquartile_range_or_stands_in_for_it() -> None:
    normal = np.sort(np.random.default_rng(3).normal(size=100_000))
    assert spread(normal) == pytest.approx(1.349, rel=0.02)
    mostly_zero = np.sort(np.r_[np.zeros(90), np.ones(10)])
    assert spread(mostly_zero) == pytest.approx(1.349 * mostly_zero.std())
    assert spread(np.ones(50)) is None
    assert spread(np.zeros(0)) is None
    assert spread(np.array([3.0])) is None


def test_holm_rejects_what_stepping_down_rejects() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        p = np.round(rng.random(rng.integers(1, 12)) ** 3, 2)
        for alpha in (0.013, 0.057, 0.21):
            assert (holm(p) <= alpha).tolist() == _step_down(p, alpha)
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.zeros(0)).size == 0


def _step_down(p: np.ndarray, alpha: float) -> list[bool]:
    rejected = [False] * p.size
    for step, at in enumerate(np.argsort(p, kind="stable")):
        if p[at] * (p.size - step) > alpha:
            break
        rejected[at] = True
    return rejected


def test_benjamini_hochberg_is_scipys() -> None:
    rng = np.random.default_rng(6)
    for size in (1, 2, 17, 200):
        p = rng.random(size) ** 2
        assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p, method="bh"), rel=1e-12)
