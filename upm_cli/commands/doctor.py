"""`upm doctor`: is what lies on the disk whole and the machine sound, and the way back when the state is not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands import _restore
from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing
from upm_cli.commands._output import Column, Table, emit
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.checks import Subject

_SYMBOLS = {"pass": "✓", "warn": "!", "fail": "✗"}


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


@changing
def doctor(
    ctx: Context,
    restore: Annotated[
        bool, typer.Option("--restore", help="Go back to the newest kept state when the live one does not open.")
    ] = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what is safe to: leftovers, status files of the dead, modes.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="FILE", help="Write all that helps a bug report to a new .tar.gz or .zip."),
    ] = None,
) -> int:
    """Read back everything durable and prove it, and look at locks, leftovers, disk, clock and modes.

    Exit code 9 when something durable is damaged, 3 when something else is wrong. A bundle has settings, status files,
    logs, crash files, the end of the ledger and what this and `upm validate` found; never a key or token.
    --restore says what would be lost and what comes again, and asks.

    Example: upm doctor

    Example: upm doctor --fix --dry-run

    Example: upm doctor --restore --dry-run

    Example: upm doctor --bundle upm-report.tar.gz
    """
    if restore:
        return _restore.restore(ctx)
    from upm_cli.ops import bundle as bundles
    from upm_cli.ops import doctor as ops
    from upm_cli.ops import repair

    target = None if bundle is None else bundles.check_name(bundle)
    more: dict[str, Any] = {}
    if fix:
        dry = ctx.change.dry_run
        more["fixed"] = repair.fix(ctx.home, ctx.clock, actor=ctx.actor, reason=ctx.change.reason, dry_run=dry)
        for each in more["fixed"]:
            ctx.say.note(f"{'would be ' if dry else ''}{each.what}: {each.path}")
    found = ops.examine(ctx.home, ctx.clock)
    if target is not None and not ctx.change.dry_run:
        more |= {"bundle": str(target), "bundle_members": bundles.write(target, _subject(ctx), found)}
        ctx.say.note(f"wrote {target}: read it before you send it")
    columns = [
        Column("status", "STATUS", show=lambda status: f"{_SYMBOLS[status]} {status}"),
        Column("name", "WHAT"),
        Column("detail", "DETAIL"),
        *([] if ctx.output == "table" else [Column("hint")]),
    ]
    failed = sum(finding.status == "fail" for finding in found)
    emit(ctx, {"findings": found, "failed": failed, **more}, Table(key="findings", columns=columns))
    for finding in found if ctx.output == "table" else ():
        if finding.hint:
            ctx.say.note(f"{finding.name}: {finding.hint}")
    if ops.is_damaged(found):
        return ExitCode.INTEGRITY
    return ExitCode.INVALID if failed else ExitCode.DONE


def _subject(ctx: Context) -> "Subject":
    from upm_cli.ops import checks

    return checks.subject(ctx.project, ctx.config_path, ctx.clock, ctx.globals.overrides, ctx.environ)
