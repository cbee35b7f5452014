"""The promises of the judging on simulated streams, in short; `python -m benchmarks.judging` is the long form.

Seeds are fixed. Where a rate is promised, the 99.9 % Clopper-Pearson bound of what was counted must allow it.
"""

import numpy as np
import pytest

from upm_cli.core.detectors import ESR
from upm_cli.core.evidence import Contest, EvidencePolicy
from upm_cli.core.judging.betting import Bets, log_mean_exp
from upm_cli.core.judging.eb import MIXTURE, PSI
from upm_cli.core.judging.exceedance import exceed_bounds
from upm_cli.core.judging.spending import candidate_alpha
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array, Strings

N, LENGTH, ALPHA, MARGIN, SD = 200, 1000, 0.05, 0.01, 0.08


def first(raised: F64Array) -> F64Array:
    """The 1-based column of the first True of each row, infinite where there is none."""
    return np.where(raised.any(axis=1), raised.argmax(axis=1) + 1.0, np.inf)


def harm(d: F64Array, margin: float, clip: float, alpha: float = ALPHA) -> F64Array:
    """When each stream of (streams, n) differences is called harmful."""
    y = (np.clip(d, -clip, clip) + clip) / (2 * clip)
    fold, rows = Bets((margin + clip) / (2 * clip), y.shape[0]), np.arange(y.shape[0])
    alarms = np.full(y.shape[0], np.inf)
    for at, column in enumerate(y.T, 1):
        fold.update(rows, column)
        alarms[np.isinf(alarms) & (fold.log_e_max >= np.log(1 / alpha))] = at
    return alarms


def passes(d: F64Array, margin: float, clip: float, alpha: float = ALPHA) -> F64Array:
    """When each stream of (streams, n) differences is found not worse."""
    x = np.clip(d / clip, -1, 1)
    t = np.arange(1, x.shape[1] + 1)
    total = np.cumsum(x, axis=1)
    variance = np.cumsum((x - np.maximum((total - x) / t, 0.0)) ** 2, axis=1)
    excess = t * margin / clip - total
    log_e = log_mean_exp(excess[..., None] * MIXTURE - variance[..., None] * PSI)
    return first(log_e >= np.log(1 / alpha))


def at_most(alarms: F64Array, rate: float) -> bool:
    return exceed_bounds(int(np.isfinite(alarms).sum()), alarms.size, 0.001)[0] <= rate


def noise(seed: int, n: int = LENGTH, streams: int = N) -> F64Array:
    return SD * np.random.default_rng(seed).standard_normal((streams, n))


def test_s1_a_challenger_at_the_boundary_is_seldom_called_harmful_or_let_pass() -> None:
    rng = np.random.default_rng(1)
    wave = 0.02 * np.sin(2 * np.pi * np.arange(LENGTH) / 500)
    rare = np.where(rng.random((N, LENGTH)) < 0.01, 0.9, 0.001 / 0.99) + np.clip(noise(2), -0.09, 0.09)
    heavy = MARGIN + np.clip(SD * rng.standard_t(3, (N, LENGTH)), -0.45, 0.45)
    for d, clip in ((MARGIN + noise(3), 0.5), (heavy, 0.5), (rare, 1.0)):
        assert at_most(harm(d, MARGIN, clip), ALPHA)
        assert at_most(passes(d, MARGIN, clip), ALPHA)
    assert at_most(harm(MARGIN + wave - 0.02 + noise(4), MARGIN, 0.5), ALPHA)  # never above the margin
    assert at_most(passes(MARGIN + wave + noise(4), MARGIN, 0.5), ALPHA)  # its average never below it


def test_s1_a_t_test_looked_at_all_the_time_is_not_like_that() -> None:
    d = noise(5)
    n = np.arange(1, LENGTH + 1)
    mean = np.cumsum(d, axis=1) / n
    error = np.sqrt((np.cumsum(d * d, axis=1) / n - mean**2) / n)
    assert np.isfinite(first(mean[:, 30:] > 1.645 * error[:, 30:])).mean() > 0.25


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
def test_s2_block_means_keep_that_when_windows_remember_the_one_before(rho: float) -> None:
    policy = EvidencePolicy()
    shocks = noise(6, 200 * policy.block_size)
    d = shocks.copy()
    for at in range(1, d.shape[1]):
        d[:, at] = rho * d[:, at - 1] + np.sqrt(1 - rho * rho) * shocks[:, at]
    blocks = MARGIN + d.reshape(N, -1, policy.block_size).mean(axis=2)
    assert at_most(harm(blocks, MARGIN, policy.clip), ALPHA)
    assert at_most(passes(blocks, MARGIN, policy.clip), ALPHA)


def test_s3_harm_is_seen_within_the_stated_number_of_windows() -> None:
    for excess, limit in ((0.02, 410), (0.05, 160)):
        assert np.median(harm(MARGIN + excess + noise(7, 3 * limit), MARGIN, 1.0)) <= limit


def test_s4_an_equal_challenger_passes_within_the_stated_number_of_windows() -> None:
    for margin, limit in ((0.01, 1450), (0.02, 540), (0.05, 180)):
        assert np.median(passes(noise(8, 2 * limit, 100), margin, 0.5)) <= limit


@pytest.mark.parametrize("kind", ["shiryaev-roberts", "cusum"])
def test_s5_false_alarms_of_a_change_come_no_sooner_than_stated(kind: str) -> None:
    rng = np.random.default_rng(9)
    lengths = []
    for _ in range(200 if kind == "shiryaev-roberts" else 40):
        detector = ESR(0.05, 50.0, kind)
        while detector.alarm_at is None and detector.n < 2000:
            detector.update((rng.random(50) < 0.05).astype(float))
        lengths.append(detector.alarm_at or 2000)
    assert np.mean(lengths) - 3 * np.std(lengths) / np.sqrt(len(lengths)) >= 50


def test_s6_a_change_is_seen_soon_and_none_before_it() -> None:
    rng = np.random.default_rng(10)
    for rate, limit in ((0.5, 20), (0.2, 100)):
        delays = []
        for _ in range(15):
            detector = ESR(0.05, 504_000)
            detector.update((rng.random(1000) < 0.02).astype(float))
            assert detector.alarm_at is None
            detector.update((rng.random(4 * limit) < rate).astype(float))
            delays.append(np.inf if detector.alarm_at is None else detector.alarm_at - 1000)
        assert np.median(delays) <= limit


def test_s7_the_best_of_fifty_bad_candidates_does_not_slip_through() -> None:
    families = 20
    slipped = np.zeros(families, bool)
    for candidate in range(1, 51):
        d = MARGIN + noise(100 + candidate, 800, families)
        slipped |= np.isfinite(passes(d, MARGIN, 0.5, candidate_alpha(ALPHA, candidate, 0)))
    assert exceed_bounds(int(slipped.sum()), families, 0.001)[0] <= ALPHA


def test_s8_the_one_harmed_tenant_of_twenty_is_found_and_the_rest_pass() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        who = rng.integers(0, 20, 30_000)
        champion, challenger = 0.2 + SD / np.sqrt(2) * rng.standard_normal((2, who.size))
        challenger += np.where(who == 7, 0.08, -0.004)
        contest = Contest(EvidencePolicy())
        contest.advance(np.arange(who.size), Strings.of([f"t{k}" for k in who]), challenger, champion)
        found = contest.findings()
        assert found.harmed == ("t7",)
        assert found.harm.verdict is not Verdict.FAIL
        assert found.verdict is Verdict.PASS
