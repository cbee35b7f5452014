"""`upm drill`: rehearse a rollback or a whole rollout, without touching what is live."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._versions import TrainerArg
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.drill import Drilled
    from upm_cli.ops.drill_rollout import Rehearsed


def register(app: typer.Typer) -> None:
    group = new_group(help="Rehearse a rollback or a rollout; what is live is not touched.", no_args_is_help=True)
    group.command("rollback")(rollback)
    group.command("rollout")(rollout)
    app.add_typer(group, name="drill")


@changing
def rollback(ctx: Context, trainer: TrainerArg = None) -> int:
    """Go back for real in a temporary copy, check the outcome, and tell how long each part took.

    Time and result go into the ledger (drill.rollback); not with --dry-run. Exit code 9 when something is not as it
    must be, 5 when there is no way back: then find that out now. Where nothing is live, or a rollback went as far back
    as it can, a small made-up case is used.

    Example: upm drill rollback main --reason "monthly"
    """
    from upm_cli.ops.drill import drill_rollback, summary

    name = ctx.trainer_name(trainer)
    done = drill_rollback(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    checks = [{"check": each.check, "ok": each.ok, "detail": each.detail} for each in done.checks]
    payload: dict[str, Any] = {"trainer": name, **summary(done), "checks": checks, "recorded": not ctx.change.dry_run}
    emit(ctx, payload, text=_said(done, recorded=not ctx.change.dry_run))
    return ExitCode.DONE if done.is_ok else ExitCode.INTEGRITY


def _said(done: "Drilled", *, recorded: bool) -> str:
    of = "a made-up case, as there is nothing to go back from," if done.is_made_up else f"a copy of {done.trainer}"
    lines = [
        f"rolled {of} from v{done.from_version} back to v{done.to_version} in {' and '.join(done.rings)}: "
        f"{done.total_ms:.0f} ms"
    ]
    parts = (("open", done.open_ms), ("read", done.read_ms), ("verify", done.verify_ms), ("commit", done.commit_ms))
    lines += [f"  {part:<7} {ms:>8.1f} ms" for part, ms in parts]
    lines += [f"  {'✓' if each.ok else '✗ no'} {each.check}: {each.detail}" for each in done.checks]
    lines.append("on the record; what is live was not touched" if recorded else "what is live was not touched")
    return "\n".join(lines)


@command
def rollout(
    ctx: Context,
    harm: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Let the candidate do harm there: step 4, 'canary 10%', 10%."),
    ] = None,
    days: Annotated[float | None, typer.Option(metavar="N", min=0, help="Stop after so many days.")] = None,
) -> int:
    """Let a made-up candidate go the whole way by this project's policy, on a clock that is moved.

    Stages, holds, freezes and limits are those of upm.yaml, and so is what happens on harm; windows and verdicts are
    made up. Exit code 9 when it did not end as it must.

    Example: upm drill rollout

    Example: upm drill rollout --harm 'canary 10%'
    """
    from upm_cli.commands._rollout_tree import step
    from upm_cli.ops.drill_rollout import drill_rollout

    done = drill_rollout(ctx.settings, harm=harm, days=days)
    rows = [
        {
            "day": round(each.at_ms / 86_400_000, 3),
            "event": each.event,
            "stage": each.stage,
            "name": each.name,
            "ring": each.ring,
            "percent": each.percent,
            "why": each.why,
        }
        for each in done.moments
    ]
    payload = {
        "timeline": rows,
        "phase": done.phase,
        "stage": done.stage,
        "percent": done.percent,
        "days": done.days,
        "looks": done.looks,
        "serves_everybody": done.serves_everybody,
        "notes": list(done.notes),
        "as_expected": done.is_as_expected,
    }
    columns = [
        Column("day", "DAY", right=True, show=lambda day: f"{day:.1f}"),
        Column("event", "EVENT"),
        Column("stage", "STEP", right=True, show=step),
        Column("name", "STAGE"),
        Column("percent", "%", right=True),
        Column("why", "WHY"),
    ]
    emit(ctx, payload, Table(key="timeline", columns=columns))
    for note in done.notes:
        ctx.say.note(f"note: {note}")
    if ctx.output == "table":
        ctx.say.note(_ended(done))
    return ExitCode.DONE if done.is_as_expected else ExitCode.INTEGRITY


def _ended(done: "Rehearsed") -> str:
    serving = {"candidate": "the candidate serves everybody", "champion": "the champion serves everybody again"}
    end = serving.get(done.serves_everybody, "a part of the tenants has the candidate")
    odd = "" if done.is_as_expected else "; that is not how it has to end"
    return f"{done.phase} after {done.days:g} days, {done.looks} looks: {end}{odd}"
