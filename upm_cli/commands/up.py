"""`upm up`, `upm down` and `upm restart`: run everything, end it, start a part of it anew."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._output import emit

if TYPE_CHECKING:
    from upm_cli.store.logfiles import Line


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("down")(down)
    app.command("restart")(restart)


@command
def up(
    ctx: Context,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything runs; it goes on in the background.")
    ] = False,
) -> int:
    """Run every trainer of the project, in the foreground: read its sources, train, judge, roll out, hand to agents.

    Workers that die or get stuck are started again. SIGTERM or Ctrl-C ends it: batches are finished and committed; a
    second one ends it at once. SIGHUP reads the configuration again. For systemd it is a service of Type=notify.

    Example: upm up
    """
    if detach:
        return _detach(ctx)
    from upm_cli.ops import supervisor as ops
    from upm_cli.ops import trainers
    from upm_cli.store import lease
    from upm_cli.workers import supervising, targets

    trainers.refuse_feature_off(ctx.settings)
    supervising.refuse_disabled(ctx.settings)
    targets.refuse_pipes(ctx.settings)
    with lease.acquire(ctx.store.home, ops.LEASE, ctx.command):
        return supervising.supervise(
            ctx.store,
            ctx.clock,
            ctx.settings,
            folder=ctx.project,
            config=ctx.config_option,
            overrides=ctx.globals.overrides,
            echo=lambda line: _echo(ctx, line),
        )


@changing
def down(
    ctx: Context,
    drain: Annotated[
        bool,
        typer.Option("--drain", help="First learn and judge what has been read, whole batches; nothing new is read."),
    ] = False,
) -> None:
    """Ask the supervisor to end; its workers finish their batches and commit. With --wait DUR, wait until it has.

    When none runs there is nothing to do.

    Example: upm down --drain --wait 5m
    """
    from upm_cli.ops import supervisor as ops

    found = ops.holder(ctx.store)
    how = "drain" if drain else "stop"
    answer: dict[str, Any] = {"pid": None, "asked": None, "ended": found is None, "elapsed_s": 0.0}
    said = "no supervisor runs in this project: nothing to do"
    if found is not None and ctx.change.dry_run:
        said = f"would ask the supervisor (pid {found.pid}) to {how}"
    elif found is not None:
        _, asked = ops.ask(ctx.store, ctx.clock, how, actor=ctx.actor, reason=ctx.change.reason)
        answer |= {"pid": asked.pid, "asked": how}
        said = f"the supervisor (pid {asked.pid}) was asked to {how}: upm ps shows how far it is"
        if ctx.globals.wait:
            elapsed_s = ops.wait_for_end(ctx.store, ctx.clock, asked, ctx.lock_timeout_s)
            answer |= {"ended": True, "elapsed_s": round(elapsed_s, 3)}
            said = f"the supervisor (pid {asked.pid}) has ended, after {elapsed_s:.1f} s"
    emit(ctx, {**answer, "dry_run": ctx.change.dry_run}, text=said)


@changing
def restart(
    ctx: Context,
    worker: Annotated[
        str | None, typer.Argument(metavar="[WORKER]", help="A name of upm ps, or of a trainer. Default: all of them.")
    ] = None,
) -> None:
    """Start a worker anew, one that was given up too; without WORKER all of them, with the configuration as it is now.

    Example: upm restart trainer-main --reason "the disk is back"
    """
    from upm_cli.ops import supervisor as ops

    found = ops.require(ctx.store)
    meant = ops.find_worker(ctx.store, worker) if worker is not None else ops.LEASE
    if not ctx.change.dry_run:
        ops.ask(ctx.store, ctx.clock, "restart", worker=meant, actor=ctx.actor, reason=ctx.change.reason)
    verb = "would start" if ctx.change.dry_run else "starts"
    what = "every worker" if worker is None else meant
    payload = {"pid": found.pid, "worker": None if worker is None else meant, "dry_run": ctx.change.dry_run}
    emit(ctx, payload, text=f"the supervisor (pid {found.pid}) {verb} {what} anew")


def _detach(ctx: Context) -> int:
    """Start `upm up` in the background and wait until it is ready."""
    import shlex

    from upm_cli.ops import supervisor as ops
    from upm_cli.workers.detached import start

    words = [word for word in shlex.split(ctx.command)[1:] if word != "--detach"]
    started = start(words, ctx.environ, ctx.clock, ctx.timeout_s)
    if started.code is not None:
        ctx.say.note(started.said.rstrip())
        return started.code
    shown = ops.line(ctx.store, ctx.clock.now_ms()) or {}
    said = f"up (pid {started.pid}), {shown.get('workers', 0)} workers: upm ps, upm logs, upm down"
    emit(ctx, {"pid": started.pid, **{key: shown.get(key) for key in ("trainers", "workers", "problems")}}, text=said)
    return 0


def _echo(ctx: Context, line: "Line") -> None:
    """Show one line of the log. The journal of systemd has times of its own."""
    at = "" if "JOURNAL_STREAM" in ctx.environ else f"{line.at[11:19]} "
    text = f"{at}{line.worker}: {line.text}"
    if line.level == "error":
        ctx.say.warn(text)
    else:
        ctx.say.note(text)
