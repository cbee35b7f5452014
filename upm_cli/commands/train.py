"""`upm train`: learn from a stream until it is used up, or follow it."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._diagnostics import Progress
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit
from upm_cli.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command("train")(train)


@command
def train(
    ctx: Context,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(metavar="MODE", help="shadow, canary or active. Default: as it is.", show_default=False),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="File, folder or glob of windows, or - for standard input. May be repeated."),
    ] = None,
    format: Annotated[str, typer.Option(metavar="FMT", help="auto, jsonl, csv or parquet.")] = "auto",
    outcomes: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Prediction logs of agents, learned from and judged. May be repeated."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop at the end of the input (the default).")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until stopped.")] = False,
    snapshot_every: Annotated[
        int | None, typer.Option(metavar="N", help="Windows between snapshots.", show_default=False)
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Windows per mini-batch.", show_default=False)] = None,
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Learning rate.", show_default=False)] = None,
) -> int:
    """Learn from windows: order and log them, predict, compare, learn, keep snapshots, judge drift.

    Runs its workers as processes and starts them again if they die; what was committed is never lost and never
    learned twice. Safe to run from cron: a second run at the same time exits with 7. Where there are adapters, what is
    live is handed to them meanwhile.

    Example: upm train main --mode shadow --source events.jsonl --once
    """
    from upm_cli.config.load import load
    from upm_cli.ops import adapters, status, trainers
    from upm_cli.store import lease
    from upm_cli.workers.context import Project
    from upm_cli.workers.training import TrainingJob, run_tree

    if once and follow:
        raise UsageError("--once and --follow exclude each other", hint="leave one out")
    given = {"snapshot_interval": snapshot_every, "batch_size": batch, "learning_rate": lr}
    extra = tuple(f"trainer_worker.{key}={value}" for key, value in given.items() if value is not None)
    settings = load(ctx.config_path, overrides=(*ctx.globals.overrides, *extra), environ=ctx.environ).settings
    name = ctx.trainer_name(trainer)
    trainers.refuse_feature_off(settings)
    known = trainers.ensure(ctx.store, ctx.clock, settings, name, actor=ctx.actor)
    known = trainers.set_mode(ctx.store, ctx.clock, known, mode, actor=ctx.actor)
    trainers.refuse_paused(known)
    project = Project(folder=ctx.project, config=ctx.config_option, overrides=(*ctx.globals.overrides, *extra))
    sources = trainers.sources_of(settings, known, source or [], ctx.project)
    with ctx.store.read() as reader:
        delivers = adapters.exist(reader)
    job = TrainingJob(
        project=project,
        trainer=name,
        stream=known.stream,
        sources=sources,
        outcomes=trainers.outcomes_of(settings, known, outcomes or [], ctx.project),
        format=format,
        follow=follow,
        delivers=delivers,
    )
    started_s = ctx.clock.monotonic_s()
    with (
        lease.acquire(ctx.store.home, trainers.train_lease(name), ctx.command),
        ctx.say.progress(f"training {name}") as progress,
    ):
        ended = run_tree(ctx.store, ctx.clock, settings, job.children(), partial(_show, progress, name))
    details = status.trainer_details(ctx.store, settings, name)
    result = status.train_result(ctx.store, details, since_version=known.last_version)
    result |= {"elapsed_s": round(ctx.clock.monotonic_s() - started_s, 3), "restarts": ended.restarts}
    if ctx.output != "table":
        ctx.say.note(_summary(result, sources).splitlines()[0])  # the one line of a cron log
    emit(ctx, result, text=_summary(result, sources))
    return ended.exit_code


def _summary(result: Mapping[str, Any], sources: list[str]) -> str:
    windows, versions = result["windows"], result["snapshots"]
    loss = result["loss"]["progressive"]
    made = f"v{versions[0]:04d}…v{versions[-1]:04d}" if len(versions) > 1 else "".join(f"v{v:04d}" for v in versions)
    lines = [
        f"{result['trainer']}: {windows['trained']:,} windows learned of {windows['read']:,} read, "
        f"loss {'unknown' if loss is None else f'{loss:.4f}'}, {result['elapsed_s']:.1f} s",
        "  " + "  ".join(f"{key.replace('_', ' ')} {count:,}" for key, count in windows.items() if key != "read"),
        f"  snapshots made: {made or 'none'}",
    ]
    if not windows["read"] and not sources:
        lines.append("  no source was given and the log is empty: upm train --source FILE")
    elif versions:
        lines.append(f"  next: upm rollout start {result['trainer']}")
    return "\n".join(lines)


def _show(progress: Progress, trainer: str, workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw what the workers said last."""
    ingest = next((status for name, status in workers.items() if name.startswith("ingest-")), {})
    learning = workers.get(f"trainer-{trainer}", {})
    progress.total = ingest.get("expected")
    loss = learning.get("loss")
    said = f"{learning.get('rate') or 0:,.0f} windows/s  loss {'—' if loss is None else f'{loss:.3f}'}"
    progress.update(int(learning.get("done", 0)), f"{said}  lag {learning.get('lag', 0):,}")
