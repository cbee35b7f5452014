"""`upm init`: make a project."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing
from upm_cli.commands._output import emit


def register(app: typer.Typer) -> None:
    app.command("init")(init)


@changing
def init(
    ctx: Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Default: the working directory, or -C.")
    ] = None,
) -> None:
    """Make a project: a commented upm.yaml, and .upm for its state. Files that are there are never touched.

    Example: upm init shop
    """
    from upm_cli.ops.project import SAMPLE_WINDOW, init_project

    target = folder or ctx.project_option or Path()
    done = init_project(target, ctx.clock, dry_run=ctx.change.dry_run, command=ctx.command)
    made = [path.name for path in done.made]
    emit(
        ctx,
        {"project": done.project, "made": made, "migrated": done.is_migrated, "dry_run": ctx.change.dry_run},
        text=_said(done.project, made, done.is_migrated, ctx.change.dry_run),
    )
    if not ctx.change.dry_run:
        there = "" if done.project == Path.cwd() else f"cd {shlex.quote(str(target))}; "
        ctx.say.note(f"a line of FILE.jsonl is a window: {SAMPLE_WINDOW}")
        ctx.say.note(f"next: {there}upm validate; upm train --source FILE.jsonl --once")


def _said(project: Path, made: list[str], is_migrated: bool, dry_run: bool) -> str:
    if is_migrated:
        return f"brought the state of {project} up to date"
    if not made:
        return f"{project} is a project already; nothing was changed"
    return f"{'would make' if dry_run else 'made'} {' and '.join(made)} in {project}"
