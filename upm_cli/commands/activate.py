"""`upm activate`: make a snapshot the one that a stage serves."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._after import NoSyncOption, hand_over, in_words
from upm_cli.commands._context import Context, duration_s
from upm_cli.commands._globals import changing
from upm_cli.commands._output import emit
from upm_cli.commands._refusal import telling
from upm_cli.commands._versions import TrainerArg, VersionArg, parse_ring, trainer_and_version
from upm_cli.errors import UsageError

if TYPE_CHECKING:
    from upm_cli.ops.activate import Activated


def register(app: typer.Typer) -> None:
    app.command("activate")(activate)


@changing
def activate(
    ctx: Context,
    trainer: TrainerArg = None,
    version: VersionArg = None,
    to_stage: Annotated[
        str | None,
        typer.Option("--to-stage", metavar="STAGE", help="shadow, canary or global. Default: by the trainer's mode."),
    ] = None,
    percent: Annotated[
        int | None,
        typer.Option(metavar="N", help="Share of tenants. Default: as it is, else 1 in canary, 100 in global."),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option("--tenant", metavar="T", help="Let this tenant into the canary too; may be repeated."),
    ] = None,
    override: Annotated[
        bool,
        typer.Option("--override", help="Except the gates that refuse, where an admin may; needs --reason."),
    ] = False,
    expires: Annotated[
        str | None,
        typer.Option("--expires", metavar="DUR", help="When the override ends: 4h. Default: policy.override_hours."),
    ] = None,
    no_sync: NoSyncOption = False,
) -> None:
    """Make a snapshot the one that a stage serves. Its bytes are proven first, then the gates are asked.

    What is active already stays: exit code 0. A pin that a rollback left is lifted, as you name the version. A gate
    that refuses says what would satisfy it: exit code 5; upm gate check asks without doing it. Undo with upm rollback.

    Example: upm activate main v42 --to-stage canary --percent 5 --reason "passed a week of shadow"
    """
    from upm_cli.ops.activate import Override
    from upm_cli.ops.activate import activate as make_active

    if expires is not None and not override:
        raise UsageError("--expires is the end of an override", hint="add --override --reason '…'", code="UPM-E029")
    name, word = trainer_and_version(ctx, trainer, version)
    for_ms = None if expires is None else int(duration_s(expires, "--expires") * 1000)
    with telling(ctx, "" if override else f'{_again(name, word, to_stage, percent)} --override --reason "…"'):
        done = make_active(
            ctx.store,
            ctx.clock,
            ctx.settings,
            name,
            word,
            ring=parse_ring(to_stage, "--to-stage"),
            percent=percent,
            tenants=tuple(dict.fromkeys(tenant or ())),
            actor=ctx.actor,
            reason=ctx.change.reason,
            override=Override(reason=ctx.change.reason, for_ms=for_ms) if override else None,
            dry_run=ctx.change.dry_run,
        )
    if done.overridden:
        verb = "would be" if ctx.change.dry_run else "were"
        ctx.say.warn(f"{verb} excepted: {', '.join(done.overridden)} ({ctx.change.reason}); upm gate overrides {name}")
    if done.lifted_pin is not None:
        verb = "would lift" if ctx.change.dry_run else "lifted"
        ctx.say.note(
            f"{verb} the pin of {done.lifted_pin.ring} on v{done.lifted_pin.version}: {done.lifted_pin.reason}"
        )
    is_seen = not (done.is_done or ctx.change.dry_run or done.activation.ring == "shadow")
    agents = hand_over(ctx, ctx.store, name, no_sync=no_sync) if is_seen else None
    emit(ctx, {**_payload(ctx, done), "adapters": agents}, text=_said(ctx, done) + in_words(agents))


def _again(name: str, word: str, to_stage: str | None, percent: int | None) -> str:
    """Return the command as it was typed, for the line that says how to go on in spite of a gate."""
    stage = "" if to_stage is None else f" --to-stage {to_stage}"
    return f"upm activate {name} {word}{stage}{'' if percent is None else f' --percent {percent}'}"


def _payload(ctx: Context, done: "Activated") -> dict[str, Any]:
    live = done.activation
    return {
        "trainer": live.trainer,
        "version": live.version,
        "previous_version": live.previous_version,
        "ring": live.ring.value,
        "percent": live.percent,
        "epoch": live.epoch,
        "decision_id": live.decision_id,
        "changed": not done.is_done and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
        "gates": [{"gate": each.gate, "allowed": each.allowed, "detail": each.detail} for each in done.gates],
        "overridden": list(done.overridden),
    }


def _said(ctx: Context, done: "Activated") -> str:
    live = done.activation
    share = "" if live.ring == "shadow" else f", {live.percent} % of tenants"
    verb = "is already active" if done.is_done else "would be active" if ctx.change.dry_run else "is active"
    before = f"; before: v{live.previous_version}" if live.previous_version and not done.is_done else ""
    text = f"v{live.version} of {live.trainer} {verb} in {live.ring}{share} (epoch {live.epoch}{before})"
    return text if done.is_done or ctx.change.dry_run else f"{text}\nundo: upm rollback {live.trainer}"
