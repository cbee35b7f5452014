"""The files that a state names: what has to be there for it to be whole."""

from collections.abc import Collection
from dataclasses import dataclass

from upm_cli.store import collect, segments
from upm_cli.store.unit import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFile:
    """A segment. `path` is below the home."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedFiles:
    """All of them: segments, blobs by the digest of their raw bytes, and those files of blobs that have to be there.

    A blob may be there as several files, each packed in another way; a snapshot names one of them.
    """

    segments: tuple[NamedFile, ...]
    blobs: Collection[str]
    snapshots: Collection[str]  # paths below the home


def of(r: Reader) -> NamedFiles:
    """Return what the state of `r` names."""
    found = (NamedFile(path=each.path, size_bytes=each.size_bytes, sha256=each.digest) for each in segments.list_all(r))
    return NamedFiles(
        segments=tuple(found),
        blobs=sorted(collect.referenced(r)),
        snapshots=[row["path"] for row in r.query("snapshots.paths")],
    )
