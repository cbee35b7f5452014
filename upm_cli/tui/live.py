"""What is going on in the whole project, in a few words: trainers by mode, versions, agents, windows a second."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from upm_cli.ops.report_chart import sparkline
from upm_cli.tui.board import Board
from upm_cli.tui.flow import Flow
from upm_cli.tui.text import BAD, GOOD, NONE, QUIET, WARN, clip, plain, short, version

AGENT_SIGNS: Final = {"errored": ("✗", BAD), "pending": ("○", WARN), "syncing": ("◐", WARN), "synced": ("●", GOOD)}


def summary(board: Board, flow: Flow) -> Text:
    """Return who learns and how fast, on one line."""
    text = training(board, " learning")
    if board.past is None:
        text.append(f"  {short(flow.now)} windows/s")
        text.append(f" {_wave(flow, 6)}" if flow.now else "", style=GOOD)
    if board.fleet["total"]:
        text.append("  agents", style=QUIET)
        for status, (sign, style) in AGENT_SIGNS.items():
            count = board.fleet["by_status"].get(status, 0)
            if count or status in ("errored", "synced"):
                text.append(f" {sign}{count}", style=style if count else QUIET)
    return text


def training(board: Board, word: str = "") -> Text:
    """Return how many trainers learn now, by mode."""
    rows = board.overview["trainers"]
    learning = [row for row in rows if board.details[row["name"]].get("status") == "training"]
    modes = Counter(row["mode"] for row in learning)
    text = Text(f"{len(learning)} of {len(rows)}{word}", style=GOOD if learning else QUIET)
    text.append("".join(f" · {count} {mode}" for mode, count in sorted(modes.items())), style=QUIET)
    return text


def agents(fleet: Mapping[str, Any]) -> Text:
    """Return how many adapters are in each state."""
    if not fleet["total"]:
        return Text("no agents", style=QUIET)
    text = Text("agents")
    for status, (sign, style) in AGENT_SIGNS.items():
        count = fleet["by_status"].get(status, 0)
        text.append(f" {sign} {count} {status}", style=style if count else QUIET)
    return text


def success(fleet: Mapping[str, Any], *, is_short: bool = False) -> Text:
    """Return how many deliveries succeeded, with the level that is promised; `is_short`: for a small box."""
    rate = fleet["success_rate"]
    if rate["value"] is None:
        if is_short:
            return Text("no deliveries yet", style=QUIET)
        return Text(f"no deliveries yet, {100 * rate['slo']:.1f} % promised", style=QUIET)
    is_kept = rate["value"] >= rate["slo"]
    text = Text(f"{100 * rate['value']:.2f} %", style=GOOD if is_kept else BAD)
    if is_short:
        text.append(f" of {short(rate['attempts'])}")
        text.append(f" {'✓ ≥' if is_kept else '✗ <'} {100 * rate['slo']:.1f} %", style=GOOD if is_kept else BAD)
        return text
    text.append(f" of {rate['attempts']:,} deliveries, {100 * rate['slo']:.1f} % promised")
    text.append(" ✓ kept" if is_kept else " ✗ broken", style=GOOD if is_kept else BAD)
    return text


def why_of(each: Mapping[str, Any]) -> str:
    """Return why an adapter is as it is; its place, with which most errors begin, is shown beside."""
    return plain(str(each["why"] or "").removeprefix(str(each["location"])).strip())


def agents_pane(fleet: Mapping[str, Any], width: int, height: int) -> Text:
    """Return the agents for a small box: how many in each state, how well it goes, and the worst of them."""
    if not fleet["total"]:
        return Text("nobody follows these models yet.", style=QUIET)
    lines = [_counts(fleet, width), Text.assemble(("delivered ", QUIET), success(fleet, is_short=True)), Text("")]
    order = list(AGENT_SIGNS)
    worst = sorted(fleet["adapters"], key=lambda each: (order.index(each["status"]), each["adapter_key"]))
    for each in worst[: max(0, height - len(lines))]:
        sign, style = AGENT_SIGNS[each["status"]]
        name = each["adapter_key"] + (f" {each['tenant']}" if each["tenant"] else "")
        line = Text.assemble((f"{sign} ", style), f"{clip(plain(name), 20):<20} {version(each['version'])} ")
        line.append(why_of(each), style=BAD if each["last_error"] else QUIET)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return Text("\n").join(lines[:height])


def pane(board: Board, flow: Flow, width: int, height: int) -> Text:
    """Return the whole pane as lines of at most `width`, at most `height` of them."""
    wave = max(6, min(30, width - 24))
    lines = [
        _line("learning", training(board)),
        _line("windows", Text(NONE, style=QUIET) if board.past else _rate(flow, wave)),
        _line("waiting", Text(f"{sum(row['lag'] for row in board.overview['trainers']):,} windows")),
        _line("agents", _counts(board.fleet, width - 11)),
        _line("delivered", success(board.fleet, is_short=True)),
    ]
    room = height - len(lines) - 1
    rows = board.overview["trainers"]
    if room > 0 and rows:
        lines.append(Text("versions   newest · live", style=QUIET))
        longest = max(len(row["name"]) for row in rows[:room])
        lines += [_versions(row, min(longest, max(8, min(24, width - 16)))) for row in rows[:room]]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines[:height])


def _line(name: str, value: Text) -> Text:
    return Text.assemble((f"{name:<10} ", QUIET), value)


def _rate(flow: Flow, width: int) -> Text:
    return Text.assemble(f"{short(flow.now)}/s ", (_wave(flow, width), GOOD))


def _wave(flow: Flow, count: int) -> str:
    rates = flow.recent(count)
    return sparkline(rates, max(rates)) if rates and max(rates) > 0 else ""


def _counts(fleet: Mapping[str, Any], width: int) -> Text:
    """Return how many agents are in each state; those without any are left out where all don't fit."""
    if not fleet["total"]:
        return Text(NONE, style=QUIET)
    counts = {status: fleet["by_status"].get(status, 0) for status in AGENT_SIGNS}
    told = {status: f"{AGENT_SIGNS[status][0]} {count} {status}" for status, count in counts.items()}
    if len("  ".join(told.values())) > width:
        told = {status: text for status, text in told.items() if counts[status]}
    parts = [Text(text, style=AGENT_SIGNS[status][1] if counts[status] else QUIET) for status, text in told.items()]
    return Text("  ").join(parts)


def _versions(row: Mapping[str, Any], width: int) -> Text:
    name = f"{clip(row['name'], width):<{width}}"
    live = version(row["active"])
    is_same = row["active"] == row["last_version"]
    return Text.assemble(f"{name}  ", version(row["last_version"] or None), " · ", (live, GOOD if is_same else ""))
