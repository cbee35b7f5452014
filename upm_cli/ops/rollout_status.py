"""How a rollout stands: everything `upm rollout status` shows, read and worked out without changing anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upm_cli.clock import Clock
from upm_cli.core.features.gate import GATE
from upm_cli.core.gates import GateResult, as_context
from upm_cli.core.records import RolloutRow
from upm_cli.core.rollout import advance, plan
from upm_cli.core.rollouts.decisions import Abort, Activate, Decision, Pause, Promote, Retry, Rollback, Start
from upm_cli.core.rollouts.exposure import exposed
from upm_cli.core.rollouts.gates import step_gates
from upm_cli.core.rollouts.plan import PlannedStage
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.state import Observation, Phase, RolloutState, exposure_of
from upm_cli.core.rollouts.tick import pass_time
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import NotFoundError
from upm_cli.ids import iso
from upm_cli.ops.rollout_policy import policy_of
from upm_cli.ops.rollout_view import Seen, instant, observe
from upm_cli.store import dwells, rollouts, tenant_rules, trainers

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader, Store

TIME_AND_EVIDENCE = ("hold", "shadow", "evidence", "readiness")  # gates that open by themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One rollout as it is now: its state with the time counted, what it sees, and what each gate says."""

    row: RolloutRow
    state: RolloutState
    seen: Seen
    observation: Observation
    gates: tuple[GateResult, ...]  # to the next step; none once it has ended or while it is paused
    coming: tuple[Decision, ...]  # what the next look will decide
    stages: tuple[PlannedStage, ...]

    @property
    def policy(self) -> RolloutPolicy:
        return self.seen.policy

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is wrong: it goes on or is done, and only time and evidence hold it back."""
        if self.state.phase not in (Phase.PROGRESSING, Phase.PROMOTED) or self.state.is_harmed:
            return False
        if any(isinstance(each, Rollback | Pause | Abort) for each in self.coming):
            return False
        return all(_waits(gate) for gate in self.gates if not gate.allowed)

    @property
    def is_bad(self) -> bool:
        """Whether it ended badly."""
        return self.state.phase in (Phase.ABORTED, Phase.DEGRADED)


def _waits(gate: GateResult) -> bool:
    """Say whether a closed gate opens by itself, with time or evidence."""
    if gate.gate == "evidence":
        return gate.numbers.get("verdict") != "fail"
    if gate.gate == GATE:
        return gate.numbers.get("verdict") == "unknown"
    return gate.gate in TIME_AND_EVIDENCE or (gate.gate == "policy" and "shadow_ms" in gate.numbers)


def standing(store: "Store", clock: Clock, settings: "Settings", name: str) -> Standing:
    """Return how the newest rollout of `name` stands. Raises NotFoundError when it has none."""
    with store.read() as reader:
        seen = Seen.read(reader, settings, name)
        if seen.row is None or seen.state is None:
            raise NotFoundError(f"trainer {name} has no rollout", hint=f"upm rollout start {name}", code="UPM-E047")
        observation = observe(store, reader, clock, settings, seen, seen.state)
    counted, _, _ = pass_time(seen.state, observation, seen.policy)
    is_going = counted.phase is Phase.PROGRESSING
    coming = () if counted.has_ended else advance(seen.state, observation, seen.policy).decisions
    return Standing(
        row=seen.row,
        state=counted if is_going else seen.state,
        seen=seen,
        observation=observation,
        gates=each_once(step_gates(counted, observation, seen.policy)) if is_going else (),
        coming=coming,
        stages=tuple(plan(seen.policy, counted, observation.instant, observation.shadow_ms)),
    )


def each_once(gates: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """Return the gates in order; of those asked twice under one name, the one that says no."""
    once: dict[str, GateResult] = {}
    for gate in gates:
        if gate.gate not in once or (once[gate.gate].allowed and not gate.allowed):
            once[gate.gate] = gate
    return tuple(once.values())


def has_any(reader: "Reader", name: str) -> bool:
    """Say whether there ever was a rollout of `name`."""
    return rollouts.newest(reader, name) is not None


def planned(reader: "Reader", clock: Clock, settings: "Settings", name: str) -> list[PlannedStage]:
    """Return the stages of a rollout of `name` that would start now. Raises NotFoundError."""
    trainers.get(reader, name)
    dwell = dwells.find(reader, name)
    shadow_ms = None if dwell is None else round(dwell.shadow_s * 1000)
    policy = policy_of(settings, tenant_rules.list_for(reader, name))
    return plan(policy, None, instant(clock), shadow_ms)


def as_json(found: Standing) -> dict[str, Any]:
    """Return a standing in plain values."""
    state, policy, row = found.state, found.policy, found.row
    at_stage = 0 <= state.stage < len(policy.stages)
    return {
        "trainer": state.trainer,
        "rollout_id": state.rollout_id,
        "number": row.number,
        "phase": state.phase.value,
        "healthy": found.is_healthy,
        "cause": state.cause or None,
        "reason": state.reason or None,
        "stage": state.stage,
        "stage_name": policy.stages[state.stage].name if at_stage else None,
        "percent": state.percent,
        "held_ms": state.held_ms,
        "need_ms": policy.need_ms(state.stage) if at_stage else None,
        "shadow_ms": found.observation.shadow_ms,
        "min_shadow_ms": policy.min_shadow_ms,
        "stages": stages_json(found.stages, state),
        "candidate": _snapshot(found, state.version or found.observation.candidate, is_chosen=bool(state.version)),
        "champion": _snapshot(found, state.champion, is_chosen=True),
        "tenants": _tenants(found),
        "evidence": _evidence(found),
        "gates": [gate_json(each) for each in found.gates],
        "next": _next(found),
        "started_by": row.actor,
        "started_at": iso(row.started_at_ms),
        "updated_at": iso(row.updated_at_ms),
        "ended_at": None if row.ended_at_ms is None else iso(row.ended_at_ms),
    }


def _detail(gate: GateResult) -> str:
    """Return what a gate says in words. A record keeps those of the decision as they were, to be worked out again."""
    if gate.gate == "hold" and gate.numbers.get("need_ms") == 0:
        return f"{gate.detail.rpartition(' of ')[0]}; no time is asked for"
    return gate.detail


def gate_json(gate: GateResult) -> dict[str, Any]:
    """Return what a gate says: `says` is yes, no, wait where time opens it, or unknown where nobody can tell yet."""
    context = {
        key: value
        for key, value in as_context(gate).items()
        if key not in ("gate", "allowed", "detail", "satisfy") and value is not None
    }
    return {
        "gate": gate.gate,
        "allowed": gate.allowed,
        "says": _says(gate),
        "detail": _detail(gate),
        "satisfy": "" if gate.allowed else gate.satisfy,
        "numbers": context,
    }


def _says(gate: GateResult) -> str:
    if gate.allowed:
        return "yes"
    said = gate.numbers
    parts = [each.get("verdict") for each in said.values() if isinstance(each, Mapping)]  # of readiness
    if "unknown" in (said.get("verdict"), *parts) or ("shadow_ms" in said and said["shadow_ms"] is None):
        return "unknown"
    return "wait" if gate.gate in ("hold", "shadow") or "shadow_ms" in said else "no"


def stages_json(stages: Sequence[PlannedStage], state: RolloutState | None) -> list[dict[str, Any]]:
    """Return the way in plain values; `status` is done, current, ahead, or left where the rollout ended before."""
    is_over = state is not None and state.has_ended and state.phase is not Phase.PROMOTED
    return [
        {
            "stage": each.index,
            "name": each.stage.name,
            "ring": each.stage.ring.value,
            "percent": each.stage.percent,
            "status": _stage_status(each, is_over=is_over),
            "need_ms": each.need_ms,
            "in_ms": each.in_ms,
            "at": None if each.at_ms is None else iso(each.at_ms),
        }
        for each in stages
    ]


def _stage_status(each: PlannedStage, *, is_over: bool) -> str:
    if each.is_done:
        return "done"
    if each.is_current:
        return "current"
    return "left" if is_over else "ahead"


def _snapshot(found: Standing, version: int | None, *, is_chosen: bool) -> dict[str, Any] | None:
    row = found.seen.view.rows.get(version or 0)
    if row is None:
        return None
    return {
        "version": row.version,
        "snapshot_id": snapshot_id(row.trainer, row.version),
        "chosen": is_chosen,  # False: what would leave shadow now
        "digest": row.digest,
        "size_bytes": row.size_bytes,
        "quarantined": row.quarantined,
        "quarantine_reason": row.quarantine_reason,
    }


def _tenants(found: Standing) -> dict[str, Any]:
    known = found.observation.tenants
    inside = exposed(known, exposure_of(found.state, found.policy)) if found.state.version else frozenset()
    return {
        "seen": len(known),
        "exposed": len(inside),
        "held": sorted(found.state.held_tenants),
        "admitted": sorted(found.state.admitted),
    }


def _evidence(found: Standing) -> dict[str, Any] | None:
    view = found.observation.evidence
    if view is None:
        return None
    return {
        "verdict": view.verdict.value,
        "contest": view.kind.value,
        "stage": view.stage,
        "n": view.n,
        "more": view.more,
        "detail": view.detail,
        "as_of": None if view.as_of_ms is None else iso(view.as_of_ms),
        "numbers": {key: value for key, value in view.numbers.items() if value is not None},
    }


def _next(found: Standing) -> dict[str, Any]:
    """Return what comes next: the stage, when at the earliest, and what it waits for."""
    state, policy = found.state, found.policy
    ahead = next((each for each in found.stages if each.index == state.stage + 1), None)
    is_last = state.stage == policy.last_stage
    waits = [each.gate for each in found.gates if not each.allowed]
    if found.state.phase is not Phase.PROGRESSING:
        return {"what": None, "stage": None, "at": None, "in_ms": None, "automatic": False, "waits_for": []}
    left_ms = max(0, policy.need_ms(state.stage) - state.held_ms) if is_last else (ahead.in_ms if ahead else None)
    at_ms = None if left_ms is None else found.observation.instant.wall_ms + left_ms
    return {
        "what": "promoted" if is_last or ahead is None else ahead.stage.name,
        "stage": None if is_last or ahead is None else ahead.index,
        "at": None if at_ms is None else iso(at_ms),
        "in_ms": left_ms,
        "automatic": policy.automatic,
        "waits_for": waits,
    }


def told(decision: Decision) -> str:
    """Say a decision in words, for one line."""
    if isinstance(decision, Activate):
        return f"v{decision.version} in {decision.ring} at {decision.percent} %"
    if isinstance(decision, Promote):
        return f"v{decision.version} is the champion now"
    if isinstance(decision, Rollback):
        to = "nothing" if decision.to is None else f"v{decision.to}"
        return f"back from v{decision.version} to {to} ({decision.cause}): {decision.reason or 'no reason given'}"
    if isinstance(decision, Start | Retry):
        again = "begun anew" if isinstance(decision, Retry) else "begun"
        return f"{again} in shadow{f': {decision.reason}' if decision.reason else ''}"
    fields: Mapping[str, str] = {
        "detail": getattr(decision, "detail", ""),
        "reason": getattr(decision, "reason", ""),
        "tenant": getattr(decision, "tenant", ""),
        "what": getattr(decision, "what", ""),
    }
    said = next((text for text in fields.values() if text), "")
    names = ", ".join(getattr(decision, "tenants", ()))
    return f"{decision.kind.replace('_', ' ')}{f': {said or names}' if said or names else ''}"
