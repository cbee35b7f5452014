"""`upm tui`: the dashboard in the terminal."""

import os
import sys
from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.errors import NotFoundError, UsageError
from upm_cli.nearest import choices

SCREENS = ("overview", "snapshots")


def register(app: typer.Typer) -> None:
    app.command("tui")(tui)


@command
def tui(
    ctx: Context,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, but change nothing.")] = False,
    screen: Annotated[
        str, typer.Option("--screen", metavar="NAME", help=f"Where to begin: {' or '.join(SCREENS)}.")
    ] = SCREENS[0],
) -> int:
    """Watch every trainer live; snapshot, activate, roll back and pause with one key and a yes.

    ? tells the keys. For a program, or without a terminal: upm status --json.

    Example: upm tui --read-only
    """
    if screen not in SCREENS:
        raise UsageError(f"no screen {screen!r}", hint=choices(screen, SCREENS), code="UPM-E029")
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
    )
    dashboard = Dashboard(project, read_only=read_only, screen=screen)
    dashboard.run()
    return dashboard.return_code or 0


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
