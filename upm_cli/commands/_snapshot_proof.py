"""`upm snapshot verify`, `sign` and `export`: what proves that a snapshot is what was made here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._output import Column, Table, emit
from upm_cli.commands._versions import TrainerArg, VersionArg, trainer_and_version, trainer_names
from upm_cli.errors import UsageError

if TYPE_CHECKING:
    from upm_cli.core.records import Snapshot
    from upm_cli.core.signatures import Signed
    from upm_cli.ops.proving import Proven

NAMED: Final = 5  # snapshots that a sentence names


@command
def verify(
    ctx: Context,
    trainer: TrainerArg = None,
    version: VersionArg = None,
    every: Annotated[bool, typer.Option("--all", help="Every snapshot of the trainer.")] = False,
) -> int:
    """Read snapshots back and prove every byte, and their signatures. Exit code 9 when one is not what was written.

    An unsigned one is right too, unless snapshot_manager.require_signature is on.

    Example: upm snapshot verify main --all
    """
    from upm_cli.exit_codes import ExitCode
    from upm_cli.ops import proving, snapshots
    from upm_cli.store import snapshots as rows

    name, word = trainer_and_version(ctx, trainer, version)
    with ctx.store.read() as reader:
        chosen = rows.list_for(reader, name) if every else [snapshots.find(reader, name, word)]
    is_required = ctx.settings.snapshot_manager.require_signature
    found = [_verified(each) for each in proving.prove(ctx.store, chosen, is_required=is_required)]
    bad = [each for each in found if not each["ok"]]
    columns = [
        Column("version", "VERSION", right=True),
        Column("ok", "OK"),
        Column("signature", "SIGNATURE"),
        Column("signed_by", "BY"),
        Column("path", "FILE"),
        Column("problem", "PROBLEM"),
    ]
    payload = {"trainer": name, "verified": found, "passed": len(found) - len(bad), "failed": len(bad)}
    emit(ctx, payload, Table(key="verified", columns=columns, empty=f"{name} has no snapshots yet"))
    for each in bad:
        ctx.say.warn(f"v{each['version']}: {each['problem']}")
    return ExitCode.INTEGRITY if bad else ExitCode.DONE


def _verified(found: "Proven") -> dict[str, Any]:
    row = found.snapshot
    about = {"version": row.version, "ok": not found.problem, "path": row.path, "digest": row.digest}
    return {**about, "problem": found.problem or None, **describe_signature(found.signed)}


@changing
def sign(
    ctx: Context,
    trainer: TrainerArg = None,
    version: VersionArg = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every snapshot of the trainer; without TRAINER, of all trainers.")
    ] = False,
) -> int:
    """Sign snapshots with the key that signs now. Needs the role admin.

    Only what was read back and proven is signed. Those that the key has signed already stay as they are.

    Example: upm snapshot sign main 42 --reason "made before there was a key"
    """
    from upm_cli.exit_codes import ExitCode
    from upm_cli.ops.snapshot_signing import sign as sign_rows

    wanted: list[tuple[str, str | None]]
    if every and version is None:
        wanted = [(name, None) for name in trainer_names(ctx, trainer)]
    elif every:
        raise UsageError("--all and a version can't go together", hint="leave one of them out", code="UPM-E029")
    else:
        wanted = [trainer_and_version(ctx, trainer, version)]
    done = sign_rows(
        ctx.store, ctx.settings, wanted, actor=ctx.actor, reason=ctx.change.reason, dry_run=ctx.change.dry_run
    )
    payload = {
        "keyid": done.keyid,
        "signed": done.signed,
        "already": done.already,
        "damaged": [error.message for error in done.damaged],
        "changed": bool(done.signed) and not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
    }
    verb = "would sign" if ctx.change.dry_run else "signed"
    named = f": {', '.join(done.signed)}" if 0 < len(done.signed) <= NAMED else ""
    already = f"; {len(done.already):,} had its signature" if done.already else ""
    emit(ctx, payload, text=f"{verb} {len(done.signed):,} with {done.keyid}{named}{already}")
    for error in done.damaged:
        ctx.say.warn(f"not signed: {error.message}")
    return ExitCode.INTEGRITY if done.damaged else ExitCode.DONE


@command
def export(
    ctx: Context,
    trainer: TrainerArg = None,
    version: VersionArg = None,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write into; made if need be.")] = Path(),
) -> None:
    """Write a snapshot as a safetensors file, with its manifest and, where it is signed, what proves that.

    The signature is a DSSE envelope around an in-toto statement, with the public key beside it: openssl and others
    verify it.

    Example: upm snapshot export main active --to model/
    """
    from upm_cli.ops import snapshots
    from upm_cli.ops.export import export as write_files

    name, word = trainer_and_version(ctx, trainer, version)
    with ctx.store.read() as reader:
        row = snapshots.find(reader, name, word)
    done = write_files(ctx.store, row, to)
    payload = {
        "trainer": name,
        "version": row.version,
        "digest": row.digest,
        "model": done.model,
        "manifest": done.manifest,
        "envelope": done.envelope,
        "public_keys": done.public_keys,
        **describe_signature(done.signed),
    }
    more = [str(path) for path in (done.manifest, done.envelope, *done.public_keys) if path is not None]
    emit(ctx, payload, text="\n".join([f"{done.model}  sha256 {row.digest}", *more, done.signed.words()]))


def signature_of(ctx: Context, row: "Snapshot") -> dict[str, Any]:
    """Return what the signatures of `row` come to, as every listing shows it."""
    from upm_cli.ops import signatures

    return describe_signature(signatures.judged_one(ctx.home, row))


def warn_unsigned(ctx: Context, row: "Snapshot") -> None:
    """Tell why a snapshot came out unsigned though there is a key."""
    from upm_cli.ops.signer import trouble

    why = None if row.signatures else trouble(ctx.home)
    if why is not None:
        ctx.say.warn(f"v{row.version} is not signed: {why.message}")
        ctx.say.hint(why.hint)


def describe_signature(found: "Signed") -> dict[str, Any]:
    """Return what the signatures of a snapshot come to, as every listing shows it."""
    return {"signature": found.state.value, "signed_by": found.keyid}
