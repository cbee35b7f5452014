"""`upm validate`: may this project go live?"""

from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, emit
from upm_cli.exit_codes import ExitCode

_SYMBOLS = {"pass": "✓", "warn": "!", "fail": "✗", "skip": "–"}


def register(app: typer.Typer) -> None:
    app.command("validate")(validate)


@command
def validate(
    ctx: Context,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Explore every state a rollout can get into (some 20 seconds).")
    ] = False,
) -> int:
    """Check whether this may go live: configuration, state, arithmetic, workers, people, adapters, input, secrets.

    The rollout machine is run through what can happen under these settings: verdicts, missing data, clocks that
    jump, crashes, people. A path to more exposure without fresh evidence is printed step by step.

    Adapters are asked what they serve, and names of webhooks are looked up, for a few seconds at most; nothing is sent.
    Exit code 3 when a check fails. Nothing is changed.

    Example: upm validate --json
    Example: upm validate --exhaustive
    """
    from upm_cli.ops import checks as subjects
    from upm_cli.ops import preflight

    subject = subjects.subject(ctx.project, ctx.config_path, ctx.clock, ctx.globals.overrides, ctx.environ)
    checks = preflight.run_checks(subject, is_exhaustive=exhaustive)
    failed = [check for check in checks if check.status == "fail"]
    passed = sum(check.status == "pass" for check in checks)
    rows = [
        {"name": check.name, "status": check.status, "detail": check.detail, "hint": check.hint}
        | ({"problems": check.problems} if check.problems else {})
        for check in checks
    ]
    columns = [
        Column("status", "STATUS", show=lambda status: f"{_SYMBOLS[status]} {status}"),
        Column("name", "CHECK"),
        Column("detail", "DETAIL", show=lambda detail: str(detail).partition("\n")[0]),
        *([] if ctx.output == "table" else [Column("hint")]),
    ]
    emit(ctx, {"checks": rows, "passed": passed, "failed": len(failed)}, Table(key="checks", columns=columns))
    if ctx.output == "table":
        for check in checks:
            if rest := check.detail.partition("\n")[2]:
                ctx.say.note(rest)
            if check.hint:
                ctx.say.note(f"{check.name}: {check.hint}")
    elif failed:
        ctx.say.warn(f"{len(failed)} of {len(checks)} checks failed: {', '.join(check.name for check in failed)}")
    return ExitCode.INVALID if failed else ExitCode.DONE
