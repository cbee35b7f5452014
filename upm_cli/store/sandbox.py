"""A private copy of the state to rehearse in: nothing that is done there reaches the original."""

import errno
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from upm_cli.errors import StorageError
from upm_cli.store import blobs, fsio
from upm_cli.store.layout import LEDGER, STATE


@contextmanager
def folder(near: Path | None = None) -> Iterator[Path]:
    """Make a folder for the time of the block, on the disk of the folder `near` (None: wherever is room for it)."""
    where = near or Path(tempfile.gettempdir())
    with fsio.telling(where, "make a folder in"):
        made = tempfile.TemporaryDirectory(prefix=".upm-drill-", dir=near, ignore_cleanup_errors=True)
    with made as path:
        yield Path(path)


def fill(home: Path, target: Path, digests: Iterable[str]) -> None:
    """Copy the state and the ledger of `home` into `target`, and give it the blobs that are there of `digests`.

    Blobs are never written to, so they are linked where that can be. Raises StorageError.
    """
    fsio.make_folder(target)
    fsio.copy(home / STATE, target / STATE)
    if (home / LEDGER).exists():
        fsio.copy(home / LEDGER, target / LEDGER)
    for digest in dict.fromkeys(digests):
        for path in blobs.files(home, digest):
            _give(path, target / path.relative_to(home))


def _give(source: Path, target: Path) -> None:
    fsio.make_folder(target.parent)
    try:
        fsio.keep_link(source, target)
    except StorageError as exc:
        cause = exc.__cause__
        if not (isinstance(cause, OSError) and cause.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)):
            raise
        fsio.copy(source, target)
