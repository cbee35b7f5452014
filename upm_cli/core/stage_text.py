"""Stages as people write them: `shadow`, `canary 5% for 24h`, `global 100%`."""

import re
from typing import Final

from upm_cli.core.records import Ring
from upm_cli.core.rollout_policy import Stage

_STAGE: Final = re.compile(r"(canary|global)\s+(\d{1,3})\s*%(?:\s+for\s+(\d+(?:\.\d+)?)\s*(s|m|h|d))?")
_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_stage(text: str, shadow_ms: int) -> Stage:
    """Return the stage that `text` describes; shadow lasts `shadow_ms`, another one without `for` has no hold.

    Raises ValueError for anything else.
    """
    words = " ".join(text.split()).lower()
    if words == "shadow":
        return Stage(ring=Ring.SHADOW, percent=0, hold_ms=shadow_ms)
    match = _STAGE.fullmatch(words)
    if match is None:
        raise ValueError(f"{text!r} is no stage; write shadow, canary 5% for 24h, or global 100%")
    ring, percent, number, unit = match.groups()
    hold_ms = round(float(number) * _MS[unit]) if number else 0
    return Stage(ring=Ring(ring), percent=int(percent), hold_ms=hold_ms)


def stage_text(stage: Stage) -> str:
    """Return the words that `parse_stage` reads `stage` from."""
    if stage.ring is Ring.SHADOW:
        return "shadow"
    hold = f" for {_duration(stage.hold_ms)}" if stage.hold_ms else ""
    return f"{stage.ring} {stage.percent}%{hold}"


def _duration(ms: int) -> str:
    unit = next((unit for unit in ("d", "h", "m") if ms % _MS[unit] == 0), "s")
    return f"{ms / _MS[unit]:.10g}{unit}"
