"""The reserve: a file of zeros that is given up when a full disk stands in the way of a rollback."""

from pathlib import Path
from typing import Final

from upm_cli.errors import StorageError
from upm_cli.store import fsio

RESERVE: Final = "reserve"
SIZE_BYTES: Final = 8 << 20  # a copy of the state (5 MB at most by design), one ledger entry, and room for both


def keep(home: Path) -> None:
    """Make the reserve unless it is there. A disk too full for it is no reason to fail."""
    path = home / RESERVE
    try:
        if path.stat().st_size == SIZE_BYTES:
            return
    except OSError:
        pass  # not there, or not to be looked at: writing it tells
    try:
        fsio.durable_write(path, bytes(SIZE_BYTES))
    except StorageError:
        return


def give_up(home: Path) -> bool:
    """Free the reserve; return whether there was one."""
    return fsio.durable_unlink(home / RESERVE)
