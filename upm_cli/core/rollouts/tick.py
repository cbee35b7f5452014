"""One look at a rollout: count the time, believe the rings, protect the tenants, then maybe go one step on.

In this order, and each part may end the look. Only `_go_on` exposes more, and only when every gate allows it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from upm_cli.core.gates import GateResult
from upm_cli.core.rollouts.clock import elapsed
from upm_cli.core.rollouts.decisions import (
    Activate,
    Admit,
    Decision,
    Hold,
    HoldTenant,
    NoteUnknown,
    Pause,
    Promote,
    Step,
)
from upm_cli.core.rollouts.exposure import admit, exposed
from upm_cli.core.rollouts.gates import has_failed, step_gates
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.rings import Outcome, believe_rings, enter, rollback_of
from upm_cli.core.rollouts.state import Observation, Phase, RolloutState, exposure_of


def tick(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, by: str = "", reason: str = ""
) -> Step:
    """Look once. `by`: the person who asks for the next step now (empty: automatic)."""
    before, decisions, credit = pass_time(state, observation, policy)
    state, found, is_over = believe_rings(before, observation, policy)
    decisions += found
    state, found, was_stopped = protect(state, observation, policy, before)
    decisions += found
    if not (is_over or was_stopped):
        if state.phase is Phase.PROGRESSING:
            state, found = _proceed(state, observation, policy, credit, by, reason)
            decisions += found
        elif not state.has_ended:
            decisions.append(_resting(state))
    state, found = _admit(state, observation, policy)
    decisions += found
    return Step(state=state, decisions=tuple(decisions))


def pass_time(
    state: RolloutState, observation: Observation, policy: RolloutPolicy
) -> tuple[RolloutState, list[Decision], int]:
    """Add the time since the last look to what the stage was held, while it progresses; returns it too."""
    credit, jump = elapsed(state.last, observation.instant, policy.max_gap_ms)
    counted = credit if state.phase is Phase.PROGRESSING else 0
    state = replace(
        state,
        held_ms=state.held_ms + counted,
        last=observation.instant,
        updated_at_ms=observation.instant.wall_ms,
    )
    return state, [jump] if jump and not state.has_ended else [], counted


def protect(state: RolloutState, observation: Observation, policy: RolloutPolicy, before: RolloutState) -> Outcome:
    """Hold harmed tenants back, and stop when the candidate does harm or is quarantined; also while paused.

    `before` is the state before the rings were looked at: harm to what it describes counts as well.
    """
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED):
        return state, [], False
    newly = sorted(observation.harmed - state.held_tenants)
    decisions: list[Decision] = [HoldTenant(tenant=tenant) for tenant in newly]
    if newly:
        state = replace(state, held_tenants=state.held_tenants | frozenset(newly))
    why = _harm(state, observation, policy, before)
    if why and not state.is_harmed:
        state, found = _react(replace(state, is_harmed=True), observation, policy.on_harm, "harm", why)
        return state, decisions + found, True
    is_told = policy.on_quarantine == "pause" and state.cause == "quarantine"
    if observation.quarantined and state.stage > 0 and policy.on_quarantine != "ignore" and not is_told:
        said = f"candidate v{state.version} is quarantined"
        state, found = _react(state, observation, policy.on_quarantine, "quarantine", said)
        return state, decisions + found, True
    return state, decisions, False


def _harm(state: RolloutState, observation: Observation, policy: RolloutPolicy, before: RolloutState) -> str:
    """Return why the candidate counts as harmful, or nothing."""
    is_worse = has_failed(state, observation) or has_failed(before, observation)
    if is_worse and observation.evidence is not None:
        said = f": {observation.evidence.detail}" if observation.evidence.detail else ""
        return f"worse than the champion after {observation.evidence.n:,} windows{said}"
    if not state.held_tenants:
        return ""
    seen = observation.tenants | state.held_tenants
    would_see = exposed(seen, replace(exposure_of(state, policy), held=frozenset()))  # were nobody held back
    for among, word in ((would_see, "exposed"), (seen, "known")):
        held = len(state.held_tenants & among)
        if held > policy.max_held_share * len(among):
            return f"{held} of {len(among)} {word} tenants were harmed, more than {policy.max_held_share:.0%}"
    return ""


def _react(
    state: RolloutState, observation: Observation, how: str, cause: str, why: str
) -> tuple[RolloutState, list[Decision]]:
    """Turn back, or pause where that is asked for or nothing is exposed yet."""
    state = replace(state, cause=cause, by="", reason=why)
    if how == "pause" or state.stage == 0:
        return replace(state, phase=Phase.PAUSED, holding=""), [Pause(cause=cause, actor="", reason=why)]
    back = rollback_of(state, observation, cause, why, is_bad=True)
    return replace(state, phase=Phase.DEGRADED, is_undoing=bool(back)), [*back]


def _resting(state: RolloutState) -> Hold:
    is_new = state.phase is Phase.PENDING
    gate = GateResult(
        gate="start" if is_new else "paused",
        allowed=False,
        detail="the rollout has not started"
        if is_new
        else f"paused ({state.cause}): {state.reason or 'no reason given'}",
        satisfy=f"upm rollout {'start' if is_new else 'resume'} {state.trainer}",
    )
    return Hold(gates=(gate,), is_news=False)


def _proceed(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, credit: int, by: str, reason: str
) -> tuple[RolloutState, list[Decision]]:
    gates = step_gates(state, observation, policy, by=by)
    blocking = tuple(each for each in gates if not each.allowed)
    if not blocking:
        return _go_on(state, observation, policy, gates, by, reason)
    return _wait(state, policy, blocking, credit)


def _admit(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> tuple[RolloutState, list[Decision]]:
    """Let tenants in early while fewer than `min_tenants` are exposed."""
    if state.phase is not Phase.PROGRESSING or observation.quarantined is not False:
        return state, []
    new = admit(observation.tenants, exposure_of(state, policy))
    if not new:
        return state, []
    return replace(state, admitted=state.admitted | new), [Admit(tenants=tuple(sorted(new)))]


def _go_on(
    state: RolloutState,
    observation: Observation,
    policy: RolloutPolicy,
    gates: tuple[GateResult, ...],
    by: str,
    reason: str,
) -> tuple[RolloutState, list[Decision]]:
    """Take the next step: one stage, or the end."""
    if state.stage == policy.last_stage:
        assert state.version is not None
        done = Promote(version=state.version, actor=by, reason=reason, gates=gates)
        return replace(state, phase=Phase.PROMOTED, cause="watched", by=by, reason=reason, holding=""), [done]
    version = state.version if state.version is not None else observation.candidate
    assert version is not None
    entered = replace(enter(state, observation, policy, version), is_moving=True)
    target = policy.stages[entered.stage]
    step = Activate(
        ring=target.ring,
        percent=target.percent,
        version=version,
        expected_epoch=observation.epoch,
        stage=entered.stage,
        actor=by,
        reason=reason,
        gates=gates,
    )
    return entered, [step]


def waits_for_evidence(gates: Iterable[str]) -> bool:
    """Say whether a step that these gates hold back is due but for its evidence."""
    names = set(gates)
    return "evidence" in names and not names & {"hold", "stages"}


def _wait(
    state: RolloutState, policy: RolloutPolicy, blocking: Sequence[GateResult], credit: int
) -> tuple[RolloutState, list[Decision]]:
    """Hold; a step that is due but for its evidence waits for the deadline, then pauses."""
    names = {each.gate for each in blocking}
    holding = ",".join(sorted(names))
    is_news = holding != state.holding
    decisions: list[Decision] = []
    is_due = waits_for_evidence(names)
    was_due = waits_for_evidence(state.holding.split(","))  # since the last look, then
    unknown = state.unknown_ms + (credit if is_due and was_due else 0) if "evidence" in names else 0
    if is_news or unknown != state.unknown_ms:
        state = replace(state, holding=holding, unknown_ms=unknown)
    if is_due:
        detail = next(each.detail for each in blocking if each.gate == "evidence")
        if unknown >= policy.unknown_deadline_ms:
            why = f"no verdict in time: {detail}"
            state = replace(state, phase=Phase.PAUSED, cause="unknown", by="", reason=why, holding="")
            return state, [Pause(cause="unknown", actor="", reason=why)]
        if is_news:
            decisions.append(NoteUnknown(detail=detail, unknown_ms=unknown, deadline_ms=policy.unknown_deadline_ms))
    return state, [Hold(gates=tuple(blocking), is_news=is_news), *decisions]
