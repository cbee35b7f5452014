"""The world around a rollout, made small: what can be seen, what can go wrong, and what has really happened.

For the exhaustive check. Durations are abstract (a hold takes two units, a reboot counts one), tenants are few, and
everything else is as the project's settings say. `World` keeps the truth apart from what the rollout believes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from upm_cli.core.gates import GateResult
from upm_cli.core.records import Ring
from upm_cli.core.rollouts.decisions import Activate, Rollback
from upm_cli.core.rollouts.exposure import EVERYONE
from upm_cli.core.rollouts.looks import MANY_HARMED, ONE_HARMED, PINNED, QUARANTINED, STALE, TIMES, Look
from upm_cli.core.rollouts.policy import RolloutPolicy, Stage
from upm_cli.core.rollouts.state import (
    EvidenceView,
    Instant,
    Observation,
    Phase,
    RolloutState,
    Served,
    new_rollout,
)
from upm_cli.core.rollouts.tick import waits_for_evidence
from upm_cli.core.verdict import Verdict

UNIT: Final = 1_000_000  # ms; a hold is two of them
CHAMPION, CANDIDATE, OTHER, NONE = 1, 2, 3, 99
NOW: Final = Instant(wall_ms=1_000 * UNIT, monotonic_ms=500 * UNIT, era="boot-1")
SINCE, POSITION = 100, 200
TENANTS: Final = frozenset({"", "ant", "bee", "cat", "dog"})
ROLLOUT: Final = "rollout-0001"


def _kinds(policy: RolloutPolicy) -> list[Stage]:
    """Return the stages without those whose neighbours on both sides are of their kind: they go alike."""
    kinds = [(each.ring, each.hold_ms > 0) for each in policy.stages]
    alike = [kinds[i - 1 : i + 2].count(kinds[i]) == 3 for i in range(len(kinds))]
    return [each for i, each in enumerate(policy.stages) if not (i > 1 and alike[i] and alike[i - 1])]


def small(policy: RolloutPolicy) -> RolloutPolicy:
    """Return the policy with its stages and rules as they are, and durations of a few units."""

    def units(ms: int, count: int) -> int:
        return count * UNIT if ms else 0

    return replace(
        policy,
        stages=tuple(
            Stage(ring=each.ring, percent=each.percent, hold_ms=units(each.hold_ms, 2)) for each in _kinds(policy)
        ),
        min_tenants=min(policy.min_tenants, 2),
        watch_ms=units(policy.watch_ms, 2),
        min_shadow_ms=units(policy.min_shadow_ms, 2),
        unknown_deadline_ms=2 * UNIT,
        max_evidence_age_ms=3 * UNIT,
        max_gap_ms=units(policy.max_gap_ms, 1),
        max_held_share=min(policy.max_held_share, 0.5),
        automatic=True,
        allow=(),
        deny=(),
        canary_tenants=(EVERYONE,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is true, whatever the rollout believes."""

    live: Mapping[Ring, Served]
    epoch: int = 10
    held: int = 0  # units that really passed at this exposure while it was neither paused nor ended
    started: int = 0  # the same since the rollout started
    mishaps: int = 0  # crashes, hands in the rings and tenants held back so far
    phase: Phase = Phase.PENDING  # what people and decisions brought it to
    is_harmed: bool = False  # a harm verdict was shown to it
    is_taken: bool = False  # a person moved the rings
    is_quarantined: bool = False  # a rollback from harm barred the candidate and pinned the rings, in one commit

    @property
    def percent(self) -> int:
        """The share of tenants to which the rings serve the candidate; a canary is over once ring global moved on."""
        everybody = self.live.get(Ring.GLOBAL)
        return max(
            (
                each.percent
                for each in self.live.values()
                if each.version == CANDIDATE and (everybody is None or each.epoch >= everybody.epoch)
            ),
            default=0,
        )


def first_world() -> tuple[RolloutState, World]:
    """Return a rollout that was not started, where a champion serves everybody."""
    live = {Ring.GLOBAL: Served(version=CHAMPION, percent=100, epoch=9)}
    return new_rollout(ROLLOUT, "main", at_ms=NOW.wall_ms), World(live=live)


def observe(look: Look, state: RolloutState, world: World, policy: RolloutPolicy) -> Observation:
    """Return what a decision in `state` is made from when the world looks like `look`."""
    _, wall, monotonic, _ = TIMES[look.time]
    now = Instant(
        wall_ms=NOW.wall_ms + wall * UNIT,
        monotonic_ms=NOW.monotonic_ms + monotonic * UNIT if monotonic is not None else 7 * UNIT,
        era=NOW.era if monotonic is not None else "boot-2",
    )
    shut = look.gates
    serving = world.live.get(Ring.GLOBAL)
    only = serving.version if serving is not None else None
    candidate = {"no snapshot": None, "only the champion's snapshot": only}.get(shut, CANDIDATE)
    return Observation(
        instant=now,
        epoch=world.epoch,
        live=world.live,
        position=POSITION,
        evidence=_evidence(look.evidence, state, now),
        gates=_gates(shut, *policy.required_gates, *policy.leave_shadow_gates),
        candidate=candidate,
        quarantined=world.is_quarantined
        or {"nobody knowing of a quarantine": None, QUARANTINED: True}.get(shut, False),
        pinned=world.is_quarantined or shut == PINNED,
        shadow_ms={"too little time in shadow": policy.min_shadow_ms - 1, "unknown time in shadow": None}.get(
            shut, policy.min_shadow_ms
        ),
        frozen="the holidays" if shut == "a freeze" else None,
        harmed={ONE_HARMED: frozenset({"ant"}), MANY_HARMED: TENANTS - {"dog"}}.get(shut, frozenset()),
        tenants=TENANTS,
        overridden=frozenset({look.override}) if look.override else frozenset(),
    )


@cache
def _gates(shut: str, *asked: str) -> tuple[GateResult, ...]:
    return tuple(
        GateResult(gate=name, allowed=shut != f"gate {name} saying no", detail=shut, satisfy="wait")
        for name in asked
        if shut != f"gate {name} missing"
    )


def _evidence(kind: str, state: RolloutState, now: Instant) -> EvidenceView | None:
    if kind == "no evidence":
        return None
    verdict = Verdict.FAIL if "harm" in kind else Verdict.UNKNOWN if "undecided" in kind else Verdict.PASS
    change = _CHANGES.get(kind, {})
    as_of_ms = now.wall_ms + change.get("as_of_ms", 0)
    about: dict[str, Any] = {
        "verdict": verdict,
        "kind": state.contest_kind,
        "rollout_id": state.rollout_id,
        "version": state.version,
        "champion": state.champion,
        "n": 50,
        "first_seq": SINCE,
        "last_seq": POSITION - 1,
    }
    stage = state.stage + change.get("stage", 0)
    return EvidenceView(**about | change | {"stage": stage, "as_of_ms": as_of_ms})


_CHANGES: Final[Mapping[str, dict[str, Any]]] = {  # stage and as_of_ms by how much, the others what to
    "a pass of the stage before": {"stage": -1},
    "a pass of the stage after": {"stage": 1},
    STALE: {"as_of_ms": -3 * UNIT - 1},
    "a pass from the future": {"as_of_ms": UNIT},
    "a pass on no windows": {"n": 0, "first_seq": None, "last_seq": None},
    "a pass on windows from before the stage": {"first_seq": SINCE - 1},
    "a pass on windows nobody has judged": {"last_seq": POSITION},
    "a pass of another rollout": {"rollout_id": "rollout-0000"},
    "harm of another rollout": {"rollout_id": "rollout-0000"},
    "a pass of another version": {"version": NONE},
    "a pass against another champion": {"champion": NONE},
    "a pass with a number that is none": {"numbers": {"upper": float("nan")}},
}


def carry_out(world: World, decision: Activate | Rollback) -> World:
    """Return the world after `decision` was carried out; nothing where it was made for another epoch."""
    if decision.expected_epoch != world.epoch:
        return world
    live = dict(world.live)
    if isinstance(decision, Activate):
        moved = Served(version=decision.version, percent=decision.percent, epoch=world.epoch + 1, rollout_id=ROLLOUT)
        return replace(world, live={**live, decision.ring: moved}, epoch=world.epoch + 1, held=0, is_taken=False)
    for step, ring in enumerate(decision.rings, start=1):
        if decision.to is None:
            del live[ring]
        else:
            percent = 100 if ring is Ring.GLOBAL else live[ring].percent
            live[ring] = Served(version=decision.to, percent=percent, epoch=world.epoch + step)
    barred = world.is_quarantined or decision.is_bad
    return replace(world, live=live, epoch=world.epoch + len(decision.rings), held=0, is_quarantined=barred)


def meddle(state: RolloutState, world: World, policy: RolloutPolicy) -> Iterator[tuple[str, World]]:
    """Yield what a person may do to the rings behind the rollout's back."""

    def put(ring: Ring, version: int, percent: int) -> World:
        moved = Served(version=version, percent=percent, epoch=world.epoch + 1)
        taken = world.is_taken or world.percent > 0
        return replace(
            world,
            live={**world.live, ring: moved},
            epoch=world.epoch + 1,
            held=0,
            is_taken=taken,
            mishaps=world.mishaps + 1,
        )

    yield "a person makes another version live for everybody", put(Ring.GLOBAL, OTHER, 100)
    if world.percent and not world.is_taken:
        back = [ring for ring, each in world.live.items() if each.version == CANDIDATE]
        moved = put(back[0], CHAMPION, world.live[back[0]].percent)
        yield "a person rolls the candidate back", replace(moved, is_quarantined=True)
        if state.stage < policy.last_stage:
            after = policy.stages[state.stage + 1]
            yield "a person takes the next step by hand", put(after.ring, CANDIDATE, after.percent)


def settle(state: RolloutState, world: World, policy: RolloutPolicy) -> tuple[RolloutState, World]:
    """Return both as of the same moment as ever, so that states that differ only in dates are the same."""
    if state.has_ended and not state.is_undoing:
        return _over(state), World(live={}, phase=state.phase, mishaps=world.mishaps)
    if state.is_harmed:  # who is held back says nothing any more
        state = replace(state, held_tenants=frozenset(), admitted=frozenset())
    need = policy.need_ms(state.stage)
    epochs = sorted(
        {world.epoch, state.epoch, *(each.epoch for side in (world.live, state.seen) for each in side.values())},
        reverse=True,
    )
    name, new = {}, 10
    for before, epoch in zip([epochs[0], *epochs], epochs, strict=False):
        new -= min(before - epoch, 2)
        name[epoch] = new

    def renamed(side: Mapping[Ring, Served]) -> dict[Ring, Served]:
        return {
            ring: each if name[each.epoch] == each.epoch else replace(each, epoch=name[each.epoch])
            for ring, each in side.items()
        }

    is_far = state.stage > 1 or (state.stage == 1 and not state.is_moving)  # shadow lies behind
    settled = replace(
        state,
        held_ms=min(state.held_ms, need),
        left_held_ms=min(state.left_held_ms, 2 * UNIT) if state.is_moving else 0,
        since_seq=SINCE,
        last=NOW if state.last is not None else None,
        epoch=name[state.epoch],
        seen=renamed(state.seen),
        by="",
        reason="",
        holding="evidence" if waits_for_evidence(state.holding.split(",")) else "",
        created_at_ms=0,
        stage_at_ms=0,
        updated_at_ms=0,
    )
    return settled, replace(
        world,
        live=renamed(world.live),
        epoch=name[world.epoch],
        held=min(world.held, 2),
        started=2 if is_far else min(world.started, 2),
    )


def _over(state: RolloutState) -> RolloutState:
    """Return an ended rollout without what it no longer matters to know."""
    return RolloutState(
        rollout_id=state.rollout_id,
        trainer=state.trainer,
        phase=state.phase,
        stage=state.stage,
        percent=state.percent,
        version=state.version,
        last=NOW,
        epoch=10,
    )


def key(state: RolloutState, world: World) -> tuple[Any, ...]:
    """Return what tells one settled pair from another."""
    return (
        state.phase,
        state.stage,
        state.percent,
        state.version,
        state.champion,
        state.held_ms,
        state.left_held_ms,
        state.unknown_ms,
        state.holding,
        state.epoch,
        tuple((ring, state.seen[ring]) for ring in sorted(state.seen)),
        state.is_moving,
        state.is_undoing,
        state.is_harmed,
        state.cause,
        state.admitted,
        state.held_tenants,
        tuple((ring, world.live[ring]) for ring in sorted(world.live)),
        world.held,
        world.started,
        world.mishaps,
        world.phase,
        world.is_harmed,
        world.is_taken,
        world.is_quarantined,
    )
