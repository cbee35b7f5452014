"""`upm tui`: the dashboard in the terminal."""

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._times import moment_ms
from upm_cli.errors import NotFoundError, UsageError
from upm_cli.nearest import choices

if TYPE_CHECKING:
    from upm_cli.tui.project import CliCommand

SCREENS = ("overview", "snapshots", "drift", "rollout", "agents", "events", "workers")


def register(app: typer.Typer) -> None:
    app.command("tui")(tui)
    app.command("top")(tui)


@command
def tui(
    ctx: Context,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, but change nothing.")] = False,
    screen: Annotated[
        str, typer.Option("--screen", metavar="NAME", help=f"Where to begin: {', '.join(SCREENS)}.")
    ] = SCREENS[0],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Begin at a time that is over: 2h (ago), yesterday 14:00, ISO 8601."),
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw with ASCII only [ui.ascii].")] = False,
) -> int:
    """Watch every trainer live, and act with one key and a yes. `upm top` is the same.

    Seven screens: trainers, snapshots, drift, rollout, agents, events, workers. ? tells the keys, ctrl+p has every
    command, [ and ] go through what was recorded. For a program, or without a terminal: upm status --json.

    Example: upm tui --read-only

    Example: upm top --screen drift --at 2h
    """
    if screen not in SCREENS:
        raise UsageError(f"no screen {screen!r}", hint=choices(screen, SCREENS), code="UPM-E029")
    at_ms = None if at is None else moment_ms(at, ctx.clock.now_ms(), "--at")
    _need_terminal(ctx)
    store, settings = ctx.store, ctx.settings
    store.token()  # no state: say so before the screen is taken over
    if ctx.globals.color == "never":
        os.environ["NO_COLOR"] = "1"

    from upm_cli.tui.app import Dashboard
    from upm_cli.tui.project import Project

    project = Project(
        store=store,
        clock=ctx.clock,
        settings=settings,
        actor=ctx.actor,
        folder=ctx.project,
        program=_program(ctx),
        is_ascii=ascii_only or settings.ui.ascii,
        commands=partial(_commands, ctx.root),
        moment=partial(moment_ms, option="the time"),
    )
    dashboard = Dashboard(project, read_only=read_only, screen=screen, at_ms=at_ms)
    dashboard.run()
    return dashboard.return_code or 0


def _commands(root: Any) -> "list[CliCommand]":
    """Return every command below `root` with its help; loads all of their modules."""
    from upm_cli.commands._reference import walk
    from upm_cli.tui.project import CliCommand

    found = []
    for path, each, inner in walk(root, typer.Context(root, info_name="upm")):
        usage = " ".join(each.collect_usage_pieces(inner)).replace("[OPTIONS]", "").strip()
        name = path.removeprefix("upm ")
        found.append(
            CliCommand(
                name=name, short=each.get_short_help_str(90), usage=f"{path} {usage}".strip(), text=each.help or ""
            )
        )
    return found


def _need_terminal(ctx: Context) -> None:
    """Raise UsageError unless there is a terminal to draw on and to read keys from; Textual would wait for ever."""
    has_keys, has_screen = sys.stdin.isatty(), sys.stderr.isatty()
    if not has_keys or not has_screen or ctx.environ.get("TERM") in ("", "dumb"):
        raise UsageError("the dashboard needs a terminal", hint="upm status --json", code="UPM-E020")


def _program(ctx: Context) -> tuple[str, ...]:
    """Return how to call upm so that it finds this project from the working directory."""
    from upm_cli.ops.project import find_project

    try:
        found = find_project(None)
    except NotFoundError:
        found = None
    return ("upm",) if found == ctx.project else ("upm", "-C", str(ctx.project))
