"""`upm gate`: ask the gates, read what they ask, and except one for a while."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context, duration_s
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._refusal import numbers
from upm_cli.commands._versions import TrainerArg, VersionArg, parse_ring, trainer_and_version
from upm_cli.exit_codes import ExitCode
from upm_cli.ids import iso

if TYPE_CHECKING:
    from upm_cli.core.records import Override

IdArg = Annotated[str, typer.Argument(metavar="ID", help="Of an override; see upm gate overrides.")]
_SIGN = {"yes": "✓ yes", "no": "✗ no", "wait": "… wait", "unknown": "… unknown"}


def register(app: typer.Typer) -> None:
    group = new_group(help="Ask the gates, and except one for a while.", no_args_is_help=True)
    group.command("check")(check)
    group.command("explain")(explain)
    group.command("override")(override)
    group.command("overrides")(overrides)
    group.command("approve")(approve)
    group.command("withdraw")(withdraw)
    app.add_typer(group, name="gate")


@command
def check(
    ctx: Context,
    trainer: TrainerArg = None,
    version: VersionArg = None,
    to_stage: Annotated[
        str | None,
        typer.Option("--to-stage", metavar="STAGE", help="shadow, canary or global. Default: by the trainer's mode."),
    ] = None,
    percent: Annotated[int | None, typer.Option(metavar="N", help="Share of tenants.")] = None,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", metavar="T", help="As with upm activate.")] = None,
) -> int:
    """Ask every gate and change nothing: about an activation, or about the next step of the rollout under way.

    Without VERSION and options it is the rollout, where there is one. Exit code 5 when a gate refuses.

    Example: upm gate check main v42 --to-stage canary --percent 5
    """
    from upm_cli.ops import gate_check
    from upm_cli.ops.rollout_status import gate_json

    name, word = trainer_and_version(ctx, trainer, version, default="")
    asked = gate_check.check(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        word or None,
        ring=parse_ring(to_stage, "--to-stage"),
        percent=percent,
        tenants=tenant or (),
        actor=ctx.actor,
    )
    rows = [gate_json(each) for each in asked.gates]
    payload = {
        "trainer": name,
        "of": asked.of,
        "version": asked.version,
        "ring": asked.ring.value,
        "percent": asked.percent,
        "allowed": asked.is_allowed,
        "gates": rows,
    }
    columns = [
        Column("gate", "GATE"),
        Column("says", "SAYS", show=_SIGN.__getitem__),
        Column("detail", "WHY"),
        Column("numbers", "NUMBERS", show=lambda found: numbers(found).strip(" ()")),
        Column("satisfy", "WOULD SATISFY IT"),
    ]
    emit(ctx, payload, Table(key="gates", columns=columns))
    if ctx.output == "table":
        share = "" if asked.ring == "shadow" else f" at {asked.percent} %"
        what = f"v{asked.version} of {name} in {asked.ring}{share}" if asked.version else f"{name} in {asked.ring}"
        ctx.say.note(f"{'allowed' if asked.is_allowed else 'refused'}: {asked.of} of {what}")
    return ExitCode.DONE if asked.is_allowed else ExitCode.REFUSED


@command
def explain(
    ctx: Context, gate: Annotated[str | None, typer.Argument(metavar="[GATE]", help="Default: all of them.")] = None
) -> None:
    """Tell what gates there are, what each asks, and what opens it.

    Example: upm gate explain evidence
    """
    from upm_cli.core.gate_guide import GUIDES
    from upm_cli.ops import explain as ops

    shown = GUIDES if gate is None else [ops.gate(gate)]
    rows = [
        {"gate": each.gate, "of": each.of, "asks": each.asks, "opens": each.opens, "overridable": each.is_overridable}
        for each in shown
    ]
    columns = [
        Column("gate", "GATE"),
        Column("of", "ASKED FOR", show=lambda of: "activation, rollout" if of == "both" else of),
        Column("asks", "ASKS"),
        Column("opens", "OPENS IT"),
        Column("overridable", "OVERRIDE", show=lambda yes: "admin" if yes else "never"),
    ]
    emit(ctx, {"gates": rows}, Table(key="gates", columns=columns))


@changing
def override(
    ctx: Context,
    gate: Annotated[str, typer.Argument(metavar="GATE", help="See upm gate explain.")],
    trainer: TrainerArg = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DUR", help="When it ends: 4h. Default: policy.override_hours.")
    ] = None,
) -> None:
    """Except one gate of a trainer for a while. Needs the role admin and --reason; it is on the record.

    With policy.second_approver it counts once another person approves it.

    Example: upm gate override freeze main --reason "the fix can't wait" --expires 4h
    """
    from upm_cli.ops import overrides as ops

    name = ctx.trainer_name(trainer)
    given = ops.grant(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        gate,
        actor=ctx.actor,
        reason=ctx.change.reason,
        for_ms=None if expires is None else int(duration_s(expires, "--expires") * 1000),
        dry_run=ctx.change.dry_run,
    )
    waits = ctx.settings.policy.second_approver
    payload = {**_override(given), "waits_for_approval": waits, "dry_run": ctx.change.dry_run}
    verb = "would be" if ctx.change.dry_run else "is"
    text = f"gate {gate} of {name} {verb} excepted until {iso(given.expires_at_ms)}"
    if waits:
        text += f", once another person agrees: upm gate approve {given.override_id}"
    if not ctx.change.dry_run:
        text += f"\nend it: upm gate withdraw {given.override_id}"
    emit(ctx, payload, text=text)


@command
def overrides(
    ctx: Context,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: all of them.")] = None,
) -> None:
    """List overrides, oldest first, those that have ended too.

    Example: upm gate overrides main
    """
    from upm_cli.ops import gate_check

    name = None if trainer is None else ctx.trainer_name(trainer)
    with ctx.store.read() as reader:
        found = gate_check.list_overrides(reader, ctx.clock, ctx.settings, ctx.store, name)
    rows = [{**_override(each.override), "in_force": each.in_force, "waits_for": each.waits_for} for each in found]
    columns = [
        Column("override_id", "ID"),
        Column("trainer", "TRAINER"),
        Column("gate", "GATE"),
        Column("in_force", "IN FORCE", show=lambda yes: "✓ yes" if yes else "no"),
        Column("expires_at", "UNTIL", show=lambda at: at[:16].replace("T", " ") + "Z"),
        Column("actor", "BY"),
        Column("approver", "APPROVED BY"),
        Column("reason", "WHY"),
        Column("waits_for", "LACKS"),
    ]
    emit(ctx, {"overrides": rows}, Table(key="overrides", columns=columns, empty="no gate was ever excepted"))


@changing
def approve(ctx: Context, override_id: IdArg) -> None:
    """Agree to the override of another person, where policy.second_approver asks for that.

    Example: upm gate approve 019b7c01-0400-7000-8000-000000000000
    """
    from upm_cli.ops import overrides as ops

    if ctx.change.dry_run:
        found = _found(ctx, override_id)
        emit(ctx, {**found, "dry_run": True}, text=f"would approve {override_id}: gate {found['gate']}")
        return
    done = ops.approve(ctx.store, ctx.clock, ctx.settings, override_id, actor=ctx.actor)
    emit(
        ctx,
        {**_override(done), "dry_run": False},
        text=f"override {override_id} of gate {done.gate} is approved by {done.approver}",
    )


@changing
def withdraw(ctx: Context, override_id: IdArg) -> None:
    """End an override now: its gate is asked again. Anybody may.

    Example: upm gate withdraw 019b7c01-0400-7000-8000-000000000000 --reason "not needed any more"
    """
    from upm_cli.ops import overrides as ops

    if ctx.change.dry_run:
        found = _found(ctx, override_id)
        emit(ctx, {**found, "dry_run": True}, text=f"would end {override_id}: gate {found['gate']}")
        return
    done = ops.withdraw(ctx.store, ctx.clock, override_id, actor=ctx.actor, reason=ctx.change.reason)
    text = f"override {override_id} of gate {done.gate} ended {iso(done.expires_at_ms)}"
    emit(ctx, {**_override(done), "dry_run": False}, text=text)


def _found(ctx: Context, override_id: str) -> dict[str, Any]:
    from upm_cli.store import overrides as rows

    with ctx.store.read() as reader:
        return _override(rows.get(reader, override_id))


def _override(row: "Override") -> dict[str, Any]:
    return {
        "override_id": row.override_id,
        "trainer": row.trainer,
        "gate": row.gate,
        "reason": row.reason,
        "actor": row.actor,
        "approver": row.approver,
        "at": iso(row.at_ms),
        "expires_at": iso(row.expires_at_ms),
    }
