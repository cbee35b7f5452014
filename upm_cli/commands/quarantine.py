"""`upm quarantine`: what must not be served, why, and the way out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit
from upm_cli.errors import UsageError
from upm_cli.ids import iso

if TYPE_CHECKING:
    from upm_cli.core.records import DriftWindow, Snapshot
    from upm_cli.ops.quarantined import Quarantined

IdArg = Annotated[
    str, typer.Argument(metavar="ID", help="main@42, a drift window (main/4711), or 42 of the only trainer.")
]


def register(app: typer.Typer) -> None:
    group = new_group(help="What must not be served, why, and the way out.", no_args_is_help=True)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("release")(release)
    app.add_typer(group, name="quarantine")


@command
def list_(
    ctx: Context,
    trainer: Annotated[str | None, typer.Argument(metavar="[TRAINER]", help="Default: all of them.")] = None,
) -> None:
    """List quarantined snapshots, and the drift windows that failed, with the reasons.

    Example: upm quarantine list main
    """
    from upm_cli.ops import quarantined

    name = None if trainer is None else ctx.trainer_name(trainer)
    with ctx.store.read() as reader:
        found = quarantined.of(reader, name)
    rows = [row for each in found for row in _rows(each)]
    columns = [
        Column("id", "ID"),
        Column("kind", "KIND"),
        Column("status", "STATUS"),
        Column("since", "SINCE", show=lambda at: at[:19].replace("T", " ") + "Z"),
        Column("reason", "WHY"),
    ]
    emit(ctx, {"quarantined": rows}, Table(key="quarantined", columns=columns, empty="nothing is quarantined"))


def _rows(found: "Quarantined") -> Iterator[dict[str, Any]]:
    for row in found.snapshots:
        yield _snapshot(row)
    for window in found.windows:
        yield _window(window)


def _snapshot(row: "Snapshot") -> dict[str, Any]:
    return {
        "id": f"{row.trainer}@{row.version}",
        "kind": "snapshot",
        "trainer": row.trainer,
        "version": row.version,
        "status": row.status.value,
        "since": None,
        "reason": row.quarantine_reason,
        "snapshots": [row.version],
    }


def _window(window: "DriftWindow") -> dict[str, Any]:
    p95 = "unknown" if window.p95 is None else f"{window.p95:.3f}"
    return {
        "id": window.window_id,
        "kind": "drift window",
        "trainer": window.trainer,
        "version": window.version,
        "status": window.status.value,
        "since": iso(window.started_at_ms),
        "reason": f"P95 {p95}, limit {window.threshold:g}, {window.n:,} comparisons; "
        f"recommends {window.recommendation or 'nothing'}",
        "snapshots": list(window.metadata.get("suspects", ())),
    }


@command
def show(ctx: Context, thing: IdArg) -> None:
    """Show one quarantined snapshot, or a failed drift window, with everything it was judged by.

    Example: upm quarantine show main@42
    """
    from upm_cli.ops import quarantined, snapshots

    with ctx.store.read() as reader:
        if "/" in thing:
            window = quarantined.window(reader, thing)
            more: dict[str, Any] = {
                "verdict": window.verdict,
                "n": window.n,
                "mean": window.mean,
                "p95": window.p95,
                "max": window.max,
                "threshold": window.threshold,
                "first_seq": window.first_seq,
                "last_seq": window.last_seq,
                "metadata": dict(window.metadata),
            }
            emit(ctx, {**_window(window), "is_quarantined": window.status == "quarantined", **more})
            return
        row = snapshots.find(reader, *_snapshot_of(ctx, thing))
        named = [each for found in quarantined.of(reader, row.trainer) for each in found.windows]
    windows = [each.window_id for each in named if row.version in each.metadata.get("suspects", ())]
    emit(ctx, {**_snapshot(row), "is_quarantined": row.quarantined, "drift_windows": windows})


@changing
def release(ctx: Context, thing: IdArg) -> None:
    """Lift the quarantine of a snapshot, so that it can be activated. Needs the role admin and --reason.

    Example: upm quarantine release main@42 --reason "the labels were wrong, not the model"
    """
    from upm_cli.ops import quarantined

    name, word = _snapshot_of(ctx, thing)
    row, changed = quarantined.release(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        word,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    verb = "would be" if ctx.change.dry_run and changed else "is" if changed else "was already"
    payload = {
        "trainer": name,
        "version": row.version,
        "quarantined": False,
        "changed": changed and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=f"v{row.version} of {name} {verb} not quarantined")


def _snapshot_of(ctx: Context, thing: str) -> tuple[str, str]:
    """Return the trainer and the word for a version that `thing` names. Raises UsageError."""
    if "/" in thing:
        raise UsageError(
            f"{thing!r} is a drift window; snapshots are released", hint="name one: main@42", code="UPM-E029"
        )
    trainer, at, version = thing.rpartition("@")
    return ctx.trainer_name(trainer if at and trainer else None), version
