"""Files below a folder that others can write to: opened without following links, and looked at before they are read.

The folder itself may be reached by any path. Below it no part of a path may be a symbolic link, and only regular files
are read. A hard link is no danger: what is read is proven by its bytes, and kept in memory.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from upm_cli.agent.errors import DamagedError, UnreachableError
from upm_cli.store import fsio

Stamp = tuple[int, int, int, int, int]  # device, inode, size, mtime_ns, ctime_ns

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: a FIFO keeps nobody waiting


def stamp(path: Path) -> Stamp | None:
    """Return what changes when the file at `path` does; None: it is not there, or can't be looked at."""
    try:
        found = path.stat(follow_symlinks=False)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextlib.contextmanager
def opened(root: Path, relative: str) -> Iterator[tuple[int, int]]:
    """Open the regular file `relative` below `root`; gives its descriptor and its size.

    Raises FileNotFoundError when it is not there, DamagedError when it is no regular file or reached by a link,
    UnreachableError when the operating system refuses.
    """
    with _parent(root, relative) as (folder, name):
        try:
            fd = os.open(name, _FILE, dir_fd=folder)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise _refused(exc, root, relative) from exc
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise DamagedError(f"{root / relative} is not a regular file", hint="remove it, then upm sync run")
        yield fd, found.st_size
    finally:
        os.close(fd)


def read_small(root: Path, relative: str, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes; errors as of `opened`."""
    with opened(root, relative) as (fd, size):
        if size > most:
            raise DamagedError(f"{root / relative} has {size:,} bytes; {most:,} are the most")
        try:
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(most + 1)
        except OSError as exc:
            raise _refused(exc, root, relative) from exc
    if len(data) > most:
        raise DamagedError(f"{root / relative} has more than {most:,} bytes")
    return data


def write_below(root: Path, relative: str, data: bytes) -> None:
    """Replace the file `relative` below `root` at once, making folders as open as `root` is; no fsync.

    For notes that others read and whose loss harms nobody. Raises OSError, DamagedError.
    """
    mode = stat.S_IMODE(root.stat().st_mode)
    with _parent(root, relative, make=mode) as (folder, name):
        temporary = f".{name}.{secrets.token_hex(4)}{fsio.TEMP_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600 | (mode & 0o444), dir_fd=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise


@contextlib.contextmanager
def _parent(root: Path, relative: str, make: int | None = None) -> Iterator[tuple[int, str]]:
    """Walk to the folder of `relative` without following links; gives its descriptor and the file's name."""
    *folders, name = relative.split("/")
    if any(part in ("", ".", "..") for part in (*folders, name)):
        raise DamagedError(f"{relative!r} is no path below a model directory")
    try:
        at = os.open(root, _FOLDER)
    except FileNotFoundError:
        raise
    except NotADirectoryError as exc:
        raise FileNotFoundError(exc.errno, exc.strerror, str(root)) from exc
    except (OSError, ValueError) as exc:
        raise _refused(exc, root, "") from exc
    try:
        for part in folders:
            if make is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, make, dir_fd=at)
            try:
                deeper = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=at)
            except FileNotFoundError:
                raise
            except OSError as exc:
                raise _refused(exc, root, relative) from exc
            os.close(at)
            at = deeper
        yield at, name
    finally:
        os.close(at)


def _refused(exc: OSError | ValueError, root: Path, relative: str) -> DamagedError | UnreachableError:
    path = root / relative
    if isinstance(exc, NotADirectoryError) or (isinstance(exc, OSError) and exc.errno == errno.ELOOP):
        return DamagedError(f"{path} is, or is reached by, a link or no folder", hint="remove it, then upm sync run")
    why = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return UnreachableError(f"can't read {path}: {why}", hint="check the folder and its permissions")
