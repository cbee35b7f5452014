"""What lies on the disk and is not in a kept state: what a restore loses, or lets be learned again."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli.core import snapshot as codec
from upm_cli.core.records import Stream, Trainer
from upm_cli.errors import UpmError
from upm_cli.ids import iso
from upm_cli.store import blobs, collect, layout, snapshots, streams, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Reader

_SEGMENT: Final = re.compile(r"(\d+)-(\d+)(?:\.[0-9a-f]+)?\.arrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerRows:
    """Rows of a log that a kept state does not know: windows, labels and marks."""

    stream: str
    first_seq: int
    last_seq: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerSnapshot:
    """A snapshot that a kept state does not know."""

    trainer: str
    version: int
    made_at: str
    windows: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerThen:
    """Where a trainer stands in a kept state."""

    trainer: str
    trained: int
    log_position: int
    last_version: int
    epoch: int
    can_learn_on: bool  # its checkpoint is still there, or there was none
    paused: str | None  # why it learns nothing until a person resumes it


def newer_rows(reader: "Reader", home: Path) -> list[NewerRows]:
    """Return the log rows on the disk that the state does not know, by stream."""
    found = [_newer(home, stream) for stream in streams.list_all(reader)]
    return [each for each in found if each is not None]


def _newer(home: Path, stream: Stream) -> NewerRows | None:
    last = max(_last_seqs(home / layout.LOG / stream.name), default=-1)
    if last < stream.next_seq:
        return None
    return NewerRows(stream=stream.name, first_seq=stream.next_seq, last_seq=last, rows=last - stream.next_seq + 1)


def _last_seqs(folder: Path) -> Iterator[int]:
    for path in folder.glob("*.arrow"):
        if match := _SEGMENT.fullmatch(path.name):
            yield int(match[2])


def newer_snapshots(reader: "Reader", home: Path) -> list[NewerSnapshot]:
    """Return the snapshots on the disk that the state does not know and never knew, by trainer and version."""
    needed = collect.referenced(reader)
    last = {row.name: row.last_version for row in trainers.list_all(reader)}
    known = {(name, row.version) for name in last for row in snapshots.list_for(reader, name)}
    found = [_snapshot(home, path) for path in collect.unnamed(home, needed)]
    newer = [each for each in found if each is not None and (each.trainer, each.version) not in known]
    return sorted(
        (each for each in newer if each.version > last.get(each.trainer, 0)), key=lambda it: (it.trainer, it.version)
    )


def _snapshot(home: Path, path: Path) -> NewerSnapshot | None:
    """Return the snapshot in the blob at `path`; None where it is a checkpoint, something else, or damaged."""
    try:
        _, manifest = codec.decode(blobs.get(home, path.name.partition(".")[0]))
        if "checkpoint" in manifest or "version" not in manifest:
            return None
        return NewerSnapshot(
            trainer=str(manifest["trainer"]),
            version=int(manifest["version"]),
            made_at=iso(path.stat().st_mtime_ns // 1_000_000),
            windows=int(manifest["windows"]),
            path=path.relative_to(home).as_posix(),
        )
    except (UpmError, OSError, ValueError, KeyError, TypeError):
        return None


def trainers_then(reader: "Reader", home: Path) -> list[TrainerThen]:
    """Return where each trainer stands in the state."""
    return [
        TrainerThen(
            trainer=row.name,
            trained=row.trained,
            log_position=row.log_position,
            last_version=row.last_version,
            epoch=row.epoch,
            can_learn_on=_has_checkpoint(home, row),
            paused=row.pause_reason or "asked" if row.desired == "pause" else None,
        )
        for row in trainers.list_all(reader)
    ]


def _has_checkpoint(home: Path, row: Trainer) -> bool:
    if row.checkpoint_digest is None:
        return True
    try:
        return bool(blobs.get(home, row.checkpoint_digest))
    except UpmError:
        return False
