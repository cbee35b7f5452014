"""Scores, quantiles and verdicts against hand-made numbers and other people's implementations."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from upm_cli.core.drift import DriftPolicy, Stats, judge, regret_stats, seed_stats, shortest
from upm_cli.core.quantile import p95, p95_rank
from upm_cli.core.scores import class_scores, numeric_scores, seed_score, structured_scores
from upm_cli.core.verdict import Verdict

NAN = float("nan")


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (0.7, 1, 0.3),
        (0.7, True, 0.3),
        (-2, 3, 5.0),
        (True, False, 1.0),
        (True, True, 0.0),
        ({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 4.0}, 1.5),
        ({"a": 1.0, "z": "x"}, {"a": 2.0, "z": "y"}, 1.0),
        ({"a": 1.0, "only": 9.0}, {"a": 2.0, "other": 7.0}, 1.0),
        ({"a": "x", "b": "y"}, {"a": "x", "b": "z"}, 0.5),
        ({"a": "x"}, {"a": "x", "b": "z", "c": "w"}, 2 / 3),
        ({"a": 1.0}, {"b": 1.0}, 1.0),
        ({}, {}, 0.0),
        ("spam", "spam", 0.0),
        ("spam", "ham", 1.0),
        ("1", 1, 1.0),
        ({"a": 1}, 1, 1.0),
        ([1, 2], [1, 2], 0.0),
    ],
)
def test_the_seed_score_of_one_comparison(prediction: object, truth: object, expected: float) -> None:
    assert seed_score(prediction, truth) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(("prediction", "truth"), [(NAN, 1.0), (math.inf, 1.0), ({"a": NAN, "b": 1}, {"a": 1, "b": 1})])
def test_a_number_that_is_not_finite_has_no_score(prediction: object, truth: object) -> None:
    assert math.isnan(seed_score(prediction, truth))


def test_columns_of_numbers_score_like_one_at_a_time() -> None:
    rng = np.random.default_rng(1)
    prediction, truth = rng.normal(size=500).astype(np.float32), rng.normal(size=500)
    prediction[3], truth[5], prediction[7] = np.nan, np.inf, -np.inf
    one_by_one = [seed_score(float(p), float(y)) for p, y in zip(prediction, truth, strict=True)]
    np.testing.assert_array_equal(numeric_scores(prediction, truth), np.array(one_by_one, np.float32))


def test_columns_of_maps_score_like_one_at_a_time() -> None:
    rng = np.random.default_rng(2)
    prediction, truth = rng.normal(size=(300, 4)).astype(np.float32), rng.normal(size=(300, 4))
    shared = rng.random((300, 4)) < 0.5
    shared[0] = False
    prediction[9, 2] = np.nan
    one_by_one = [
        seed_score(
            {str(k): float(p[k]) for k in range(4)},
            {str(k): float(y[k]) for k in range(4) if both[k]} or {"unknown": 0.0},
        )
        for p, y, both in zip(prediction, truth, shared, strict=True)
    ]
    np.testing.assert_allclose(structured_scores(prediction, truth, shared), one_by_one, rtol=1e-6)


def test_classes_score_zero_or_one() -> None:
    assert class_scores(np.array([2, 0, 1]), np.array([2, 1, 1])).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("n", [*range(1, 200), 999, 1000, 1001, 12_345])
def test_p95_is_the_value_at_rank_floor_095_n(n: int) -> None:
    values = np.random.default_rng(n).permutation(n).astype(np.float32)
    assert p95(values) == sorted(values.tolist())[min(math.floor(0.95 * n), n - 1)]


@pytest.mark.parametrize("n", range(1, 60))
def test_p95_reaches_a_limit_exactly_when_enough_values_do(n: int) -> None:
    for hits in range(n + 1):
        values = np.array([0.2] * hits + [0.1] * (n - hits), np.float32)
        assert (p95(values) >= np.float32(0.2)) == (hits >= n - p95_rank(n))


def test_p95_does_not_touch_its_input_and_refuses_an_empty_one() -> None:
    values = np.array([3.0, 1.0, 2.0], np.float32)
    p95(values)
    assert values.tolist() == [3.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="at least one value"):
        p95(np.zeros(0, np.float32))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (50, 1000), (10, 10), (0, 1), (777, 1554)])
def test_the_share_of_scores_at_the_limit_has_scipys_exact_interval(hits: int, n: int) -> None:
    found = seed_stats(np.repeat(np.array([0.3, 0.1], np.float32), [hits, n - hits]), 0.2, n)
    theirs = scipy_stats.binomtest(hits, n).proportion_ci(method="exact")
    assert (found.exceed_low, found.exceed_high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize(
    ("hits", "sample_size", "says"),
    [(20, 1000, "ok"), (52, 1000, "breach_unsure"), (90, 1000, "breach"), (90, 1001, "insufficient")],
)
def test_how_sure_a_window_is_of_the_limit_is_said_beside_its_verdict(hits: int, sample_size: int, says: str) -> None:
    found = seed_stats(np.repeat(np.array([0.3, 0.1], np.float32), [hits, 1000 - hits]), 0.2, sample_size)
    assert found.exceed_says == says


def test_scores_that_are_not_finite_are_dropped_and_counted() -> None:
    scores = np.array([0.1, NAN, 0.3, np.inf, 0.2], np.float32)
    found = seed_stats(scores, 0.2)
    assert (found.n, found.scores, found.dropped, found.p95, found.max) == (3, 3, 2, 0.3, 0.3)
    assert found.mean == pytest.approx(0.2, rel=1e-6)
    assert found.exceed == pytest.approx(2 / 3)


def test_no_usable_scores_have_no_numbers() -> None:
    assert seed_stats(np.array([NAN, NAN], np.float32), 0.2) == Stats(n=0, scores=0, dropped=2)
    assert regret_stats(np.array([NAN], np.float32), 0.2) == Stats(n=0, scores=0, dropped=1)


@pytest.mark.parametrize(
    ("n", "p95_value", "verdict"),
    [
        (1000, 0.2, Verdict.FAIL),
        (1000, 0.1999, Verdict.PASS),
        (999, 0.9, Verdict.UNKNOWN),
        (1000, None, Verdict.UNKNOWN),
        (5000, 3.0, Verdict.FAIL),
    ],
)
def test_a_verdict_needs_samples_and_fails_at_the_limit(n: int, p95_value: float | None, verdict: Verdict) -> None:
    assert judge(Stats(n=n, scores=n, dropped=0, p95=p95_value), DriftPolicy()) is verdict


@pytest.mark.parametrize("limit", [0.1, 0.2, 0.3, 0.7, 0.9])
def test_a_score_that_is_the_limit_reaches_it_though_it_was_stored_in_single_precision(limit: float) -> None:
    found = seed_stats(np.full(1000, limit, np.float32), limit)
    assert found.p95 == limit
    assert judge(found, DriftPolicy(drift_threshold=limit)) is Verdict.FAIL
    assert found.exceed == 1.0


def test_regret_is_the_mean_excess_over_blocks_of_twenty_with_the_rest_in_the_last() -> None:
    excess = np.random.default_rng(3).normal(0.02, 0.3, 1234).astype(np.float32)
    excess[::100] = np.nan
    usable = [float(v) for v in excess if math.isfinite(v)]
    cuts = [20 * i for i in range(len(usable) // 20)]
    slow = sorted(max(0.0, float(np.mean(usable[a:b]))) for a, b in zip(cuts, [*cuts[1:], len(usable)], strict=True))
    found = regret_stats(excess, 0.2)
    assert (found.n, found.scores, found.dropped) == (len(usable), len(cuts), 13)
    assert found.p95 == pytest.approx(slow[math.floor(0.95 * len(slow))], rel=1e-6)
    assert found.max == pytest.approx(slow[-1], rel=1e-6)
    assert found.mean == pytest.approx(float(np.mean(slow)), rel=1e-6)


def test_fewer_than_twenty_class_comparisons_are_one_block() -> None:
    found = regret_stats(np.array([0.4, 0.2], np.float32), 0.2)
    assert (found.n, found.scores) == (2, 1)
    assert found.p95 == pytest.approx(0.3)


@pytest.mark.parametrize("base", [0.1, 0.25, 0.5])
def test_a_calibrated_classifier_passes_by_regret_and_would_fail_by_raw_distance(base: float) -> None:
    rng = np.random.default_rng(4)
    probability = rng.beta(4 * base, 4 * (1 - base), 20_000)
    label = (rng.random(20_000) < probability).astype(float)
    excess = ((probability - label) ** 2 - (base - label) ** 2).astype(np.float32)
    assert judge(regret_stats(excess, 0.2), DriftPolicy()) is Verdict.PASS
    assert judge(seed_stats(numeric_scores(probability, label), 0.2), DriftPolicy()) is Verdict.FAIL


@pytest.mark.parametrize("base", [0.1, 0.25, 0.5])
def test_a_classifier_that_says_the_opposite_fails_by_regret(base: float) -> None:
    rng = np.random.default_rng(5)
    label = (rng.random(20_000) < base).astype(float)
    probability = np.where(rng.random(20_000) < 0.9, 1 - label, label)
    excess = ((probability - label) ** 2 - (base - label) ** 2).astype(np.float32)
    assert judge(regret_stats(excess, 0.2), DriftPolicy()) is Verdict.FAIL


@pytest.mark.parametrize(
    "bad",
    [
        {"window_duration_ms": 0},
        {"drift_threshold": 0},
        {"drift_threshold": NAN},
        {"drift_threshold": math.inf},
        {"sample_size": 0},
        {"score": "raw"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        DriftPolicy(**bad)  # type: ignore[arg-type]


def test_a_float32_reads_as_it_was_meant() -> None:
    assert shortest(float(np.float32(0.2))) == 0.2
    assert shortest(float(np.float32(0.1) + np.float32(0.2))) == pytest.approx(0.3)
