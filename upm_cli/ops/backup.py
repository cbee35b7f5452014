"""`upm backup create`: one committed state of a project and all it names, in one file, while it goes on learning."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli import __version__
from upm_cli.clock import Clock
from upm_cli.core import backup
from upm_cli.core.backup import About, TrainerAt
from upm_cli.errors import IntegrityError, NotFoundError, StorageError, UpmError, UsageError
from upm_cli.ids import iso
from upm_cli.ops import authority
from upm_cli.ops.backup_list import Found, listed
from upm_cli.store import backupfile, backupfolder, blobs, fsio, held, keys, layout, trainers
from upm_cli.store.rows import milliseconds

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.held import Held, HeldFile
    from upm_cli.store.session import Reader, Store

Read = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A backup that was made, or would be."""

    file: Path
    about: About
    size_bytes: int | None  # of the file; None in a dry run
    sha256: str | None
    dropped: tuple[Path, ...] = ()  # older ones that were removed
    same_disk: bool = False  # as the project: whatever takes one takes the other
    warnings: tuple[str, ...] = ()


def folder_of(settings: "Settings", project: Path, given: Path | None) -> Path:
    """Return the folder that backups are in: `given`, or `backup.folder` (relative to the project).

    Raises UsageError when neither is there or it is inside the project, NotFoundError when there is no such folder.
    """
    named = settings.backup.folder
    if given is None and named is None:
        raise UsageError(
            "no folder for backups", hint="--folder DIR, or set backup.folder in upm.yaml", code="UPM-E192"
        )
    folder = given.absolute() if given is not None else project / Path(named or "").expanduser()
    if not folder.is_dir():
        raise NotFoundError(
            f"no folder {folder} for backups",
            hint=f"is its disk mounted? Else: mkdir -m 700 {folder}",
            code="UPM-E193",
            context={"folder": str(folder)},
        )
    folder = folder.resolve()
    if folder.is_relative_to(project.resolve()):
        raise UsageError(
            f"{folder} is inside the project: what takes the project would take its backups",
            hint="choose a folder somewhere else, best on another disk",
            code="UPM-E192",
        )
    return folder


def create(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    config: Path,
    *,
    folder: Path,
    keep: int | None = None,
    with_keys: bool = False,
    actor: str,
    reason: str = "",
    command: str = "upm backup create",
    lock_timeout_s: float = 10.0,
    dry_run: bool = False,
) -> Made:
    """Write a backup of the newest committed state to `folder`; then leave only the newest `keep` of this project.

    `config` is its upm.yaml. No lock is held while it is written. Whatever ends it before the end leaves no file that
    looks like a backup. Raises IntegrityError when something the state names is missing or damaged (then nothing
    older is removed), RefusedError when keys are wanted by somebody who is not an admin, BusyError, StorageError.
    """
    if with_keys:
        authority.require(settings, store.home, actor, "keys.copy")
    with store.read():  # says what is wrong with the state, if it does not open
        pass
    with fsio.telling(config, "read"):
        configuration = config.read_bytes()
    is_near = _same_disk(folder, store.home)
    with held.hold(store.home, clock, command=command, lock_timeout_s=lock_timeout_s) as found:
        if not dry_run:
            backupfolder.sweep(folder)
        with found.read() as reader:
            about = _about(reader, store.home.parent, clock)
        own = _own_files(store.home, found, configuration, with_keys=with_keys)
        about = _with_sizes(about, own, found.files)
        file = backupfolder.free_name(folder / backup.file_name(about))
        kept = [(each.about, each) for each in listed(folder) if each.about is not None and each.whole]
        if dry_run:
            old = _beyond([*kept, (about, None)], about, keep)
            return Made(file=file, about=about, size_bytes=None, sha256=None, dropped=old, same_disk=is_near)
        digest, size = _write(file, about, own, found, clock)
    old = _beyond([*kept, (about, None)], about, keep)
    dropped, warnings = _drop(old)
    if with_keys:
        warnings.append(f"{file} holds private keys: whoever reads it can sign models")
    made = Made(
        file=file,
        about=about,
        size_bytes=size,
        sha256=digest,
        dropped=tuple(dropped),
        same_disk=is_near,
        warnings=tuple(warnings),
    )
    return _recorded(store, made, actor, reason)


def _about(reader: "Reader", project: Path, clock: Clock) -> About:
    rows = trainers.list_all(reader)
    return About(
        project=project.name,
        born_at=iso(milliseconds(reader.query("schema.applied")[0]["applied_at"]) or 0),
        created_at=iso(clock.now_ms()),
        upm=__version__,
        schema=reader.meta.schema_version,
        generation=reader.meta.generation,
        ledger_entries=reader.meta.ledger.count,
        has_keys=False,
        files=0,
        size_bytes=0,
        trainers=tuple(
            TrainerAt(
                name=row.name,
                trained=row.trained,
                log_position=row.log_position,
                version=row.last_version or None,
                weights_sha256=row.weights_sha256,
            )
            for row in rows
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Own:
    """A member that is not named by the state: its bytes, or where they are and how many of them count."""

    name: str
    size: int
    data: bytes = b""
    where: Path | None = None


def _own_files(home: Path, found: "Held", configuration: bytes, *, with_keys: bool) -> list[_Own]:
    with found.read() as reader:
        ledger_bytes = reader.meta.ledger.offset
    own = [
        _Own(name=backup.CONFIG, size=len(configuration), data=configuration),
        _Own(name=backup.STATE, size=fsio.size(found.state), where=found.state),
    ]
    if ledger_bytes:  # what comes after it is of later commits, or of one that never happened
        own.append(_Own(name=backup.LEDGER, size=ledger_bytes, where=home / layout.LEDGER))
    for path in keys.files(home):
        name = f"{backup.HOME}/{layout.KEYS}/{path.name}"
        if path.is_symlink() or not (name == backup.KEYS or (with_keys and backup.is_seed(name))):
            continue
        with fsio.telling(path, "read"):
            data = path.read_bytes()
        own.append(_Own(name=name, size=len(data), data=data))
    return own


def _with_sizes(about: About, own: Sequence[_Own], files: "Sequence[HeldFile]") -> About:
    return replace(
        about,
        files=len(own) + len(files),
        size_bytes=sum(each.size for each in own) + sum(fsio.size(each.where) for each in files),
        has_keys=any(backup.is_seed(each.name) for each in own),
    )


def _write(file: Path, about: About, own: Sequence[_Own], found: "Held", clock: Clock) -> tuple[str, int]:
    """Write the backup under a name of its own, and only then give it the one it is to have."""
    with backupfolder.temporary(file) as (fd, temporary):
        writer = backupfile.Writer(fd, file, about, clock.now_ms() // 1000)
        for one in own:
            if one.where is None:
                writer.add(one.name, one.data)
                continue
            with _reading(one.where) as read:
                _add(writer, one.name, one.size, read)
        for each in found.files:
            name = f"{backup.HOME}/{each.path}"
            with _reading(each.where) as read:
                digest = _add(writer, name, fsio.size(each.where), read)
            if each.sha256 not in (None, digest):
                raise _unfit(each.path, "it is not what was written: its sha256 differs")
        written = writer.finish()
        with fsio.telling(file, "write"):
            fsio.sync_file(temporary)
        fsio.move(temporary, file)
    return written


def _add(writer: backupfile.Writer, name: str, size: int, read: Read) -> str:
    """Write one file; a blob is unpacked on the way, as its name says what has to be in it."""
    left = size

    def passed_on(most: int) -> bytes:
        nonlocal left
        data = read(min(most if most > 0 else backupfile.CHUNK, left))
        left -= len(data)
        writer.write(data)
        return data

    writer.begin(name, size)
    wrong = wrong_blob(name, passed_on)
    if wrong is not None:
        raise _unfit(name, wrong)
    while passed_on(backupfile.CHUNK):
        pass
    return writer.end(size)


def wrong_blob(name: str, read: Read) -> str | None:
    """Say what is wrong with the blob `name` whose stored bytes `read` gives; None: nothing, or it is no blob."""
    blob = backup.blob_of(name)
    if blob is None:
        return None
    digest, codec = blob
    try:
        found = blobs.digest_of(read, codec)
    except ValueError as exc:
        return f"it can't be unpacked: {exc}"
    return None if found == digest else "it does not hold the bytes that its name says"


def _unfit(path: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: {why}; a backup with it would not be whole, so there is none",
        hint="upm doctor lists everything that is damaged",
        code="UPM-E191",
        context={"path": path},
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Read]:
    with fsio.telling(path, "read"), path.open("rb") as file:
        yield file.read


def _beyond(kept: "Sequence[tuple[About, Found | None]]", about: About, keep: int | None) -> tuple[Path, ...]:
    old = [] if keep is None else backup.beyond(kept, about, keep)
    return tuple(each.file for each in old if each is not None)


def _drop(old: Sequence[Path]) -> tuple[list[Path], list[str]]:
    dropped, warnings = [], []
    for path in old:
        try:
            fsio.durable_unlink(path)
        except StorageError as exc:
            warnings.append(f"an old backup stays: {exc.message}")
        else:
            dropped.append(path)
    return dropped, warnings


def _same_disk(folder: Path, home: Path) -> bool:
    with fsio.telling(folder, "look at"):
        return folder.stat().st_dev == home.stat().st_dev


def _recorded(store: "Store", made: Made, actor: str, reason: str) -> Made:
    """Put it on record. The backup is there whatever comes of that, so this only warns."""
    about = made.about
    try:
        with store.write(actor=actor) as tx:
            tx.ledger(
                "backup.create",
                made.file.name,
                folder=str(made.file.parent),
                generation=about.generation,
                size_bytes=made.size_bytes,
                sha256=made.sha256,
                keys=about.has_keys,
                dropped=[path.name for path in made.dropped],
                reason=reason,
            )
    except UpmError as exc:
        return replace(made, warnings=(*made.warnings, f"it is not on record: {exc.message}"))
    return made
