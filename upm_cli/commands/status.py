"""`upm status`: how everything is, worst first."""

from collections.abc import Mapping
from typing import Any

import typer

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
        Column("shown_drift", "P95"),
        Column("trained", "TRAINED", right=True),
        Column("shown_rate", "WIN/S", right=True),
        Column("lag", "LAG", right=True),
    ]
    if ctx.output != "table":
        emit(ctx, overview, Table(key="trainers", columns=[Column(key) for key in _KEYS]))
        return
    alive = sum(1 for worker in overview["workers"] if worker["alive"])
    ctx.say.note(f"{alive} worker{'' if alive == 1 else 's'} running   state {overview['home']}   {overview['at']}")
    rows = [{**row, **_shown(row)} for row in overview["trainers"]]
    empty = "no trainers yet: upm train --source FILE"
    emit(ctx, {**overview, "trainers": rows}, Table(key="trainers", columns=columns, empty=empty))
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


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    from upm_cli.ops.report_chart import sparkline
    from upm_cli.ops.status import SYMBOLS

    active = f"v{row['active']:04d} {row['stage']['kind']}" if row["active"] is not None else "—"
    p95, line = row["drift"]["p95"], sparkline(row["drift"]["recent"], row["drift"]["limit"])
    return {
        "shown_state": f"{SYMBOLS.get(row['state'], '?')} {row['state']}",
        "shown_active": active,
        "shown_drift": f"{p95:.3f} {line}" if p95 is not None else "unknown",
        "trained": f"{row['windows']['trained']:,}",
        "shown_rate": f"{row['windows_per_s']:,.0f}",
        "lag": f"{row['lag']:,}",
    }
