"""Deleting in two steps: what nobody refers to is put aside first and deleted later.

A file is young for a while after it was written or touched: its commit may still be on the way, or a reader may still
hold an older state that names it. Only files that are not young are put aside, and they stay in `trash/` as long again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upm_cli.store import fsio
from upm_cli.store.layout import TRASH

GRACE_MS: Final = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection did: files put aside now, and files put aside earlier and deleted now."""

    put_aside: int
    deleted: int
    freed_bytes: int


def collect(home: Path, orphans: Iterable[Path], *, now_ms: int, older_than_ms: int) -> Collected:
    """Put `orphans` aside that were last modified `older_than_ms` ago, and delete what was put aside as long ago."""
    limit_ms = now_ms - older_than_ms
    deleted, freed = _empty(home, limit_ms)
    put_aside = sum(_put_aside(home, path, now_ms, limit_ms) for path in orphans)
    return Collected(put_aside=put_aside, deleted=deleted, freed_bytes=freed)


def _put_aside(home: Path, path: Path, now_ms: int, limit_ms: int) -> bool:
    if _modified_ms(path, limit_ms + 1) > limit_ms:
        return False
    target = home / TRASH / "~".join(path.relative_to(home).parts)
    fsio.make_folder(target.parent)
    fsio.move(path, target)
    if _modified_ms(target, limit_ms) > limit_ms:  # somebody stored the same content again just now
        fsio.move(target, path)
        return False
    fsio.touch(target, now_ms)
    return True


def _empty(home: Path, limit_ms: int) -> tuple[int, int]:
    deleted = freed = 0
    folder = home / TRASH
    with fsio.telling(folder, "list"):
        files = sorted(folder.iterdir()) if folder.exists() else []
    for path in files:
        if _modified_ms(path, limit_ms + 1) <= limit_ms:
            size = path.stat().st_size
            if fsio.durable_unlink(path):
                deleted, freed = deleted + 1, freed + size
    return deleted, freed


def _modified_ms(path: Path, missing: int) -> int:
    with fsio.telling(path, "look at"):
        try:
            return path.stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return missing
