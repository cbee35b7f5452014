"""`upm ps`: the worker processes, and what each costs."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit


def register(app: typer.Typer) -> None:
    app.command("ps")(ps)


@command
def ps(
    ctx: Context,
    jobs: Annotated[bool, typer.Option("--jobs", help="A line for each job of a process, too.")] = False,
) -> None:
    """List the worker processes: state, memory, processor, restarts, and the log rows their trainers are behind.

    Those of `upm train` are listed as well.

    Example: upm ps
    """
    from upm_cli.ops import supervisor as ops

    found = ops.processes(ctx.store, ctx.clock.now_ms())
    columns = [
        Column("name", "WORKER"),
        Column("state", "STATE"),
        Column("pid", "PID", right=True),
        Column("rss_bytes", "RSS", right=True, show=lambda size: f"{size / 1e6:,.0f} MB", spare=2),
        Column("cpu_percent", "CPU %", right=True, show=lambda share: f"{share:.0f}", spare=2),
        Column("restarts", "RESTARTS", right=True),
        Column("lag", "LAG", right=True, show=lambda rows: f"{rows:,}"),
        Column("since", "SINCE", show=lambda at: at[:19].replace("T", " ") + "Z", spare=2),
        Column("reason", "WHY"),
    ]
    rows = [line for row in found["workers"] for line in _lines(row, jobs=jobs)]
    empty = "no workers: upm up runs all trainers, upm train TRAINER one of them"
    supervisor = found["supervisor"]
    if ctx.output == "table" and supervisor is not None:
        ctx.say.note(f"supervisor {supervisor['state']} (pid {supervisor['pid']}) since {supervisor['since'][:19]}Z")
    emit(ctx, {"supervisor": supervisor, "workers": rows}, Table(key="workers", columns=columns, empty=empty))
    if ctx.output == "table" and supervisor is not None:
        for problem in supervisor["problems"]:
            ctx.say.warn(problem)


def _lines(row: Mapping[str, Any], *, jobs: bool) -> list[dict[str, Any]]:
    """Return the row of a process, and of its jobs below it."""
    if not jobs:
        return [dict(row)]
    below = [
        {**dict.fromkeys(row), "name": f"  {job['name']}", **{key: job[key] for key in ("state", "restarts")}}
        | {"reason": job["error"], "jobs": []}
        for job in row["jobs"]
    ]
    return [dict(row), *below]
