"""`upm schedule`: lines for cron, units for systemd."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command, planning
from upm_cli.commands._group import new_group
from upm_cli.commands._output import emit_document
from upm_cli.errors import UsageError
from upm_cli.nearest import choices

if TYPE_CHECKING:
    from upm_cli.ops.schedule import Site

KINDS = ("cron", "systemd")
UserOption = Annotated[
    bool, typer.Option("--user", help="Units of your own manager: ~/.config/systemd/user. The default but for root.")
]
SystemOption = Annotated[
    bool, typer.Option("--system", help="Units of the machine: /etc/systemd/system. The default for root.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Also what somebody edited since upm wrote it.")]


def register(app: typer.Typer) -> None:
    group = new_group(help="Lines for cron and units for systemd, made for this project.", no_args_is_help=True)
    group.command("show")(show)
    group.command("install")(install)
    group.command("remove")(remove)
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
    from upm_cli.store import fsio

    _check_kind(kind)
    site = _site(ctx, ctx.project)
    named = {"upm.cron": schedule.crontab(site)} if kind == "cron" else schedule.units(site)
    if into is not None:
        fsio.make_folder(into, mode=0o755)
        for name, text in named.items():
            fsio.durable_write(into / name, text.encode(), mode=0o644)
    text = schedule.together(named) if kind == "systemd" else named["upm.cron"]
    said = "\n".join(f"wrote {into / name}" for name in named) if into is not None else text.rstrip("\n")
    emit_document(ctx, {"kind": kind, "files": named, "written_to": into}, said)


@planning
def install(
    ctx: Context,
    kind: Annotated[str, typer.Argument(metavar="cron|systemd", help="Which of them.")],
    user: UserOption = False,
    system: SystemOption = False,
    enable: Annotated[
        bool, typer.Option("--enable", help="Let systemd start the units now, and at every boot.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Put the lines into your crontab, or the units where systemd finds them. Shows the difference and asks.

    Names and marks are of this project alone, so several live on one machine; everything else stays as it is. The
    same again changes nothing; after a change of trainers or adapters it brings what is installed up to date.

    Example: upm schedule install systemd --dry-run

    Example: upm schedule install cron
    """
    from upm_cli.commands import _schedule
    from upm_cli.ops import schedule_pieces as pieces

    _check_kind(kind)
    scope = _schedule.scope_of(ctx, kind, user=user, system=system)
    if enable and kind == "cron":
        raise UsageError("cron needs no --enable: it reads a crontab at once", hint="leave it out")
    project = ctx.project.resolve()
    target = _schedule.target(ctx, kind, scope, project)
    site = _site(ctx, project)
    if "/" not in site.program:
        ctx.say.warn(f"no program `upm` belongs to this Python: {kind} has to find {site.program!r} by itself")
    planned = target.planned(site)
    if not ctx.change.dry_run:
        target.check_may_write("install")
        pieces.refuse_edited(planned, force)
    following = [] if enable else target.next_steps(planned)
    _schedule.ask(ctx, planned)
    if not ctx.change.dry_run:
        target.apply(planned)
        if enable:
            target.enable(planned)
    for hint in target.remarks():
        ctx.say.note(hint)
    payload = {
        "project": project,
        "kind": kind,
        "scope": scope,
        "enabled": enable and not ctx.change.dry_run,
    }
    _schedule.answer(ctx, payload, planned, following, nothing="installed already, as it is to be:")


@planning
def remove(
    ctx: Context,
    kind: Annotated[
        str, typer.Argument(metavar="[cron|systemd]", help="Only this. Default: all there is.", show_default=False)
    ] = "",
    user: UserOption = False,
    system: SystemOption = False,
    disable: Annotated[bool, typer.Option("--disable", help="Let systemd stop the units before they go.")] = False,
    force: ForceOption = False,
) -> None:
    """Take away what `upm schedule install` wrote for this project, and nothing else. Shows it and asks.

    The project need not be there any more if -C names where it was. What somebody edited since stays, and nothing is
    removed, unless --force is given.

    Example: upm schedule remove --dry-run
    """
    from upm_cli.commands import _schedule
    from upm_cli.ops import schedule_pieces as pieces

    if kind:
        _check_kind(kind)
    project = _schedule.former_project(ctx)
    targets = _schedule.targets(ctx, kind, project, user=user, system=system)
    found = [(target, some) for target in targets if (some := target.installed())]
    planned = [piece for _, some in found for piece in some]
    if not ctx.change.dry_run:
        for target, _ in found:
            target.check_may_write("remove")
        pieces.refuse_edited(planned, force)
    _schedule.ask(ctx, planned)
    if not ctx.change.dry_run:
        _schedule.take_away(found, disable=disable)
    following = [] if disable else [step for target, _ in found for step in target.steps_after()]
    for target, some in found:
        for hint in target.leftovers(some):
            ctx.say.note(hint)
    payload = {"project": project, "disabled": disable and bool(found) and not ctx.change.dry_run}
    _schedule.answer(ctx, payload, planned, following, nothing=f"nothing is installed for {project}")


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"no schedule {kind!r}", hint=choices(kind, KINDS), code="UPM-E029")


def _site(ctx: Context, project: Path) -> "Site":
    from upm_cli.ops import schedule

    program = schedule.programs_of(sys.argv[0], sys.executable)
    return schedule.site_of(ctx.store, ctx.settings, project, program)
