"""Collecting blobs that no row refers to: what killed processes, superseded checkpoints and deleted snapshots left."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from upm_cli.store import fsio
from upm_cli.store.history import KEPT
from upm_cli.store.layout import BLOBS
from upm_cli.store.unit import Reader

GRACE_MS: Final = 3_600_000  # files come before their rows: a younger one may be about to get its row
KEPT_BYTES: Final = 64 << 20  # of outdated checkpoints, so that large ones are not kept at all
_BLOB: Final = re.compile(r"([0-9a-f]{64})\.[a-z]+")
_TRASH: Final = ".trash"


def referenced(r: Reader, among: Sequence[str] | None = None) -> set[str]:
    """Return the digests of all blobs that rows refer to, or those of them that are `among` these."""
    if among is not None and not among:
        return set()
    return {row["digest"] for row in r.query("blobs.referenced", among=among)}


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


def unnamed(home: Path, needed: Collection[str]) -> list[Path]:
    """Return the blobs, young ones too, that are not among the digests in `needed`."""
    found = ((_BLOB.fullmatch(path.name), path) for path in sorted((home / BLOBS).glob("*/*")))
    return [path for match, path in found if match is not None and match[1] not in needed]


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


class Outdated:
    """Blobs that the live state does not need any more, but kept states do, so that going back to one of them works.

    The newest stay while their worker lives, as many as there are kept states and `KEPT_BYTES` at most.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._kept: list[tuple[str, int]] = []  # digest and bytes on the disk, oldest first

    def with_one_more(self, digest: str | None) -> list[str]:
        """Return the digests that are kept, and `digest`: of these one has to know whether rows refer to them."""
        return [each for each, _ in self._kept] + ([digest] if digest else [])

    def add(self, digest: str, needed: Collection[str], now_ms: int) -> None:
        """Take in what a commit left behind, and remove what is too old; `needed` is what rows refer to after it."""
        size = sum(path.stat().st_size for path in (self._home / BLOBS / digest[:2]).glob(f"{digest}.*"))
        self._kept = [each for each in self._kept if each[0] != digest] + [(digest, size)]
        while self._kept and (len(self._kept) > KEPT or sum(size for _, size in self._kept) > KEPT_BYTES):
            oldest, _ = self._kept.pop(0)
            if oldest not in needed:
                discard(self._home, oldest, now_ms)

    def remove_all(self, needed: Collection[str], now_ms: int) -> None:
        """Remove what is left; `needed` is what rows refer to."""
        for digest, _ in self._kept:
            if digest not in needed:
                discard(self._home, digest, now_ms)
        self._kept = []


def discard(home: Path, digest: str, now_ms: int) -> None:
    """Remove the blob `digest` at once; the caller has seen, after its commit, that no row refers to it."""
    for path in (home / BLOBS / digest[:2]).glob(f"{digest}.*"):
        remove(path, now_ms, at_once=True)


def _age_ms(path: Path, now_ms: int) -> int:
    try:
        return now_ms - path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return -1
