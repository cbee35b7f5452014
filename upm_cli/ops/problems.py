"""What needs attention, and what to type next: one list for `upm status`, the dashboard and scripts."""

from collections.abc import Mapping
from typing import Any


def of_trainer(details: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is wrong with a trainer: `trainer`, `problem`, and `next`, the command to type."""
    name = details["name"]
    found = []
    if details["state"] == "quarantined":
        found.append({"trainer": name, "problem": _barred(details), "next": f"upm drift-report {name}"})
    if details["desired"] == "pause":
        found.append({"trainer": name, "problem": f"paused: {details['pause_reason']}", "next": f"upm resume {name}"})
    if details["state"] == "errored":
        found.append({"trainer": name, **_failed(name, details.get("error") or {})})
    rollout = details["rollout"]
    if rollout is not None and rollout["phase"] in ("paused", "degraded"):
        said = f"rollout {rollout['phase']} ({rollout['cause']}): {rollout['reason'] or 'no reason given'}"
        found.append({"trainer": name, "problem": said, "next": f"upm rollout status {name}"})
    letters = details["dead_letters"]
    if letters["unseen"]:
        new = " new" if letters["unseen"] < letters["total"] else ""
        said = f"{letters['unseen']:,}{new} dead letter{'' if letters['unseen'] == 1 else 's'}"
        found.append({"trainer": name, "problem": said, "next": f"upm events dead-letters {name}"})
    return found


def _failed(name: str, error: Mapping[str, str]) -> dict[str, str]:
    """Return why a trainer is errored, and what to type."""
    if not error.get("message"):
        return {"problem": "its worker failed for good", "next": f"upm train {name}"}
    return {"problem": f"its worker failed for good: {error['message']}", "next": f"upm explain {error['code']}"}


def _barred(details: Mapping[str, Any]) -> str:
    """Say why a trainer is quarantined; its newest drift window may be a good one again."""
    p95, limit = details["drift"]["p95"], details["drift"]["limit"]
    if p95 is not None and p95 >= limit:
        return f"drift P95 {p95:.3f} at limit {limit:g}"
    versions = [f"v{version}" for version in details["quarantined"]]
    shown = ", ".join(versions[-3:]) + (f" and {len(versions) - 3} older" if len(versions) > 3 else "")
    now = "unknown" if p95 is None else f"{p95:.3f}, below the limit {limit:g}"
    return f"{shown} quarantined; drift P95 is {now}"
