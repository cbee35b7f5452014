"""Bytes into open files: whole, flat in memory, and many files made durable at the price of one."""

import ctypes
import errno
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from upm_cli.store import fsio

_MANY: Final = 4  # from so many files on, one syncfs is cheaper than an fsync each
_STEP: Final = 32 << 20  # bytes copied between two looks at the time
_BUFFER: Final = 1 << 20
_CANT_COPY: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


def write_all(fd: int, data: fsio.Bytes, path: Path) -> None:
    """Write all of `data` to the open file `fd`. Raises OSError."""
    fsio.faults.at("write", path)
    left = memoryview(data).cast("B")
    while left:
        left = left[fsio.faults.write(fd, left) :]


def copy_into(source: int, target: int, path: Path, still: Callable[[], object]) -> int:
    """Copy the file `source` into the empty file `target`; return its bytes. Memory stays flat.

    By the kernel where it can (on some file systems that shares the blocks), else through a small buffer. `still` is
    called now and then and may raise.
    """
    fsio.faults.at("write", path)
    done = 0
    if hasattr(os, "copy_file_range"):
        try:
            while step := os.copy_file_range(source, target, _STEP, done, done):
                done += step
                still()
        except OSError as exc:
            if done or exc.errno not in _CANT_COPY:
                raise
        if done:
            return done
    while chunk := os.pread(source, _BUFFER, done):
        write_all(target, chunk, path)
        done += len(chunk)
        still()
    return done


def sha256_of(fd: int, still: Callable[[], object]) -> str:
    """Return the sha256 of the open file `fd`, read once from its beginning; `still` is called now and then."""
    digest, at = hashlib.sha256(), 0
    view = memoryview(bytearray(min(_BUFFER, max(1, os.fstat(fd).st_size))))
    while got := os.preadv(fd, [view], at):
        digest.update(view[:got])
        at += got
        still()
    return digest.hexdigest()


def sync_together(fds: Sequence[int], path: Path) -> None:
    """Make everything that was written to the open files or folders `fds` durable. Raises OSError.

    Many at once cost one flush of each file system instead of one for each file.
    """
    if not fds:
        return
    fsio.faults.at("fsync", path)
    if len(fds) < _MANY or _syncfs is None:
        for fd in fds:
            os.fsync(fd)
        return
    for fd in {os.fstat(fd).st_dev: fd for fd in fds}.values():
        if _syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))


def _find_syncfs() -> Callable[[int], int] | None:
    """Return the system call, where it is there and tells of failed writes (Linux since 5.8)."""
    if not sys.platform.startswith("linux"):
        return None
    major, minor = (int("".join(filter(str.isdigit, part)) or 0) for part in os.uname().release.split(".")[:2])
    if (major, minor) < (5, 8):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


_syncfs = _find_syncfs()
