import re
from dataclasses import replace
from typing import Any

import pytest

from upm_cli.core.gates import GateResult
from upm_cli.core.records import Activation, Ring
from upm_cli.core.rollout import (
    abort,
    advance,
    inputs_json,
    new_rollout,
    outcome_json,
    pause,
    plan,
    promote,
    recompute,
    resume,
    retry,
    start,
    state_from_json,
    state_json,
)
from upm_cli.core.rollouts.clock import elapsed
from upm_cli.core.rollouts.decisions import Hold
from upm_cli.core.rollouts.gates import evidence_gate, rings_gate, snapshot_gate, step_gates
from upm_cli.core.rollouts.policy import DAY_MS, HOUR_MS, RolloutPolicy, Stage, ramp
from upm_cli.core.rollouts.state import (
    ContestKind,
    EvidenceView,
    Instant,
    Observation,
    Phase,
    RolloutState,
    Served,
    served,
)
from upm_cli.core.verdict import Verdict
from upm_cli.errors import InvalidError, RefusedError

NOW = Instant(wall_ms=10 * DAY_MS, monotonic_ms=HOUR_MS, era="boot-1")
POLICY = RolloutPolicy()
STATE = RolloutState(
    rollout_id="r1", trainer="main", phase=Phase.PROGRESSING, stage=2, percent=5, version=7, champion=3, since_seq=50
)
GOOD = EvidenceView(
    verdict=Verdict.PASS,
    kind=ContestKind.CANDIDATE,
    rollout_id="r1",
    stage=2,
    version=7,
    champion=3,
    n=10,
    first_seq=50,
    last_seq=99,
    as_of_ms=NOW.wall_ms,
)
SEEN = Observation(instant=NOW, epoch=4, live={}, position=100, evidence=GOOD, quarantined=False)


@pytest.mark.parametrize(
    ("now", "counted", "what"),
    [
        (Instant(wall_ms=1_500, monotonic_ms=600, era="a"), 500, None),
        (Instant(wall_ms=1_000, monotonic_ms=100, era="a"), 0, None),
        (Instant(wall_ms=1_000, monotonic_ms=50, era="a"), 0, None),  # a broken clock counts nothing
        (Instant(wall_ms=HOUR_MS, monotonic_ms=600, era="a"), 500, "forwards"),
        (Instant(wall_ms=-HOUR_MS, monotonic_ms=600, era="a"), 500, "backwards"),
        (Instant(wall_ms=1_000, monotonic_ms=100 + 5 * HOUR_MS, era="a"), 5 * HOUR_MS, "backwards"),
        (Instant(wall_ms=1_700, monotonic_ms=0, era="b"), 700, None),
        (Instant(wall_ms=1_000 + 3 * HOUR_MS, monotonic_ms=0, era="b"), HOUR_MS, "capped"),
        (Instant(wall_ms=0, monotonic_ms=10**9, era="b"), 0, "backwards"),
    ],
)
def test_time_counts_by_the_monotonic_clock_and_over_a_reboot_by_the_wall(
    now: Instant, counted: int, what: str | None
) -> None:
    found, jump = elapsed(Instant(wall_ms=1_000, monotonic_ms=100, era="a"), now, HOUR_MS)
    assert (found, jump.what if jump else None) == (counted, what)
    assert elapsed(None, now, HOUR_MS) == (0, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rollout_id": "r0"}, "of another contest"),
        ({"kind": ContestKind.LINEAGE}, "of another contest"),
        ({"version": 6}, "of another contest"),
        ({"champion": None}, "of another contest"),
        ({"stage": 1}, "is of stage 1, this is stage 2"),
        ({"n": 0}, "no window was judged"),
        ({"first_seq": None}, "no window was judged"),
        ({"last_seq": None}, "no window was judged"),
        ({"as_of_ms": None}, "no window was judged"),
        ({"first_seq": 49}, "not from this stage"),
        ({"last_seq": 100}, "not from this stage"),
        ({"as_of_ms": NOW.wall_ms - 6 * HOUR_MS - 1}, "6h00m old"),
        ({"as_of_ms": NOW.wall_ms + HOUR_MS}, "from the future"),
        ({"numbers": {"upper": float("inf")}}, "upper is not a number"),
        ({"verdict": Verdict.UNKNOWN, "more": 1200, "detail": "wide"}, r"not decided after 10 windows \(wide\)"),
    ],
)
def test_evidence_that_is_not_a_fresh_pass_of_this_stage_is_unknown(changes: dict[str, Any], said: str) -> None:
    assert evidence_gate(STATE, SEEN, POLICY).allowed
    result = evidence_gate(STATE, replace(SEEN, evidence=replace(GOOD, **changes)), POLICY)
    assert not result.allowed
    assert result.numbers["verdict"] == "unknown"
    assert result.satisfy
    assert re.search(said, result.detail)


def test_no_evidence_is_unknown_and_harm_is_for_good() -> None:
    assert evidence_gate(STATE, replace(SEEN, evidence=None), POLICY).numbers == {"verdict": "unknown"}
    failed = replace(GOOD, verdict=Verdict.FAIL, stage=0, as_of_ms=0)  # of an earlier stage, and old
    assert evidence_gate(STATE, replace(SEEN, evidence=failed), POLICY).numbers["verdict"] == "fail"
    assert evidence_gate(replace(STATE, is_harmed=True), SEEN, POLICY).numbers["verdict"] == "fail"


def test_a_small_step_of_the_clock_does_not_make_evidence_one_from_the_future() -> None:
    assert evidence_gate(STATE, replace(SEEN, evidence=replace(GOOD, as_of_ms=NOW.wall_ms + 59_000)), POLICY).allowed


def test_an_override_opens_its_gate_but_evidence_only_for_a_person_and_never_after_harm() -> None:
    shut = replace(SEEN, frozen="x", evidence=None, overridden=frozenset({"freeze", "evidence", "quarantine"}))
    gates = {each.gate: each.allowed for each in step_gates(STATE, shut, POLICY)}
    assert (gates["freeze"], gates["evidence"]) == (True, False)
    asked = {each.gate: each for each in step_gates(STATE, shut, POLICY, by="ada")}
    assert (asked["evidence"].allowed, asked["evidence"].numbers["overridden"]) == (True, True)
    harmed = {each.gate: each.allowed for each in step_gates(replace(STATE, is_harmed=True), shut, POLICY, by="ada")}
    assert not harmed["evidence"]
    barred = replace(shut, quarantined=True)
    assert not {each.gate: each.allowed for each in step_gates(STATE, barred, POLICY, by="ada")}["quarantine"]


def test_another_canary_on_its_way_is_not_overwritten() -> None:
    everybody, some = Served(version=3, percent=100, epoch=5), Served(version=4, percent=10, epoch=6)
    shadow = replace(STATE, stage=0, percent=0, version=None)
    open_ones = [
        {},
        {Ring.GLOBAL: everybody},
        {Ring.GLOBAL: everybody, Ring.CANARY: replace(some, epoch=4)},
        {Ring.GLOBAL: everybody, Ring.CANARY: replace(some, version=3)},
    ]
    assert all(rings_gate(shadow, replace(SEEN, live=live)).allowed for live in open_ones)
    shut = rings_gate(shadow, replace(SEEN, live={Ring.GLOBAL: everybody, Ring.CANARY: some}))
    assert (shut.allowed, shut.detail) == (False, "v4 is in ring canary at 10 % already")


def test_the_last_stage_asks_for_no_gate_of_a_next_one() -> None:
    last = replace(STATE, stage=7, percent=100)
    assert [each.gate for each in step_gates(last, SEEN, POLICY)] == [
        "stages",
        "hold",
        "automatic",
        "evidence",
        "quarantine",
    ]


def test_without_a_new_snapshot_nothing_leaves_shadow() -> None:
    for candidate, said in ((None, "there is no sound snapshot"), (3, "v3 is live already"), (8, "v8 leaves shadow")):
        result = snapshot_gate(STATE, replace(SEEN, candidate=candidate))
        assert (result.allowed, result.detail) == (candidate == 8, said)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ((), "first stage must be shadow"),
        (ramp()[1:], "first stage must be shadow"),
        (ramp()[:-1], "last stage must be global with 100"),
        (ramp(canary=(5, 1)), "percentages must grow"),
        (ramp(canary=(5, 5)), "percentages must grow"),
        (ramp(canary=(1, 50), full=(50, 100)), "percentages must grow"),
        (
            (ramp()[0], Stage(ring=Ring.GLOBAL, percent=50, hold_ms=0), *ramp(canary=(60,), full=(100,))[1:]),
            "from shadow to canary to global",
        ),
        ((*ramp()[:1], Stage(ring=Ring.CANARY, percent=100, hold_ms=0), *ramp()[-1:]), "takes 1 to 99 percent"),
        ((ramp()[0], Stage(ring=Ring.SHADOW, percent=5, hold_ms=0), ramp()[-1]), "from shadow to canary"),
        ((replace(ramp()[0], hold_ms=-1), *ramp()[1:]), "hold_ms must be at least 0"),
    ],
)
def test_stages_lead_from_shadow_to_everybody(stages: tuple[Stage, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RolloutPolicy(stages=stages)


@pytest.mark.parametrize(
    "changes",
    [
        {"min_tenants": -1},
        {"max_gap_ms": -1},
        {"max_held_share": 1.5},
        {"max_held_share": float("nan")},
        {"on_harm": "ignore"},
        {"on_quarantine": "shrug"},
    ],
)
def test_a_policy_has_bounds(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RolloutPolicy(**changes)


def test_what_rings_serve_knows_the_rollout_that_decided_it() -> None:
    made = {
        ring: Activation(
            trainer="main",
            ring=ring,
            epoch=number,
            version=number,
            previous_version=None,
            percent=10,
            kind="activate",
            decision_id=f"d{number}",
            actor="ada",
            reason="",
            at_ms=0,
        )
        for number, ring in enumerate(Ring, start=1)
    }
    assert served(made, {"d2": "r1"}) == {
        Ring.CANARY: Served(version=2, percent=10, epoch=2, rollout_id="r1"),
        Ring.GLOBAL: Served(version=3, percent=10, epoch=3),
    }


def test_verbs_that_do_not_go_with_the_phase_are_refused_with_what_would() -> None:
    who = {"actor": "ada"}
    new = new_rollout("r1", "main", at_ms=0)
    ended = replace(STATE, phase=Phase.ABORTED)
    done = replace(STATE, phase=Phase.PROMOTED)
    paused = replace(STATE, phase=Phase.PAUSED)
    refused = [
        (start, paused, "retry"),
        (start, ended, "retry"),
        (promote, new, "resume"),
        (promote, paused, "resume"),
        (promote, ended, "retry"),
        (pause, new, "start"),
        (pause, ended, "retry"),
        (resume, new, "start"),
        (resume, ended, "retry"),
        (abort, done, "retry"),
    ]
    for verb, state, instead in refused:
        with pytest.raises(RefusedError) as told:
            verb(state, SEEN, POLICY, **who)
        assert (told.value.code, told.value.hint) == ("UPM-E058", f"upm rollout {instead} main")
    with pytest.raises(RefusedError) as told:
        retry(STATE, SEEN, POLICY, actor="ada", rollout_id="r2")
    assert told.value.hint == "upm rollout abort main"


def test_verbs_are_safe_to_repeat() -> None:
    for verb, phase in (
        (start, Phase.PROGRESSING),
        (promote, Phase.PROMOTED),
        (pause, Phase.PAUSED),
        (resume, Phase.PROGRESSING),
        (abort, Phase.ABORTED),
        (abort, Phase.DEGRADED),
    ):
        state = replace(STATE, phase=phase)
        step = verb(state, SEEN, POLICY, actor="ada")
        assert (step.state, step.decisions, step.is_news) == (state, (), False)


def test_a_rollout_that_has_not_started_rests() -> None:
    hold = advance(new_rollout("r1", "main", at_ms=0), SEEN, POLICY).hold
    assert isinstance(hold, Hold)
    assert (hold.gate, hold.detail, hold.satisfy) == (
        "start",
        "the rollout has not started",
        "upm rollout start main",
    )


def test_a_plan_counts_from_now_and_from_where_it_stands() -> None:
    hours = [row.in_ms and row.in_ms // HOUR_MS for row in plan(POLICY)]
    assert hours == [None, 336, 360, 384, 408, 432, 456, 480]
    held = replace(STATE, held_ms=20 * HOUR_MS)
    rows = plan(POLICY, held, NOW)
    assert [row.in_ms and row.in_ms // HOUR_MS for row in rows] == [None, None, None, 4, 28, 52, 76, 100]
    assert [row.is_done for row in rows] == [True, True, *[False] * 6]
    assert [row.is_current for row in rows].index(True) == 2
    assert rows[3].at_ms == NOW.wall_ms + 4 * HOUR_MS
    shadow = replace(STATE, stage=0, held_ms=336 * HOUR_MS)
    assert [row.in_ms for row in plan(POLICY, shadow, shadow_ms=335 * HOUR_MS)][1] == HOUR_MS
    over = plan(POLICY, replace(STATE, phase=Phase.PROMOTED))
    assert all(row.is_done and row.in_ms is None and not row.is_current for row in over)


def test_a_state_survives_its_row_and_a_damaged_row_is_no_state() -> None:
    state = replace(
        STATE,
        last=NOW,
        seen={Ring.CANARY: Served(version=7, percent=5, epoch=4, rollout_id="r1")},
        admitted=frozenset({"b", "a"}),
        is_harmed=True,
    )
    plain = state_json(state)
    assert plain["admitted"] == ["a", "b"]
    assert state_from_json(plain) == state
    for name in plain:
        with pytest.raises(InvalidError):
            state_from_json({key: value for key, value in plain.items() if key != name})
    for broken in (plain | {"phase": "flying"}, plain | {"stage": "2"}, plain | {"extra": 1}, plain | {"last": 3}, []):
        with pytest.raises(InvalidError):
            state_from_json(broken)  # type: ignore[arg-type]


def test_a_decision_with_numbers_that_are_none_is_kept_and_comes_out_the_same() -> None:
    odd = replace(SEEN, evidence=replace(GOOD, numbers={"upper": float("nan"), "n": 3}))
    inputs = inputs_json(STATE, odd, POLICY)
    assert recompute(inputs) == outcome_json(advance(STATE, odd, POLICY))


def test_a_refusal_comes_out_the_same_from_its_record() -> None:
    shut = replace(SEEN, gates=(GateResult(gate="policy", allowed=False, detail="no", satisfy="ask"),))
    inputs = inputs_json(STATE, shut, POLICY, "promote", {"actor": "ada", "reason": ""})
    with pytest.raises(RefusedError) as told:
        promote(STATE, shut, POLICY, actor="ada")
    outcome = outcome_json(told.value)
    assert recompute(inputs) == outcome
    assert outcome["refused"]["context"]["gate"] == "policy"


@pytest.mark.parametrize(
    "damage",
    [
        {"verb": "explode"},
        {"extra": 1},
        {"state": None},
        {"observation": {}},
        {"arguments": {"actor": "ada"}},
    ],
)
def test_a_damaged_record_is_not_decided(damage: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        recompute(inputs_json(STATE, SEEN, POLICY) | damage)


SHADOW = RolloutState(rollout_id="r1", trainer="main", phase=Phase.PROGRESSING, stage=0, percent=0, since_seq=50)
STRICT = replace(POLICY, required_gates=("lineage", "bytes"), leave_shadow_gates=("readiness",))
EMPTY = Observation(instant=NOW, epoch=4, live={}, position=100, awaits_snapshot=True)


def test_before_the_first_snapshot_gates_say_so_and_still_hold_the_step() -> None:
    gates = {each.gate: each for each in step_gates(SHADOW, EMPTY, STRICT)}
    asked = {"quarantine", *STRICT.required_gates, *STRICT.leave_shadow_gates}
    assert {name for name in asked if gates[name].allowed} == set()
    for name in asked:
        assert gates[name].detail == "no snapshot yet to ask about"
        assert gates[name].satisfy == "wait for the next snapshot, or take one: upm snapshot create main"
    (hold,) = advance(SHADOW, EMPTY, STRICT).decisions
    assert isinstance(hold, Hold)
    assert asked <= {each.gate for each in hold.gates}


def test_gates_that_nobody_asked_of_a_snapshot_that_is_there_are_another_matter() -> None:
    for seen in (replace(EMPTY, awaits_snapshot=False), replace(EMPTY, awaits_snapshot=False, candidate=7)):
        gates = {each.gate: each for each in step_gates(SHADOW, seen, STRICT)}
        assert gates["bytes"].detail == "gate bytes could not be asked"
        assert gates["quarantine"].detail == "nobody can say whether it is quarantined"


def test_what_was_recorded_before_anybody_said_that_there_is_no_snapshot_comes_out_as_it_did() -> None:
    old = replace(EMPTY, awaits_snapshot=False)
    inputs = inputs_json(SHADOW, old, STRICT)
    outcome = outcome_json(advance(SHADOW, old, STRICT))
    assert recompute(inputs) == outcome
    del inputs["observation"]["awaits_snapshot"]
    assert recompute(inputs) == outcome
    assert "gate bytes could not be asked" in str(outcome)
    del inputs["observation"]["pinned"]
    with pytest.raises(InvalidError, match="lacks pinned"):
        recompute(inputs)
