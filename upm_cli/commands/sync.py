"""`upm sync`: hand what is live to the agents, see how that stands, prove it, and collect what they saw."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._adapters import COLUMNS, summary
from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from upm_cli.ops.sync_collect import Collected
    from upm_cli.ops.sync_run import Ran

AdapterArg = Annotated[
    str | None, typer.Argument(metavar="[ADAPTER]", help="Default: all of them.", show_default=False)
]
WATCH_S = 1.0
IN_TIME = 0.8  # of --timeout: the rest is for what is under way, and for the record


def register(app: typer.Typer) -> None:
    group = new_group(help="Hand what is live to agents, and see how that stands.", no_args_is_help=True)
    group.command("run")(run)
    group.command("status")(status)
    group.command("retry")(retry)
    group.command("verify")(verify)
    group.command("collect")(collect)
    app.add_typer(group, name="sync")


@changing
def run(
    ctx: Context,
    lower_epoch: Annotated[
        bool,
        typer.Option("--lower-epoch", help="Let agents step down that are ahead of a restored state; needs --reason."),
    ] = False,
) -> int:
    """Deliver until every adapter has confirmed what it should have, or its tries are used up.

    Where a worker delivers already, this waits for it. With --timeout what is left then stays pending. Safe to run from
    cron, and to kill: the next run sends what is missing. Exit code 8 when some did not get it.

    Example: upm sync run --timeout 5m
    """
    from upm_cli.ops import authority
    from upm_cli.ops.sync_run import run_pass

    authority.require(ctx.settings, ctx.store.home, ctx.actor, "sync.lower" if lower_epoch else "sync.run")
    lowered = _lower(ctx) if lower_epoch else None
    if ctx.change.dry_run:
        return _would(ctx, lowered)
    with ctx.say.progress("sending") as progress:

        def show(done: int, total: int) -> None:
            progress.total = total
            progress.update(done)

        ran = run_pass(
            ctx.store,
            ctx.clock,
            ctx.settings,
            command=ctx.command,
            within_s=None if ctx.timeout_s is None else ctx.timeout_s * IN_TIME,
            show=show,
        )
    emit(ctx, _ran(ran, lowered), text="\n".join(_said(ran, lowered)))
    return ExitCode.PARTIAL if ran.undelivered else ExitCode.DONE


def _lower(ctx: Context) -> list[dict[str, Any]]:
    """Let agents step down, after a question; return from where to where."""
    from functools import partial

    from upm_cli.ops.sync_steer import let_down

    go = partial(let_down, ctx.store, ctx.clock, ctx.settings, actor=ctx.actor, reason=ctx.change.reason)
    found = go(dry_run=True)
    if found and not ctx.change.dry_run:
        ctx.confirm(f"this lets {len(found)} adapters step down to an earlier epoch")
        found = go()
    return [
        {
            "adapter_key": each.row.adapter_key,
            "tenant": each.row.tenant_id,
            "epoch": each.seen.epoch,
            "serial": each.seen.serial,
        }
        for each in found
    ]


def _would(ctx: Context, lowered: list[dict[str, Any]] | None) -> int:
    """Print what a run would send."""
    from upm_cli.ops.adapter_view import as_json
    from upm_cli.ops.sync_run import to_send

    rows = [as_json(row) for row in to_send(ctx.store, ctx.clock, ctx.settings)]
    payload = {"adapters": rows, "lowered": lowered, "dry_run": True}
    emit(ctx, payload, Table(key="adapters", columns=COLUMNS, empty="nothing is to be sent"))
    return ExitCode.DONE


def _ran(ran: "Ran", lowered: list[dict[str, Any]] | None) -> dict[str, Any]:
    from upm_cli.ops.adapter_view import as_json

    return {
        "total": len(ran.rows),
        "confirmed": ran.confirmed,
        "pending": ran.pending,
        "errored": ran.errored,
        "undelivered": [as_json(row) for row in ran.left],
        "lowered": lowered,
        "by_worker": ran.by_other,
        "timed_out": ran.timed_out,
        "dry_run": False,
    }


def _said(ran: "Ran", lowered: list[dict[str, Any]] | None) -> Iterator[str]:
    from upm_cli.ops.sync_record import adapter_id

    if lowered is not None:
        yield f"{len(lowered)} adapters may step down"
    if not ran.rows:
        yield "no adapters yet: upm adapter add --help"
        return
    yield f"{ran.confirmed}/{len(ran.rows)} adapters confirmed, {ran.pending} pending, {ran.errored} errored"
    if ran.waiting:
        yield f"  nothing is to be sent to {ran.waiting} of them yet: upm sync status says why"
    for row in ran.left[:10]:
        yield f"  {adapter_id(row)}: {row.last_error or 'not tried yet'}"
    if len(ran.left) > 10:
        yield f"  and {len(ran.left) - 10} more"
    if ran.undelivered:
        yield "next: upm sync status"


@command
def status(
    ctx: Context,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Go on until nothing is on its way; a line for each change.")
    ] = False,
) -> None:
    """Show every adapter, those that need somebody first, and the success rate of the last 24 hours.

    A delivery succeeds when its place confirms digest and place of the pointer, and fails when its tries are used up;
    each counts once.

    Example: upm sync status -w
    """
    found = _overview(ctx)
    last = ""
    while watch and found["by_status"]["pending"] + found["by_status"]["syncing"]:
        line = summary(found)
        if line != last:
            ctx.say.note(line)
        last = line
        ctx.clock.sleep(WATCH_S)
        found = _overview(ctx)
    if ctx.output == "table" and found["total"]:
        ctx.say.note(summary(found))
        if found["worker"] is None:
            ctx.say.note("nothing delivers now: upm sync run does it once, a worker goes on")
    empty = "no adapters yet: upm adapter add --help"
    emit(ctx, found, Table(key="adapters", columns=COLUMNS, empty=empty))


def _overview(ctx: Context) -> dict[str, Any]:
    from upm_cli.ops import adapter_view
    from upm_cli.ops.sync_lease import LEASE
    from upm_cli.store import lease

    with ctx.store.read() as reader:
        found = adapter_view.overview(reader, ctx.settings, ctx.clock.now_ms())
    held = lease.holder(ctx.store.home, LEASE)
    return {**found, "worker": None if held is None else {"pid": held.pid, "command": held.command}}


@changing
def retry(ctx: Context, adapter: AdapterArg = None) -> None:
    """Try now what was given up, or waits for its next try. A worker does it, or `upm sync run`.

    Example: upm sync retry edge --reason "the token is right now"
    """
    from upm_cli.ops.adapter_view import as_json
    from upm_cli.ops.sync_steer import retry as ops

    rows = ops(
        ctx.store,
        ctx.clock,
        ctx.settings,
        adapter,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    verb = "would be tried" if ctx.change.dry_run else "are tried"
    text = f"{len(rows)} {verb} again; next: upm sync run" if rows else "nothing was given up"
    payload = {"adapters": [as_json(row) for row in rows], "changed": bool(rows) and not ctx.change.dry_run}
    emit(ctx, {**payload, "dry_run": ctx.change.dry_run}, text=text)


@command
def verify(ctx: Context, adapter: AdapterArg = None) -> int:
    """Ask every place what it serves now, prove it as far as that goes, and compare it with what was confirmed.

    Changes nothing. Exit code 9 when something else is served, 8 when a place could not be asked.

    Example: upm sync verify
    """
    from upm_cli.ops import sync_verify as ops

    found = ops.verify(ctx.store, ctx.clock, ctx.settings, adapter)
    columns = [
        Column("verdict", "VERDICT"),
        Column("adapter_key", "ADAPTER"),
        Column("tenant", "TENANT"),
        Column("version", "SERVES", right=True, show=lambda version: f"v{version}"),
        Column("detail", "WHAT"),
    ]
    differs, silent = ops.failed(found)
    payload = {"verified": [ops.as_json(each) for each in found], "differs": differs, "unreachable": silent}
    emit(ctx, payload, Table(key="verified", columns=columns, empty="no adapters yet: upm adapter add --help"))
    if differs:
        ctx.say.hint("upm sync run sends again what was lost; upm explain UPM-E124")
        return ExitCode.INTEGRITY
    return ExitCode.PARTIAL if silent else ExitCode.DONE


@command
def collect(
    ctx: Context,
    adapter: AdapterArg = None,
    ingest: Annotated[bool, typer.Option("--ingest", help="Take in what was collected, at once.")] = False,
) -> int:
    """Fetch the prediction logs of agents: finished files in `feedback/` of directories, and over HTTP.

    They lie in .upm/feedback/ADAPTER, each line once. Exit code 8 when a place failed; what came is kept.

    Example: upm sync collect --ingest
    """
    from upm_cli.ops import sync_collect as ops

    found = ops.collect(ctx.store, ctx.clock, ctx.settings, adapter, actor=ctx.actor)
    rows = [ops.as_json(each) for each in found]
    columns = [
        Column("adapter_key", "ADAPTER"),
        Column("files", "FILES", right=True),
        Column("size_bytes", "BYTES", right=True, show=lambda size: f"{size:,}"),
        Column("folder", "FOLDER"),
        Column("error", "ERROR", show=lambda error: str(error["message"])),
    ]
    payload = {"collected": rows, "ingested": ingest}
    emit(ctx, payload, Table(key="collected", columns=columns, empty="no adapters yet: upm adapter add --help"))
    for row in rows:
        if row["next"] and not ingest:
            ctx.say.note(f"next: {row['next']}")
    code = _ingest(ctx, found) if ingest else ExitCode.DONE
    failed = any(each.error is not None for each in found)
    return code or (ExitCode.PARTIAL if failed else ExitCode.DONE)


def _ingest(ctx: Context, found: "Sequence[Collected]") -> int:
    """Run `upm ingest` for everything that lies there; return the first exit code that is not 0."""
    from upm_cli.ops.sync_collect import ingest_words

    code = 0
    for each in found:
        if not any(each.folder.glob("*.jsonl")):
            continue  # nothing ever came from there
        shared = ["-C", str(ctx.project), "-q", *(word for each in ctx.globals.overrides for word in ("--set", each))]
        command = [sys.executable, "-m", "upm_cli", *ingest_words(each), *shared]
        code = code or subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    return code
