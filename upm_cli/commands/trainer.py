"""`upm trainer`: add, list, show and remove trainers."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, decimals, emit

NameArg = Annotated[str, typer.Argument(metavar="TRAINER", help="Its name: a-z, 0-9, '.', '_' and '-'.")]


def register(app: typer.Typer) -> None:
    group = new_group(help="Add, list, show and remove trainers.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("remove")(remove)
    app.add_typer(group, name="trainer")


@changing
def add(
    ctx: Context,
    name: NameArg,
    mode: Annotated[str, typer.Option(metavar="MODE", help="shadow, canary or active.")] = "shadow",
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="The tenant it belongs to.")] = None,
    stream: Annotated[str, typer.Option(metavar="STREAM", help="Learn from this event log. Default: its own.")] = "",
) -> None:
    """Add a trainer. Adding the same again changes nothing.

    Example: upm trainer add search --mode shadow
    """
    from upm_cli.ops import trainers

    chosen = trainers.parse_mode(mode)
    if ctx.change.dry_run:
        trainer = trainers.new_trainer(name, ctx.clock, mode=chosen, tenant_id=tenant, stream=stream)
    else:
        trainer = trainers.add(
            ctx.store, ctx.clock, name, mode=chosen, tenant_id=tenant, stream=stream, actor=ctx.actor
        )
    payload = {
        "trainer": trainer.name,
        "mode": trainer.mode,
        "stream": trainer.stream,
        "tenant_id": trainer.tenant_id,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=f"trainer {name} ({trainer.mode}) learns from stream {trainer.stream}")


@command
def list_(ctx: Context) -> None:
    """List the trainers.

    Example: upm trainer list -o json
    """
    from upm_cli.ops import status

    rows = [_row(shown) for shown in status.all_trainers(ctx.store, ctx.settings)]
    columns = [
        Column("name", "TRAINER"),
        Column("status", "STATUS"),
        Column("mode", "MODE"),
        Column("trained", "TRAINED", right=True),
        Column("pending", "PENDING", right=True),
        Column("versions", "SNAPSHOTS", right=True),
        Column("active", "ACTIVE"),
        Column("loss", "LOSS", right=True, show=lambda loss: decimals(loss["progressive"])),
    ]
    emit(ctx, {"trainers": rows}, Table(key="trainers", columns=columns, empty="no trainers yet: upm trainer add NAME"))


@command
def show(
    ctx: Context,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.")] = None,
) -> None:
    """Show everything about one trainer.

    Example: upm trainer show main --json
    """
    from upm_cli.ops import status

    emit(ctx, status.trainer_details(ctx.store, ctx.settings, ctx.trainer_name(trainer)))


@changing
def remove(ctx: Context, name: NameArg) -> None:
    """Forget a trainer and its snapshots. Its event log, ledger entries and incidents stay.

    Example: upm trainer remove old-search --yes --reason "replaced"
    """
    from upm_cli.ops import trainers

    name = ctx.trainer_name(name)
    plan = trainers.remove(ctx.store, name, actor=ctx.actor, reason=ctx.change.reason, dry_run=True)
    if not ctx.change.dry_run:
        ctx.confirm(f"this forgets trainer {name} and its {plan['snapshots']} snapshots")
        plan = trainers.remove(ctx.store, name, actor=ctx.actor, reason=ctx.change.reason)
    verb = "removed" if plan["removed"] else "would remove"
    emit(
        ctx, plan, text=f"{verb} trainer {name} and {plan['snapshots']} snapshots; stream {plan['stream_kept']} is kept"
    )


def _row(shown: Mapping[str, Any]) -> dict[str, Any]:
    newest = max(shown["active"].values(), default=None)
    windows = shown["windows"]
    return {
        **{key: shown[key] for key in ("name", "status", "mode", "tenant_id", "last_loss", "loss", "drift_score")},
        "trained": windows["trained"],
        "pending": windows["pending"],
        "versions": shown["last_version"],
        "active": newest,
    }
