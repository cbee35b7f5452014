"""`upm notify`: webhooks that are told what happened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.core.notices import Outcome


def register(app: typer.Typer) -> None:
    group = new_group(help="Webhooks that are told of quarantines, rollbacks and the like.", no_args_is_help=True)
    group.command("list")(list_)
    group.command("test")(test)
    group.command("run")(run)
    group.command("secret")(secret)
    app.add_typer(group, name="notify")


@command
def list_(ctx: Context) -> None:
    """List the webhooks with what they are told of, what waits, and how the last message went.

    Example: upm notify list
    """
    from upm_cli.ops import notify

    columns = [
        Column("name", "WEBHOOK"),
        Column("url", "URL"),
        Column("topics", "TOLD OF", show=", ".join),
        Column("signed", "SIGNED", show=lambda signed: "yes" if signed else "no"),
        Column("waiting", "WAITING", right=True),
        Column("sent", "SENT", right=True),
        Column("failures", "FAILURES", right=True),
        Column("given_up", "GIVEN UP", right=True),
        Column("last_sent_at", "LAST SENT", show=lambda at: at[:19].replace("T", " ") + "Z"),
        Column("last_error", "LAST ERROR"),
    ]
    empty = "no webhook is set up; in upm.yaml: notify: {webhooks: [{name: ops, url: https://…}]}"
    payload = {"webhooks": notify.overview(ctx.store, ctx.settings)}
    emit(ctx, payload, Table(key="webhooks", columns=columns, empty=empty))


@command
def test(
    ctx: Context,
    webhook: Annotated[str | None, typer.Argument(metavar="[WEBHOOK]", help="Default: all of them.")] = None,
) -> int:
    """Send a message that says that it is a test. Exit 8 when one was not taken.

    Example: upm notify test ops
    """
    from upm_cli.ops import notify

    tried = notify.test(ctx.clock, ctx.settings, ctx.project, webhook)
    columns = [
        Column("name", "WEBHOOK"),
        Column("taken", "TAKEN", show=lambda taken: "yes" if taken else "no"),
        Column("error", "ERROR"),
    ]
    emit(ctx, {"webhooks": [_row(name, outcome) for name, outcome in tried]}, Table(key="webhooks", columns=columns))
    return ExitCode.DONE if all(outcome.error is None for _, outcome in tried) else ExitCode.PARTIAL


def _row(name: str, outcome: "Outcome") -> dict[str, object]:
    return {"name": name, "taken": outcome.error is None, "error": outcome.error}


@command
def run(ctx: Context) -> int:
    """Tell every webhook what it is due now, and end: for cron. `upm up` does so all the time.

    A message that is not taken is tried again by the next run, after a pause that grows. Exit 8 when one was not.

    Example: upm notify run
    """
    import random

    from upm_cli.ops import notify

    chance = random.Random()  # noqa: S311 - spreads retries, keeps no secrets
    passed = notify.tick(ctx.store, ctx.clock, ctx.settings, ctx.project, chance)
    columns = [
        Column("name", "WEBHOOK"),
        Column("sent", "SENT", right=True),
        Column("waiting", "WAITING", show=lambda waiting: "yes" if waiting else "no"),
        Column("error", "ERROR"),
    ]
    rows = [{"name": each.name, "sent": each.sent, "waiting": each.is_waiting, "error": each.error} for each in passed]
    emit(ctx, {"webhooks": rows}, Table(key="webhooks", columns=columns, empty="no webhook is set up"))
    return ExitCode.PARTIAL if any(each.is_waiting for each in passed) else ExitCode.DONE


@changing
def secret(
    ctx: Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the secret is to be kept.")]
) -> None:
    """Write a new secret that messages are signed with into a file that only its owner may read (0600).

    Name the file as `secret_file` of the webhook, and give its content to whoever receives the messages. It is shown
    nowhere. A file that is there is left as it is.

    Example: upm notify secret ops.secret
    """
    import base64
    import secrets

    from upm_cli.store import fsio

    is_new = not file.exists()
    if is_new and not ctx.change.dry_run:
        text = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}\n"
        is_new = fsio.durable_create(file, text.encode())
    would = "would write" if ctx.change.dry_run else "wrote"
    said = f"{would} a new secret to {file}" if is_new else f"{file} is there already and was left as it is"
    emit(ctx, {"file": file, "created": is_new, "dry_run": ctx.change.dry_run}, text=said)
