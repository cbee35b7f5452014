"""Whole rollouts, told hour by hour. The clock is moved by hand."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from upm_cli.core.records import Ring
from upm_cli.core.rollouts.decisions import Abort, Activate, Admit, ClockJump, Found, Hold, Pause, Rollback
from upm_cli.core.rollouts.exposure import bucket, exposed, route
from upm_cli.core.rollouts.policy import DAY_MS, HOUR_MS, RolloutPolicy
from upm_cli.core.rollouts.state import exposure_of
from upm_cli.core.verdict import Verdict
from upm_cli.errors import RefusedError

Names = Callable[[list[Any]], list[str]]


def test_fourteen_days_of_shadow_and_the_whole_ramp_take_well_under_a_second(fleet: Any, names: Names) -> None:
    began, started = fleet.wall_ms, time.process_time()
    fleet.do("start")
    path = []
    while not fleet.state.has_ended:
        fleet.wait(2)
        for each in fleet.do():
            if not isinstance(each, Hold | Admit):
                path.append(((fleet.wall_ms - began) / DAY_MS, each.kind, getattr(each, "percent", None)))
    assert path == [
        (14, "activate", 1),
        (15, "activate", 5),
        (16, "activate", 10),
        (17, "activate", 25),
        (18, "activate", 50),
        (19, "activate", 75),
        (20, "activate", 100),
        (22, "promote", None),
    ]
    assert (fleet.state.phase, fleet.live[Ring.GLOBAL].version) == ("promoted", 7)
    assert time.process_time() - started < 5  # a second here; slow machines are slow


def test_harm_at_ten_percent_turns_back_and_never_goes_on(fleet: Any, names: Names) -> None:
    fleet.climb(10)
    fleet.verdict = Verdict.FAIL
    fleet.wait(1)
    back = fleet.do()
    assert names(back) == ["rollback"]
    assert (back[0].to, back[0].rings, back[0].is_bad) == (3, (Ring.CANARY,), True)
    fleet.verdict = Verdict.PASS
    for _ in range(100):
        fleet.wait(24)
        assert fleet.do() == []
    assert (fleet.state.phase, fleet.state.cause) == ("degraded", "harm")
    assert exposed(fleet.tenants, exposure_of(fleet.state, fleet.policy)) == frozenset()
    with pytest.raises(RefusedError, match="is degraded"):
        fleet.do("promote")


def test_harm_may_only_pause_and_then_nothing_resumes_it(make_fleet: Any, names: Names) -> None:
    fleet = make_fleet(policy=RolloutPolicy(on_harm="pause"))
    fleet.climb(10)
    fleet.verdict = Verdict.FAIL
    fleet.wait(1)
    assert names(fleet.do()) == ["pause"]
    fleet.verdict = Verdict.PASS
    fleet.wait(1)
    assert names(fleet.do()) == ["hold"]
    with pytest.raises(RefusedError, match="does harm"):
        fleet.do("resume")
    assert names(fleet.do("abort")) == ["abort", "rollback"]


def test_harm_in_the_watch_period_turns_everybody_back(fleet: Any, names: Names) -> None:
    fleet.climb(100)
    fleet.wait(24)
    fleet.verdict = Verdict.FAIL
    back = fleet.do()
    assert names(back) == ["rollback"]
    assert back[0].rings == (Ring.CANARY, Ring.GLOBAL)


def test_labels_that_stop_hold_the_step_and_then_pause_it(fleet: Any, names: Names) -> None:
    fleet.climb(5)
    fleet.labels_come = False
    told = []
    for _ in range(24 + 73):
        fleet.wait(1)
        told.append((fleet.do(), fleet.state.held_ms))
    assert not [each for decisions, _ in told for each in decisions if isinstance(each, Activate)]
    due = [names(decisions) for decisions, held in told if held >= 24 * HOUR_MS]
    assert due[0] == ["hold", "note_unknown"]
    assert due[1] == ["hold"]
    assert (fleet.state.phase, fleet.state.cause) == ("paused", "unknown")
    assert fleet.state.held_ms == (24 + 72) * HOUR_MS
    fleet.labels_come = True
    fleet.wait(1)
    assert names(fleet.do("resume")) == ["resume"]
    assert [each.percent for each in fleet.do() if isinstance(each, Activate)] == [10]


def test_stale_evidence_says_how_old_it_is(fleet: Any) -> None:
    fleet.climb(5)
    fleet.wait(20)
    fleet.do()
    fleet.labels_come = False
    fleet.wait(6.5)
    hold = next(each for each in fleet.do() if isinstance(each, Hold))
    assert (hold.gate, hold.detail) == ("evidence", "the newest evidence is 6h30m old")


def test_undecided_evidence_says_how_many_more_windows_it_takes(fleet: Any) -> None:
    fleet.climb(5)
    fleet.verdict = Verdict.UNKNOWN
    fleet.wait(30)
    hold = next(each for each in fleet.do() if isinstance(each, Hold))
    assert (hold.gate, hold.satisfy) == ("evidence", "wait for about 500 more windows")


def test_jumps_of_the_wall_clock_are_told_and_bring_nothing_forward(fleet: Any, names: Names) -> None:
    fleet.climb(1)
    held = fleet.state.held_ms
    for jump, what in ((2 * HOUR_MS, "forwards"), (-3 * HOUR_MS, "backwards"), (400 * DAY_MS, "forwards")):
        fleet.wall_ms += jump
        fleet.judged_at = fleet.wall_ms
        assert [each.what for each in fleet.do() if isinstance(each, ClockJump)] == [what]
    assert (fleet.state.percent, fleet.state.held_ms) == (1, held)
    fleet.wait(23.5)
    fleet.do()
    assert fleet.state.percent == 1
    fleet.wait(0.5)
    assert [each.percent for each in fleet.do() if isinstance(each, Activate)] == [5]


def test_a_reboot_counts_an_hour_at_most(fleet: Any) -> None:
    fleet.climb(1)
    held = fleet.state.held_ms
    fleet.era, fleet.monotonic_ms = "boot-2", 0
    fleet.wall_ms += 5 * DAY_MS
    jump = next(each for each in fleet.do() if isinstance(each, ClockJump))
    assert (jump.what, jump.wall_ms, jump.counted_ms) == ("capped", 5 * DAY_MS, HOUR_MS)
    assert fleet.state.held_ms == held + HOUR_MS


def test_an_operators_rollback_in_between_ends_the_rollout(fleet: Any, names: Names) -> None:
    fleet.climb(10)
    fleet.move(Ring.CANARY, 3, 10)
    fleet.wait(24)
    ended = fleet.do()
    assert names(ended) == ["abort"]
    assert isinstance(ended[0], Abort)
    assert (ended[0].cause, fleet.state.phase) == ("overtaken", "aborted")
    fleet.wait(24)
    assert fleet.do() == []


def test_an_operator_who_takes_the_next_step_by_hand_ends_the_rollout_too(fleet: Any) -> None:
    fleet.climb(10)
    fleet.move(Ring.CANARY, 7, 25)
    assert [each.cause for each in fleet.do() if isinstance(each, Abort)] == ["overtaken"]


def test_a_crash_before_the_rings_move_is_found_and_the_step_earned_again(fleet: Any, names: Names) -> None:
    fleet.climb(5)
    fleet.wait(24)
    assert [each.percent for each in fleet.do(moves=False) if isinstance(each, Activate)] == [10]
    assert fleet.state.percent == 10
    found = fleet.do()
    assert [each.what for each in found if isinstance(each, Found)] == ["not_done"]
    assert (fleet.state.percent, fleet.state.held_ms) == (5, 24 * HOUR_MS)
    assert names(fleet.do()) == ["hold", "note_unknown"]
    fleet.wait(1)
    assert [each.percent for each in fleet.do() if isinstance(each, Activate)] == [10]


def test_a_crash_before_the_state_is_kept_is_found_and_the_stage_begins(fleet: Any) -> None:
    fleet.climb(5)
    fleet.wait(24)
    fleet.do(keeps=False)
    assert (fleet.state.percent, fleet.live[Ring.CANARY].percent) == (5, 10)
    assert [each.what for each in fleet.do() if isinstance(each, Found)] == ["done"]
    assert (fleet.state.percent, fleet.state.held_ms) == (10, 0)


def test_a_rollback_that_never_reached_the_rings_is_decided_again(fleet: Any, names: Names) -> None:
    fleet.climb(5)
    fleet.verdict = Verdict.FAIL
    assert names(fleet.do(moves=False)) == ["rollback"]
    again = fleet.do(moves=False)
    assert [(each.is_again, each.is_bad) for each in again if isinstance(each, Rollback)] == [(True, True)]
    fleet.do()
    assert fleet.live[Ring.CANARY].version == 3
    assert fleet.do() == []


def test_a_tenant_that_joins_late_has_its_place_already(fleet: Any) -> None:
    fleet.climb(10)
    late = next(name for i in range(1000) if bucket(name := f"late-{i}", "r1") < 0.10)
    outside = next(name for i in range(1000) if bucket(name := f"late-{i}", "r1") >= 0.25)
    exposure = exposure_of(fleet.state, fleet.policy)
    assert route(late, exposure, candidate=7, champion=3).version == 7
    assert route(outside, exposure, candidate=7, champion=3).version == 3


def test_whoever_is_let_in_early_stays_while_the_share_grows(make_fleet: Any) -> None:
    fleet = make_fleet(policy=RolloutPolicy(min_tenants=8))
    inside: frozenset[str] = frozenset()
    for percent in (1, 5, 10, 25, 50, 75, 100):
        fleet.climb(percent)
        now = exposed(fleet.tenants, exposure_of(fleet.state, fleet.policy))
        assert inside <= now
        assert len(now) >= 8
        inside = now
    by_place = sorted(fleet.tenants, key=lambda name: bucket(name, "r1"))
    admitted = [each.tenants for each in fleet.told if isinstance(each, Admit)]
    assert set().union(*admitted) <= set(by_place[:8])
    assert inside == fleet.tenants


def test_a_harmed_tenant_goes_back_while_the_others_go_on(fleet: Any, names: Names) -> None:
    fleet.climb(10)
    harmed = sorted(exposed(fleet.tenants, exposure_of(fleet.state, fleet.policy)))[0]
    fleet.seen["harmed"] = frozenset({harmed})
    assert "hold_tenant" in names(fleet.do())
    assert route(harmed, exposure_of(fleet.state, fleet.policy)).reason == "held_back"
    fleet.climb(25)
    assert route(harmed, exposure_of(fleet.state, fleet.policy)).reason == "held_back"
    fleet.seen["harmed"] = frozenset()
    fleet.climb(100)
    assert not route(harmed, exposure_of(fleet.state, fleet.policy)).is_exposed


def test_too_many_harmed_tenants_fail_the_candidate(fleet: Any, names: Names) -> None:
    fleet.climb(25)
    inside = sorted(exposed(fleet.tenants, exposure_of(fleet.state, fleet.policy)))
    allowed = int(0.2 * len(inside))
    fleet.seen["harmed"] = frozenset(inside[:allowed])
    assert "rollback" not in names(fleet.do())
    fleet.seen["harmed"] = frozenset(inside[: allowed + 1])
    assert names(fleet.do()) == ["hold_tenant", "rollback"]


def test_a_quarantine_turns_back_pauses_or_holds_as_the_policy_says(make_fleet: Any, names: Names) -> None:
    outcomes = {}
    for how in ("rollback", "pause", "ignore"):
        fleet = make_fleet(policy=RolloutPolicy(on_quarantine=how))
        fleet.climb(5)
        fleet.wait(24)
        fleet.seen["quarantined"] = True
        outcomes[how] = (names(fleet.do()), fleet.state.phase.value)
        again = names(fleet.do())
        assert again == ([] if how == "rollback" else ["hold"])
    assert outcomes == {
        "rollback": (["rollback"], "degraded"),
        "pause": (["pause"], "paused"),
        "ignore": (["hold"], "progressing"),
    }


def test_a_paused_quarantine_resumes_once_it_is_released(make_fleet: Any, names: Names) -> None:
    fleet = make_fleet(policy=RolloutPolicy(on_quarantine="pause"))
    fleet.climb(5)
    fleet.seen["quarantined"] = True
    fleet.do()
    with pytest.raises(RefusedError, match="gate quarantine"):
        fleet.do("resume")
    fleet.seen["quarantined"] = False
    assert names(fleet.do("resume")) == ["resume"]


def test_by_hand_every_step_waits_to_be_asked_for(make_fleet: Any, names: Names) -> None:
    fleet = make_fleet(policy=RolloutPolicy(automatic=False))
    fleet.do("start")
    fleet.wait(20 * 24)
    hold = fleet.do()[0]
    assert (hold.gate, hold.satisfy) == ("automatic", "upm rollout promote main")
    promoted = fleet.do("promote", reason="looks good")
    assert [(each.percent, each.actor) for each in promoted if isinstance(each, Activate)] == [(1, "ada")]


def test_a_person_need_not_wait_for_the_hold_but_for_the_evidence(fleet: Any, names: Names) -> None:
    fleet.climb(5)
    with pytest.raises(RefusedError, match="gate evidence: no window was judged at this stage"):
        fleet.do("promote")
    fleet.wait(1)
    assert [each.percent for each in fleet.do("promote") if isinstance(each, Activate)] == [10]
    fleet.verdict = Verdict.UNKNOWN
    fleet.wait(1)
    with pytest.raises(RefusedError, match="gate evidence: not decided"):
        fleet.do("promote")
    fleet.seen["overridden"] = frozenset({"evidence"})
    assert "activate" not in names(fleet.do())
    assert [each.percent for each in fleet.do("promote") if isinstance(each, Activate)] == [25]
    fleet.verdict = Verdict.FAIL
    fleet.wait(1)
    with pytest.raises(RefusedError, match="rollback: worse than the champion"):
        fleet.do("promote")


def test_time_in_a_pause_does_not_count(fleet: Any, names: Names) -> None:
    fleet.climb(5)
    fleet.wait(2)
    fleet.do("pause", reason="lunch")
    held = fleet.state.held_ms
    for _ in range(10):
        fleet.wait(24)
        assert names(fleet.do()) == ["hold"]
    assert fleet.do("pause") == []
    fleet.do("resume")
    assert fleet.state.held_ms == held
    assert fleet.do("resume") == []


def test_a_frozen_or_pinned_ring_waits_and_a_person_lifts_the_pin(fleet: Any, names: Names) -> None:
    fleet.climb(5)
    fleet.wait(24)
    fleet.seen["frozen"] = "2026-12-20..2027-01-05, until 2027-01-06 00:00 UTC"
    assert fleet.do()[0].gate == "freeze"
    with pytest.raises(RefusedError, match="gate freeze: frozen: 2026-12-20"):
        fleet.do("promote")
    fleet.seen = {"pinned": True}
    assert fleet.do()[0].gate == "pin"
    assert "activate" in names(fleet.do("promote"))


def test_in_shadow_others_may_change_the_champion_and_evidence_starts_anew(fleet: Any, names: Names) -> None:
    fleet.do("start")
    fleet.wait(14 * 24)
    fleet.move(Ring.GLOBAL, 4, 100)
    told = fleet.do()
    assert [each.detail for each in told if isinstance(each, Found)] == ["v4 is live in ring global now"]
    assert next(each for each in told if isinstance(each, Hold)).gate == "evidence"
    fleet.wait(1)
    assert [each.percent for each in fleet.do() if isinstance(each, Activate)] == [1]
    assert fleet.state.champion == 4


def test_with_nothing_live_yet_the_baseline_is_the_champion(make_fleet: Any, names: Names) -> None:
    fleet = make_fleet(live={})
    fleet.climb(1)
    assert fleet.state.champion is None
    fleet.verdict = Verdict.FAIL
    back = [each for each in fleet.do() if isinstance(each, Rollback)]
    assert [(each.version, each.to) for each in back] == [(7, None)]


def test_harm_in_shadow_pauses_and_a_retry_begins_anew(fleet: Any, names: Names) -> None:
    fleet.do("start")
    fleet.wait(24)
    fleet.verdict = Verdict.FAIL
    assert names(fleet.do()) == ["pause"]
    again = fleet.do("retry", rollout_id="r2", version=9)
    assert names(again) == ["retry"]
    assert (fleet.state.rollout_id, fleet.state.asked_version, fleet.state.phase) == ("r2", 9, "progressing")


def test_a_retry_waits_until_the_rollback_is_in_the_rings(fleet: Any) -> None:
    fleet.climb(5)
    fleet.verdict = Verdict.FAIL
    fleet.do(moves=False)
    with pytest.raises(RefusedError, match="gate rollback: v7 still serves tenants"):
        fleet.do("retry", rollout_id="r2")


def test_giving_up_takes_back_what_is_exposed_and_blames_nobody(fleet: Any, names: Names) -> None:
    fleet.climb(50)
    back = fleet.do("abort", reason="other plans")
    assert names(back) == ["abort", "rollback"]
    assert (back[1].is_bad, back[1].rings) == (False, (Ring.CANARY, Ring.GLOBAL))
    assert fleet.do("abort") == []
    fleet.do()
    assert names(fleet.do("retry", rollout_id="r2")) == ["retry"]


def test_stages_that_changed_in_the_settings_stop_a_rollout_in_its_place(fleet: Any) -> None:
    fleet.climb(10)
    fleet.policy = replace(fleet.policy, stages=(*fleet.policy.stages[:3], *fleet.policy.stages[4:]))
    fleet.wait(48)
    hold = fleet.do()[0]
    assert (hold.gate, hold.detail) == ("stages", "stage 3 is at 10 %, which is not what rollout.stages says any more")


def test_pausing_is_told_with_its_cause(fleet: Any) -> None:
    fleet.climb(5)
    paused = fleet.do("pause", reason="lunch")
    assert paused == [Pause(cause="operator", actor="ada", reason="lunch")]


def test_fewer_stages_in_the_settings_still_let_it_turn_back(fleet: Any, names: Names) -> None:
    fleet.climb(100)
    fleet.policy = RolloutPolicy(stages=(fleet.policy.stages[0], fleet.policy.stages[-1]))
    fleet.wait(48)
    assert fleet.do()[0].gate == "stages"
    fleet.verdict = Verdict.FAIL
    assert names(fleet.do()) == ["rollback"]


def test_a_step_that_got_lost_while_the_stages_changed_is_found_as_well(fleet: Any, names: Names) -> None:
    fleet.climb(75)
    fleet.wait(24)
    fleet.do(moves=False)
    fleet.policy = RolloutPolicy(stages=(fleet.policy.stages[0], fleet.policy.stages[-1]))
    assert [each.what for each in fleet.do() if isinstance(each, Found)] == ["not_done"]
    assert names(fleet.do()) == ["hold"]
    fleet.move(Ring.GLOBAL, 3, 100)
    assert names(fleet.do()) == ["abort"]
