"""`upm sql`: ask the state and the log anything, without changing them."""

from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit


def register(app: typer.Typer) -> None:
    app.command("sql")(sql)


@command
def sql(ctx: Context, query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT.")]) -> None:
    """Run one read-only SQL query over the state tables and the views log, names and comparisons.

    Example: upm sql "SELECT tenant_id, count(*) FROM log GROUP BY 1 ORDER BY 2 DESC"
    """
    from upm_cli.ops.sql import query as run

    columns, rows = run(ctx.store, query)
    emit(ctx, {"columns": columns, "rows": rows}, Table(key="rows", columns=[Column(name) for name in columns]))
