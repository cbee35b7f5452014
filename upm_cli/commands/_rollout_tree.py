"""A rollout for people: the bar of stages, the tree of snapshots and gates, and what comes next."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from upm_cli.commands._text import visible
from upm_cli.ops.rollout_words import DRAWN, PLAIN, Marks, bar, duration

Shown = Mapping[str, Any]  # as ops.rollout_status.as_json gives it


GATE_WORDS = {"yes": "", "no": " no", "unknown": " unknown", "wait": " wait"}


def marks() -> Marks:
    """Return the signs that stdout can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "".join(DRAWN.__getattribute__(name) for name in DRAWN.__slots__).encode(encoding)
    except UnicodeError:
        return PLAIN
    return DRAWN


def tree(shown: Shown, look: Marks) -> str:
    """Return the whole status as lines."""
    return "\n".join(visible(line) for line in _lines(shown, look))


def _lines(shown: Shown, look: Marks) -> Iterator[str]:
    yield _title(shown, look)
    yield f" {bar(shown['stages'], shown['phase'], look)}"
    if shown["reason"]:
        yield f" {shown['cause'] or shown['phase']}: {shown['reason']}"
    blocks = [_candidate(shown, look), *_served(shown)]
    for number, block in enumerate(blocks, start=1):
        is_last = number == len(blocks)
        head, *rest = block
        yield f"{look.last if is_last else look.branch}{head}"
        yield from (f"{look.space if is_last else look.stem}{line}" for line in rest)
    yield from _closing(shown)


def _title(shown: Shown, look: Marks) -> str:
    champion = "nothing" if shown["champion"] is None else f"v{shown['champion']['version']:04d}"
    candidate = shown["candidate"]
    chosen = f"v{candidate['version']:04d}" if candidate and candidate["chosen"] else "the newest sound snapshot"
    need = f"/{duration(shown['need_ms'])}" if shown["need_ms"] else ""
    held = f"{duration(shown['held_ms'])}{need}"
    if shown["stage"] == 0 and shown["phase"] == "progressing":
        had = "unknown" if shown["shadow_ms"] is None else duration(shown["shadow_ms"])
        held = f"{had}/{duration(shown['min_shadow_ms'])}"
    mark = {"progressing": look.current, "promoted": look.done, "paused": look.paused}.get(shown["phase"], look.stopped)
    where = shown["stage_name"] or f"stage {shown['stage']}"
    route = f"{champion} {look.arrow} {chosen}"
    return f"Rollout {shown['trainer']}  {route}    {mark} {shown['phase']}  {where}   {held}"


def _candidate(shown: Shown, look: Marks) -> list[str]:
    found, tenants = shown["candidate"], shown["tenants"]
    if found is None:
        lines = ["candidate: there is no sound snapshot yet"]
    else:
        word = "candidate" if found["chosen"] else "would be the candidate"
        exposed = f"  {tenants['exposed']} of {tenants['seen']} known tenants" if found["chosen"] else ""
        bad = f"  {look.no} quarantined: {found['quarantine_reason']}" if found["quarantined"] else ""
        lines = [f"v{found['version']:04d} {word}  {_bytes(found)}{exposed}{bad}"]
    if tenants["held"]:
        lines.append(f"   held back: {', '.join(tenants['held'])}")
    return [*lines, *(f"   {line}" for line in gate_lines(shown["gates"], look))]


def gate_lines(gates: Sequence[Mapping[str, Any]], look: Marks) -> Iterator[str]:
    """Yield a line for each gate that holds the step back and for the evidence, and one for all the others."""
    signs = {"yes": look.yes, "no": look.no, "unknown": look.unknown, "wait": look.unknown}
    told = [each for each in gates if each["says"] != "yes" or each["gate"] == "evidence"]
    for each in told:
        yield f"{signs[each['says']]}{GATE_WORDS[each['says']]} {each['gate']}: {each['detail']}"
    others = dict.fromkeys(each["gate"] for each in gates if each["says"] == "yes" and each["gate"] != "evidence")
    if others:
        yield f"{look.yes} {', '.join(others)}"


def _served(shown: Shown) -> list[list[str]]:
    champion = shown["champion"]
    if champion is None:
        return [["nothing serves everybody yet; going back means serving nothing"]]
    state = f"quarantined: {champion['quarantine_reason']}" if champion["quarantined"] else "not quarantined"
    return [[f"v{champion['version']:04d} stable, and where a rollback goes  {_bytes(champion)}  {state}"]]


def _bytes(found: Mapping[str, Any]) -> str:
    return f"sha256 {found['digest'][:12]}  {found['size_bytes'] / 1e6:.2f} MB"


def _closing(shown: Shown) -> Iterator[str]:
    name, coming = shown["trainer"], shown["next"]
    if shown["phase"] == "paused":
        yield f"next: upm rollout resume {name} | abort"
    elif shown["phase"] != "progressing":
        yield f"ended {local(shown['ended_at'])}   upm rollout retry {name} begins anew"
    else:
        yield f"next: {next_words(coming)}   upm rollout promote {name} | pause | abort"


def next_words(coming: Mapping[str, Any]) -> str:
    """Say what comes next, when at the earliest, and what it waits for."""
    when = f" at {local(coming['at'])}" if coming["in_ms"] else " now" if coming["in_ms"] == 0 else ""
    by = "automatic" if coming["automatic"] else "waits for upm rollout promote"
    waits = [each for each in coming["waits_for"] if each not in ("hold", "shadow", "automatic")]
    besides = f", once {' and '.join(waits)} allow{'s' if len(waits) == 1 else ''} it" if waits else ""
    return f"{coming['what']}{when} at the earliest ({by}){besides}" if besides else f"{coming['what']}{when} ({by})"


def step(stage: int) -> str:
    """Return the number of a stage as people count: shadow is the first."""
    return str(stage + 1)


def local(instant: str | None) -> str:
    """Return an instant as people read it: local time, with the date unless it is today."""
    if instant is None:
        return "an unknown time"
    at = datetime.fromisoformat(instant.replace("Z", "+00:00")).astimezone()
    return f"{at:%Y-%m-%d %H:%M}"
