"""How a rollout goes: its stages, and when it waits, pauses or turns back. Names are those of the `rollout` section."""

import itertools
import math
from dataclasses import dataclass
from typing import Final

from upm_cli.core.records import Ring
from upm_cli.core.rollouts.exposure import EVERYONE

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of the way: `percent` of the tenants by `ring`, for at least `hold_ms` of accumulated time."""

    ring: Ring
    percent: int
    hold_ms: int

    @property
    def name(self) -> str:
        return "shadow" if self.ring is Ring.SHADOW else f"{self.ring} {self.percent} %"


def ramp(
    *,
    canary: tuple[int, ...] = (1, 5, 10, 25),
    full: tuple[int, ...] = (50, 75, 100),
    shadow_ms: int = 14 * DAY_MS,
    hold_ms: int = DAY_MS,
) -> tuple[Stage, ...]:
    """Return shadow, then the canary percentages, then the global ones; the last one is only watched (hold 0)."""
    return (
        Stage(ring=Ring.SHADOW, percent=0, hold_ms=shadow_ms),
        *(Stage(ring=Ring.CANARY, percent=percent, hold_ms=hold_ms) for percent in canary),
        *(Stage(ring=Ring.GLOBAL, percent=percent, hold_ms=0 if percent == 100 else hold_ms) for percent in full),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """What every decision about a rollout goes by."""

    stages: tuple[Stage, ...] = ramp()
    min_tenants: int = 1  # exposed at least, from the first percent on, as far as there are so many
    min_shadow_ms: int = 14 * DAY_MS  # the lineage's accumulated time in shadow before any tenant is exposed
    watch_ms: int = 2 * DAY_MS  # after the last stage's hold, before the rollout counts as done
    unknown_deadline_ms: int = 3 * DAY_MS  # a step that is due waits this long for a verdict, then pauses
    max_evidence_age_ms: int = 6 * HOUR_MS  # older evidence is stale: unknown
    max_gap_ms: int = HOUR_MS  # most that counts of the time between two ticks across a reboot
    max_held_share: float = 0.2  # more of the exposed tenants held back than this: the candidate fails
    on_harm: str = "rollback"  # rollback | pause
    on_quarantine: str = "rollback"  # rollback | pause | ignore (never goes on either way)
    automatic: bool = True  # False: every step waits for `promote`
    required_gates: tuple[str, ...] = ("quarantine", "lineage", "feature", "policy")  # missing ones refuse
    leave_shadow_gates: tuple[str, ...] = ("readiness",)  # required too, for the first step out of shadow
    allow: tuple[str, ...] = ()  # tenants exposed first
    deny: tuple[str, ...] = ()  # tenants never exposed
    canary_tenants: tuple[str, ...] = (EVERYONE,)  # who may be exposed in ring canary; empty: nobody

    def __post_init__(self) -> None:
        _check_stages(self.stages)
        for name in (
            "min_tenants",
            "min_shadow_ms",
            "watch_ms",
            "unknown_deadline_ms",
            "max_evidence_age_ms",
            "max_gap_ms",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not (math.isfinite(self.max_held_share) and 0 <= self.max_held_share <= 1):
            raise ValueError(f"max_held_share must be 0 to 1, got {self.max_held_share}")
        if self.on_harm not in ("rollback", "pause"):
            raise ValueError(f"on_harm must be rollback or pause, got {self.on_harm!r}")
        if self.on_quarantine not in ("rollback", "pause", "ignore"):
            raise ValueError(f"on_quarantine must be rollback, pause or ignore, got {self.on_quarantine!r}")

    @property
    def last_stage(self) -> int:
        return len(self.stages) - 1

    def need_ms(self, stage: int) -> int:
        """Return the accumulated time that `stage` takes at least; the last one is watched after its hold."""
        return self.stages[stage].hold_ms + (self.watch_ms if stage == self.last_stage else 0)


def _check_stages(stages: tuple[Stage, ...]) -> None:
    order = [Ring.SHADOW, Ring.CANARY, Ring.GLOBAL]
    if not stages or stages[0].ring is not Ring.SHADOW or stages[0].percent != 0:
        raise ValueError("the first stage must be shadow with 0 percent")
    if stages[-1].ring is not Ring.GLOBAL or stages[-1].percent != 100:
        raise ValueError("the last stage must be global with 100 percent")
    for before, after in itertools.pairwise(stages):
        if after.percent <= before.percent:
            raise ValueError(f"percentages must grow from stage to stage: {after.name} comes after {before.name}")
        if order.index(after.ring) < order.index(before.ring) or after.ring is Ring.SHADOW:
            raise ValueError(f"stages go from shadow to canary to global: {after.name} comes after {before.name}")
        if after.ring is Ring.CANARY and after.percent > 99:
            raise ValueError(f"ring canary takes 1 to 99 percent, got {after.percent}")
    for stage in stages:
        if stage.hold_ms < 0:
            raise ValueError(f"hold_ms must be at least 0, got {stage.hold_ms} for {stage.name}")
