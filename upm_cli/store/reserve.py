"""The reserve: a file of zeros that is given up when a full disk stands in the way of a rollback.

Given up it is empty, and so says that it is owed: the first commit that finds room again makes it anew.
"""

from pathlib import Path
from typing import Final

from upm_cli.errors import StorageError
from upm_cli.store import fsio

RESERVE: Final = "reserve"
SIZE_BYTES: Final = 8 << 20  # a copy of the state (5 MB at most by design), one ledger entry, and room for both
ROOM_BYTES: Final = 4 * SIZE_BYTES  # free before it is made again: it must not take what the next commits need


def size_bytes(home: Path) -> int | None:
    """Return how large the reserve is: 0 when it was given up, None when there is none."""
    try:
        return (home / RESERVE).stat().st_size
    except OSError:
        return None


def keep(home: Path) -> bool:
    """Make the reserve unless it is there; return whether it is. A disk too full for it is no reason to fail."""
    if size_bytes(home) == SIZE_BYTES:
        return True
    try:
        fsio.durable_write(home / RESERVE, bytes(SIZE_BYTES))
    except StorageError:
        return False
    return True


def make_up(home: Path) -> None:
    """Make the reserve again if it was given up and there is room for it: one look at a file when it was not."""
    if size_bytes(home) in (SIZE_BYTES, None):
        return
    try:
        free, _ = fsio.disk_space(home)
    except StorageError:
        return
    if free >= ROOM_BYTES:
        keep(home)


def give_up(home: Path) -> bool:
    """Free what the reserve takes; return whether that was anything."""
    if not size_bytes(home):
        return False
    fsio.cut(home / RESERVE, 0)
    return True
