"""The experiment of simulated shadows: its fast judges are those that ship, and its short form meets the criteria."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.judging.s13_shadow import KINDS, rows, run, score, table
from benchmarks.judging.shadow_chart import chart
from benchmarks.judging.shadow_judges import (
    JUDGES,
    OURS,
    RIVALS,
    mann_whitney,
    minutes,
    ours,
    restarting,
    seed_rule,
    shipped_policy,
)
from benchmarks.judging.shadow_world import HARMFUL, HEALTHY, TENANTS, Shadow, World
from upm_cli.core.drift import DriftPolicy, judge, seed_stats
from upm_cli.core.evidence import Contest
from upm_cli.core.judging.restarts import RestartingBets
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import Strings

WORLD = World(days=1)
POLICY = shipped_policy()


def make_shadow(kind: str, at: int, world: World = WORLD) -> Shadow:
    return world.simulate(kind, np.random.default_rng([1, KINDS.index(kind), at]))


@pytest.mark.parametrize("kind", ["equal", "slightly worse", "step", "one tenant", "tail only", "night only"])
def test_the_fast_judge_does_what_the_contest_does(kind: str) -> None:
    world = World(days=2)
    shadow = make_shadow(kind, 0, world)
    (judged,) = ours(world, [shadow], POLICY)
    contest, names, fired = Contest(POLICY), [f"t{tenant}" for tenant in range(TENANTS)], np.inf
    losses = [table.astype(np.float64) for table in (shadow.challenger, shadow.champion)]
    pieces = np.unique(np.append(np.arange(0, world.hour_of.size, 10), world.hour_of.size))
    for start, stop in itertools.pairwise(pieces.tolist()):
        seq = np.arange(start * TENANTS, stop * TENANTS)
        contest.advance(seq, Strings.of(names * (stop - start)), *(table[start:stop].ravel() for table in losses))
        found = contest.findings()
        if found.harmed or Verdict.FAIL in (found.harm.verdict, found.tail.verdict):
            fired = float(world.when(np.array([stop * TENANTS]))[0])
            break
    step = 10 / min(world.rows)  # hours between two looks at the contest
    assert judged.rolled_back <= fired <= judged.rolled_back + step
    assert np.isfinite(fired) == (kind not in HEALTHY)
    if np.isinf(fired):
        assert judged.promoted == (found.verdict is Verdict.PASS)


def test_the_fast_wealth_is_that_of_the_bets() -> None:
    y = np.random.default_rng(2).beta(6, 5, (5, 400))
    fold, first = RestartingBets(0.5, 5), np.zeros(5, np.int64)
    for at, column in enumerate(y.T, 1):
        fold.update(np.arange(5), column)
        first = np.where((first == 0) & (fold.log_e_max >= np.log(50)), at, first)
    assert restarting(y, 0.5, 1 / 50).tolist() == first.tolist()
    assert (first > 0).any()


def test_the_seed_rule_is_that_of_the_drift_monitor() -> None:
    rng = np.random.default_rng(3)
    policy = DriftPolicy(sample_size=1000, score="seed")
    for rate in (0.046, 0.05, 0.054):
        for n in (1000, 1200, 1440):
            scores = np.where(rng.random(n) < rate, 0.3, 0.1).astype(np.float32)
            misses = np.array([int((scores >= np.float32(0.2)).sum())])
            fails = judge(seed_stats(scores, 0.2), policy) is Verdict.FAIL
            assert seed_rule(misses, np.array([n])) == (1.0 if fails else np.inf)
    quiet = np.array([480, 480, 480])
    assert seed_rule(np.array([40, 40, 0]), quiet) == 3.0, "hours that are too small are judged together"


def test_mann_whitney_is_scipys_in_the_normal_approximation() -> None:
    rng = np.random.default_rng(4)
    for shift in (0.0, 0.3, 0.5, 0.7, 0.9):
        a, b = rng.normal(shift, size=(1, 60)), rng.normal(size=(1, 60))
        p = stats.mannwhitneyu(a[0], b[0], alternative="greater", method="asymptotic", use_continuity=False).pvalue
        assert mann_whitney(a, b) == (1.0 if p < stats.norm.sf(2.326 / 0.75) else np.inf)
    far = np.concatenate([np.full((1, 8), 1e6), rng.normal(size=(1, 52))], axis=1)
    assert mann_whitney(far, rng.normal(size=(1, 60))) == np.inf, "what is far out is removed: so is the harm"


def test_minutes_of_an_hour_average_to_it() -> None:
    shadow = make_shadow("hard days", 1)
    expected = WORLD.per_hour(shadow.champion) / (WORLD.rows * TENANTS)
    assert minutes(WORLD, shadow.champion).mean(axis=1) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_shadows_are_as_healthy_or_harmful_as_they_are_said_to_be(kind: str) -> None:
    world = World(days=6)
    shadow = make_shadow(kind, 2, world)
    p95 = float(np.quantile(shadow.champion, 0.95))
    excess = world.per_hour(shadow.challenger - shadow.champion) / (world.rows * TENANTS)
    if kind in HEALTHY:
        assert np.abs(excess.mean()) < 0.005
        assert np.isinf(shadow.start)
        assert 0.08 < p95 < 0.25
    else:
        begun = world.hour_of >= shadow.start
        by_tenant = (shadow.challenger - shadow.champion)[begun].mean(axis=0)
        bad = (shadow.challenger >= 0.2).astype(float) - (shadow.champion >= 0.2)
        night = world.is_night[world.hour_of]
        at_night = float((shadow.challenger - shadow.champion)[night].mean())
        worst = {"one tenant": by_tenant.max(), "tail only": bad[begun].mean(), "night only": at_night}
        assert worst.get(kind, by_tenant.mean()) > POLICY.harm_margin


def test_the_short_form_rolls_back_the_harmful_and_only_these() -> None:
    found = run(each=3, seed=7)
    assert {name: len(outcomes) for name, outcomes in found.items()} == dict.fromkeys(JUDGES, 30)
    one = score(found[OURS])
    assert (one.wrong, one.missed, one.early) == (0.0, 0.0, 0.0)
    assert one.waiting <= 0.2
    assert one.delay < 24
    assert [row.passed for row in rows(found)[:2]] == [True, True]
    seed = score(found[RIVALS[0]])
    assert seed.wrong > 0.1, "the rule that is replaced"
    assert score(found[OURS], ["one tenant"]).delay < score(found[RIVALS[0]], ["one tenant"]).delay
    text = table(found)
    assert all(name in text for name in (*JUDGES, *HEALTHY, *HARMFUL))
    curves = {name: [one.delay for one in outcomes if one.kind in HARMFUL] for name, outcomes in found.items()}
    drawn = chart({name: score(outcomes) for name, outcomes in found.items()}, curves)
    assert drawn.count('class="curve c') == 2 * len(JUDGES)


def test_what_is_harmless_by_a_wider_margin_is_not_rolled_back() -> None:
    world = World(days=2)
    shadow = make_shadow("step", 3, world)
    wide = replace(POLICY, harm_margin=0.09, tail_margin=0.09, margin=0.09, clip=0.5)
    assert np.isfinite(ours(world, [shadow], POLICY)[0].rolled_back)
    assert np.isinf(ours(world, [shadow], replace(wide, tail_threshold=1.0))[0].rolled_back)
