"""`upm backup`: take a project to a safe place while it learns, prove that it is whole there, and bring it back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upm_cli.commands._context import Context
from upm_cli.commands._globals import changing, command
from upm_cli.commands._group import new_group
from upm_cli.commands._output import Column, Table, emit

if TYPE_CHECKING:
    from upm_cli.core.backup import About
    from upm_cli.ops.backup import Made
    from upm_cli.ops.backup_restore import Restored

_FOLDER = typer.Option("--folder", metavar="DIR", help="Default: backup.folder.", show_default=False)


def register(app: typer.Typer) -> None:
    group = new_group(help="Take the project to a safe place, prove it there, bring it back.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(list_)
    group.command("verify")(verify)
    group.command("restore")(restore)
    app.add_typer(group, name="backup")


@changing
def create(
    ctx: Context,
    folder: Annotated[Path | None, _FOLDER] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", metavar="N", min=1, help="Then remove all but the newest N. Default: backup.keep, or all stay."
        ),
    ] = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Private keys as well: who has the file can sign. Needs the role admin.")
    ] = False,
) -> None:
    """Write one file with the state, the log, snapshots, the ledger and upm.yaml, as of one commit.

    Safe at any time: workers go on, and what ends it early leaves nothing that looks like a backup. Private keys,
    tokens and what else lies outside .upm are not in it. For cron; of several at once the second one ends with 7.

    Example: upm backup create --folder /mnt/backup --keep 14
    """
    from upm_cli.ops import backup as ops

    where = ops.folder_of(ctx.settings, ctx.project, folder)
    made = ops.create(
        ctx.store,
        ctx.clock,
        ctx.settings,
        ctx.config_path,
        folder=where,
        keep=keep if keep is not None else ctx.settings.backup.keep,
        with_keys=with_keys,
        actor=ctx.actor,
        reason=ctx.change.reason,
        command=ctx.command,
        lock_timeout_s=ctx.lock_timeout_s,
        dry_run=ctx.change.dry_run,
    )
    for warning in made.warnings:
        ctx.say.warn(warning)
    if made.same_disk:
        ctx.say.note(f"{where} is on the same disk as the project: copy backups to another one as well")
    payload = {
        **_told(made.about),
        "file": made.file,
        "size_bytes": made.size_bytes,
        "sha256": made.sha256,
        "dropped": list(made.dropped),
        "same_disk": made.same_disk,
        "warnings": list(made.warnings),
        "dry_run": ctx.change.dry_run,
    }
    emit(ctx, payload, text=_made(made, dry_run=ctx.change.dry_run))


def _told(about: "About") -> dict[str, Any]:
    return {
        "project": about.project,
        "created_at": about.created_at,
        "generation": about.generation,
        "ledger_entries": about.ledger_entries,
        "upm": about.upm,
        "schema": about.schema,
        "files": about.files,
        "unpacked_bytes": about.size_bytes,
        "has_keys": about.has_keys,
        "trainers": about.trainers,
    }


def _made(made: "Made", *, dry_run: bool) -> str:
    about = made.about
    head = f"would write {made.file}" if dry_run else f"wrote {made.file}"
    size = "" if made.size_bytes is None else f", {_megabytes(made.size_bytes)}"
    lines = [
        f"{head}: generation {about.generation}, {about.files:,} files{size} ({_megabytes(about.size_bytes)} unpacked)",
        "with private keys" if about.has_keys else "without private keys and tokens: keep those apart",
    ]
    lines += [f"{'would remove' if dry_run else 'removed'} {path}" for path in made.dropped]
    if not dry_run:
        lines.append(f"prove it: upm backup verify {made.file}")
    return "\n".join(lines)


@command
def list_(ctx: Context, folder: Annotated[Path | None, _FOLDER] = None) -> None:
    """List the backups in the folder, oldest first. Only their first and last bytes are read.

    Whole: it begins and ends like a backup, so it was written and copied to its end; upm backup verify proves the rest.

    Example: upm backup list --folder /mnt/backup
    """
    from upm_cli.ops import backup_list
    from upm_cli.ops.backup import folder_of

    where = folder_of(ctx.settings, ctx.project, folder)
    rows = [
        {
            "file": each.file.name,
            "size_bytes": each.size_bytes,
            "whole": each.whole,
            "why": each.why,
            **(dict.fromkeys(_FIELDS) | {"trainers": []} if each.about is None else _told(each.about)),
        }
        for each in backup_list.listed(where)
    ]
    columns = [
        Column("created_at", "TAKEN", show=lambda at: at[:19].replace("T", " ") + "Z"),
        Column("generation", "GENERATION", right=True),
        Column("size_bytes", "BYTES", right=True, show=lambda count: f"{count:,}"),
        Column("trainers", "TRAINERS", show=_trainers),
        Column("whole", "WHOLE", show=lambda whole: "✓" if whole else "✗ no"),
        Column("file", "FILE"),
    ]
    payload = {"folder": where, "backups": rows}
    emit(ctx, payload, Table(key="backups", columns=columns, empty=f"no backup in {where}: upm backup create"))


_FIELDS = (
    "project",
    "created_at",
    "generation",
    "ledger_entries",
    "upm",
    "schema",
    "files",
    "unpacked_bytes",
    "has_keys",
)


def _trainers(rows: list[dict[str, Any]]) -> str:
    named = [f"{row['name']}@{row['version']}" if row["version"] else row["name"] for row in rows[:3]]
    return ", ".join(named) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


@command
def verify(
    ctx: Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default: the newest in backup.folder.", show_default=False)
    ] = None,
) -> None:
    """Read all of a backup and prove it: every byte, the ledger's chain, the state, and all files that it names.

    Needs no project when FILE is given. Exit code 9 when something is wrong.

    Example: upm backup verify
    """
    from upm_cli.ops import backup_check, backup_list
    from upm_cli.ops.backup import folder_of

    if file is None:
        file = backup_list.newest(folder_of(ctx.settings, ctx.project, None))
    found = backup_check.verify(file.absolute(), ctx.clock)
    about = found.about
    payload = {**_told(about), "file": found.file, "size_bytes": found.size_bytes, "whole": True}
    said = f"{found.file} is whole: {about.project} of {_at(about)}, generation {about.generation}"
    emit(ctx, payload, text=f"{said}, {about.files:,} files, {about.ledger_entries:,} ledger entries")


@changing
def restore(
    ctx: Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup; see upm backup list.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="The new project: a folder that is empty or new.")],
    with_adapters: Annotated[
        bool,
        typer.Option("--with-adapters", help="Go on handing models out: only when the old project never will again."),
    ] = False,
) -> None:
    """Make a project of a backup. It is proven first, and goes on learning just where it was.

    Its adapters are left out, so that two projects don't hand models to the same agents; the commands that add them
    again are printed. Nothing that is in DIR is ever replaced.

    Example: upm backup restore /mnt/backup/shop-20261129T023000Z-g4711.upmbackup /srv/shop
    """
    from upm_cli.ops import backup_restore as ops

    done = ops.restore(
        file.absolute(),
        target,
        ctx.clock,
        ctx.environ,
        with_adapters=with_adapters,
        actor=ctx.actor,
        reason=ctx.change.reason,
        dry_run=ctx.change.dry_run,
    )
    payload = {
        **_told(done.about),
        "restored": not ctx.change.dry_run,
        "dry_run": ctx.change.dry_run,
        "to": done.project,
        "file": done.file,
        "adapters_left_out": list(done.left_out),
        "adapters_kept": list(done.kept),
        "afterwards": list(done.afterwards),
    }
    emit(ctx, payload, text=_restored(done, dry_run=ctx.change.dry_run))


def _restored(done: "Restored", *, dry_run: bool) -> str:
    about = done.about
    head = f"{about.project} of {_at(about)}, generation {about.generation}, {about.files:,} files"
    if dry_run:
        return f"{done.file} is whole; would make {done.project} of it: {head}"
    return "\n".join([f"{done.project} is {head}", *done.afterwards])


def _at(about: "About") -> str:
    return f"{about.created_at[:19].replace('T', ' ')}Z"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
