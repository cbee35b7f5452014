"""What may hold the next step of a rollout back. A missing, unreadable or stale input says no, never yes."""

import math
from collections.abc import Mapping
from typing import Any, Final

from upm_cli.core.gates import GateResult, excepted
from upm_cli.core.records import Ring
from upm_cli.core.rollouts.clock import JUMP_MS
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.state import EvidenceView, Observation, RolloutState
from upm_cli.core.verdict import Verdict

NO_SNAPSHOT: Final = "no snapshot yet to ask about"


def belongs(evidence: EvidenceView, state: RolloutState) -> bool:
    """Say whether the evidence is about this rollout's challenger."""
    return (
        evidence.rollout_id == state.rollout_id
        and evidence.kind is state.contest_kind
        and evidence.version == state.version
    )


def has_failed(state: RolloutState, observation: Observation) -> bool:
    """Say whether the evidence shows harm. Harm does not grow stale, and belongs to no stage."""
    evidence = observation.evidence
    return evidence is not None and evidence.verdict is Verdict.FAIL and belongs(evidence, state)


def step_gates(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, by: str = ""
) -> tuple[GateResult, ...]:
    """Return what every gate says to the next step. `by`: the person who asks for it (empty: automatic)."""
    now = [stages_gate(state, policy)]
    if not now[0].allowed:
        return tuple(now)
    now += [
        hold_gate(state, policy, by),
        automatic_gate(state, policy, by),
        evidence_gate(state, observation, policy, by),
        health_gate(state, observation),
    ]
    if state.stage < policy.last_stage:
        now += [pin_gate(state, observation, by), freeze_gate(observation)]
        if state.stage == 0:
            now += [snapshot_gate(state, observation), rings_gate(state, observation), shadow_gate(observation, policy)]
        now += _outside_gates(state, observation, policy)
    in_force = observation.overridden if by else observation.overridden - {"evidence"}  # a person asks each time
    return tuple(excepted(each, in_force) for each in now)


def _outside_gates(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> list[GateResult]:
    """Return the gates that were asked elsewhere; a required one that is missing says no."""
    required = policy.required_gates + (policy.leave_shadow_gates if state.stage == 0 else ())
    known = {each.gate for each in observation.gates}
    missing = [_unasked(name, state, observation) for name in required if name not in known]
    return [*observation.gates, *missing]


def _unasked(gate: str, state: RolloutState, observation: Observation) -> GateResult:
    """Say no for a required gate that nobody asked, and why nobody did."""
    if observation.awaits_snapshot:
        return GateResult(gate=gate, allowed=False, detail=NO_SNAPSHOT, satisfy=_next_snapshot(state))
    return GateResult(
        gate=gate,
        allowed=False,
        detail=f"gate {gate} could not be asked",
        satisfy="upm doctor tells what can't be read; nothing goes on until it can",
    )


def _next_snapshot(state: RolloutState) -> str:
    return f"wait for the next snapshot, or take one: upm snapshot create {state.trainer}"


def stages_gate(state: RolloutState, policy: RolloutPolicy) -> GateResult:
    """Allow while the stage this rollout is in is still the one that the settings describe."""
    known = 0 <= state.stage <= policy.last_stage and policy.stages[state.stage].percent == state.percent
    return GateResult(
        gate="stages",
        allowed=known,
        detail=f"stage {state.stage} is at {state.percent} %"
        + ("" if known else ", which is not what rollout.stages says any more"),
        satisfy=f"put the stages back, or begin anew: upm rollout abort {state.trainer}, "
        f"upm rollout retry {state.trainer}",
        numbers={"stage": state.stage, "percent": state.percent},
    )


def hold_gate(state: RolloutState, policy: RolloutPolicy, by: str) -> GateResult:
    """Allow once the stage had its time; a person need not wait."""
    need = policy.need_ms(state.stage)
    left = max(0, need - state.held_ms)
    return GateResult(
        gate="hold",
        allowed=left == 0 or bool(by),
        detail=f"{policy.stages[state.stage].name} was held {_hours(state.held_ms)} of {_hours(need)}",
        satisfy=f"wait {_hours(left)}, or do without: upm rollout promote {state.trainer}",
        numbers={"held_ms": state.held_ms, "need_ms": need},
    )


def automatic_gate(state: RolloutState, policy: RolloutPolicy, by: str) -> GateResult:
    """Allow a person; allow the machine if it may go on by itself."""
    return GateResult(
        gate="automatic",
        allowed=policy.automatic or bool(by),
        detail=f"asked for by {by}" if by else f"rollout.automatic is {'on' if policy.automatic else 'off'}",
        satisfy=f"upm rollout promote {state.trainer}",
        numbers={"automatic": policy.automatic},
    )


def evidence_gate(state: RolloutState, observation: Observation, policy: RolloutPolicy, by: str = "") -> GateResult:
    """Allow only a pass of this rollout's contest, begun at this stage, on windows judged since, and not stale."""
    evidence = observation.evidence
    if state.is_harmed or has_failed(state, observation):
        return _evidence(evidence, Verdict.FAIL, "the candidate does harm", f"upm rollout retry {state.trainer}")
    if evidence is None:
        return _evidence(None, Verdict.UNKNOWN, "there is no evidence", "let the drift monitor judge labelled windows")
    wrong = _unusable(evidence, state, observation, policy)
    if wrong is not None:
        return _evidence(evidence, Verdict.UNKNOWN, *wrong)
    if evidence.verdict is not Verdict.PASS:
        more = f"about {evidence.more:,} more windows" if evidence.more else "more labelled windows"
        said = f"not decided after {evidence.n:,} windows" + (f" ({evidence.detail})" if evidence.detail else "")
        return _evidence(evidence, Verdict.UNKNOWN, said, f"wait for {more}")
    said = f"pass on {evidence.n:,} windows" + (f" ({evidence.detail})" if evidence.detail else "")
    return _evidence(evidence, Verdict.PASS, said, "")


def _unusable(
    evidence: EvidenceView, state: RolloutState, observation: Observation, policy: RolloutPolicy
) -> tuple[str, str] | None:
    """Return why a verdict counts as unknown and what would help; None: it counts."""
    wait = "wait until the drift monitor has judged windows of this stage"
    if not belongs(evidence, state) or evidence.champion != state.champion:
        return f"the evidence is of another contest ({evidence.contest_id or evidence.kind})", wait
    if evidence.stage != state.stage:
        return f"the evidence is of stage {evidence.stage}, this is stage {state.stage}", wait
    if evidence.n <= 0 or evidence.first_seq is None or evidence.last_seq is None or evidence.as_of_ms is None:
        return "no window was judged at this stage", wait
    if evidence.first_seq < state.since_seq or evidence.last_seq >= observation.position:
        return f"windows {evidence.first_seq}-{evidence.last_seq} are not from this stage", wait
    age = observation.instant.wall_ms - evidence.as_of_ms
    if age > policy.max_evidence_age_ms or age < -JUMP_MS:
        said = f"the newest evidence is {_hours(age)} old" if age > 0 else "the newest evidence is from the future"
        return said, "labels stopped or the drift monitor did: upm status, upm drift-report"
    if broken := _not_numbers(evidence.numbers):
        return f"{broken[0]} is not a number", "upm drift-report; the contest has to be begun anew"
    return None


def _not_numbers(numbers: Mapping[str, Any]) -> list[str]:
    """Return the names of numbers that are not finite, as themselves or as the words that the record has for them."""
    words = ("nan", "inf", "-inf")
    return [
        name
        for name, each in numbers.items()
        if (isinstance(each, float) and not math.isfinite(each)) or (isinstance(each, str) and each in words)
    ]


def _evidence(evidence: EvidenceView | None, verdict: Verdict, detail: str, satisfy: str) -> GateResult:
    numbers: dict[str, Any] = {"verdict": verdict.value}
    if evidence is not None:
        numbers |= {
            "contest": evidence.contest_id,
            "n": evidence.n,
            "more": evidence.more,
            "as_of_ms": evidence.as_of_ms,
            "first_seq": evidence.first_seq,
            "last_seq": evidence.last_seq,
            **evidence.numbers,
        }
    return GateResult(gate="evidence", allowed=verdict is Verdict.PASS, detail=detail, satisfy=satisfy, numbers=numbers)


def health_gate(state: RolloutState, observation: Observation) -> GateResult:
    """Allow a candidate that is known not to be quarantined."""
    awaits = observation.awaits_snapshot and observation.quarantined is None
    said = {
        None: NO_SNAPSHOT if awaits else "nobody can say whether it is quarantined",
        True: "quarantined",
        False: "not quarantined",
    }
    version = state.version if state.version is not None else observation.candidate
    return GateResult(
        gate="quarantine",
        allowed=observation.quarantined is False,
        detail=f"candidate {'' if version is None else f'v{version} '}is " + said[observation.quarantined]
        if observation.quarantined is not None
        else said[None],
        satisfy=_next_snapshot(state)
        if awaits
        else f"upm snapshot release {state.trainer} {version or 'VERSION'} --reason … after looking at it",
        numbers={"version": version, "quarantined": observation.quarantined},
    )


def pin_gate(state: RolloutState, observation: Observation, by: str) -> GateResult:
    """Allow while no rollback pinned the ring; a person's word lifts the pin."""
    return GateResult(
        gate="pin",
        allowed=not observation.pinned or bool(by),
        detail="a rollback keeps automatic moves out of the next ring" if observation.pinned else "not pinned",
        satisfy=f"upm rollout promote {state.trainer} --reason … lifts it for this step",
        numbers={"pinned": observation.pinned},
    )


def freeze_gate(observation: Observation) -> GateResult:
    """Allow outside of freeze windows."""
    return GateResult(
        gate="freeze",
        allowed=observation.frozen is None,
        detail=f"frozen: {observation.frozen}" if observation.frozen is not None else "not frozen",
        satisfy="wait until it ends; rollback works all the time",
        numbers={"frozen": observation.frozen},
    )


def snapshot_gate(state: RolloutState, observation: Observation) -> GateResult:
    """Allow leaving shadow once there is a sound snapshot to expose, other than the champion."""
    found = observation.candidate
    is_new = found is not None and found != state.champion
    said = (
        f"v{found} leaves shadow" if is_new else f"v{found} is live already" if found else "there is no sound snapshot"
    )
    return GateResult(
        gate="snapshot",
        allowed=is_new,
        detail=said,
        satisfy=_next_snapshot(state),
        numbers={"candidate": found, "champion": state.champion},
    )


def rings_gate(state: RolloutState, observation: Observation) -> GateResult:
    """Allow leaving shadow while no other canary is on its way, by hand or by an earlier rollout."""
    canary, champion = observation.live.get(Ring.CANARY), observation.live.get(Ring.GLOBAL)
    is_newer = canary is not None and (champion is None or canary.epoch > champion.epoch)
    in_use = canary if is_newer and canary is not None and canary.version != state.champion else None
    return GateResult(
        gate="rings",
        allowed=in_use is None,
        detail=f"v{in_use.version} is in ring canary at {in_use.percent} % already"
        if in_use
        else "no canary is under way",
        satisfy=f"make it live for everybody (upm activate {state.trainer} --to-stage global), "
        f"or take it back: upm rollback {state.trainer}",
        numbers={"canary": in_use.version if in_use else None, "percent": in_use.percent if in_use else 0},
    )


def shadow_gate(observation: Observation, policy: RolloutPolicy) -> GateResult:
    """Allow leaving shadow once the lineage had its accumulated time there; for a person too."""
    known = observation.shadow_ms
    left = max(0, policy.min_shadow_ms - (known or 0))
    return GateResult(
        gate="shadow",
        allowed=known is not None and left == 0,
        detail="nobody can say how long the lineage has been in shadow"
        if known is None
        else f"{_hours(known)} of {_hours(policy.min_shadow_ms)} in shadow",
        satisfy=f"wait {_hours(left)} of shadow time",
        numbers={"shadow_ms": known, "min_shadow_ms": policy.min_shadow_ms},
    )


def _hours(ms: int) -> str:
    """Say a duration as people do, to the minute or second: 13d4h, 3h12m, 40s."""
    sign, seconds = ("-" if ms < 0 else ""), abs(ms) // 1000
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{sign}{days}d{hours}h"
    return f"{sign}{hours}h{minutes:02}m" if hours else f"{sign}{minutes}m" if minutes else f"{sign}{seconds}s"
