"""A rollout as lines: its stages in a bar, who is the candidate, what each gate says, and what comes next."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from upm_cli.ops.rollout_words import duration
from upm_cli.tui.text import BAD, GOOD, NONE, QUIET, WARN, clip, plain, size, version

Shown = Mapping[str, Any]  # as ops.rollout_status.as_json gives it

PHASES: Final = {
    "progressing": ("▶", GOOD),
    "promoted": ("✓", GOOD),
    "paused": ("‖", WARN),
    "pending": ("○", QUIET),
    "aborted": ("✗", BAD),
    "degraded": ("✗", BAD),
}
SAYS: Final = {
    "yes": ("✓", "yes", GOOD),
    "no": ("✗", "no", BAD),
    "wait": ("…", "wait", WARN),
    "unknown": ("?", "unknown", WARN),
}
_STAGES: Final = {"done": ("✓", GOOD), "current": ("▶", "bold"), "ahead": ("○", QUIET), "left": ("○", QUIET)}
_TIME: Final = ("hold", "shadow", "automatic")


def phase(shown: Shown) -> Text:
    """Return where it stands, as symbol and word."""
    sign, style = PHASES.get(shown["phase"], ("?", ""))
    return Text(f"{sign} {shown['phase']}", style=style)


def held(shown: Shown) -> str:
    """Return how long it has been in its stage, and how long it must."""
    if shown["stage"] == 0 and shown["phase"] == "progressing":
        had = "unknown" if shown["shadow_ms"] is None else duration(shown["shadow_ms"])
        return f"{had} of {duration(shown['min_shadow_ms'])} in shadow"
    need = f" of {duration(shown['need_ms'])}" if shown["need_ms"] else ""
    return f"held {duration(shown['held_ms'])}{need}"


def route(shown: Shown) -> str:
    """Return from which version to which it leads."""
    champion, candidate = shown["champion"], shown["candidate"]
    before = "nothing" if champion is None else version(champion["version"])
    if candidate is None or not candidate["chosen"]:
        return f"{before} → the newest sound one"
    return f"{before} → {version(candidate['version'])}"


def bar(stages: Sequence[Shown], shown: Shown | None, width: int) -> list[Text]:
    """Return the stages in a row, and below each the time it takes; only the row where they don't fit in `width`."""
    names = ["shadow" if each["ring"] == "shadow" else f"{each['percent']}%" for each in stages]
    notes = [_note(each, shown) for each in stages]
    cells = [max(len(name) + 2, len(note)) for name, note in zip(names, notes, strict=True)]
    gaps = len(stages) - 1
    free = (width - sum(cells)) // gaps if gaps else 0
    if free < 2:
        cells, notes = [len(name) + 2 for name in names], []
        free = (width - sum(cells)) // gaps if gaps else 0
    reach = max(1, min(8, free))
    first, second = Text(), Text()
    for n, (each, name) in enumerate(zip(stages, names, strict=True)):
        sign, style = _STAGES[each["status"]]
        first.append(f"{sign} {name}", style=style)
        line = "━" if each["status"] == "done" else "─"
        if n < gaps:
            filler = cells[n] - len(name) - 2 + reach
            first.append(
                f" {line * (filler - 2)} " if filler > 2 else line.center(filler), style=GOOD if line == "━" else QUIET
            )
        if notes:
            second.append(
                f"{notes[n]:<{cells[n] + (reach if n < gaps else 0)}}",
                style="" if each["status"] == "current" else QUIET,
            )
    return [first, second] if notes else [first]


def _note(stage: Shown, shown: Shown | None) -> str:
    """Return how long a stage takes at least; of the current one how much of that is over."""
    need = duration(stage["need_ms"]) if stage["need_ms"] else ""
    if stage["status"] != "current" or shown is None:
        return need if stage["ring"] != "shadow" else (duration(shown["min_shadow_ms"]) if shown else "")
    if stage["ring"] == "shadow":
        had = NONE if shown["shadow_ms"] is None else duration(shown["shadow_ms"])
        return f"{had}/{duration(shown['min_shadow_ms'])}"
    return f"{duration(shown['held_ms'])}/{need}" if need else duration(shown["held_ms"])


def head(shown: Shown, width: int, command: str) -> Text:
    """Return the lines above the gates."""
    title = Text.assemble(
        phase(shown),
        f"  {shown['stage_name'] or ''}  ",
        (held(shown), QUIET),
        f"   {route(shown)}",
        (f"   rollout {shown['number']}, begun by {shown['started_by']}", QUIET),
    )
    lines = [title, *bar(shown["stages"], shown, width)]
    if shown["reason"]:
        lines.append(Text(f"{shown['cause'] or shown['phase']}: {plain(shown['reason'])}", style=WARN))
    lines += [_candidate(shown), _champion(shown), _closing(shown, command)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _candidate(shown: Shown) -> Text:
    found, tenants = shown["candidate"], shown["tenants"]
    if found is None:
        return Text("candidate  there is no sound snapshot yet", style=WARN)
    word = "candidate " if found["chosen"] else "would be  "
    text = Text.assemble(
        (word, QUIET),
        f" {version(found['version'])}",
        (f"  sha256 {found['digest'][:8]} {size(found['size_bytes'])}", QUIET),
    )
    if found["chosen"]:
        text.append(f"  {tenants['exposed']:,} of {tenants['seen']:,} known tenants")
    if tenants["held"]:
        text.append(f"  {len(tenants['held'])} held back", style=WARN)
    if found["quarantined"]:
        text.append(f"  ◆ quarantined: {plain(found['quarantine_reason'])}", style=BAD)
    return text


def _champion(shown: Shown) -> Text:
    found = shown["champion"]
    if found is None:
        return Text.assemble(("stable     ", QUIET), "nothing serves everybody yet; going back means serving nothing")
    text = Text.assemble(("stable     ", QUIET), version(found["version"]), ("  where a rollback goes", QUIET))
    if found["quarantined"]:
        text.append(f"  ◆ quarantined: {plain(found['quarantine_reason'])}", style=BAD)
    return text


def _closing(shown: Shown, command: str) -> Text:
    if shown["phase"] == "progressing":
        return Text.assemble(("next       ", QUIET), upcoming(shown["next"]))
    if shown["phase"] == "paused":
        return Text.assemble(("next       ", QUIET), ("h lets it go on, x gives it up", "bold"))
    ended = (shown["ended_at"] or "")[:16].replace("T", " ")
    return Text.assemble((f"ended {ended}Z  ", QUIET), ("n begins anew", "bold"), (f"   {command}", QUIET))


def upcoming(coming: Shown) -> str:
    """Say what comes next, when at the earliest, and what it waits for."""
    when = f" at {coming['at'][5:16].replace('T', ' ')}Z" if coming["in_ms"] else " now" if coming["in_ms"] == 0 else ""
    by = "by itself" if coming["automatic"] else "with P"
    waits = [each for each in coming["waits_for"] if each not in _TIME]
    besides = f", once {' and '.join(waits)} say{'s' if len(waits) == 1 else ''} yes" if waits else ""
    return f"{coming['what']}{when} at the earliest, {by}{besides}"


def worst_gates(gates: Sequence[Shown]) -> list[Shown]:
    """Return the gates so that what says no comes first, then what time opens, then what says yes."""
    order = {"no": 0, "unknown": 1, "wait": 2, "yes": 3}
    return sorted(gates, key=lambda gate: order.get(gate["says"], 4))


def gate_line(gate: Shown, width: int) -> Text:
    """Return what one gate says, on one line."""
    sign, word, style = SAYS.get(gate["says"], ("?", gate["says"], ""))
    text = Text.assemble(
        (f"{sign} {gate['gate']}", style), f" {plain(gate['detail'])}" if gate["says"] != "yes" else ""
    )
    if gate["says"] == "yes":
        text.append(f" {word}", style=QUIET)
    text.truncate(width, overflow="ellipsis")
    return text


def pane(shown: Shown | None, trainer: str | None, width: int, height: int) -> Text:
    """Return a rollout for a small box."""
    if shown is None:
        return Text(
            f"{trainer or 'no trainer'} has no rollout.\nn begins one in shadow,\nwhere nobody sees it.", style=QUIET
        )
    title = Text.assemble(phase(shown), f"  {shown['stage_name'] or ''}  {route(shown)}")
    lines = [title, *_small_bar(shown["stages"], width), Text(held(shown), style=QUIET)]
    gates = worst_gates(shown["gates"])
    closed = [gate for gate in gates if not gate["allowed"]]
    lines += [gate_line(gate, width) for gate in closed]
    opened = [gate["gate"] for gate in gates if gate["allowed"]]
    if opened:
        lines.append(Text(f"✓ {', '.join(opened)}", style=GOOD))
    if shown["reason"]:
        lines.insert(2, Text(f"{shown['cause']}: {plain(shown['reason'])}", style=WARN))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines[:height])


def _small_bar(stages: Sequence[Shown], width: int) -> list[Text]:
    found = bar(stages, None, width)[0]
    if found.cell_len <= width:
        return [found]
    text = Text()
    for each in stages:
        sign, style = _STAGES[each["status"]]
        name = "" if each["ring"] == "shadow" else str(each["percent"])
        text.append(f"{sign}{name} ", style=style)
    return [text]


def words(decision: Shown) -> Text:
    """Return one line of the history of a rollout."""
    return Text.assemble((clip(plain(decision["what"]), 200), ""), (f" · {plain(decision['actor'])}", QUIET))
