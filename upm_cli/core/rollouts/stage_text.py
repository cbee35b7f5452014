"""Stages as people write them: `shadow`, `canary 5% for 24h`, `global 100%`."""

import re
from typing import Final

from upm_cli.core.records import Ring
from upm_cli.core.rollouts.policy import Stage

_STAGE: Final = re.compile(r"(?:(shadow)|(canary|global)\s+(\d{1,3})\s*%)(?:\s+for\s+(\d+(?:\.\d+)?)\s*(s|m|h|d))?")
_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_stage(text: str) -> Stage:
    """Return the stage that `text` describes; one without `for` has no hold of its own.

    Shadow lasts until the lineage had `policy.min_shadow_hours` there; its hold is for this rollout besides. Raises
    ValueError for anything else.
    """
    match = _STAGE.fullmatch(" ".join(text.split()).lower())
    if match is None:
        raise ValueError(f"{text!r} is no stage; write shadow, canary 5% for 24h, or global 100%")
    shadow, ring, percent, number, unit = match.groups()
    hold_ms = round(float(number) * _MS[unit]) if number else 0
    return Stage(ring=Ring(shadow or ring), percent=0 if shadow else int(percent), hold_ms=hold_ms)


def stage_text(stage: Stage) -> str:
    """Return the words that `parse_stage` reads `stage` from."""
    hold = f" for {_duration(stage.hold_ms)}" if stage.hold_ms else ""
    return f"shadow{hold}" if stage.ring is Ring.SHADOW else f"{stage.ring} {stage.percent}%{hold}"


def _duration(ms: int) -> str:
    unit = next((unit for unit in ("d", "h", "m") if ms % _MS[unit] == 0), "s")
    return f"{ms / _MS[unit]:.10g}{unit}"
