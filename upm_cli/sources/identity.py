"""Which file is this? By inode and a hash of how it begins, so that growth and renaming don't matter."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upm_cli.core.records import SourcePosition
from upm_cli.sources.base import storable

PREFIX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """A file as it was first met: `prefix` bytes from its start with that sha256."""

    inode: int
    prefix: int
    sha256: str

    def meta(self) -> dict[str, Any]:
        return {"inode": self.inode, "prefix": self.prefix, "sha256": self.sha256}


def identify(path: Path, prefix: int = PREFIX_BYTES) -> Identity:
    """Return the identity of `path` by at most its first `prefix` bytes. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(prefix)
        return Identity(os.fstat(file.fileno()).st_ino, len(start), hashlib.sha256(start).hexdigest())


def find_known(path: Path, known: Iterable[SourcePosition]) -> SourcePosition | None:
    """Return the position at which `path` was left, or None if it is new: never met, replaced, or truncated."""
    status = path.stat()
    for position in sorted(known, key=lambda p: (p.path != storable(str(path)), -p.updated_at_ms, p.key)):
        meta = position.meta
        if meta.get("inode") != status.st_ino or status.st_size < meta.get("prefix", 0):
            continue
        if not meta.get("packed") and meta.get("format") != "parquet" and status.st_size < position.offset:
            continue
        if identify(path, int(meta["prefix"])).sha256 == meta["sha256"]:
            return position
    return None


def new_key(identity: Identity, known: Iterable[SourcePosition]) -> str:
    """Return a key for a new file that no known one has, even if a replaced file began with the same bytes."""
    stem = f"{identity.inode}-{identity.sha256[:16]}"
    taken = {position.key for position in known}
    if stem not in taken:
        return stem
    return next(key for n in range(1, len(taken) + 1) if (key := f"{stem}-{n}") not in taken)
