"""A rollout in signs and words: the bar of its stages, and durations, for the command line and the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs of a drawing; every one stands beside a word."""

    done: str
    current: str
    ahead: str
    stopped: str
    yes: str
    no: str
    unknown: str
    paused: str
    arrow: str
    dash: str
    branch: str
    last: str
    stem: str
    space: str


DRAWN = Marks("✓", "▶", "○", "✗", "✓", "✗", "…", "‖", "→", "─", "├─ ", "└─ ", "│  ", "   ")
PLAIN = Marks("x", ">", "o", "!", "ok", "NO", "?", "=", "->", "-", "|- ", "`- ", "|  ", "   ")


def bar(stages: Sequence[Mapping[str, Any]], phase: str, look: Marks) -> str:
    """Return the stages in a row: done, current, ahead."""
    is_stopped = phase in ("aborted", "degraded")
    signs = {"done": look.done, "current": look.current, "ahead": look.ahead, "left": look.ahead}
    parts = []
    for each in stages:
        name = "shadow" if each["ring"] == "shadow" else f"{each['percent']}%"
        parts.append(f"{signs[each['status']]} {name}")
    line = f" {look.dash} ".join(parts)
    return f"{line}   {look.stopped} {phase}" if is_stopped else line


def duration(ms: int | None) -> str:
    """Say a duration as people do: 13d4h, 3h12m, 40s."""
    if ms is None:
        return "unknown"
    seconds = max(0, ms) // 1000
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes:02}m" if minutes else f"{hours}h"
    return f"{minutes}m" if minutes else f"{seconds}s"
