"""A rollout held against what the rings serve: its own steps, lost ones, what others did. The rings are right."""

from dataclasses import replace

from upm_cli.core.records import Ring
from upm_cli.core.rollouts.decisions import Abort, Decision, Found, Rollback
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.state import Observation, Phase, RolloutState, Served

Outcome = tuple[RolloutState, list[Decision], bool]  # the last: the look ends here


def believe_rings(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> Outcome:
    """Bring the state in line with what the rings serve; end the rollout where somebody else moved them."""
    now = rings_of(observation)
    if now == dict(state.seen):
        if state.is_undoing:
            again = _rollback_again(state, observation)
            return replace(state, is_undoing=bool(again)), [*again], True
        if state.is_moving:
            said = f"the step to {state.percent} % never reached the rings"
            return _step_back(state, observation, policy), [Found(what="not_done", detail=said)], True
        is_same = state.epoch == observation.epoch
        return state if is_same else replace(state, epoch=observation.epoch), [], False
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED):
        return replace(state, seen=now, epoch=observation.epoch, is_undoing=False), [], state.has_ended
    if state.is_moving and _is_own_move(state, now, policy):
        return replace(state, seen=now, epoch=observation.epoch, is_moving=False), [], False
    if _is_own_next(state, now, policy):
        return _adopt(state, observation, policy)
    is_own = any(each.rollout_id == state.rollout_id for each in now.values())
    if state.stage == 0 and not state.is_moving and not is_own:
        return _new_champion(state, observation)
    return _overtaken(state, observation)


def rings_of(observation: Observation) -> dict[Ring, Served]:
    """Return what the rings that reach tenants serve."""
    return {ring: each for ring, each in observation.live.items() if ring is not Ring.SHADOW}


def _champion(now: dict[Ring, Served]) -> int | None:
    return now[Ring.GLOBAL].version if Ring.GLOBAL in now else None


def _newest(rings: dict[Ring, Served]) -> int:
    return max((each.epoch for each in rings.values()), default=-1)


def _changed(state: RolloutState, now: dict[Ring, Served]) -> set[Ring]:
    """Return the rings that serve something else than when last seen."""
    return {ring for ring in now.keys() | state.seen.keys() if now.get(ring) != state.seen.get(ring)}


def _is_at(state: RolloutState, now: dict[Ring, Served], policy: RolloutPolicy, stage: int) -> bool:
    """Say whether the rings serve the candidate as `stage` asks for."""
    target = policy.stages[stage]
    ring = now.get(target.ring)
    return ring is not None and ring.percent == target.percent and state.version in (None, ring.version)


def _is_own_move(state: RolloutState, now: dict[Ring, Served], policy: RolloutPolicy) -> bool:
    """Say whether the rings differ from those last seen by exactly the step that was decided."""
    if state.stage > policy.last_stage or not _is_at(state, now, policy, state.stage):
        return False
    return _changed(state, now) == {policy.stages[state.stage].ring} and _newest(now) == state.epoch + 1


def _is_own_next(state: RolloutState, now: dict[Ring, Served], policy: RolloutPolicy) -> bool:
    """Say whether the rings are one step ahead by this rollout's own doing, and the state was not kept."""
    if state.stage >= policy.last_stage or not _is_at(state, now, policy, state.stage + 1):
        return False
    ahead = now[policy.stages[state.stage + 1].ring]
    if state.stage == 0:  # others may have moved the rings before
        return ahead.rollout_id == state.rollout_id and ahead.epoch == _newest(now)
    changed = _changed(state, now)
    is_own = all(ring in now and now[ring].rollout_id == state.rollout_id for ring in changed)
    own = {policy.stages[state.stage + 1].ring} | ({policy.stages[state.stage].ring} if state.is_moving else set())
    return is_own and changed <= own


def enter(state: RolloutState, observation: Observation, policy: RolloutPolicy, version: int) -> RolloutState:
    """Return the state at the beginning of the next stage: time, evidence and waiting start anew."""
    return replace(
        state,
        stage=state.stage + 1,
        percent=policy.stages[state.stage + 1].percent,
        version=version,
        left_held_ms=state.held_ms,
        held_ms=0,
        unknown_ms=0,
        since_seq=observation.position,
        epoch=observation.epoch,
        holding="",
        stage_at_ms=observation.instant.wall_ms,
    )


def _adopt(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> Outcome:
    target = policy.stages[state.stage + 1]
    entered = enter(state, observation, policy, observation.live[target.ring].version)
    said = f"{target.name} is in the rings already"
    now = rings_of(observation)
    champion = _champion(now) if state.stage == 0 else state.champion
    entered = replace(entered, seen=now, champion=champion, is_moving=False)
    return entered, [Found(what="done", detail=said)], True


def _step_back(state: RolloutState, observation: Observation, policy: RolloutPolicy) -> RolloutState:
    """Return the state at the stage it never left; evidence is gathered afresh."""
    before = state.stage - 1
    return replace(
        state,
        stage=before,
        percent=policy.stages[min(before, policy.last_stage)].percent,
        version=state.version if before else None,
        held_ms=state.left_held_ms,
        left_held_ms=0,
        since_seq=observation.position,
        epoch=observation.epoch,
        is_moving=False,
        holding="",
    )


def _new_champion(state: RolloutState, observation: Observation) -> Outcome:
    """In shadow nothing of the rollout is exposed: others may move the rings, and the contest begins anew."""
    now = rings_of(observation)
    champion = _champion(now)
    state = replace(state, seen=now, epoch=observation.epoch)
    if champion == state.champion:
        return state, [], False
    said = f"v{champion} is live in ring global now" if champion else "nothing is live in ring global any more"
    state = replace(state, champion=champion, since_seq=observation.position, unknown_ms=0)
    return state, [Found(what="champion", detail=said)], False


def _overtaken(state: RolloutState, observation: Observation) -> Outcome:
    now = rings_of(observation)
    shows = ", ".join(f"{ring} v{each.version} {each.percent} %" for ring, each in sorted(now.items())) or "nothing"
    said = f"somebody else moved the rings (now: {shows}): what a person does counts"
    state = replace(
        state,
        phase=Phase.ABORTED,
        cause="overtaken",
        by="",
        reason=said,
        seen=now,
        epoch=observation.epoch,
        is_moving=False,
    )
    return state, [Abort(cause="overtaken", actor="", reason=said)], True


def rollback_of(state: RolloutState, observation: Observation, cause: str, why: str, *, is_bad: bool) -> list[Rollback]:
    """Return the way back of a candidate that is in the rings; nothing where it is in none."""
    rings = tuple(ring for ring, each in sorted(observation.live.items()) if each.version == state.version)
    rings = tuple(ring for ring in rings if ring is not Ring.SHADOW)
    if state.version is None or not rings:
        return []
    return [
        Rollback(
            version=state.version,
            to=state.champion,
            rings=rings,
            expected_epoch=observation.epoch,
            cause=cause,
            reason=why,
            is_bad=is_bad,
        )
    ]


def _rollback_again(state: RolloutState, observation: Observation) -> list[Rollback]:
    back = rollback_of(state, observation, state.cause, state.reason, is_bad=state.cause != "operator")
    return [replace(each, is_again=True) for each in back]
