"""What people ask of a rollout, and `advance`, which the machine does by itself. Rules: see `core.rollout`."""

from dataclasses import replace

from upm_cli.core.gates import GateResult, refusal
from upm_cli.core.records import Ring
from upm_cli.core.rollouts.decisions import Abort, Activate, Decision, Pause, Promote, Resume, Retry, Start, Step
from upm_cli.core.rollouts.gates import has_failed, health_gate
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.rings import believe_rings, rings_of, rollback_of
from upm_cli.core.rollouts.state import Observation, Phase, RolloutState, new_rollout
from upm_cli.core.rollouts.tick import pass_time, tick
from upm_cli.errors import RefusedError


def advance(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> Step:
    """Look once, as the machine does: hold, go one stage on, turn back, or end. Never refuses."""
    return tick(state, observation, policy)


def start(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, actor: str, reason: str = ""
) -> Step:
    """Begin a pending rollout in shadow, which is always allowed. Started already: nothing happens."""
    if state.phase is Phase.PROGRESSING:
        return Step(state=state)
    if state.phase is not Phase.PENDING:
        raise _not_in(state, "start", "begin anew", "retry")
    return Step(state=_begun(state, observation), decisions=(Start(actor=actor, reason=reason),))


def _begun(state: RolloutState, observation: Observation) -> RolloutState:
    seen = rings_of(observation)
    return replace(
        state,
        phase=Phase.PROGRESSING,
        champion=seen[Ring.GLOBAL].version if Ring.GLOBAL in seen else None,
        since_seq=observation.position,
        last=observation.instant,
        epoch=observation.epoch,
        seen=seen,
        stage_at_ms=observation.instant.wall_ms,
        updated_at_ms=observation.instant.wall_ms,
    )


def promote(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, actor: str, reason: str = ""
) -> Step:
    """Take the next step now: without the rest of its hold, never without the evidence and the other gates.

    Raises RefusedError naming the first gate that says no.
    """
    if state.phase is Phase.PROMOTED:
        return Step(state=state)
    if state.phase is not Phase.PROGRESSING:
        raise _not_in(state, "promote", "let it go on first", "retry" if state.has_ended else "resume")
    step = tick(state, observation, policy, by=actor, reason=reason)
    if any(isinstance(each, Activate | Promote) for each in step.decisions):
        return step
    if step.hold is not None:
        raise refusal(step.hold.gates)
    gate = GateResult(
        gate="rings" if step.state.cause == "overtaken" else "state",
        allowed=False,
        detail=_told(step) or "the last step has not reached the rings yet",
        satisfy=f"upm rollout tick {state.trainer}, then upm rollout status {state.trainer}",
    )
    raise refusal((gate,))


def pause(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, actor: str, reason: str = ""
) -> Step:
    """Stop going on; exposure stays as it is. Harm still turns it back. Paused already: nothing happens."""
    if state.phase is Phase.PAUSED:
        return Step(state=state)
    if state.phase is not Phase.PROGRESSING:
        raise _not_in(state, "pause", "there is nothing to pause", "retry" if state.has_ended else "start")
    state, jumps, _ = pass_time(state, observation, policy)
    state = replace(state, phase=Phase.PAUSED, cause="operator", by=actor, reason=reason, holding="")
    return Step(state=state, decisions=(*jumps, Pause(cause="operator", actor=actor, reason=reason)))


def resume(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, actor: str, reason: str = ""
) -> Step:
    """Go on after a pause; the time of the pause does not count. Refused while what paused it stands."""
    if state.phase is Phase.PROGRESSING:
        return Step(state=state)
    if state.phase is not Phase.PAUSED:
        raise _not_in(state, "resume", "it is not paused", "retry" if state.has_ended else "start")
    if state.is_harmed or has_failed(state, observation):
        gate = GateResult(
            gate="evidence",
            allowed=False,
            detail=f"the candidate does harm: {state.reason}",
            satisfy=f"upm rollout abort {state.trainer}, or upm rollout retry {state.trainer} for a new candidate",
        )
        raise refusal((gate,))
    if state.stage > 0 and not (health := health_gate(state, observation)).allowed:
        raise refusal((health,))
    state, jumps, _ = pass_time(state, observation, policy)
    state = replace(state, phase=Phase.PROGRESSING, cause="", by=actor, reason=reason, unknown_ms=0, holding="")
    return Step(state=state, decisions=(*jumps, Resume(actor=actor, reason=reason)))


def abort(
    state: RolloutState, observation: Observation, policy: RolloutPolicy, *, actor: str, reason: str = ""
) -> Step:
    """Give the rollout up: what it exposed goes back to the champion, and the candidate is not blamed.

    Never refused but for a rollout that is done: that is undone with `upm rollback`.
    """
    if state.phase in (Phase.ABORTED, Phase.DEGRADED):
        return Step(state=state)
    if state.phase is Phase.PROMOTED:
        raise _not_in(state, "abort", f"undo it with upm rollback {state.trainer}", "retry")
    state, decisions, _ = pass_time(state, observation, policy)
    state, found, is_over = believe_rings(state, observation, policy)
    decisions += found
    if is_over and state.has_ended:
        return Step(state=state, decisions=tuple(decisions))
    back = rollback_of(state, observation, "operator", reason, is_bad=False) if state.stage > 0 else []
    state = replace(
        state,
        phase=Phase.ABORTED,
        cause="operator",
        by=actor,
        reason=reason,
        holding="",
        is_moving=False,
        is_undoing=bool(back),
    )
    return Step(state=state, decisions=(*decisions, Abort(cause="operator", actor=actor, reason=reason), *back))


def retry(
    state: RolloutState,
    observation: Observation,
    policy: RolloutPolicy,
    *,
    actor: str,
    rollout_id: str,
    version: int | None = None,
    reason: str = "",
) -> Step:
    """Begin a new rollout of the trainer in shadow, with an id of its own, after one that ended or did harm.

    `version` None: the newest sound snapshot when it leaves shadow.
    """
    if not (state.has_ended or (state.phase is Phase.PAUSED and (state.is_harmed or state.cause == "quarantine"))):
        raise _not_in(state, "retry", "it has not ended", "abort")
    if state.is_undoing or (not state.has_ended and state.stage > 0):
        gate = GateResult(
            gate="rollback",
            allowed=False,
            detail=f"v{state.version} still serves tenants",
            satisfy=f"upm rollout abort {state.trainer} or upm rollback {state.trainer} first",
        )
        raise refusal((gate,))
    new = new_rollout(rollout_id, state.trainer, at_ms=observation.instant.wall_ms, version=version)
    return Step(state=_begun(new, observation), decisions=(Retry(after=state.rollout_id, actor=actor, reason=reason),))


def _told(step: Step) -> str:
    return "; ".join(_words(each) for each in step.decisions)


def _words(decision: Decision) -> str:
    said = getattr(decision, "reason", "") or getattr(decision, "detail", "")
    return f"{decision.kind.replace('_', ' ')}{f': {said}' if said else ''}"


def _not_in(state: RolloutState, verb: str, why: str, instead: str) -> RefusedError:
    return RefusedError(
        f"rollout of {state.trainer} is {state.phase}" + (f" ({state.cause})" if state.cause else "") + f": {why}",
        hint=f"upm rollout {instead} {state.trainer}",
        code="UPM-E058",
        context={"gate": "phase", "phase": state.phase.value, "verb": verb, "cause": state.cause},
    )
