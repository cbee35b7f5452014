"""The exhaustive check: it finds nothing in the machine as it is, and every hole that is made in it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from upm_cli.core.gates import GateResult
from upm_cli.core.rollout import VERBS, advance
from upm_cli.core.rollouts.check import check
from upm_cli.core.rollouts.clock import elapsed
from upm_cli.core.rollouts.decisions import Activate, Rollback, Step
from upm_cli.core.rollouts.policy import RolloutPolicy, ramp
from upm_cli.core.rollouts.state import Observation, Phase, RolloutState
from upm_cli.core.verdict import Verdict

SHORT = RolloutPolicy(stages=ramp(canary=(5,), full=(100,)), min_tenants=2)
Advance = Callable[[RolloutState, Observation, RolloutPolicy], Step]


@pytest.mark.parametrize("on_harm", ["rollback", "pause"])
@pytest.mark.parametrize("on_quarantine", ["rollback", "pause", "ignore"])
def test_the_machine_has_no_hole_whatever_the_policy(on_harm: str, on_quarantine: str) -> None:
    report = check(replace(SHORT, on_harm=on_harm, on_quarantine=on_quarantine), is_quick=True)
    assert report.is_sound, report.words()
    assert report.is_whole
    assert report.states > 50


def test_the_machine_has_no_hole_with_a_mishap_on_every_path() -> None:
    report = check(replace(SHORT, stages=ramp(canary=(), full=(100,))))
    assert report.is_sound, report.words()
    assert report.words() == f"{report.states:,} states, {report.steps:,} steps: no rule can be broken"


def test_a_check_that_is_stopped_says_it_is_not_whole() -> None:
    assert not check(SHORT, is_quick=True, at_most=10).is_whole


def test_holds_of_no_length_are_no_hole() -> None:
    report = check(
        replace(RolloutPolicy(stages=ramp(canary=(5,), full=(100,), shadow_ms=0, hold_ms=0)), watch_ms=0), is_quick=True
    )
    assert report.is_sound, report.words()


def believes_stale_evidence(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    if seen.evidence is not None:
        seen = replace(seen, evidence=replace(seen.evidence, as_of_ms=seen.instant.wall_ms))
    return advance(state, seen, policy)


def believes_evidence_of_any_stage(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    if seen.evidence is not None:
        seen = replace(seen, evidence=replace(seen.evidence, stage=state.stage))
    return advance(state, seen, policy)


def takes_unknown_for_yes(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    if seen.evidence is not None and seen.evidence.verdict is Verdict.UNKNOWN:
        seen = replace(seen, evidence=replace(seen.evidence, verdict=Verdict.PASS))
    return advance(state, seen, policy)


def goes_by_the_wall_clock(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    if state.last is not None:
        wall = seen.instant.wall_ms - state.last.wall_ms
        true, _ = elapsed(state.last, seen.instant, policy.max_gap_ms)
        state = replace(state, held_ms=state.held_ms + max(0, wall - true))
    return advance(state, seen, policy)


def takes_a_missing_gate_for_open(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    asked = {each.gate for each in seen.gates}
    more = [each for each in (*policy.required_gates, *policy.leave_shadow_gates) if each not in asked]
    gates = (*seen.gates, *(GateResult(gate=name, allowed=True, detail="") for name in more))
    return advance(state, replace(seen, gates=gates), policy)


def forgets_that_it_is_paused(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    if state.phase is Phase.PAUSED and state.cause == "operator":
        state = replace(state, phase=Phase.PROGRESSING, is_harmed=False)
    return advance(state, seen, policy)


def takes_not_knowing_of_a_quarantine_for_none(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    return advance(state, replace(seen, quarantined=bool(seen.quarantined)), policy)


def forgets_harm(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    step = advance(replace(state, is_harmed=False), seen, policy)
    if step.state.is_harmed:
        return Step(state=replace(state, last=seen.instant))
    return step


def skips_a_stage(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    step = advance(state, seen, policy)
    last = policy.stages[-1]
    jump = [
        replace(each, ring=last.ring, percent=last.percent) if isinstance(each, Activate) else each
        for each in step.decisions
    ]
    return replace(step, decisions=tuple(jump))


def forgets_a_rollback(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    step = advance(state, seen, policy)
    return replace(step, decisions=tuple(e for e in step.decisions if not (isinstance(e, Rollback) and e.is_again)))


def loses_tenants(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    step = advance(state, seen, policy)
    is_in_canary = 0 < step.state.percent < 100
    return replace(step, state=replace(step.state, admitted=frozenset())) if is_in_canary else step


def goes_over_a_person(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    newest = max(seen.live.values(), key=lambda each: each.epoch, default=None)
    if state.stage > 0 and not state.is_moving and newest is not None and newest.rollout_id is None:
        state = replace(state, seen=seen.live, epoch=seen.epoch)
    return advance(state, seen, policy)


def comes_back_from_the_end(state: RolloutState, seen: Observation, policy: RolloutPolicy) -> Step:
    if state.phase is Phase.ABORTED:
        return Step(state=replace(state, phase=Phase.PAUSED))
    return advance(state, seen, policy)


HOLES: list[tuple[Advance, str]] = [
    (believes_stale_evidence, "No step without a pass of this stage's evidence that is fresh"),
    (believes_evidence_of_any_stage, "No step without a pass of this stage's evidence that is fresh"),
    (takes_unknown_for_yes, "No step without a pass of this stage's evidence that is fresh"),
    (goes_by_the_wall_clock, "No automatic step before its time has really passed"),
    (takes_a_missing_gate_for_open, "No step while a gate says no or could not be asked"),
    (forgets_that_it_is_paused, "Nothing goes on while it is not started, paused or ended"),
    (takes_not_knowing_of_a_quarantine_for_none, "No step while a gate says no or could not be asked"),
    (forgets_harm, "After harm no more tenants, ever"),
    (skips_a_stage, "A step goes from what the rings serve to the very next stage"),
    (forgets_a_rollback, "A rollback that was decided and is not in the rings yet"),
    (loses_tenants, "Whoever is exposed stays exposed"),
    (goes_over_a_person, "A step goes from what the rings serve to the very next stage"),
    (comes_back_from_the_end, "Nothing but a retry leaves an end"),
]


@pytest.mark.parametrize(("hole", "rule"), HOLES, ids=[hole.__name__ for hole, _ in HOLES])
def test_a_hole_is_found_and_told_as_a_way_there(hole: Advance, rule: str) -> None:
    report = check(SHORT, verbs={**VERBS, "advance": hole})
    assert report.broken.startswith(rule), report.words()
    assert report.trace
    assert report.words().startswith(f"rule broken: {report.broken}\n1. ")


def test_the_way_to_a_hole_is_a_shortest_one_in_plain_words() -> None:
    report = check(SHORT, verbs={**VERBS, "advance": believes_stale_evidence})
    assert report.words() == (
        "rule broken: No step without a pass of this stage's evidence that is fresh, or a person's override where it is"
        " missing.\n"
        "1. at 0 %, pending: ada asks to start two units later, with a fresh pass and every gate open → start\n"
        "2. at 0 %, progressing: the machine looks two units later, with a stale pass and every gate open → activate v2"
        " in canary at 5 %; admit"
    )


def test_a_hole_in_what_people_ask_for_is_found_as_well() -> None:
    def promote(state: RolloutState, seen: Observation, policy: RolloutPolicy, **arguments: Any) -> Step:
        if seen.evidence is not None:
            seen = replace(seen, evidence=replace(seen.evidence, verdict=Verdict.PASS))
        return VERBS["promote"](state, seen, policy, **arguments)

    report = check(SHORT, verbs={**VERBS, "promote": promote})
    assert "ada asks to promote" in report.trace[-1]
