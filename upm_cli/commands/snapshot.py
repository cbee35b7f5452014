"""`upm snapshot`: take, list, show, verify, sign, pin, release, export and delete snapshots."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands import _snapshot_diff
from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, decimals, emit
from upm_cli.commands._snapshot_proof import describe_signature, export, sign, signature_of, verify, warn_unsigned
from upm_cli.commands._versions import TrainerArg, VersionArg, trainer_and_version, trainer_names
from upm_cli.ids import iso

if TYPE_CHECKING:
    from upm_cli.core.records import Snapshot
    from upm_cli.core.versions import Live
    from upm_cli.ops.take import Taken


NoteOption = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="A remark kept with the snapshot.")]


def register(app: typer.Typer) -> None:
    group = new_group(invoke_without_command=True)
    group.callback()(take)
    group.command("create")(create)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("diff")(_snapshot_diff.diff)
    group.command("verify")(verify)
    group.command("sign")(sign)
    group.command("pin")(pin)
    group.command("unpin")(unpin)
    group.command("release")(release)
    group.command("export")(export)
    group.command("gc")(gc)
    app.add_typer(group, name="snapshot")


@changing
def take(
    ctx: Context,
    trainer: Annotated[str | None, typer.Option("--trainer", metavar="TRAINER", help="Default: the only one.")] = None,
    note: NoteOption = None,
) -> None:
    """Take a snapshot now, or work with the ones there are.

    Without a command it is the same as `upm snapshot create`: of what the trainer has committed, also while it trains.
    VERSION is a number (42, v42, 0042) or latest, active, previous.

    Example: upm snapshot --note "before the sale"
    """
    _create(ctx, trainer, note)


@changing
def create(ctx: Context, trainer: TrainerArg = None, note: NoteOption = None) -> None:
    """Take a snapshot now of what the trainer has committed. When nothing was learned since the last, that one it is.

    Example: upm snapshot create main
    """
    _create(ctx, trainer, note)


def _create(ctx: Context, given: str | None, note: str | None) -> None:
    from upm_cli.ops.take import take as take_one

    name = ctx.trainer_name(given)
    made = take_one(
        ctx.store,
        ctx.clock,
        ctx.settings,
        name,
        actor=ctx.actor,
        reason=ctx.change.reason,
        note=note,
        dry_run=ctx.change.dry_run,
    )
    payload: dict[str, Any] = {"trainer": name, "created": made is not None and made.is_new}
    if made is None:
        payload |= {"version": None, "dry_run": True}
    else:
        payload |= describe(made.snapshot) | signature_of(ctx, made.snapshot) | {"dry_run": ctx.change.dry_run}
        warn_unsigned(ctx, made.snapshot)
    emit(ctx, payload, text=_said(name, made))


def _said(name: str, made: "Taken | None") -> str:
    if made is None:
        return f"would take a snapshot of {name}"
    shot = made.snapshot
    if not made.is_new:
        return f"nothing learned since v{shot.version} of {name}; no new snapshot"
    size = f"{shot.windows:,} windows, {shot.size_bytes:,} bytes, sha256 {shot.digest[:12]}…"
    return f"v{shot.version} of {name}: {size}\nnext: upm activate {name} {shot.version}"


@command
def list_(ctx: Context, trainer: TrainerArg = None) -> None:
    """List the snapshots of a trainer, oldest first.

    Example: upm snapshot list main --json
    """
    from upm_cli.ops import losses, signatures
    from upm_cli.store import activations, snapshots

    name = ctx.trainer_name(trainer)
    with ctx.store.read() as reader:
        rows, live = snapshots.list_for(reader, name), activations.live(reader, name)
    signed = signatures.judged(ctx.home, rows)
    columns = [
        Column("version", "VERSION", right=True),
        Column("status", "STATUS"),
        Column("live", "LIVE", show=", ".join),
        Column("flags", "FLAGS", show=" ".join),
        Column("windows", "WINDOWS", right=True, show=lambda count: f"{count:,}"),
        Column("metrics", "LOSS", right=True, show=lambda found: decimals(losses.of_metrics(found)["progressive"])),
        Column("size_bytes", "BYTES", right=True, show=lambda count: f"{count:,}", spare=2),
        Column("codec", "CODEC", spare=2),
        Column("parent", "PARENT", right=True, spare=2),
        Column("created_at", "CREATED", show=lambda at: at[:19].replace("T", " ") + "Z", spare=1),
        Column("digest", "SHA256", show=lambda digest: digest[:12], spare=2),
        Column("signature", "SIGNATURE", spare=2),
        Column("signed_by", "BY", show=lambda keyid: keyid[:8], spare=2),
    ]
    empty = f"{name} has no snapshots yet: they appear as it trains, or with upm snapshot create {name}"
    shots = [
        {**describe(row), **describe_signature(found), "live": served(row.version, live)}
        for row, found in zip(rows, signed, strict=True)
    ]
    payload = {"trainer": name, "snapshots": shots}
    emit(ctx, payload, Table(key="snapshots", columns=columns, empty=empty))


@command
def show(ctx: Context, trainer: TrainerArg = None, version: VersionArg = None) -> None:
    """Show everything about one snapshot, with its manifest.

    Example: upm snapshot show main active
    """
    from upm_cli.ops import snapshots
    from upm_cli.store import activations

    name, word = trainer_and_version(ctx, trainer, version)
    with ctx.store.read() as reader:
        row, live = snapshots.find(reader, name, word), activations.live(reader, name)
    more = {
        "live": served(row.version, live),
        "path": row.path,
        "file_digest": row.file_digest,
        "first_seq": row.first_seq,
        "last_seq": row.last_seq,
        "signatures": row.signatures,
    }
    emit(ctx, {"trainer": name, **describe(row), **signature_of(ctx, row), **more, "manifest": row.manifest})


@changing
def pin(ctx: Context, trainer: TrainerArg = None, version: VersionArg = None) -> None:
    """Keep a snapshot for good: gc never deletes it.

    Example: upm snapshot pin main 42 --reason "the one in the paper"
    """
    _set_pinned(ctx, trainer, version, pinned=True)


@changing
def unpin(ctx: Context, trainer: TrainerArg = None, version: VersionArg = None) -> None:
    """Let gc delete a snapshot again when its time has come.

    Example: upm snapshot unpin main 42
    """
    _set_pinned(ctx, trainer, version, pinned=False)


def _set_pinned(ctx: Context, trainer: str | None, version: str | None, *, pinned: bool) -> None:
    from upm_cli.ops import keeping

    name, word = trainer_and_version(ctx, trainer, version)
    row, changed = keeping.set_pinned(
        ctx.store, name, word, pinned, actor=ctx.actor, reason=ctx.change.reason, dry_run=ctx.change.dry_run
    )
    state = "pinned" if pinned else "not pinned"
    _emit_changed(ctx, row, changed, {"pinned": pinned}, f"v{row.version} of {name}", state)


@changing
def release(ctx: Context, trainer: TrainerArg = None, version: VersionArg = None) -> None:
    """Lift the quarantine of a snapshot, so that it can be activated. Needs the role admin and --reason.

    Example: upm snapshot release main 42 --reason "the labels were wrong, not the model"
    """
    from upm_cli.ops import quarantined

    name, word = trainer_and_version(ctx, trainer, version)
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
    _emit_changed(ctx, row, changed, {"quarantined": False}, f"v{row.version} of {name}", "not quarantined")


def _emit_changed(
    ctx: Context, row: "Snapshot", changed: bool, facts: Mapping[str, Any], subject: str, state: str
) -> None:
    verb = "would be" if ctx.change.dry_run and changed else "is" if changed else "was already"
    did = {"changed": changed and not ctx.change.dry_run, "dry_run": ctx.change.dry_run}
    payload = {"trainer": row.trainer, "version": row.version, **facts, **did}
    emit(ctx, payload, text=f"{subject} {verb} {state}")


@changing
def gc(
    ctx: Context,
    trainer: TrainerArg = None,
    keep: Annotated[int, typer.Option(metavar="N", min=0, help="Keep the newest N whatever their age.")] = 20,
    keep_days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="Keep younger ones. Default: snapshot_manager.retention_days."),
    ] = None,
) -> None:
    """Delete old snapshots, and files that nothing refers to. Without TRAINER: of all of them.

    Never deleted: what is active, what was active before it, rollback targets, pinned ones, and what a trainer learns
    on from.

    Example: upm snapshot gc --keep 20 --keep-days 30 --dry-run
    """
    from upm_cli.core.retention import RetentionPolicy
    from upm_cli.ops import keeping

    names = trainer_names(ctx, trainer)
    days = ctx.settings.snapshot_manager.retention_days if keep_days is None else keep_days
    policy = RetentionPolicy(keep=keep, keep_days=days)
    done = keeping.collect_garbage(
        ctx.store,
        ctx.clock,
        names,
        policy,
        actor=ctx.actor,
        reason=ctx.change.reason,
        config_digest=ctx.settings.full_digest(),
        dry_run=ctx.change.dry_run,
    )
    rows = [
        {"trainer": name, "deleted": done.deleted[name], "kept": done.kept[name], "protected": done.protected[name]}
        for name in names
    ]
    count = sum(len(row) for row in done.deleted.values())
    verb = "would delete" if ctx.change.dry_run else "deleted"
    text = f"{verb} {count:,} snapshots and {done.orphans:,} files ({done.freed_bytes:,} bytes)"
    for name in names:
        text += f"\n{name}: kept {done.kept[name]}"
        text += "".join(f"\n  v{version} stays: {why}" for version, why in sorted(done.protected[name].items()))
    payload = {
        "trainers": rows,
        "files": done.orphans,
        "freed_bytes": done.freed_bytes,
        "keep": keep,
        "keep_days": days,
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=text)


def served(version: int, live: "Live") -> list[str]:
    """Return where a version is live, with its share of the tenants."""
    found = [
        "shadow" if ring == "shadow" else f"{ring} {move.percent} %"
        for ring, move in live.items()
        if move.version == version
    ]
    rest = [f"{ring} {100 - move.percent} %, the rest" for ring, move in live.items() if move.rest_version == version]
    return found + rest


def describe(row: "Snapshot") -> dict[str, Any]:
    """Return the fields of a snapshot that every listing shows."""
    flags = [word for word, is_so in (("pinned", row.pinned), ("quarantined", row.quarantined)) if is_so]
    return {
        "version": row.version,
        "status": row.status.value,
        "mode": row.mode.value,
        "digest": row.digest,
        "codec": row.codec,
        "size_bytes": row.size_bytes,
        "raw_bytes": row.raw_bytes,
        "windows": row.windows,
        "parent": row.parent,
        "created_at": iso(row.created_at_ms),
        "activated_at": iso(row.activated_at_ms) if row.activated_at_ms is not None else None,
        "flags": flags,
        "quarantine_reason": row.quarantine_reason,
        "note": row.note,
        "metrics": dict(row.metrics),
    }
