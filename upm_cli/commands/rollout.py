"""`upm rollout`: let a version reach the tenants stage by stage, look at it, steer it, stop it."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands import _rollout_freeze, _rollout_ready
from upm_cli.commands._after import hand_over, in_words
from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._refusal import telling
from upm_cli.commands._versions import TrainerArg, VersionArg, trainer_and_version
from upm_cli.errors import UsageError
from upm_cli.exit_codes import ExitCode
from upm_cli.nearest import choices

if TYPE_CHECKING:
    from upm_cli.ops.rollout import Looked

UNTIL = ("healthy", "done")


def register(app: typer.Typer) -> None:
    group = new_group(help="Let a version reach the tenants stage by stage.", no_args_is_help=True)
    group.command("start")(start)
    group.command("status")(status)
    group.command("plan")(plan)
    group.command("history")(history)
    group.command("tick")(tick)
    group.command("promote")(promote)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("abort")(abort)
    group.command("retry")(retry)
    _rollout_freeze.register(group)
    _rollout_ready.register(group)
    app.add_typer(group, name="rollout")


@changing
def start(ctx: Context, trainer: TrainerArg = None, version: VersionArg = None) -> None:
    """Begin a rollout in shadow, where nobody sees it. Without VERSION: the newest sound one when it leaves shadow.

    From then on it goes by itself, a stage at a time, when the worker or `upm rollout tick` looks at it. One that is
    under way stays as it is: exit code 0.

    Example: upm rollout start main --reason "the new features"
    """
    from upm_cli.ops import authority, rollout, trainers

    name, word = trainer_and_version(ctx, trainer, version, default="")
    authority.require(ctx.settings, ctx.store.home, ctx.actor, "rollout.start")
    if not ctx.change.dry_run:
        trainers.ensure(ctx.store, ctx.clock, ctx.settings, name, actor=ctx.actor)
    done = rollout.start(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        word or None,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    _answer(ctx, "start", done)


@command
def status(
    ctx: Context,
    trainer: TrainerArg = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on until it ends; a line for each change.")] = False,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="STATE",
            help="healthy (only time and evidence hold it back) or done (promoted); --timeout ends with 10.",
        ),
    ] = None,
) -> int:
    """Show how a rollout stands.

    Its stages, what each gate says with numbers, and what comes next. With --until it waits: exit code 0 when it is
    so, 6 when the rollout was aborted or degraded, 10 with --timeout.

    Example: upm rollout status main

    Example: upm rollout status main --until healthy --timeout 10m
    """
    from upm_cli.commands._rollout_watch import show, watch_it

    if until is not None and until not in UNTIL:
        raise UsageError(f"--until {until!r} is no state", hint=choices(until, UNTIL), code="UPM-E029")
    name = ctx.trainer_name(trainer)
    if watch or until is not None:
        return watch_it(ctx, name, until)
    show(ctx, name)
    return ExitCode.DONE


@command
def plan(ctx: Context, trainer: TrainerArg = None) -> None:
    """Show the stages, when each can begin, and what it needs.

    Of the rollout under way, or else of one that would start now.

    Example: upm rollout plan main
    """
    from upm_cli.commands._rollout_tree import local, step
    from upm_cli.errors import NotFoundError
    from upm_cli.ops import rollout_status as ops
    from upm_cli.ops.rollout_words import duration

    name = ctx.trainer_name(trainer)
    try:
        found = ops.standing(ctx.store, ctx.clock, ctx.settings, name)
        stages, state = found.stages, found.state
    except NotFoundError:
        with ctx.store.read() as reader:
            stages, state = tuple(ops.planned(reader, ctx.clock, ctx.settings, name)), None
    rows = ops.stages_json(stages, state)
    for row in rows:
        row["needs"] = _needs(ctx, row, last=row["stage"] == len(rows) - 1)
    columns = [
        Column("stage", "STEP", right=True, show=step),
        Column("name", "STAGE"),
        Column("status", "STATUS"),
        Column("need_ms", "FOR AT LEAST", right=True, show=lambda ms: duration(ms) if ms else "—"),
        Column("at", "EARLIEST", show=local),
        Column("needs", "TO ENTER IT", show=", ".join),
    ]
    payload = {"trainer": name, "rollout_id": None if state is None else state.rollout_id, "stages": rows}
    emit(ctx, payload, Table(key="stages", columns=columns))


def _needs(ctx: Context, row: Mapping[str, Any], *, last: bool) -> list[str]:
    """Return what it takes to enter a stage, besides the time of the one before."""
    settings = ctx.settings
    if row["stage"] == 0:
        return ["nothing: shadow is always allowed"]
    needs = ["fresh evidence", "no freeze"]
    if row["ring"] == "canary":
        needs.append("policy.canary_tenants")
    if row["stage"] == 1:
        needs.insert(0, f"readiness ({settings.policy.min_shadow_hours} h in shadow)")
    if not settings.rollout.automatic:
        needs.append("upm rollout promote")
    return needs


@command
def history(ctx: Context, trainer: TrainerArg = None) -> None:
    """List every decision about rollouts, newest last.

    Example: upm rollout history main
    """
    from upm_cli.commands._rollout_tree import step
    from upm_cli.ops.rollout_history import history as ops

    name = ctx.trainer_name(trainer)
    found = ops(ctx.store, name)
    columns = [
        Column("ledger", "LEDGER", right=True),
        Column("at", "TIME", show=lambda at: at[:19].replace("T", " ") + "Z"),
        Column("rollout", "NO", right=True),
        Column("phase", "PHASE"),
        Column("stage", "STEP", right=True, show=step),
        Column("percent", "%", right=True),
        Column("version", "VERSION", right=True, show=lambda version: f"v{version}"),
        Column("actor", "WHO"),
        Column("what", "WHAT"),
        Column("reason", "WHY"),
    ]
    empty = f"{name} has no rollout yet: upm rollout start {name}"
    emit(ctx, {"trainer": name, **found}, Table(key="decisions", columns=columns, empty=empty))


@changing
def tick(
    ctx: Context,
    trainer: TrainerArg = None,
    every: Annotated[bool, typer.Option("--all", help="Every trainer that has a rollout.")] = False,
) -> int:
    """Look once, for cron: go on, wait or turn back.

    It counts the time too, and says nothing without news. Looking twice, or two at once, is as good as once. Exit
    code 6 when a rollout was turned back in this look.

    Example: upm rollout tick --all
    """
    from upm_cli.ops.rollout_ticking import tick_all

    if every and trainer is not None:
        raise UsageError("TRAINER and --all exclude each other", hint="leave one out", code="UPM-E020")
    names = None if every else (ctx.trainer_name(trainer),)
    looked = tick_all(ctx.store, ctx.clock, ctx.settings, names, actor=ctx.actor, dry_run=ctx.change.dry_run)
    rows = [
        {
            "trainer": each.name,
            "phase": each.phase,
            "stage": each.stage,
            "percent": each.percent,
            "version": each.version,
            "decided": list(each.decided),
            "waits_for": list(each.waits_for),
            "degraded": each.is_degraded,
            "decision_id": each.decision_id,
        }
        for each in looked
    ]
    news = [f"{each.name}: {'; '.join(each.decided)}" for each in looked if each.decided]
    if news or ctx.output in ("json", "jsonl"):
        columns = [Column(key) for key in ("trainer", "phase", "stage", "percent", "version", "decided")]
        payload = {"rollouts": rows, "dry_run": ctx.change.dry_run}
        emit(ctx, payload, Table(key="rollouts", columns=columns), text="\n".join(news))
    for each in looked if not ctx.change.dry_run else ():
        if each.decided and (told := in_words(hand_over(ctx, ctx.store, each.name))):
            ctx.say.note(f"{each.name}: {told.strip()}")
    return ExitCode.BREACH if any(each.is_degraded for each in looked) else ExitCode.DONE


@changing
def promote(ctx: Context, trainer: TrainerArg = None) -> None:
    """Take the next step now, without the rest of its time.

    Never without evidence and the other gates.

    Example: upm rollout promote main --reason "looks good, it is Monday" --yes
    """
    _ask(ctx, trainer, "promote", confirm=True)


@changing
def pause(ctx: Context, trainer: TrainerArg = None) -> None:
    """Stop going on; exposure stays as it is.

    Harm still turns it back.

    Example: upm rollout pause main --reason "support is busy"
    """
    _ask(ctx, trainer, "pause")


@changing
def resume(ctx: Context, trainer: TrainerArg = None) -> None:
    """Go on after a pause; its time does not count.

    Example: upm rollout resume main
    """
    _ask(ctx, trainer, "resume")


@changing
def abort(ctx: Context, trainer: TrainerArg = None) -> None:
    """Give it up: tenants get back what served before.

    The candidate is not blamed: it may be tried again.

    Example: upm rollout abort main --reason "wrong labels since noon" --yes
    """
    _ask(ctx, trainer, "abort", confirm=True)


def _ask(ctx: Context, trainer: str | None, verb: str, *, confirm: bool = False) -> None:
    from upm_cli.ops import rollout

    name = ctx.trainer_name(trainer)
    ask = partial(
        rollout.ask, ctx.store, ctx.clock, ctx.settings, name, verb, actor=ctx.actor, reason=ctx.change.reason
    )
    if ctx.change.dry_run or (confirm and not ctx.change.yes):
        with telling(ctx):
            looked = ask(dry_run=True)
        if ctx.change.dry_run:
            _answer(ctx, verb, looked)
            return
        planned = _moves(looked)
        if planned:
            ctx.confirm(f"this takes {name} to {planned}")
    with telling(ctx):
        done = ask()
    _answer(ctx, verb, done)


def _moves(planned: "Looked") -> str:
    """Return what a decision changes for tenants, in words; empty: nothing."""
    from upm_cli.core.rollouts.decisions import Activate, Rollback
    from upm_cli.ops.rollout_status import told

    return "; ".join(told(each) for each in planned.decisions if isinstance(each, Activate | Rollback))


@changing
def retry(ctx: Context, trainer: TrainerArg = None, version: VersionArg = None) -> None:
    """Begin a new rollout in shadow after one that ended.

    Example: upm rollout retry main --reason "the labels are fixed"
    """
    from upm_cli.ops import rollout
    from upm_cli.ops.rollout_ticking import settle

    name, word = trainer_and_version(ctx, trainer, version, default="")
    if not ctx.change.dry_run:
        settle(ctx.store, ctx.clock, ctx.settings, name)
    done = rollout.retry(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        word or None,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    _answer(ctx, "retry", done)


def _answer(ctx: Context, verb: str, done: "Looked") -> None:
    from upm_cli.ops.rollout_status import told

    state = done.state
    assert state is not None
    decided = [told(each) for each in done.decisions if each.kind != "hold"]
    agents = hand_over(ctx, ctx.store, done.trainer) if _moves(done) and not ctx.change.dry_run else None
    payload = {
        "trainer": done.trainer,
        "verb": verb,
        "rollout_id": None if ctx.change.dry_run and verb in ("start", "retry") and decided else state.rollout_id,
        "phase": state.phase.value,
        "stage": state.stage,
        "percent": state.percent,
        "version": state.version,
        "champion": state.champion,
        "decided": decided,
        "decision_id": done.decision_id,
        "changed": bool(decided) and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
        "adapters": agents,
    }
    emit(ctx, payload, text=_said(done, decided, dry_run=ctx.change.dry_run) + in_words(agents))


def _said(done: "Looked", decided: list[str], *, dry_run: bool) -> str:
    state = done.state
    assert state is not None
    where = f"rollout of {done.trainer} is {state.phase} at step {state.stage + 1} ({state.percent} %)"
    if not decided:
        return f"{where}; nothing changed"
    if dry_run:
        return f"would: {'; '.join(decided)}\nthen the {where}"
    return f"{'; '.join(decided)}\n{where}   look: upm rollout status {done.trainer}"
