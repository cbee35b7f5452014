"""Digests of files that were read once and have not changed since."""

import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from upm_cli.clock import Clock
from upm_cli.store import transfer

_MOST: Final = 65_536
_TICK_MS: Final = 100  # a file may change twice within one tick of the file system's clock and look the same


class Sums:
    """Remembers the sha256 of files by inode, size, and the times of their last change. Safe in several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[int, ...], str] = OrderedDict()

    def of(self, fd: int, still: Callable[[], object]) -> str:
        """Return the sha256 of the open file `fd`, reading it only if it may have changed. Raises OSError."""
        before = _identity(os.fstat(fd))
        known = self._known.get(before)
        if known is not None:
            return known
        found = transfer.sha256_of(fd, still)
        after = os.fstat(fd)
        if _identity(after) == before and self._clock.now_ms() - after.st_ctime_ns // 1_000_000 > _TICK_MS:
            self._known[before] = found
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
