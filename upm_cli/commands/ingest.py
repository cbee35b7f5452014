"""`upm ingest`: put windows, or what agents told, into a stream's event log without learning from them yet."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._diagnostics import Progress
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit
from upm_cli.commands._refused import brief, reason_lines, report
from upm_cli.errors import UsageError

OUTCOMES = "outcomes"
_UNITS = {"windows": "windows", OUTCOMES: "lines"}


def register(app: typer.Typer) -> None:
    app.command("ingest")(ingest)


@command
def ingest(
    ctx: Context,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, globs, or - for stdin.")],
    trainer: Annotated[
        str | None, typer.Option("--trainer", metavar="TRAINER", help="Whose stream. Default: the only one.")
    ] = None,
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="windows; or outcomes: agents' predictions and what came of them.")
    ] = "windows",
    format: Annotated[str, typer.Option(metavar="FMT", help="auto, jsonl, csv or parquet.")] = "auto",
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until stopped.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read and report; write nothing.")] = False,
) -> int:
    """Order windows, drop duplicates, and append them to the event log.

    What can't be read becomes a dead letter with its reason; it never stops the rest.

    With --kind outcomes the sources are the prediction logs of agents: predictions with features become windows,
    outcomes their labels, and both together comparisons of the version that was served.

    Example: upm ingest inbox/*.jsonl --trainer main

    Example: upm ingest --kind outcomes logs/ --trainer main
    """
    from upm_cli.ops import refusals, status, trainers
    from upm_cli.workers.context import Project
    from upm_cli.workers.training import ingest_child, run_tree

    _check_kind(kind, format)
    name = ctx.trainer_name(trainer)
    if check:
        return _check(ctx, sources, kind, format)
    known = trainers.ensure(ctx.store, ctx.clock, ctx.settings, name, actor=ctx.actor)
    project = Project(folder=ctx.project, config=ctx.config_option, overrides=ctx.globals.overrides)
    told = (name, sources) if kind == OUTCOMES else None
    child = ingest_child(project, known.stream, [] if told else sources, format, follow=follow, told=told)
    began = refusals.before(ctx.store, name)
    with ctx.say.progress(f"ingesting into {known.stream}") as progress:
        ended = run_tree(ctx.store, ctx.clock, ctx.settings, [child], partial(_show, progress, _UNITS[kind]))
    refused = refusals.since(ctx.store, began)
    if ended.signal is None:
        refusals.refuse_useless(refused)
    details = status.trainer_details(ctx.store, ctx.settings, name)
    result = {"stream": known.stream, "trainer": name, "windows": details["windows"], "gaps": details["gaps"]}
    result |= {"late_arrivals": details["late_arrivals"], "refused": refused.row()}
    if told:
        result["feedback"] = details["feedback"]
    emit(ctx, result, text=_told(result) if told else _summary(result))
    return ended.exit_code


def _check_kind(kind: str, format: str) -> None:
    if kind not in _UNITS:
        raise UsageError(f"--kind can't be {kind!r}", hint=f"one of: {', '.join(_UNITS)}", code="UPM-E029")
    if kind == OUTCOMES and format not in ("auto", "jsonl"):
        raise UsageError(f"outcomes don't come as {format}", hint="they are JSON lines: leave --format out")


def _check(ctx: Context, sources: list[str], kind: str, format: str) -> int:
    from upm_cli.ops import ingest as ops

    result = ops.check_outcomes(sources) if kind == OUTCOMES else ops.check(sources, format)
    emit(ctx, result, text=_checked(result))
    return 0 if not result["rejected"] else 3


def _show(progress: Progress, unit: str, workers: Mapping[str, Mapping[str, Any]]) -> None:
    for status in workers.values():
        progress.total = status.get("expected")
        progress.update(int(status.get("done", 0)), f"{status.get('rate') or 0:,.0f} {unit}/s")


def _summary(result: Mapping[str, Any]) -> str:
    windows = result["windows"]
    return (
        f"stream {result['stream']}: {windows['read']:,} windows read, {windows['duplicate']:,} duplicates, "
        f"{windows['late']:,} too late, {windows['dead_letter']:,} dead letters, {result['gaps']:,} gaps"
        f"{_end(result)}"
    )


def _told(result: Mapping[str, Any]) -> str:
    told, windows = result["feedback"], result["windows"]
    where = {"other trainers'": told["elsewhere"], "dead letters": told["dead_letter"]}
    also = "".join(f", {count:,} {what}" for what, count in where.items() if count)
    return (
        f"trainer {result['trainer']}: {told['read']:,} lines read: {told['predictions']:,} predictions, "
        f"{told['outcomes']:,} outcomes, {told['duplicate']:,} duplicates{also}\n"
        f"  outcomes: {told['compared']:,} compared, {told['waiting']:,} wait for their prediction, "
        f"{told['late']:,} too late\n"
        f"  stream {result['stream']}: {told['windows']:,} windows and {told['labelled']:,} labels handed over; "
        f"{windows['late']:,} windows too late, {told['parked']:,} labels wait for their window"
        f"{_end(result)}"
    )


def _end(result: Mapping[str, Any]) -> str:
    refused = result["refused"]
    return "\n".join([brief(refused), *report(refused, result["trainer"]), f"next: upm train {result['trainer']}"])


def _checked(result: Mapping[str, Any]) -> str:
    if "outcomes" in result:
        made = f"{result['predictions']:,} predictions ({result['windows']:,} with features)"
        head = f"{made}, {result['outcomes']:,} outcomes"
    else:
        head = f"{result['windows']:,} windows, {result['labels']:,} with a label"
        if result["later_labels"]:
            head += f", {result['later_labels']:,} labels of windows that came before"
    lines = [f"{head}, {result['rejected']:,} rejected"]
    lines += reason_lines(result["reasons"])
    return "\n".join(lines)
