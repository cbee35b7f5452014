"""`upm status`: how everything is, worst first."""

from collections.abc import Mapping
from typing import Any

import typer

from upm_cli.commands._adapters import summary as adapters_in_words
from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit


def register(app: typer.Typer) -> None:
    app.command("status")(status)


@command
def status(ctx: Context) -> None:
    """Show every trainer, worst first, with what needs attention and what to type next.

    Example: upm status --json
    """
    from upm_cli.ops import status as ops

    overview = ops.overview(ctx.store, ctx.clock, ctx.settings)
    columns = [
        Column("shown_state", "STATE"),
        Column("name", "TRAINER"),
        Column("mode", "MODE"),
        Column("shown_active", "ACTIVE"),
        Column("shown_stage", "STAGE"),
        Column("shown_drift", "P95"),
        Column("trained", "TRAINED", right=True),
        Column("shown_rate", "WIN/S", right=True),
        Column("lag", "LAG", right=True),
    ]
    if ctx.output != "table":
        emit(ctx, overview, Table(key="trainers", columns=[Column(key) for key in _KEYS]))
        return
    ctx.say.note(f"{_running(overview)}   state {overview['home']}   {overview['at']}")
    rows = [{**row, **_shown(row)} for row in overview["trainers"]]
    empty = "no trainers yet: upm train --source FILE"
    emit(ctx, {**overview, "trainers": rows}, Table(key="trainers", columns=columns, empty=empty))
    if overview["adapters"]["total"]:
        ctx.say.note(adapters_in_words(overview["adapters"]))
    for said in (overview["supervisor"] or {"problems": []})["problems"]:
        ctx.say.note(f"supervisor: {said}.   Next: upm ps")
    for problem in overview["problems"]:
        ctx.say.note(f"{problem['trainer']}: {problem['problem']}.   Next: {problem['next']}")


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
