from dataclasses import replace

import pytest

from upm_cli.core.records import Signoff
from upm_cli.core.rollouts.readiness import HOUR_MS, Facts, Readiness, ReadinessPolicy, assess, readiness_gate
from upm_cli.core.verdict import Verdict

NOW = 1000 * HOUR_MS
SIGNED = {
    item: Signoff(trainer="main", item=item, note="", actor="ada", at_ms=NOW - 1) for item in ("dashboard", "runbook")
}
GOOD = Facts(
    now_ms=NOW,
    shadow_ms=336 * HOUR_MS,
    passed=95,
    failed=5,
    unknown=3,
    last_quarantine_ms=NOW - 48 * HOUR_MS,
    signoffs=SIGNED,
    signers=frozenset({"ada"}),
)
POLICY = ReadinessPolicy()


def verdicts(readiness: Readiness) -> dict[str, str]:
    return {each.name: each.verdict.value for each in readiness.criteria}


def test_all_limits_met_exactly_is_ready() -> None:
    readiness = assess(GOOD, POLICY)
    assert readiness.may_leave_shadow
    assert readiness.is_ready
    assert [each.missing for each in readiness.criteria] == [""] * 5
    assert readiness_gate(readiness).detail == "ready to leave shadow"


@pytest.mark.parametrize(
    ("changes", "name", "verdict", "missing"),
    [
        ({"shadow_ms": 300 * HOUR_MS}, "shadow_time", "fail", "36.0 more hours in shadow"),
        ({"shadow_ms": None}, "shadow_time", "unknown", "let the drift monitor run: it counts the time"),
        ({"passed": 94, "failed": 6}, "quiet_windows", "fail", "20 more windows below the threshold"),
        ({"passed": 0, "failed": 0}, "quiet_windows", "unknown", "wait for judged windows with labels"),
        ({"passed": None}, "quiet_windows", "unknown", "wait for judged windows with labels"),
        ({"last_quarantine_ms": NOW - HOUR_MS}, "no_quarantine", "fail", "47.0 more hours without a quarantine"),
        ({"last_quarantine_ms": NOW + HOUR_MS}, "no_quarantine", "fail", "49.0 more hours without a quarantine"),
        ({"knows_quarantines": False}, "no_quarantine", "unknown", "upm doctor"),
        ({"signoffs": {}}, "dashboard_signed_off", "fail", "upm rollout sign-off dashboard"),
        ({"signers": frozenset({"olga"})}, "runbook_signed_off", "fail", "upm rollout sign-off runbook"),
        (
            {"signoffs": SIGNED | {"runbook": replace(SIGNED["runbook"], at_ms=NOW + 1)}},
            "runbook_signed_off",
            "fail",
            "upm rollout sign-off runbook",
        ),
    ],
)
def test_each_criterion_says_what_is_missing(changes: dict[str, object], name: str, verdict: str, missing: str) -> None:
    readiness = assess(replace(GOOD, **changes), POLICY)  # type: ignore[arg-type]
    found = next(each for each in readiness.criteria if each.name == name)
    assert (found.verdict.value, found.missing) == (verdict, missing)
    assert not readiness.is_ready
    assert readiness.may_leave_shadow == name.endswith("signed_off")


def test_as_many_more_windows_as_it_says_are_enough_and_one_fewer_is_not() -> None:
    for passed, failed in ((94, 6), (0, 1), (10, 3), (950, 51)):
        missing = assess(replace(GOOD, passed=passed, failed=failed), POLICY).criteria[1].missing
        more = int(missing.split()[0])
        assert verdicts(assess(replace(GOOD, passed=passed + more, failed=failed), POLICY))["quiet_windows"] == "pass"
        assert (
            verdicts(assess(replace(GOOD, passed=passed + more - 1, failed=failed), POLICY))["quiet_windows"] == "fail"
        )


def test_windows_that_could_not_be_judged_count_for_nothing() -> None:
    many = assess(replace(GOOD, unknown=10_000), POLICY)
    assert verdicts(many)["quiet_windows"] == "pass"
    assert many.criteria[1].value == 0.95
    none = assess(replace(GOOD, passed=0, failed=0, unknown=10_000), POLICY)
    assert verdicts(none)["quiet_windows"] == "unknown"


def test_where_every_window_must_pass_one_that_failed_has_to_leave() -> None:
    readiness = assess(GOOD, ReadinessPolicy(readiness_share=1))
    assert readiness.criteria[1].missing == "only windows below the threshold, for as long as windows count"


def test_never_quarantined_is_quiet() -> None:
    assert assess(replace(GOOD, last_quarantine_ms=None), POLICY).criteria[2].verdict is Verdict.PASS


def test_the_gate_names_all_that_is_missing_and_only_asks_for_what_leaving_shadow_takes() -> None:
    gate = readiness_gate(assess(replace(GOOD, shadow_ms=0, passed=0, signoffs={}), POLICY))
    assert not gate.allowed
    assert gate.satisfy == "336.0 more hours in shadow; 95 more windows below the threshold"
    assert set(gate.numbers) == {"shadow_time", "quiet_windows", "no_quarantine"}


@pytest.mark.parametrize("changes", [{"readiness_share": 0}, {"min_shadow_hours": -1}, {"readiness_quiet_hours": -1}])
def test_limits_have_bounds(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ReadinessPolicy(**changes)  # type: ignore[arg-type]
