"""`upm rollout readiness` and `sign-off`: may a lineage leave shadow, and be used in production?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._versions import TrainerArg
from upm_cli.errors import UsageError
from upm_cli.exit_codes import ExitCode
from upm_cli.nearest import choices

if TYPE_CHECKING:
    from upm_cli.core.rollouts.readiness import Readiness

STEPS = ("shadow", "production")
_SIGN = {"pass": "✓ met", "fail": "✗ not met", "unknown": "… unknown"}


def register(group: typer.Typer) -> None:
    group.command("readiness")(readiness)
    group.command("sign-off")(sign_off)


@command
def readiness(
    ctx: Context,
    trainer: TrainerArg = None,
    require: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="shadow (may leave it) or production: exit code 5 when not ready."),
    ] = None,
) -> int:
    """Show whether it may leave shadow, be used in production.

    Each criterion with its number, its limit, and what is missing.

    Example: upm rollout readiness main --require production
    """
    from upm_cli.core.rollouts.readiness import LEAVE_SHADOW
    from upm_cli.ops import readiness as ops
    from upm_cli.ops.rollout_view import feature_gates
    from upm_cli.store import feature_watches

    if require is not None and require not in STEPS:
        raise UsageError(f"--require {require!r} is no step", hint=choices(require, STEPS), code="UPM-E029")
    name = ctx.trainer_name(trainer)
    with ctx.store.read() as reader:
        found = ops.assess(reader, ctx.clock, ctx.settings, ctx.store.home, name)
        watch = feature_watches.find(reader, name)
    rows = [
        {
            "criterion": each.name,
            "needed_for": "shadow" if each.name in LEAVE_SHADOW else "production",
            "verdict": each.verdict.value,
            "value": each.value,
            "limit": each.limit,
            "detail": each.detail,
            "missing": each.missing or None,
        }
        for each in found.criteria
    ]
    payload = {
        "trainer": name,
        "may_leave_shadow": found.may_leave_shadow,
        "ready_for_production": found.is_ready,
        "criteria": rows,
    }
    columns = [
        Column("criterion", "CRITERION"),
        Column("verdict", "VERDICT", show=lambda verdict: _SIGN[verdict]),
        Column("needed_for", "NEEDED FOR"),
        Column("detail", "NOW"),
        Column("missing", "MISSING"),
    ]
    emit(ctx, payload, Table(key="criteria", columns=columns))
    if ctx.output == "table":
        ctx.say.note(_summary(name, found))
        for gate in feature_gates(ctx.settings, name, watch, ctx.clock.now_ms()):
            if gate.numbers["verdict"] != "pass":
                ctx.say.note(f"{'' if gate.allowed else 'a rollout is held: '}{gate.detail}")
    is_short = (require == "shadow" and not found.may_leave_shadow) or (require == "production" and not found.is_ready)
    return ExitCode.REFUSED if is_short else ExitCode.DONE


def _summary(name: str, found: "Readiness") -> str:
    if found.is_ready:
        return f"{name} may leave shadow, and is ready for production"
    if found.may_leave_shadow:
        return f"{name} may leave shadow; it is not ready for production yet"
    return f"{name} may not leave shadow yet"


@changing
def sign_off(
    ctx: Context,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="dashboard or runbook.")],
    trainer: TrainerArg = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What was looked at, and where it is.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take a sign-off back.")] = False,
) -> None:
    """Vouch for the dashboard or the runbook of a trainer.

    Under your own name; it counts while your role allows it.

    Example: upm rollout sign-off runbook main --note "wiki/upm, tried on Monday"
    """
    from upm_cli.ops import signing

    name = ctx.trainer_name(trainer)
    if withdraw:
        signed, changed = signing.withdraw(
            ctx.store,
            ctx.settings,
            name,
            item,
            actor=ctx.actor,
            reason=ctx.change.reason,
            dry_run=ctx.change.dry_run,
        )
    else:
        signed, changed = signing.sign(
            ctx.store, ctx.clock, ctx.settings, name, item, note=note, actor=ctx.actor, dry_run=ctx.change.dry_run
        )
    payload: dict[str, Any] = {
        "trainer": name,
        "item": item,
        "signed": not withdraw if changed and not ctx.change.dry_run else signed is not None,
        "actor": None if signed is None else signed.actor,
        "note": None if signed is None else signed.note,
        "changed": changed and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    state = "not signed off" if withdraw else f"signed off by {payload['actor']}"
    verb = "was already" if not changed else "would be" if ctx.change.dry_run else "is"
    emit(ctx, payload, text=f"the {item} of {name} {verb} {state}")
