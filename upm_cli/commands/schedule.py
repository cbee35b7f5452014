"""`upm schedule`: lines for cron, units for systemd."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import emit_document
from upm_cli.errors import UsageError
from upm_cli.nearest import choices

KINDS = ("cron", "systemd")


def register(app: typer.Typer) -> None:
    group = new_group(help="Lines for cron and units for systemd, made for this project.", no_args_is_help=True)
    group.command("show")(show)
    app.add_typer(group, name="schedule")


@command
def show(
    ctx: Context,
    kind: Annotated[str, typer.Argument(metavar="cron|systemd", help="Which of them.")],
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the files there instead of printing them.")
    ] = None,
) -> None:
    """Print what is to run so that this project looks after itself. Nothing is installed.

    Runs that overlap are harmless: what is busy ends with exit code 7, which the lines pass over.

    Example: upm schedule show cron
    """
    from upm_cli.ops import schedule
    from upm_cli.store import adapters, fsio, trainers

    if kind not in KINDS:
        raise UsageError(f"no schedule {kind!r}", hint=choices(kind, KINDS), code="UPM-E029")
    with ctx.store.read() as reader:
        known = [row.name for row in trainers.list_all(reader)]
        delivers = bool(adapters.list_all(reader))
    folder = ctx.settings.backup.folder
    site = schedule.Site(
        program=schedule.programs_of(sys.argv[0], sys.executable),
        project=ctx.project,
        trainers=schedule.trainers_of([each.name for each in ctx.settings.supervisor.default_trainers], known),
        user=ctx.actor,
        delivers=delivers,
        tells=bool(ctx.settings.notify.webhooks),
        backups=None if folder is None else ctx.project / Path(folder).expanduser(),
    )
    named = {"upm.cron": schedule.crontab(site)} if kind == "cron" else schedule.units(site)
    if into is not None:
        fsio.make_folder(into, mode=0o755)
        for name, text in named.items():
            fsio.durable_write(into / name, text.encode(), mode=0o644)
    text = schedule.together(named) if kind == "systemd" else named["upm.cron"]
    said = "\n".join(f"wrote {into / name}" for name in named) if into is not None else text.rstrip("\n")
    emit_document(ctx, {"kind": kind, "files": named, "written_to": into}, said)
