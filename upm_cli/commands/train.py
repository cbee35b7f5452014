"""`upm train`: learn from a stream until it is used up, or follow it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._diagnostics import Progress
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit
from upm_cli.commands._refused import brief, report
from upm_cli.errors import UsageError

_MUCH = 0.1  # share of late windows that is worth a word
_SECONDS_BELOW_MS = 10_000_000_000  # 1970-04-26: seconds of our time, read as milliseconds, are before that


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
    from upm_cli.ops import adapters, refusals, status, trainers
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
    began = refusals.before(ctx.store, name)
    started_s = ctx.clock.monotonic_s()
    with (
        lease.acquire(ctx.store.home, trainers.train_lease(name), ctx.command),
        ctx.say.progress(f"training {name}") as progress,
        trainers.noting_failure(ctx.store, ctx.clock, name),
    ):
        ended = run_tree(ctx.store, ctx.clock, settings, job.children(), partial(_show, progress, name))
    refused = refusals.since(ctx.store, began)
    if ended.signal is None:
        refusals.refuse_useless(refused)
    details = status.trainer_details(ctx.store, settings, name)
    result = status.train_result(ctx.store, details, since_version=known.last_version)
    result |= {"elapsed_s": round(ctx.clock.monotonic_s() - started_s, 3), "restarts": ended.restarts}
    result |= {"run": dict(refused.windows), "refused": refused.row()}
    if ctx.output != "table":
        ctx.say.note(_head(result))  # the one line of a cron log
    nothing_read = bool(sources) and refused.nothing_read
    text = _summary(result, details, sources, nothing_read=nothing_read, stopped=ended.signal is not None)
    if refused.windows["read"] and 0 < (refused.newest_ms or 0) < _SECONDS_BELOW_MS:
        ctx.say.warn("all windows are of the year 1970 or soon after: whole numbers are milliseconds, not seconds")
    emit(ctx, result, text=text)
    return ended.exit_code


def _head(result: Mapping[str, Any]) -> str:
    from upm_cli.ops import losses

    windows = result["windows"]
    return (
        f"{result['trainer']}: {windows['trained']:,} windows learned of {windows['read']:,} read, "
        f"{losses.in_words(result['loss'])}, {result['elapsed_s']:.1f} s{brief(result['refused'])}"
    )


def _summary(
    result: Mapping[str, Any], details: Mapping[str, Any], sources: list[str], *, nothing_read: bool, stopped: bool
) -> str:
    windows, versions = result["windows"], result["snapshots"]
    made = f"v{versions[0]:04d}…v{versions[-1]:04d}" if len(versions) > 1 else "".join(f"v{v:04d}" for v in versions)
    lines = [
        _head(result),
        "  " + "  ".join(f"{key.replace('_', ' ')} {count:,}" for key, count in windows.items() if key != "read"),
        *_this_run(result, nothing_read=nothing_read, stopped=stopped),
        f"  snapshots made: {made or 'none'}",
        *report(result["refused"], result["trainer"]),
    ]
    if not windows["read"] and not sources:
        lines.append("  no source was given and the log is empty: upm train --source FILE")
    elif drifting := _drifting(details, versions):
        lines += drifting
    elif versions:
        lines.append(f"  next: upm rollout start {result['trainer']}")
    return "\n".join(lines)


def _drifting(details: Mapping[str, Any], versions: Sequence[int]) -> list[str]:
    """Return what is to be said before anything is published: what this run made is barred, or drifts."""
    p95, limit = details["drift"]["p95"], details["drift"]["limit"]
    barred = [version for version in versions if version in details["quarantined"]]
    lines = [f"  quarantined: {', '.join(f'v{version:04d}' for version in barred)}"] if barred else []
    if versions and p95 is not None and p95 >= limit:
        lines.append(
            f"  drift: P95 {p95:.3f} reached the limit {limit:g}, which is in the unit of the label: "
            "drift_monitor.drift_threshold in upm.yaml"
        )
    return [*lines, f"  next: upm drift-report {details['name']}"] if lines else []


def _this_run(result: Mapping[str, Any], *, nothing_read: bool, stopped: bool) -> list[str]:
    """Return what became of what this run read, where that is not what the totals say."""
    run = result["run"]
    if nothing_read and stopped:
        return ["  stopped before anything new was read; what was committed is safe: run it again"]
    if nothing_read:
        return ["  nothing new was read: the sources are empty, or were read before"]
    lines = []
    grown = [f"{key.replace('_', ' ')} {count:,}" for key, count in run.items() if count > 0]
    if run != result["windows"] and grown:
        lines.append(f"  in this run: {'  '.join(grown)}")
    if run["unlabelled"] and not run["trained"]:
        lines += [
            "  nothing was learned, as no window has a label: it is in the field `label`, beside features,",
            '    or comes later as a line {"window_id": …, "label": …} of a source',
        ]
    if run["late"] > _MUCH * run["read"]:
        lines += [
            f"  {run['late']:,} came too late, behind newer ones: sort the source by window_start,",
            "    or raise replay_buffer.late_window_tolerance_ms. To learn from them after all: "
            f"upm events dead-letters {result['trainer']} --late --retry",
        ]
    return lines


def _show(progress: Progress, trainer: str, workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw what the workers said last."""
    ingest = next((status for name, status in workers.items() if name.startswith("ingest-")), {})
    learning = workers.get(f"trainer-{trainer}", {})
    progress.total = ingest.get("expected")
    loss = learning.get("loss")
    said = f"{learning.get('rate') or 0:,.0f} windows/s  loss {'—' if loss is None else f'{loss:.3f}'}"
    progress.update(int(learning.get("done", 0)), f"{said}  lag {learning.get('lag', 0):,}")
