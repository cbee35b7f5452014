"""What a run refused, in lines for people."""

from collections.abc import Mapping, Sequence
from typing import Any


def brief(refused: Mapping[str, Any]) -> str:
    """Return what belongs behind the one line of a cron log: nothing when nothing was refused."""
    if not refused["count"]:
        return ""
    most = f": {refused['reasons'][0]['reason']}" if refused["reasons"] else ""
    return f"; {refused['count']:,} refused{most}{', …' * (len(refused['reasons']) > 1)}"


def reason_lines(reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each reason, with a place to look at, and what was meant perhaps."""
    lines = []
    for reason in reasons:
        place = reason["examples"][0]
        lines.append(f"  {reason['count']:,} × {reason['reason']}, as at {place['source']}:{place['offset']}")
        if reason["hint"]:
            lines.append(f"    {reason['hint']}")
    return lines


def report(refused: Mapping[str, Any], trainer: str) -> list[str]:
    """Return why records were refused and what to do about it; no lines when none was."""
    if not refused["count"]:
        return []
    part = f" (of the first {refused['looked_at']:,})" if refused["looked_at"] < refused["count"] else ""
    return [
        f"  refused in this run: {refused['count']:,}{part}",
        *("  " + line for line in reason_lines(refused["reasons"])),
        f"    they are kept: upm events dead-letters {trainer}; try a mended file with upm ingest FILE --check",
    ]
