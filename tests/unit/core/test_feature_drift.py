"""Feature drift: silent while nothing changes, awake when something does, and the same however the log is cut."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.detectors import ESR
from upm_cli.core.features.alarms import FeatureAlarms
from upm_cli.core.features.drift import FeatureDrift, FeaturePolicy, Look, Reference, learn_reference
from upm_cli.core.features.tests import Finding, Limits, compare
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.window import Csr, RowKind, WindowBatch

HOUR = 3_600_000
POLICY = FeaturePolicy(max_features=20)
STEADY, RARE, COLOUR_A, COLOUR_B, CODE, FRESH = 11, 12, 13, 14, 15, 99


def make_rows(
    rng: np.random.Generator,
    n: int,
    hour: int = 0,
    *,
    shift: float = 0.0,
    missing: float = 0.0,
    a: float = 0.7,
    code: Sequence[int] = (1, 2, 3),
    fresh: float = 0.0,
) -> WindowBatch:
    """Return `n` windows: a normal number, one that is often missing, a category of two, a code, a new feature."""
    is_a = rng.random(n) < a
    columns = [
        (STEADY, rng.normal(shift, size=n), rng.random(n) >= missing),
        (RARE, rng.exponential(size=n), rng.random(n) < 0.3),
        (COLOUR_A, np.ones(n), is_a),
        (COLOUR_B, np.ones(n), ~is_a),
        (CODE, rng.choice(code, n), np.ones(n, bool)),
        (FRESH, np.ones(n), rng.random(n) < fresh),
    ]
    present = np.stack([column[2] for column in columns], axis=1)
    value = np.stack([column[1] for column in columns], axis=1).astype(np.float32)
    index = np.tile(np.array([column[0] for column in columns], np.uint32), (n, 1))
    rows = WindowBatch.empty(n)
    rows.start_ms = hour * HOUR + np.arange(n) * (HOUR // n)
    rows.x = Csr(np.r_[0, present.sum(axis=1).cumsum()].astype(np.int64), index[present], value[present])
    return rows


def make_reference(n: int = 4000, policy: FeaturePolicy = POLICY) -> Reference:
    rows = make_rows(np.random.default_rng(0), n)
    found = learn_reference(lambda: [(0, rows)], policy, 1)
    assert found is not None
    return found


REFERENCE = make_reference()


def looks(batches: Iterator[WindowBatch] | Sequence[WindowBatch], fold: FeatureDrift, seq: int = 10_000) -> list[Look]:
    found = []
    for rows in batches:
        found += fold.fold(seq, rows)
        seq += len(rows)
    return found


def one(look: Look, feature: int) -> Finding:
    return next(finding for finding in look.findings if finding.feature == feature)


def test_the_reference_knows_how_features_were_distributed() -> None:
    assert REFERENCE.shape.features.tolist() == [STEADY, RARE, COLOUR_A, COLOUR_B, CODE]
    assert REFERENCE.shape.discrete.tolist() == [False, False, True, True, True]
    assert REFERENCE.baseline.windows == 4000
    assert (REFERENCE.span.first_seq, REFERENCE.span.last_seq) == (0, 3999)
    deciles = REFERENCE.shape.edges[0, :9]
    assert deciles == pytest.approx([-1.2816, -0.8416, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.8416, 1.2816], abs=0.15)
    assert REFERENCE.baseline.counts[0, :10].tolist() == pytest.approx([400] * 10, abs=150)
    assert REFERENCE.shape.edges[4, :3].tolist() == [1, 2, 3]


def test_nothing_is_learned_from_no_windows() -> None:
    marks = WindowBatch.empty(3, RowKind.CUT)
    assert learn_reference(lambda: [(0, marks)], POLICY, 1) is None


def test_only_the_most_frequent_features_are_followed() -> None:
    few = make_reference(policy=FeaturePolicy(max_features=2))
    assert few.shape.features.tolist() == [STEADY, CODE]
    none = make_reference(policy=FeaturePolicy(max_features=0))
    fold = FeatureDrift(none, FeaturePolicy(max_features=0))
    rng = np.random.default_rng(1)
    found = looks([make_rows(rng, 600, hour, fresh=0.5) for hour in range(2)], fold)
    assert [finding.feature for finding in found[0].findings] == [FRESH], "known ones that nobody follows are no news"


def test_healthy_hours_stay_within_the_budget_of_flags_and_give_no_alarm() -> None:
    rng, fold = np.random.default_rng(2), FeatureDrift(REFERENCE, POLICY)
    found = looks((make_rows(rng, 700, hour) for hour in range(150)), fold)
    assert len(found) == fold.looks == 149
    flagged = sum(any(finding.drifted for finding in look.findings) for look in found)
    assert flagged <= 1, "at 1 in 4320 a look, two in 150 would have a chance of 1 in 1,700"
    assert (fold.alarms.at == -1).all()
    p = np.array([[finding.p for finding in look.findings] for look in found])
    assert (p < 0.01).mean() < 0.025
    assert (p < 0.2).mean() < 0.3


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        ({"shift": 0.5}, STEADY),
        ({"missing": 0.3}, STEADY),
        ({"a": 0.4}, COLOUR_A),
        ({"a": 0.4}, COLOUR_B),
        ({"code": (1, 2, 4)}, CODE),
        ({"fresh": 0.2}, FRESH),
    ],
)
def test_every_kind_of_change_is_flagged_in_the_first_look(change: dict[str, Any], feature: int) -> None:
    rng = np.random.default_rng(3)
    fold = FeatureDrift(REFERENCE, POLICY)
    assert fold.drifting().size == 0
    (look,) = looks([make_rows(rng, 800, hour, **change) for hour in range(2)], fold)
    assert fold.drifting().tolist() == [one.feature for one in look.findings if one.drifted and not one.is_new]
    assert one(look, feature).drifted
    assert one(look, feature).is_new == (feature == FRESH)
    others = {COLOUR_A, COLOUR_B} if feature in (COLOUR_A, COLOUR_B) else {feature}
    assert not any(finding.drifted for finding in look.findings if finding.feature not in others)


def test_what_is_significant_but_small_is_no_drift() -> None:
    rng = np.random.default_rng(4)
    look = looks([make_rows(rng, 60_000, hour, a=0.75) for hour in range(2)], FeatureDrift(REFERENCE, POLICY))[0]
    found = one(look, COLOUR_A)
    assert found.p_adjusted < POLICY.significance
    assert not found.is_large
    assert not found.drifted


def test_a_change_too_weak_for_one_look_raises_the_alarm_when_it_stays() -> None:
    rng, fold = np.random.default_rng(5), FeatureDrift(REFERENCE, POLICY)
    found = looks((make_rows(rng, 600, hour, shift=0.17) for hour in range(48)), fold)
    flags = [one(look, STEADY).drifted for look in found]
    assert sum(flags) < len(flags) / 2
    at = int(fold.alarms.at[0])
    assert at in [look.span.last_seq for look in found]
    assert fold.drifting().tolist() == [STEADY]
    assert (fold.alarms.at[1:] == -1).all()


def test_looks_with_too_few_windows_go_on_and_are_not_judged() -> None:
    rng, fold = np.random.default_rng(6), FeatureDrift(REFERENCE, POLICY)
    assert looks([make_rows(rng, 200, hour) for hour in range(3)], fold) == []
    look = fold.open_look()
    assert look is not None
    assert (look.windows, look.is_judged) == (600, True)
    assert (look.span.start_ms, look.span.end_ms) == (0, 3 * HOUR)
    assert fold.looks == 0, "looking at the open one changes nothing"
    (closed,) = fold.fold(20_000, make_rows(rng, 10, 3))
    assert closed.windows == 600
    after = fold.open_look()
    assert after is not None
    assert (after.windows, after.is_judged, after.span.first_seq) == (10, False, 20_000)


def test_rows_that_are_no_windows_and_late_windows_do_no_harm() -> None:
    rng, fold = np.random.default_rng(7), FeatureDrift(REFERENCE, POLICY)
    assert fold.open_look() is None
    assert fold.fold(1, WindowBatch.empty(4, RowKind.LABEL)) == []
    assert fold.open_look() is None
    fold.fold(5, make_rows(rng, 600, 5))
    fold.fold(605, make_rows(rng, 50, 2))
    look = fold.open_look()
    assert look is not None
    assert look.windows == 650, "a late window counts in the open look"


HOURS = [make_rows(np.random.default_rng(20 + hour), 60 + 20 * hour, hour, shift=hour / 4) for hour in range(6)]
ROWS = WindowBatch.concat([part for hour in HOURS for part in (hour, WindowBatch.empty(1, RowKind.CUT))])
SHORT = FeaturePolicy(max_features=4, sample_size=30, limits=Limits(min_windows=100, correction="bh"))
SHORT_REFERENCE = make_reference(500, SHORT)


@given(st.lists(st.integers(0, len(ROWS)), max_size=6))
@settings(deadline=None, max_examples=40)
def test_a_fold_is_the_same_however_the_log_is_cut_and_the_worker_restarted(cuts: list[int]) -> None:
    whole = FeatureDrift(SHORT_REFERENCE, SHORT)
    expected = whole.fold(0, ROWS)
    fold, found = FeatureDrift(SHORT_REFERENCE, SHORT), []
    bounds = [0, *sorted(cuts), len(ROWS)]
    for start, stop in itertools.pairwise(bounds):
        found += fold.fold(start, ROWS.slice(start, stop))
        again = Reference.load(SHORT_REFERENCE.dump())
        fold = FeatureDrift.load(again, SHORT, fold.dump())
    assert [(look.span, look.findings) for look in found] == [(look.span, look.findings) for look in expected]
    assert len(expected) == 4
    ours, theirs = fold.dump(), whole.dump()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_reference_is_learned_alike_from_other_cuts() -> None:
    rows = make_rows(np.random.default_rng(8), 1000)
    parts = [(at, rows.slice(at, at + 130)) for at in range(0, 1000, 130)]
    one, other = (learn_reference(lambda scan=scan: scan, SHORT, 3) for scan in ([(0, rows)], parts))
    assert one is not None
    assert other is not None
    ours, theirs = one.dump(), other.dump()
    assert all(np.array_equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours)


def test_the_alarms_are_the_detectors_of_the_core_side_by_side() -> None:
    rng = np.random.default_rng(9)
    changed = rng.random((400, 3)) < np.array([0.0, 0.02, 0.1])
    alarms, single = FeatureAlarms(3, rate=0.02, run_length=200.0), [ESR(0.02, 600.0) for _ in range(3)]
    for at, row in enumerate(changed):
        alarms.update(row, at + 1)
        for detector, y in zip(single, row, strict=True):
            detector.update(float(y))
        if at == 150:
            alarms = FeatureAlarms.load(alarms.dump(), rate=0.02, run_length=200.0)
    assert alarms.log_stat() == pytest.approx([detector.log_stat for detector in single], rel=1e-12)
    assert alarms.at.tolist() == [detector.alarm_at or -1 for detector in single]
    assert alarms.at[2] > 0


def test_one_budget_is_split_between_flags_and_alarms() -> None:
    policy = FeaturePolicy(budget=FalseAlarmBudget.parse("1 per 90d"))
    assert policy.significance == pytest.approx(0.5 / (90 * 24))
    assert policy.run_length == pytest.approx(2 * 90 * 24)
    assert FeatureAlarms(200, rate=0.02, run_length=policy.run_length).level == pytest.approx(200 * 4320)


def test_nothing_is_found_in_nothing() -> None:
    empty = REFERENCE.sketch(POLICY)
    assert compare(REFERENCE.baseline, empty, POLICY.limits, 0.01) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: FeaturePolicy(max_features=-1),
        lambda: FeaturePolicy(sample_size=0),
        lambda: Limits(psi=0),
        lambda: Limits(min_windows=0),
        lambda: Limits(correction="none"),
        lambda: FeatureAlarms(1, rate=0.02, run_length=0.5),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        wrong()
