"""Is a backup whole? Its bytes, the chain of its ledger, its state, and every file which that state names."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from upm_cli.clock import Clock
from upm_cli.core import backup
from upm_cli.core.backup import About
from upm_cli.errors import IntegrityError, InvalidError
from upm_cli.ops.backup import wrong_blob
from upm_cli.store import backupfile, fsio, history, layout, ledger, named, sandbox
from upm_cli.store.session import Store

if TYPE_CHECKING:
    from upm_cli.store.backupfile import Member, Reader
    from upm_cli.store.session import Reader as StateReader

#: Where a member is to be written: None for one that is only looked at.
Place = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A backup that is whole."""

    file: Path
    about: About
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found of one member."""

    size: int
    sha256: str


def verify(file: Path, clock: Clock) -> Checked:
    """Read all of a backup and prove it. Only its state and ledger are unpacked, for the time it takes.

    Raises IntegrityError at what is wrong, InvalidError for one of a newer upm, NotFoundError, StorageError.
    """
    with sandbox.folder() as folder, backupfile.opened(file) as reader:
        home = folder / backup.HOME
        places = {backup.STATE: home / layout.STATE, backup.LEDGER: home / layout.LEDGER}
        members = unpack(reader, places.get)
        judge(reader, home, members, clock)
        return Checked(file=file, about=reader.about, size_bytes=reader.size_bytes)


def unpack(reader: "Reader", place: Place) -> dict[str, Seen]:
    """Read every member, write those that have a place, and return what was found.

    Raises IntegrityError at the first thing that is wrong; what was written until then is not to be trusted.
    """
    seen: dict[str, Seen] = {}
    for member in reader.members():
        with _written(place(member.name)) as write:
            _read(reader, member, write)
        seen[member.name] = Seen(size=member.size, sha256=member.drain())
    return seen


def _read(reader: "Reader", member: "Member", write: Callable[[bytes], None]) -> None:
    def passed_on(most: int) -> bytes:
        data = member.read(most)
        write(data)
        return data

    wrong = wrong_blob(member.name, passed_on)
    if wrong is not None:
        raise backupfile.damaged(reader.path, f"{member.name}: {wrong}")
    while passed_on(backupfile.CHUNK):
        pass


@contextlib.contextmanager
def _written(path: Path | None) -> Iterator[Callable[[bytes], None]]:
    """Give what writes to the new file `path`, durably at the end of the block."""
    if path is None:
        yield lambda data: None
        return
    fsio.make_folder(path.parent)
    with fsio.new_file(path) as fd:
        yield lambda data: fsio.extend(fd, data, path)


def judge(reader: "Reader", home: Path, members: Mapping[str, Seen], clock: Clock) -> None:
    """Prove that what was unpacked fits together; `home` has the state and the ledger of the backup.

    A state of an older upm is brought up to date there. Raises IntegrityError, InvalidError.
    """
    for name in (backup.STATE, backup.CONFIG):
        if name not in members:
            raise backupfile.damaged(reader.path, f"there is no {name} in it")
    _open_state(reader, home, clock)
    store = Store(home, clock)
    try:
        with store.read() as state:
            _check_about(reader, state)
            _check_ledger(reader, home, state, members)
            _check_files(reader, named.of(state), members)
    finally:
        store.close()


def _open_state(reader: "Reader", home: Path, clock: Clock) -> None:
    state = home / layout.STATE
    error = history.examine(state)
    if error is not None and history.is_damage(error):
        raise backupfile.damaged(reader.path, f"its state does not open ({error.message})")
    if error is not None and not (isinstance(error, InvalidError) and error.code == "UPM-E032"):
        raise error
    Store.create(home, clock).close()


def _check_about(reader: "Reader", state: "StateReader") -> None:
    about = reader.about
    if (about.generation, about.ledger_entries) != (state.meta.generation, state.meta.ledger.count):
        raise backupfile.damaged(reader.path, "its state is not the one it says it is of")


def _check_ledger(reader: "Reader", home: Path, state: "StateReader", members: Mapping[str, Seen]) -> None:
    size = members[backup.LEDGER].size if backup.LEDGER in members else 0
    if size != state.meta.ledger.offset:
        raise backupfile.damaged(reader.path, "its ledger does not end where its state says")
    try:
        ledger.verify(home, state.meta.ledger)
    except IntegrityError as exc:
        raise backupfile.damaged(reader.path, exc.message) from exc


def _check_files(reader: "Reader", wanted: named.NamedFiles, members: Mapping[str, Seen]) -> None:
    """Refuse what the state names and is not there, and what is there and nothing names."""
    left = {name for name in members if not backup.is_fixed(name)}
    for segment in wanted.segments:
        name = f"{backup.HOME}/{segment.path}"
        if members.get(name) != Seen(size=segment.size_bytes, sha256=segment.sha256):
            raise backupfile.damaged(reader.path, f"{segment.path}, which its state names, is missing or another one")
        left.discard(name)
    for path in wanted.snapshots:
        if f"{backup.HOME}/{path}" not in members:
            raise backupfile.damaged(reader.path, f"{path}, which its state names, is missing")
    found = {name: blob[0] for name in left if (blob := backup.blob_of(name)) is not None}
    for digest in set(wanted.blobs).difference(found.values()):
        raise backupfile.damaged(reader.path, f"blob {digest}, which its state names, is missing")
    left -= {name for name, digest in found.items() if digest in wanted.blobs}
    if left:
        raise backupfile.damaged(reader.path, f"nothing in its state names {min(left)}")
