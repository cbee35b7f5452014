"""`upm pause` and `upm resume`: hold a trainer, let it go on."""

from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing
from upm_cli.commands._output import emit

TrainerArg = Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.")]


def register(app: typer.Typer) -> None:
    app.command("pause")(pause)
    app.command("resume")(resume)


@changing
def pause(ctx: Context, trainer: TrainerArg = None) -> None:
    """Hold a trainer: it finishes its batch, commits and waits. Windows keep arriving in its log.

    Needs the role operator, as `upm resume` does.

    Example: upm pause main --reason "labels look wrong"
    """
    _set(ctx, trainer, "pause")


@changing
def resume(ctx: Context, trainer: TrainerArg = None) -> None:
    """Let a paused trainer go on from where it stopped.

    Example: upm resume main
    """
    _set(ctx, trainer, "run")


def _set(ctx: Context, given: str | None, desired: str) -> None:
    from upm_cli.ops import authority, trainers

    name = ctx.trainer_name(given)
    authority.require(ctx.settings, ctx.store.home, ctx.actor, "pause" if desired == "pause" else "resume")
    known = trainers.ensure(ctx.store, ctx.clock, ctx.settings, name, actor=ctx.actor)
    will_change = known.desired != desired
    if not ctx.change.dry_run:
        known, will_change = trainers.set_desired(
            ctx.store, ctx.clock, name, desired, actor=ctx.actor, reason=ctx.change.reason
        )
    word, already = ("paused", "is already paused") if desired == "pause" else ("resumed", "is not paused")
    said = f"{name} {'would be ' if ctx.change.dry_run else ''}{word}" if will_change else f"{name} {already}"
    emit(ctx, {"trainer": name, "desired": desired, "changed": will_change and not ctx.change.dry_run}, text=said)
