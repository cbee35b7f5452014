"""`upm doctor`: is what lies on the disk whole, and the way back when the state is not."""

from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing
from upm_cli.commands._output import Column, Table, emit
from upm_cli.exit_codes import ExitCode

_SYMBOLS = {"pass": "✓", "warn": "!", "fail": "✗"}


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


@changing
def doctor(
    ctx: Context,
    restore: Annotated[
        bool, typer.Option("--restore", help="Go back to the newest kept state when the live one does not open.")
    ] = False,
) -> int:
    """Read back everything durable and prove it: state, ledger, log, snapshots, checkpoints. Exit code 9 on damage.

    Example: upm doctor
    """
    from upm_cli.ops import doctor as ops

    if restore and not ctx.change.dry_run:
        ctx.confirm("this puts an earlier state in the place of one that does not open")
        done = ops.go_back(ctx.home, ctx.clock, actor=ctx.actor)
        corrupt = done["kept_damaged_as"]
        kept = f"the damaged file is {corrupt}" if corrupt else "there was no file to keep"
        said = f"went back to {done['from']}; {kept}"
        emit(ctx, done, text=said if done["restored"] else "the state opens: nothing was changed")
        return ExitCode.DONE
    found = ops.examine(ctx.home, ctx.clock)
    columns = [
        Column("status", "", show=lambda status: f"{_SYMBOLS[status]} {status}"),
        Column("name", "WHAT"),
        Column("detail", "DETAIL"),
        *([] if ctx.output == "table" else [Column("hint")]),
    ]
    failed = sum(finding.status == "fail" for finding in found)
    emit(ctx, {"findings": found, "failed": failed}, Table(key="findings", columns=columns))
    for finding in found if ctx.output == "table" else ():
        if finding.hint:
            ctx.say.note(f"{finding.name}: {finding.hint}")
    return ExitCode.INTEGRITY if failed else ExitCode.DONE
