"""`upm rollout freeze` and `unfreeze`: times in which nothing is exposed further."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context, duration_s
from upm_cli.commands._globals import changing
from upm_cli.commands._output import emit
from upm_cli.commands._times import instant_ms, is_duration
from upm_cli.commands._versions import TrainerArg
from upm_cli.errors import UsageError
from upm_cli.ids import iso

if TYPE_CHECKING:
    from upm_cli.ops.freezing import Frozen

AllOption = Annotated[bool, typer.Option("--all", help="Every trainer, those to come too.")]


def register(group: typer.Typer) -> None:
    group.command("freeze")(freeze)
    group.command("unfreeze")(unfreeze)


@changing
def freeze(
    ctx: Context,
    trainer: TrainerArg = None,
    every: AllOption = False,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME|DUR", help="8h, or 2026-12-27T06:00Z. Default: until it is lifted."),
    ] = None,
) -> None:
    """Let nothing be exposed further for a while.

    Needs --reason. Rollback and abort work all the time. Freezes that come back every week or year are in
    rollout.freeze of upm.yaml.

    Example: upm rollout freeze --all --until 8h --reason "the database moves"
    """
    from upm_cli.ops import freezing

    name = _name(ctx, trainer, every=every)
    done = freezing.freeze(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        until_ms=_until_ms(ctx, until),
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    _answer(ctx, done, frozen=True)


@changing
def unfreeze(ctx: Context, trainer: TrainerArg = None, every: AllOption = False) -> None:
    """Lift a freeze that a person called.

    For those of the calendar change rollout.freeze. Needs the role admin.

    Example: upm rollout unfreeze --all --reason "the database has moved"
    """
    from upm_cli.ops import freezing

    done = freezing.unfreeze(
        ctx.store,
        ctx.settings,
        _name(ctx, trainer, every=every),
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    _answer(ctx, done, frozen=False)


def _name(ctx: Context, trainer: str | None, *, every: bool) -> str:
    from upm_cli.ops.freezing import EVERY

    if every and trainer is not None:
        raise UsageError("TRAINER and --all exclude each other", hint="leave one out", code="UPM-E020")
    return EVERY if every else ctx.trainer_name(trainer)


def _until_ms(ctx: Context, until: str | None) -> int | None:
    if until is None:
        return None
    if is_duration(until):
        return ctx.clock.now_ms() + int(duration_s(until, "--until") * 1000)
    return instant_ms(until, "--until")


def _answer(ctx: Context, done: "Frozen", *, frozen: bool) -> None:
    changed = not done.is_done and not ctx.change.dry_run
    freeze = done.freeze
    payload: dict[str, Any] = {
        "trainer": done.trainer or None,
        "all": not done.trainer,
        "frozen": frozen if not ctx.change.dry_run or done.is_done else not frozen,
        "until": None if freeze is None or freeze.until_ms is None else iso(freeze.until_ms),
        "reason": None if freeze is None else freeze.reason,
        "by": None if freeze is None else freeze.actor,
        "changed": changed,
        "dry_run": ctx.change.dry_run,
    }
    who = done.trainer or "every trainer"
    verb = "was already" if done.is_done else "would be" if ctx.change.dry_run else "is"
    if not frozen:
        text = f"{who} {verb} not frozen" + ("" if freeze is None else f"; it was, by {freeze.actor}: {freeze.reason}")
    else:
        end = "it is lifted" if payload["until"] is None else payload["until"]
        lift = f"\nlift it: upm rollout unfreeze {done.trainer or '--all'} --reason …"
        text = f"{who} {verb} frozen until {end}: {payload['reason']}{lift}"
    emit(ctx, payload, text=text)
