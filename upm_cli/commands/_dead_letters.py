"""`upm events dead-letters`: what could not be learned from, and trying it again."""

from typing import TYPE_CHECKING, Annotated

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing
from upm_cli.commands._output import Column, Table, emit
from upm_cli.errors import UsageError
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.core.feedback.join import JoinPolicy
    from upm_cli.core.replay import ReplayPolicy

_RAW_SHOWN = 60  # characters of the raw record in a table


@changing
def dead_letters(
    ctx: Context,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: the only one.")] = None,
    late: Annotated[
        bool, typer.Option("--late", help="List the windows and outcomes that came too late instead.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Feed them in again; those still bad stay.")] = False,
    acknowledge: Annotated[
        bool,
        typer.Option("--acknowledge", help="Say that they were looked at; only those that come later are a problem."),
    ] = False,
) -> int:
    """List what could not be learned from: records that could not be read, and windows the learner refused.

    --retry decodes the records again and feeds the good ones in as new arrivals; with --late it puts the windows that
    came too late behind everything in the log, to be learned after all, and joins late outcomes to their predictions.
    Exit code 8 when some stay.

    --acknowledge is for those that nothing can be done about: they are kept and can still be tried again, but `upm
    status` no longer tells of them. It needs a --reason and the role operator, and is on the record.

    Example: upm events dead-letters main -o jsonl

    Example: upm events dead-letters main --retry

    Example: upm events dead-letters main --acknowledge --reason "test data of Monday" --yes
    """
    from upm_cli.ops import dead_letters as ops

    name = ctx.trainer_name(trainer)
    if acknowledge:
        if late or retry:
            raise UsageError("--acknowledge goes alone", hint="leave --late and --retry out")
        return _acknowledge(ctx, name)
    stream = _stream(ctx, name)
    if retry:
        return _retry_late(ctx, name, stream) if late else _retry(ctx, name, stream)
    if late:
        rows = [dict(row) for row in ops.late_windows(ctx.store, stream)] if stream else []
        emit(ctx, {"trainer": name, "late_windows": rows}, _late_table())
        return ExitCode.DONE
    from upm_cli.ops.refused import refused_windows

    letters = [letter.row() for letter in ops.find(ctx.store, stream)] if stream else []
    letters += [{"kind": "refused", **row} for row in refused_windows(ctx.store, name)]
    emit(ctx, {"trainer": name, "dead_letters": letters}, _table())
    return ExitCode.DONE


def _acknowledge(ctx: Context, name: str) -> int:
    from upm_cli.ops import seen_letters as ops

    found = ops.waiting(ctx.store, ctx.settings, name, actor=ctx.actor)
    if found.count and not ctx.change.dry_run:
        letters = f"{found.count:,} dead letter{'' if found.count == 1 else 's'}"
        ctx.confirm(f"this says that {letters} of {name} were looked at")
        found = ops.acknowledge(ctx.store, ctx.settings, name, actor=ctx.actor, reason=ctx.change.reason)
    verb = "would be acknowledged" if ctx.change.dry_run else "acknowledged"
    text = f"{found.count:,} {verb}, {found.total:,} kept" if found.count else f"nothing new; {found.total:,} kept"
    payload = {"trainer": name, "acknowledged": found.count, "total": found.total, "dry_run": ctx.change.dry_run}
    emit(ctx, payload, text=text)
    return ExitCode.DONE


def _stream(ctx: Context, name: str) -> str | None:
    """Return the stream of the trainer, or None when nothing was ever read for it."""
    from upm_cli.store import streams, trainers

    with ctx.store.read() as reader:
        known = trainers.find(reader, name)
        found = streams.find(reader, known.stream if known else name)
    return found.name if found else None


def _retry_late(ctx: Context, name: str, stream: str | None) -> int:
    from upm_cli.ops import dead_letters as ops

    waiting = len(list(ops.late_windows(ctx.store, stream))) if stream else 0
    ingested = 0
    if stream is not None and not ctx.change.dry_run:
        ingested = ops.readmit_late(ctx.store, ctx.clock, _policy(ctx), stream, join=_join(ctx)).ingested
    payload = {"trainer": name, "late_windows": waiting, "ingested": ingested, "dry_run": ctx.change.dry_run}
    text = (
        f"{waiting:,} late windows and outcomes would be fed in again"
        if ctx.change.dry_run
        else f"{ingested:,} fed in again"
    )
    emit(ctx, payload, text=text)
    if ingested:
        ctx.say.hint(f"upm train {name} --once learns from them")
    return ExitCode.DONE


def _retry(ctx: Context, name: str, stream: str | None) -> int:
    from upm_cli.ops import dead_letters as ops

    waiting = len(ops.find(ctx.store, stream)) if stream else 0
    if ctx.change.dry_run or stream is None or not waiting:
        payload = {"trainer": name, "tried": 0, "ingested": 0, "left": waiting, "dry_run": ctx.change.dry_run}
        emit(
            ctx, payload, text=f"{waiting:,} dead letters" + (" would be tried" * (ctx.change.dry_run and waiting > 0))
        )
        return ExitCode.DONE
    done = ops.retry(ctx.store, ctx.clock, _policy(ctx), stream, join=_join(ctx))
    text = f"{done.tried:,} tried: {done.ingested:,} ingested, {done.left:,} left"
    emit(ctx, {"trainer": name, "tried": done.tried, "ingested": done.ingested, "left": done.left}, text=text)
    if done.ingested:
        ctx.say.hint(f"upm train {name} --once learns from them")
    return ExitCode.PARTIAL if done.left else ExitCode.DONE


def _policy(ctx: Context) -> "ReplayPolicy":
    from upm_cli.workers.ingest import replay_policy

    return replay_policy(ctx.settings.replay_buffer)


def _join(ctx: Context) -> "JoinPolicy":
    from upm_cli.ops.feedback import policy_of

    return policy_of(ctx.settings.feedback)


def _table() -> Table:
    columns = [
        Column("source", "SOURCE"),
        Column("offset", "OFFSET", right=True, show=lambda offset: f"{offset:,}"),
        Column("reason", "REASON"),
        Column("raw", "RECORD", show=_brief),
    ]
    return Table(key="dead_letters", columns=columns, empty="no dead letters")


def _late_table() -> Table:
    from upm_cli.ids import iso

    columns = [
        Column("window_start", "START", show=iso),
        Column("window_id", "WINDOW"),
        Column("prediction_id", "PREDICTION"),
        Column("tenant_id", "TENANT"),
        Column("label_value", "LABEL", right=True),
        Column("label_text", ""),
    ]
    return Table(key="late_windows", columns=columns, empty="nothing came too late")


def _brief(raw: str) -> str:
    return raw if len(raw) <= _RAW_SHOWN else raw[: _RAW_SHOWN - 1] + "…"
