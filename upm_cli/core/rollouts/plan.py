"""When a rollout can be where, at the earliest."""

from dataclasses import dataclass

from upm_cli.core.rollouts.policy import RolloutPolicy, Stage
from upm_cli.core.rollouts.state import Instant, Phase, RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """One stage of the way and when it can be entered at the earliest, if nothing holds it back but time."""

    index: int
    stage: Stage
    need_ms: int
    is_done: bool
    is_current: bool
    in_ms: int | None  # from now; None: it lies behind
    at_ms: int | None  # wall time; None without a moment to count from


def plan(
    policy: RolloutPolicy, state: RolloutState | None = None, now: Instant | None = None, shadow_ms: int | None = None
) -> list[PlannedStage]:
    """Return the stages with earliest times; without a state, for a rollout that would start now.

    `shadow_ms`: accumulated time of the lineage in shadow so far, None: nobody knows.
    """
    current = state.stage if state is not None else 0
    is_over = state is not None and state.has_ended
    held = state.held_ms if state is not None else 0
    rows, ahead = [], 0
    for index, stage in enumerate(policy.stages):
        need = policy.need_ms(index)
        if index == current + 1:
            shadow_left = policy.min_shadow_ms - (shadow_ms or 0) if current == 0 else 0
            ahead = max(0, policy.need_ms(current) - held, shadow_left)
        in_ms = None if index <= current or is_over else ahead
        rows.append(
            PlannedStage(
                index=index,
                stage=stage,
                need_ms=need,
                is_done=index < current or (state is not None and state.phase is Phase.PROMOTED),
                is_current=index == current and not is_over,
                in_ms=in_ms,
                at_ms=now.wall_ms + in_ms if now is not None and in_ms is not None else None,
            )
        )
        if index > current:
            ahead += need
    return rows
