"""The folder that backups go to: a name for now while one is written, which a dead process leaves to the next one."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from upm_cli.core import backup
from upm_cli.store import fsio


@contextlib.contextmanager
def temporary(file: Path) -> Iterator[tuple[int, Path]]:
    """Make a file beside `file` that this process holds a lock on: with nobody at it, it is a dead one's."""
    while True:
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}{fsio.TEMP_SUFFIX}")
        fd = fsio.open_new(temporary)
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():  # nobody swept it before the lock was there
            break
        os.close(fd)
    try:
        yield fd, temporary
    finally:
        fsio.remove_quietly(temporary)
        os.close(fd)


def sweep(folder: Path) -> None:
    """Remove what killed backups left in `folder`: files with a name for now that nobody holds."""
    for path in folder.glob(f".*{backup.SUFFIX}.*{fsio.TEMP_SUFFIX}"):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fsio.remove_quietly(path)
            finally:
                os.close(fd)


def free_name(file: Path) -> Path:
    """Return `file`, or a name like it that nothing has."""
    number, free = 1, file
    while free.exists():
        number += 1
        free = file.with_name(f"{file.name.removesuffix(backup.SUFFIX)}-{number}{backup.SUFFIX}")
    return free
