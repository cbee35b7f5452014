"""`upm status`: how everything is, worst first."""

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import typer

from upm_cli.commands._adapters import summary as adapters_in_words
from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit, emit_line, table_text
from upm_cli.commands._screen import Screen


def register(app: typer.Typer) -> None:
    app.command("status")(status)


@command
def status(
    ctx: Context,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Go on until Ctrl-C or --timeout; in a pipe a line for each change.")
    ] = False,
) -> None:
    """Show every trainer, worst first, with what needs attention and what to type next.

    Example: upm status --json

    Example: upm status -w -o jsonl --timeout 2s
    """
    from upm_cli.ops import status as ops

    if watch:
        _watch(ctx)
    overview = ops.overview(ctx.store, ctx.clock, ctx.settings)
    if ctx.output != "table":
        emit(ctx, overview, Table(key="trainers", columns=[Column(key) for key in _KEYS]))
        return
    ctx.say.note(_head(overview))
    emit(ctx, {**overview, "trainers": _rows(overview)}, _TABLE)
    for line in _notes(overview):
        ctx.say.note(line)


def _watch(ctx: Context) -> NoReturn:
    """Show how everything is again and again: on a terminal in place, else a line for whatever changed."""
    from upm_cli.ops import status as ops

    screen = Screen(ctx)
    last: dict[str, dict[str, Any]] = {}
    while True:
        overview = ops.overview(ctx.store, ctx.clock, ctx.settings)
        if screen.redraws:
            table = table_text(ctx, {**overview, "trainers": _rows(overview)}, _TABLE)
            screen.draw("\n".join([_head(overview), table, *_notes(overview)]))
        else:
            lines = _lines(overview)
            for name, line in lines.items():
                if last.get(name) != line:
                    emit_line(ctx, {"at": overview["at"], **line}, _LINE)
            for name in last.keys() - lines.keys():
                emit_line(ctx, {"at": overview["at"], "name": name, "state": "gone"}, _LINE)
            last = lines
        ctx.clock.sleep(LOOK_S)


def _lines(overview: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is worth a line when it changes, by trainer; the supervisor is one of them. Counters are not."""
    supervisor = overview["supervisor"]
    lines: dict[str, dict[str, Any]] = {}
    if supervisor is not None:
        lines["(supervisor)"] = {"name": None, "state": supervisor["state"], "problems": supervisor["problems"]}
    for row in overview["trainers"]:
        told = [problem["problem"] for problem in overview["problems"] if problem["trainer"] == row["name"]]
        kept = {key: row[key] for key in ("name", "state", "mode", "active", "last_version")}
        stage, drift = row["stage"], row["drift"]
        lines[row["name"]] = {
            **kept,
            "stage": stage["kind"],
            "percent": stage["percent"],
            "rollout": None if stage["rollout"] is None else stage["rollout"]["phase"],
            "p95": drift["p95"],
            "limit": drift["limit"],
            "problems": told,
        }
    return lines


LOOK_S = 1.0  # between two looks
_LINE = ("at", "name", "state", "mode", "active", "last_version", "stage", "percent", "rollout", "p95", "problems")
_TABLE = Table(
    key="trainers",
    columns=[
        Column("shown_state", "STATE"),
        Column("name", "TRAINER"),
        Column("mode", "MODE", spare=1),
        Column("shown_active", "ACTIVE"),
        Column("shown_stage", "STAGE"),
        Column("shown_drift", "P95"),
        Column("trained", "TRAINED", right=True, spare=2),
        Column("shown_rate", "WIN/S", right=True, spare=2),
        Column("lag", "LAG", right=True, spare=2),
    ],
    empty="no trainers yet: upm train --source FILE",
)
_KEYS = (
    "name",
    "state",
    "mode",
    "active",
    "last_version",
    "stage",
    "drift",
    "windows",
    "windows_per_s",
    "lag",
    "last_loss",
)


def _head(overview: Mapping[str, Any]) -> str:
    return f"{_running(overview)}   state {overview['home']}   {overview['at']}"


def _rows(overview: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**row, **_shown(row)} for row in overview["trainers"]]


def _notes(overview: Mapping[str, Any]) -> list[str]:
    """Return what is to be said below the table: agents, and what needs attention."""
    lines = [adapters_in_words(overview["adapters"])] if overview["adapters"]["total"] else []
    return lines + [
        f"{problem['trainer']}: {problem['problem']}.   Next: {problem['next']}" for problem in overview["problems"]
    ]


def _running(overview: Mapping[str, Any]) -> str:
    """Return what runs: the supervisor and its workers, or the workers of somebody's `upm train`."""
    from upm_cli.ops.rollout_words import duration

    found = overview["supervisor"]
    if found is None:
        alive = len({worker.get("pid") for worker in overview["workers"] if worker["alive"]})
        return f"{alive} worker{'' if alive == 1 else 's'} running"
    restarts = f"   {found['restarts']} restarts" if found["restarts"] else ""
    return f"● {found['state']} for {duration(int(found['up_s'] * 1000))}   {found['workers']} workers{restarts}"


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    from upm_cli.ops.report_chart import sparkline
    from upm_cli.ops.states import SYMBOLS

    active = f"v{row['active']:04d}" if row["active"] is not None else "—"
    p95, line = row["drift"]["p95"], sparkline(row["drift"]["recent"], row["drift"]["limit"])
    return {
        "shown_state": f"{SYMBOLS.get(row['state'], '?')} {row['state']}",
        "shown_active": active,
        "shown_stage": _stage(row["stage"]),
        "shown_drift": f"{p95:.3f} {line}" if p95 is not None else "unknown",
        "trained": f"{row['windows']['trained']:,}",
        "shown_rate": f"{row['windows_per_s']:,.0f}",
        "lag": f"{row['lag']:,}",
    }


def _stage(stage: Mapping[str, Any]) -> str:
    """Return how far the rollout under way is, or else where the active version is live."""
    rollout = stage["rollout"]
    if rollout is None or rollout["phase"] not in ("progressing", "paused"):
        share = "" if stage["kind"] in (None, "shadow") else f" {stage['percent']} %"
        return f"{stage['kind'] or '—'}{share}"
    word = "" if rollout["phase"] == "progressing" else " (paused)"
    if rollout["step"] == 1:
        day = "?" if rollout["shadow_days"] is None else f"{rollout['shadow_days']:.0f}"
        return f"shadow day {day}/{rollout['min_shadow_days']:g}{word}"
    return f"{rollout['ring']} {rollout['percent']} % step {rollout['step']}/{rollout['steps']}{word}"
