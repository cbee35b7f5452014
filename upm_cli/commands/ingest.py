"""`upm ingest`: put windows into a stream's event log without learning from them yet."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._diagnostics import Progress
from upm_cli.commands._globals import command
from upm_cli.commands._output import emit


def register(app: typer.Typer) -> None:
    app.command("ingest")(ingest)


@command
def ingest(
    ctx: Context,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, globs, or - for stdin.")],
    trainer: Annotated[
        str | None, typer.Option("--trainer", metavar="TRAINER", help="Whose stream. Default: the only one.")
    ] = None,
    format: Annotated[str, typer.Option(metavar="FMT", help="auto, jsonl, csv or parquet.")] = "auto",
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until stopped.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read and report; write nothing.")] = False,
) -> int:
    """Order windows, drop duplicates, and append them to the event log.

    What can't be read becomes a dead letter with its reason; it never stops the rest.

    Example: upm ingest inbox/*.jsonl --trainer main
    """
    from upm_cli.ops import ingest as ops
    from upm_cli.ops import status, trainers
    from upm_cli.workers.context import Project
    from upm_cli.workers.training import ingest_child, run_tree

    name = ctx.trainer_name(trainer)
    if check:
        result = ops.check(sources, format)
        emit(ctx, result, text=_checked(result))
        return 0 if not result["rejected"] else 3
    known = trainers.ensure(ctx.store, ctx.clock, ctx.settings, name, actor=ctx.actor)
    project = Project(folder=ctx.project, config=ctx.config_option, overrides=ctx.globals.overrides)
    child = ingest_child(project, known.stream, sources, format, follow=follow)
    with ctx.say.progress(f"ingesting into {known.stream}") as progress:
        ended = run_tree(ctx.store, ctx.clock, ctx.settings, [child], partial(_show, progress))
    details = status.trainer_details(ctx.store, ctx.settings, name)
    result = {"stream": known.stream, "trainer": name, "windows": details["windows"], "gaps": details["gaps"]}
    result |= {"late_arrivals": details["late_arrivals"]}
    emit(ctx, result, text=_summary(result))
    return ended.exit_code


def _show(progress: Progress, workers: Mapping[str, Mapping[str, Any]]) -> None:
    for status in workers.values():
        progress.total = status.get("expected")
        progress.update(int(status.get("done", 0)), f"{status.get('rate') or 0:,.0f} windows/s")


def _summary(result: Mapping[str, Any]) -> str:
    windows = result["windows"]
    return (
        f"stream {result['stream']}: {windows['read']:,} windows read, {windows['duplicate']:,} duplicates, "
        f"{windows['late']:,} too late, {windows['dead_letter']:,} dead letters, {result['gaps']:,} gaps\n"
        f"next: upm train {result['trainer']}"
    )


def _checked(result: Mapping[str, Any]) -> str:
    lines = [f"{result['windows']:,} windows, {result['labels']:,} with a label, {result['rejected']:,} rejected"]
    lines += [f"  {reject['source']}:{reject['offset']}: {reject['reason']}" for reject in result["rejects"]]
    return "\n".join(lines)
