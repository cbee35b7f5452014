"""Collecting blobs that no row refers to: what killed processes, superseded checkpoints and deleted snapshots left."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from upm_cli.store import fsio
from upm_cli.store.layout import BLOBS
from upm_cli.store.unit import Reader

GRACE_MS: Final = 3_600_000  # files come before their rows: a younger one may be about to get its row
_BLOB: Final = re.compile(r"([0-9a-f]{64})\.[a-z]+")
_TRASH: Final = ".trash"


def referenced(r: Reader) -> set[str]:
    """Return the digests of all blobs that rows refer to."""
    return {row["digest"] for row in r.query("blobs.referenced") if row["digest"] is not None}


def orphans(home: Path, needed: Collection[str], now_ms: int, *, at_once: Collection[str] = ()) -> list[Path]:
    """Return the blob files that nothing needs: old enough ones, and those of the digests in `at_once` at any age.

    `needed` are the referenced digests, read before this call. Left-over temporary files count too.
    """
    found = []
    for path in sorted((home / BLOBS).glob("*/*")):
        match = _BLOB.fullmatch(path.name)
        digest = match[1] if match else ""
        if digest not in needed and (digest in at_once or _age_ms(path, now_ms) >= GRACE_MS):
            found.append(path)
    return found


def remove(path: Path, now_ms: int, *, at_once: bool = False) -> int:
    """Remove an orphan and return the bytes freed; 0 when somebody put it to use in this moment.

    It is renamed before it is removed: whoever stores the same bytes again either makes the file young first, which
    is seen here, or finds it gone and writes it anew.
    """
    trash = path.with_name(f".{path.name}{_TRASH}")
    fsio.move(path, trash)
    if not at_once and _age_ms(trash, now_ms) < GRACE_MS:
        fsio.move(trash, path)
        return 0
    size = trash.stat().st_size
    fsio.remove_quietly(trash)
    return size


def discard(home: Path, digest: str, now_ms: int) -> None:
    """Remove the blob `digest` at once; the caller has seen, after its commit, that no row refers to it."""
    for path in (home / BLOBS / digest[:2]).glob(f"{digest}.*"):
        remove(path, now_ms, at_once=True)


def _age_ms(path: Path, now_ms: int) -> int:
    try:
        return now_ms - path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return -1
