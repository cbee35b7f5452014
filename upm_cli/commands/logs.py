"""`upm logs`: what the supervisor and its workers said."""

from collections.abc import Sequence
from typing import Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import command
from upm_cli.commands._output import Column, Table, check_reader, emit, emit_line
from upm_cli.errors import NotFoundError

_KEYS = ("at", "worker", "level", "text")
_POLL_S = 0.2


def register(app: typer.Typer) -> None:
    app.command("logs")(logs)


@command
def logs(
    ctx: Context,
    worker: Annotated[
        str | None, typer.Argument(metavar="[WORKER]", help="A process of upm ps, or a job of one. Default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is said from now on.")] = False,
    count: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="Lines of before.")] = 50,
) -> None:
    """Print the last lines that the supervisor and its workers wrote, oldest first.

    A job that shares a process with others shares its log, too.

    Example: upm logs trainer-main -n 20

    Example: upm logs -f -o jsonl
    """
    from dataclasses import asdict

    from upm_cli.store import logfiles

    home = ctx.store.home
    worker = None if worker is None else _log_of(ctx, worker, logfiles.workers(home))
    if not follow:
        lines = [asdict(line) for line in logfiles.tail(home, worker, count)]
        columns = [Column("at", "TIME", show=lambda at: at[:19].replace("T", " ") + "Z"), Column("worker", "WORKER")]
        columns += [Column("level", "LEVEL"), Column("text", "TEXT")]
        emit(ctx, {"lines": lines}, Table(key="lines", columns=columns, empty="nothing was said yet: upm up"))
        return
    following = logfiles.Following(home, worker)
    try:
        following.skip()
        before = logfiles.tail(home, worker, count)
        for line in [*before, *(new for new in following.poll() if new not in before)]:
            emit_line(ctx, asdict(line), _KEYS)
        while True:
            ctx.clock.sleep(_POLL_S)
            check_reader()
            for line in following.poll():
                emit_line(ctx, asdict(line), _KEYS)
    finally:
        following.close()


def _log_of(ctx: Context, worker: str, known: Sequence[str]) -> str:
    """Return the name of the log that `worker` writes to: its own, or that of the process that does this job."""
    from upm_cli.ops import supervisor

    running = supervisor.report(ctx.store)
    doing = [each.name for each in (running.workers if running is not None else ()) if worker in each.jobs]
    for name in (*doing, worker):
        if name in known:
            if name != worker:
                ctx.say.note(f"{worker} is one of the jobs of {name}")
            return name
    raise NotFoundError(
        f"no worker {worker!r} has a log",
        hint=f"there are {', '.join(known)}" if known else "upm up writes them",
        code="UPM-E173",
        context={"worker": worker, "known": known},
    )
