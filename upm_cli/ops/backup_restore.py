"""`upm backup restore`: a project made of a backup, proven before it is there, that goes on just where it was.

Everything is unpacked and checked in `.upm-restoring` inside the new folder; the renames that make it a project come
last, upm.yaml the very last. A kill leaves that folder, and the next restore clears it away.
"""

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.clock import Clock
from upm_cli.core import backup
from upm_cli.core.backup import About
from upm_cli.errors import StorageError, UpmError, UsageError
from upm_cli.ops import backup_check
from upm_cli.ops.adapters import take_out
from upm_cli.store import activations, adapters, backupfile, fsio, keys, reserve, trainers
from upm_cli.store.folders import Folder
from upm_cli.store.session import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upm_cli.core.records import Adapter

STAGE: Final = ".upm-restoring"
_WHY_LEFT_OUT: Final = "restored from a backup: the project it was made from may hand models there"
_ROOM_BYTES: Final = 64 << 20  # besides what is unpacked: kept states, the reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A project that was made of a backup, or would be."""

    project: Path
    file: Path
    about: About
    left_out: tuple[str, ...]  # adapters that are not in it, as the commands that add them again
    kept: tuple[str, ...]  # adapters that are
    afterwards: tuple[str, ...]  # what a person has to do, or should know


def restore(
    file: Path,
    target: Path,
    clock: Clock,
    environ: "Mapping[str, str]",
    *,
    with_adapters: bool = False,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Restored:
    """Make `target` the project that is in the backup `file`.

    Without `with_adapters` it hands models to nobody: the project it was made from may be doing that. Raises UsageError
    unless `target` is empty or not there, IntegrityError unless the backup is whole, InvalidError for one of a newer
    upm, StorageError; then there is no project.
    """
    target = target.absolute()
    with backupfile.opened(file) as reader:
        _refuse_taken(target)
        about = reader.about
        _refuse_small_disk(target, about)
        if dry_run:
            backup_check.verify(file, clock)
            return Restored(project=target, file=file, about=about, left_out=(), kept=(), afterwards=())
        with _stage(target) as stage:
            home = stage / backup.HOME
            fsio.make_folder(home)
            members = backup_check.unpack(reader, lambda name: stage / name)
            backup_check.judge(reader, home, members, clock)
            left_out, kept = _make_its_own(home, file, about, clock, with_adapters, actor, reason)
            _sync_folders(stage)
            for name in (backup.HOME, backup.CONFIG):
                fsio.move(stage / name, target / name)
    afterwards = _afterwards(target, about, left_out, kept, environ)
    return Restored(project=target, file=file, about=about, left_out=left_out, kept=kept, afterwards=tuple(afterwards))


def _refuse_taken(target: Path) -> None:
    if target.is_symlink() and not target.exists():
        raise UsageError(f"{target} is a link to nothing", hint="name a folder", code="UPM-E194")
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is not a folder", hint="name one that is not there yet", code="UPM-E194")
    with fsio.telling(target, "look into"):
        there = sorted(path.name for path in target.iterdir() if path.name not in (STAGE, "lost+found"))
    if there:
        raise UsageError(
            f"{target} is not empty: {', '.join(there[:5])}{', …' if len(there) > 5 else ''}",
            hint="restore into a new folder; nothing that is there is ever replaced",
            code="UPM-E194",
            context={"folder": str(target), "there": there[:5]},
        )


def _refuse_small_disk(target: Path, about: About) -> None:
    near = next(folder for folder in (target, *target.parents) if folder.exists())
    free, _ = fsio.disk_space(near)
    need = about.size_bytes + _ROOM_BYTES
    if need > free:
        raise StorageError(
            f"the backup unpacks to {about.size_bytes:,} bytes; {free:,} are free on the disk of {near}",
            hint="free space, or restore to another disk",
            code="UPM-E010",
            context={"need_bytes": need, "free_bytes": free},
        )


@contextlib.contextmanager
def _stage(target: Path) -> Iterator[Path]:
    """Make the folder in which nobody looks for a project, and remove it at the end, whatever is left in it."""
    is_new = not target.exists()
    fsio.make_folder(target)
    stage = target / STAGE
    fsio.make_folder(stage)
    with fsio.telling(stage, "open"), Folder.open(stage) as held:
        if not held.lock():
            raise UsageError(f"another restore is at work in {target}", hint="wait for it", code="UPM-E194")
        for left in stage.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            if is_new:
                with contextlib.suppress(OSError):  # there is a project in it now
                    target.rmdir()


def _make_its_own(
    home: Path, file: Path, about: About, clock: Clock, with_adapters: bool, actor: str, reason: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Let the unpacked state be one of its own; return its adapters: those left out as commands, those kept by name."""
    store = Store(home, clock, command="upm backup restore")
    try:
        with store.write(actor=actor) as tx:
            rows = sorted(adapters.list_all(tx), key=lambda row: (row.adapter_key, row.tenant_id))
            named = {key: list(group) for key, group in groupby(rows, key=lambda row: row.adapter_key)}
            tx.ledger(
                "backup.restore",
                "state",
                file=file.name,
                created_at=about.created_at,
                generation=about.generation,
                adapters_left_out=[] if with_adapters else list(named),
                reason=reason,
            )
            for key, group in () if with_adapters else named.items():
                take_out(tx, key, group, _WHY_LEFT_OUT)
            is_live = any(activations.live(tx, row.name) for row in trainers.list_all(tx))
    finally:
        store.close()
    if is_live:
        reserve.keep(home)
    commands = tuple(_command(key, group) for key, group in named.items())
    return ((), tuple(named)) if with_adapters else (commands, ())


def _command(key: str, rows: "Sequence[Adapter]") -> str:
    """Return the command that adds an adapter again."""
    first, more = rows[0], dict[str, Any](rows[0].metadata)
    words = ["upm", "adapter", "add", key, "--path" if first.kind == "directory" else "--url", first.location]
    words += ["--trainer", first.trainer]
    for row in rows:
        words += ["--tenant", row.tenant_id] if row.tenant_id else []
    for name, option in (("token_file", "--token-file"), ("ca_file", "--ca-file")):
        words += [option, str(more[name])] if more.get(name) else []
    return shlex.join([*words, *(["--shadow"] if more.get("is_shadow") else [])])


def _sync_folders(stage: Path) -> None:
    """Make all names below `stage` durable; the files are."""
    with fsio.telling(stage, "sync"):
        for folder in sorted({stage, *(path for path in stage.rglob("*") if path.is_dir())}):
            fsio.sync_folder(folder)


def _afterwards(
    target: Path, about: About, left_out: Sequence[str], kept: Sequence[str], environ: "Mapping[str, str]"
) -> Iterator[str]:
    yield f"look at it: upm -C {shlex.quote(str(target))} validate"
    yield from _missing_key(target / backup.HOME)
    yield from _named_elsewhere(target, environ)
    if left_out:
        yield (
            "it hands models to nobody. Once the project it was made from delivers no more (upm down, its cron lines), "
            "add its adapters again:"
        )
        yield from (f"  {command}" for command in left_out)
    if kept:
        yield (
            f"it hands models to {', '.join(kept)}: the project it was made from must not do that any more, "
            "two that deliver to one place undo each other's work"
        )
    if left_out or kept:
        yield (
            "agents that have heard of a later epoch than this backup refuse what is older: "
            'upm sync run --lower-epoch --reason "…" lets them step down'
        )
    yield (
        f"what was read after {about.created_at[:19]}Z is read again from its sources, what came through a pipe has to "
        "be sent again; a copied source is read from its start, and no window is learned twice"
    )


def _missing_key(home: Path) -> Iterator[str]:
    try:
        ring = keys.read(home)
    except UpmError as exc:
        yield exc.message
        return
    for key in ring.keys:
        path = keys.seed_file(home, key.keyid)
        if key.is_kept and not path.exists():
            yield f"the private key {key.keyid} is not in it: put it to {path} (0600), or: upm keys rotate --reason …"


def _named_elsewhere(target: Path, environ: "Mapping[str, str]") -> Iterator[str]:
    """Say what upm.yaml names that is outside the project."""
    from upm_cli.config.load import load
    from upm_cli.ops.project import DEFAULT_STORAGE, storage_folder

    try:
        settings = load(target / backup.CONFIG, overrides=(), environ=environ).settings
    except UpmError as exc:
        yield f"upm.yaml: {exc.message}"
        return
    wanted = storage_folder(target, settings.snapshot_manager.base_path)
    if wanted.absolute() != (target / DEFAULT_STORAGE).absolute():
        yield (
            f"snapshots are in {target / DEFAULT_STORAGE}, but snapshot_manager.base_path says {wanted}: move them "
            "there if no other project uses that folder, or take the setting out"
        )
    for webhook in settings.notify.webhooks:
        path = target / Path(webhook.secret_file or "").expanduser()
        if webhook.secret_file is not None and not path.exists():
            yield f"bring along the secret of webhook {webhook.name}: {path} (mode 0600)"
    if settings.notify.webhooks:
        yield "it tells the same webhooks as the project it was made from"
