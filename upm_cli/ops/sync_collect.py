"""Collecting what agents saw: their finished prediction logs, from directories and over HTTP, each line once.

`.upm/feedback/<adapter>/` gets the files, and `.upm/feedback/<adapter>.json` says how far it has come. A file is
written durably before it counts as collected; killed in between, some lines are fetched twice, and `upm ingest` drops
those.
"""

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli.adapters.base import Deadline, DeliveryError, Failure
from upm_cli.adapters.directory import Directory, telling
from upm_cli.adapters.kinds import Kinds as AllKinds
from upm_cli.clock import Clock
from upm_cli.core.records import Adapter
from upm_cli.errors import InvalidError
from upm_cli.ops import adapters as ops
from upm_cli.ops import authority
from upm_cli.ops.sync_send import Kinds, as_failure
from upm_cli.store import adapters, fsio, lease, transfer
from upm_cli.store.folders import Folder

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

FOLDER: Final = "feedback"  # below .upm, and in a model directory
MOST_BYTES: Final = 64 << 20  # of one file; agents finish theirs at 16 MiB
PAGE_LINES: Final = 10_000
_DEPTH: Final = 4
_FINISHED: Final = re.compile(r"predictions-[a-z0-9][a-z0-9._-]*-\d{6}\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What one adapter brought. `folder` is where it lies; `error` says why not all of it came."""

    adapter_key: str
    trainer: str
    folder: Path
    files: int = 0
    size_bytes: int = 0
    error: DeliveryError | None = None


@dataclass(slots=True)
class _Progress:
    """How far one adapter has been collected: `path` has it, the files lie in `folder`."""

    path: Path
    folder: Path
    files: dict[str, str] = field(default_factory=dict)  # file in the directory → its sha256
    after: int = 0  # position of an HTTP agent

    @classmethod
    def read(cls, folder: Path) -> "_Progress":
        """Raises InvalidError when the file is there and can't be read."""
        path = folder.with_name(f"{folder.name}.json")
        try:
            plain = json.loads(path.read_bytes())
            return cls(path, folder, {str(k): str(v) for k, v in plain["files"].items()}, int(plain["after"]))
        except FileNotFoundError:
            return cls(path, folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise InvalidError(
                f"{path} can't be read: {exc}",
                hint="remove it: then everything is fetched again, and upm ingest drops what it knows",
                code="UPM-E125",
            ) from exc

    def write(self) -> None:
        plain = {"schema_version": 1, "files": self.files, "after": self.after}
        fsio.durable_write(self.path, json.dumps(plain, sort_keys=True).encode())


def collect(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    key: str | None = None,
    *,
    actor: str,
    kinds: Kinds | None = None,
) -> list[Collected]:
    """Fetch what is new from adapter `key` (None: from all, one for each place).

    A place that fails is a result. Raises NotFoundError, RefusedError, BusyError when somebody else is at it.
    """
    authority.require(settings, store.home, actor, "sync.run")
    with store.read() as reader:
        rows = adapters.list_all(reader) if key is None else ops.find(reader, key)
    places = {row.location: row for row in reversed(rows)}  # the first of each place
    opened = kinds or AllKinds(clock)
    with lease.acquire(store.home, "collect", "upm sync collect"):
        return [_from(store.home, clock, settings, opened, row) for row in reversed(places.values())]


def _from(home: Path, clock: Clock, settings: "Settings", kinds: Kinds, row: Adapter) -> Collected:
    folder = home / FOLDER / row.adapter_key
    done = Collected(adapter_key=row.adapter_key, trainer=row.trainer, folder=folder)

    def deadline() -> Deadline:
        return Deadline.after(clock, settings.adapter_sync.sync_timeout_ms / 1000)

    try:
        fsio.make_folder(folder)
        progress, adapter = _Progress.read(folder), kinds.open_adapter(row, settings, clock)
        pages = _files(adapter, progress, deadline) if isinstance(adapter, Directory) else None
        for size in pages or _pages(adapter, progress, deadline):
            done = replace(done, files=done.files + 1, size_bytes=done.size_bytes + size)
    except InvalidError:
        raise
    except Exception as exc:  # what one place brings is no reason to leave the others
        return replace(done, error=as_failure(exc))
    return done


def _files(directory: Directory, progress: _Progress, deadline: Callable[[], Deadline]) -> Iterator[int]:
    """Copy the finished files that are new; yield the bytes of each."""
    with telling(directory.location), directory.open() as here:
        try:
            top = here.below(FOLDER)
        except FileNotFoundError:
            return
        with top:
            found = dict(_finished(top, ""))
            for name in sorted(found.keys() - progress.files.keys()):
                size, digest = _copy(top, name, progress.folder, deadline())
                progress.files[name] = digest
                progress.write()
                yield size
            gone = progress.files.keys() - found.keys()
            if gone:
                progress.files = {name: digest for name, digest in progress.files.items() if name not in gone}
                progress.write()


def _finished(folder: Folder, prefix: str, depth: int = _DEPTH) -> Iterator[tuple[str, int]]:
    """Yield the finished files below an open folder, by relative path; links are passed over."""
    for name in folder.names():
        if _FINISHED.fullmatch(name):
            with contextlib.suppress(OSError), folder.file(name) as (_, found):
                yield prefix + name, found.st_size
        elif depth and not name.startswith("."):
            with contextlib.suppress(NotADirectoryError, OSError), folder.below(name) as below:
                yield from _finished(below, f"{prefix}{name}/", depth - 1)


def _copy(top: Folder, name: str, target: Path, deadline: Deadline) -> tuple[int, str]:
    """Copy one file durably; return its bytes and its sha256. A file of that name with other content stays."""
    *parts, last = name.split("/")
    with top.below(*parts) as source, source.file(last) as (fd, found), Folder.open(target) as folder:
        if found.st_size > MOST_BYTES:
            raise DeliveryError(Failure.GARBLED, f"{name} has {found.st_size:,} bytes; {MOST_BYTES:,} are the most")
        copy, temporary = folder.new_file(last, 0o600)
        try:
            transfer.copy_into(fd, copy, target / last, deadline.left_s)
            size, digest = os.fstat(copy).st_size, transfer.sha256_of(copy, deadline.left_s)
            transfer.sync_together([copy], target / last)
            folder.rename(temporary, _free_name(folder, "~".join([*parts, last]), digest))
            transfer.sync_together([folder.fd], target)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.drop(temporary)
            raise
        finally:
            os.close(copy)
    return size, digest


def _free_name(folder: Folder, name: str, digest: str) -> str:
    """Return the name, or one with a part of the digest in it where another file has it."""
    try:
        with folder.file(name) as (fd, _):
            if transfer.sha256_of(fd, lambda: None) == digest:
                return name
    except FileNotFoundError:
        return name
    except OSError as exc:
        if exc.errno != errno.ELOOP:
            raise
    return f"{name.removesuffix('.jsonl')}.{digest[:12]}.jsonl"


def _pages(adapter: Any, progress: _Progress, deadline: Callable[[], Deadline]) -> Iterator[int]:
    """Fetch page after page of an agent's log; yield the bytes of each."""
    fetch = getattr(adapter, "feedback", None)
    if fetch is None:
        raise DeliveryError(Failure.FORBIDDEN, "adapters of this kind have nothing to collect in this installation")
    while True:
        data, after = fetch(progress.after, PAGE_LINES, deadline())
        if data and after <= progress.after:
            raise DeliveryError(Failure.GARBLED, f"it sent lines and the position {after}, which is not further on")
        if data:
            name = f"feedback-{progress.after:020d}-{after:020d}.jsonl"
            fsio.durable_write(progress.folder / name, data)
        if after > progress.after:
            progress.after = after
            progress.write()
        if not data:
            return
        yield len(data)


def ingest_words(collected: Collected) -> list[str]:
    """Return the command that takes in what was collected, as its arguments."""
    return ["ingest", "--kind", "outcomes", str(collected.folder), "--trainer", collected.trainer]


def as_json(each: Collected) -> dict[str, Any]:
    """Return one result in plain values."""
    error: Mapping[str, Any] | None = None
    if each.error is not None:
        error = {"failure": each.error.failure.value, "message": each.error.message}
    return {
        "adapter_key": each.adapter_key,
        "trainer": each.trainer,
        "folder": str(each.folder),
        "files": each.files,
        "size_bytes": each.size_bytes,
        "error": error,
        "next": "upm " + " ".join(ingest_words(each)) if each.files else None,
    }
