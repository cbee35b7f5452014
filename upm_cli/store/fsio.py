"""Every write to the file system goes through here: durable, private (0600), and with faults on demand.

`durable_write` is the rule for anything that is kept: a new file in the same folder, all bytes, fsync, rename,
fsync of the folder. A failed fsync is never tried again on the same file: the temporary file is dropped and the
caller gets a StorageError that names the path, the need and what to do.
"""

import contextlib
import errno
import os
import pwd
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upm_cli.errors import StorageError

Bytes = bytes | bytearray | memoryview
TEMP_SUFFIX: Final = ".tmp"


@dataclass(slots=True)
class Faults:
    """Where tests make the disk fail: `before(operation, path)` may raise OSError, `write` may write less."""

    before: Callable[[str, Path], None] | None = None
    write: Callable[[int, memoryview], int] = os.write

    def at(self, operation: str, path: Path) -> None:
        if self.before is not None:
            self.before(operation, path)


faults = Faults()

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


def storage_error(exc: OSError, path: Path, doing: str, need_bytes: int = 0) -> StorageError:
    """Return the error that tells a person what the operating system said about `path`, and what to do."""
    need = f" ({need_bytes:,} bytes needed)" if need_bytes else ""
    if exc.errno in _FULL:
        code, why, hint = "UPM-E010", "the disk is full", f"free space on the disk of {path.parent}, then try again"
    elif exc.errno == errno.EROFS:
        code, why, hint = "UPM-E011", "the file system is read-only", f"make {path.parent} writable, then try again"
    elif exc.errno in _FORBIDDEN:
        code, why, hint = "UPM-E012", "no permission", f"give this user read and write access to {path.parent}"
    else:
        why = os.strerror(exc.errno) if exc.errno else str(exc)
        code, hint = "UPM-E013", f"check the disk and folder of {path}; nothing half-written was kept"
    context = {"path": str(path), "errno": exc.errno, "need_bytes": need_bytes}
    return StorageError(f"can't {doing} {path}: {why}{need}", hint=hint, code=code, context=context)


@contextlib.contextmanager
def telling(path: Path, doing: str, need_bytes: int = 0) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError about `path`."""
    try:
        yield
    except OSError as exc:
        raise storage_error(exc, path, doing, need_bytes) from exc


def os_user() -> str:
    """Return who runs this process, as the operating system knows it (never from the environment)."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid:{os.getuid()}"


def durable_write(path: Path, data: Bytes, mode: int = 0o600) -> None:
    """Put `data` at `path` so that after a crash either the old file or all of the new one is there."""
    with telling(path, "write", len(data)):
        _rename_temporary(_write_temporary(path, data, mode, durable=True), path)
        sync_folder(path.parent)


def durable_create(path: Path, data: Bytes, mode: int = 0o600) -> bool:
    """As `durable_write`, but never over an existing file: return False, changing nothing, when there is one."""
    with telling(path, "write", len(data)):
        temporary = _write_temporary(path, data, mode, durable=True)
        try:
            faults.at("link", path)
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            remove_quietly(temporary)
        sync_folder(path.parent)
    return True


def replace_file(path: Path, data: Bytes, mode: int = 0o600, *, whatever_umask: bool = False) -> None:
    """Put `data` at `path` at once, for readers; without fsync, so a power cut may bring the old file back.

    `whatever_umask` is for files that others are meant to read: they get just this mode.
    """
    with telling(path, "write", len(data)):
        temporary = _write_temporary(path, data, mode, durable=False)
        if whatever_umask:
            temporary.chmod(mode)
        _rename_temporary(temporary, path)


def durable_unlink(path: Path) -> bool:
    """Remove `path` for good; return whether it was there."""
    with telling(path, "remove"):
        faults.at("unlink", path)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_folder(path.parent)
    return True


def remove_quietly(path: Path) -> None:
    """Remove `path` if the operating system lets us: for temporary files, whose loss or stay harms nobody."""
    with contextlib.suppress(OSError):
        path.unlink()


def touch(path: Path, at_ms: int | None = None) -> bool:
    """Set the modification time of `path` (default: now); return whether it is there."""
    with telling(path, "touch"):
        faults.at("touch", path)
        try:
            os.utime(path, None if at_ms is None else (at_ms / 1000, at_ms / 1000))
        except FileNotFoundError:
            return False
    return True


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make `path` and what is missing above it, durably; existing folders stay as they are."""
    with telling(path, "make folder"):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            faults.at("mkdir", folder)
            folder.mkdir(mode, exist_ok=True)
            sync_folder(folder.parent)


def link_folder(link: Path, target: Path) -> None:
    """Make the folder `target`, and let `link` point to it; an empty folder at `link` gives way."""
    make_folder(target)
    with telling(link, "link"):
        temporary = link.with_name(f".{link.name}.{secrets.token_hex(4)}{TEMP_SUFFIX}")
        faults.at("link", link)
        temporary.symlink_to(target.resolve(), target_is_directory=True)
        try:
            if link.is_dir() and not link.is_symlink():
                _remove_empty_folders(link)
            _rename(temporary, link)
        except BaseException:
            remove_quietly(temporary)
            raise
        sync_folder(link.parent)


def _remove_empty_folders(folder: Path) -> None:
    for child in folder.iterdir():
        _remove_empty_folders(child)
    folder.rmdir()


def append(path: Path, data: Bytes) -> int:
    """Append `data` to `path` and fsync; return the new size. On failure the old size is restored if possible."""
    with telling(path, "append to", len(data)):
        faults.at("open", path)
        is_new = not path.exists()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            try:
                _write_all(fd, data, path)
                _sync(fd, path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        if is_new:
            sync_folder(path.parent)
    return size + len(data)


def cut(path: Path, size: int) -> None:
    """Shorten `path` to `size` bytes and fsync."""
    with telling(path, "shorten"):
        faults.at("truncate", path)
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            _sync(fd, path)
        finally:
            os.close(fd)


def make_private(path: Path) -> bool:
    """Take from everybody but the owner what they may do with `path`; return whether that changed anything.

    A link is not followed, and what belongs to somebody else stays as it is.
    """
    with telling(path, "change the mode of"):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(fd)
            if found.st_uid != os.getuid() or not found.st_mode & 0o077:
                return False
            os.fchmod(fd, stat.S_IMODE(found.st_mode) & 0o700)
        finally:
            os.close(fd)
    return True


def inodes(folder: Path) -> tuple[int, int]:
    """Return (free, all) inodes of the file system of `folder`; (0, 0) where it has no such limit."""
    with telling(folder, "look at the disk of"):
        found = os.statvfs(folder)
    return found.f_favail, found.f_files


def open_lock(path: Path) -> int:
    """Open (or make) the lock file at `path` and return its descriptor, which the caller closes."""
    with telling(path, "open"):
        faults.at("open", path)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def overwrite(fd: int, data: Bytes, path: Path) -> None:
    """Make `data` the whole content of the open file `fd`, in place and without fsync: notes in lock files."""
    with telling(path, "write", len(data)):
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        _write_all(fd, data, path)


def write_at(fd: int, data: Bytes, path: Path, offset: int = 0) -> None:
    """Write `data` at `offset` of the open file `fd`, in place and without fsync: notes that are written often."""
    with telling(path, "write", len(data)):
        faults.at("write", path)
        os.pwrite(fd, data, offset)


def extend(fd: int, data: Bytes, path: Path) -> None:
    """Write `data` where the open file `fd` (made by `open_append`) ends, without fsync: logs."""
    with telling(path, "append to", len(data)):
        _write_all(fd, data, path)


def open_append(path: Path) -> int:
    """Open (or make) a file to be written at its end only; the caller closes the descriptor."""
    with telling(path, "open"):
        faults.at("open", path)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def open_new(path: Path) -> int:
    """Make the file `path`, private and empty, and open it to be written; the caller closes the descriptor."""
    with telling(path, "write"):
        faults.at("open", path)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[int]:
    """Open the new file `path` for the block, and make it durable at its end; its folder is the caller's to sync."""
    fd = open_new(path)
    try:
        yield fd
        with telling(path, "write"):
            _sync(fd, path)
    finally:
        os.close(fd)


def identity(path: Path) -> tuple[int, int]:
    """Return (inode, mtime_ns) of the file at `path`. Raises StorageError."""
    with telling(path, "look at"):
        found = path.stat()
    return found.st_ino, found.st_mtime_ns


def size(path: Path) -> int:
    """Return the bytes of the file at `path`. Raises StorageError."""
    with telling(path, "look at"):
        return path.stat().st_size


def disk_space(folder: Path) -> tuple[int, int]:
    """Return (free, all) bytes of the file system of `folder`, as an ordinary user may have them."""
    with telling(folder, "look at the disk of"):
        found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def copy(source: Path, target: Path) -> tuple[int, int]:
    """Write a private copy of `source` to the new file `target`, without fsync; return what `source` was."""
    with telling(source, "read"):
        data, found = source.read_bytes(), identity(source)
    with telling(target, "write", len(data)):
        faults.at("open", target)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(fd, data, target)
        finally:
            os.close(fd)
    return found


def replicate(source: Path, target: Path) -> None:
    """Let `target` be a copy of `source`, with its time, at once for readers; without fsync."""
    with telling(source, "read"):
        data, at = source.read_bytes(), source.stat()
    with telling(target, "write", len(data)):
        temporary = _write_temporary(target, data, 0o600, durable=False)
        os.utime(temporary, ns=(at.st_atime_ns, at.st_mtime_ns))
        _rename_temporary(temporary, target)


def publish(prepared: Path, target: Path) -> None:
    """Make the finished file `prepared` private and durable, and put it at `target`, atomically."""
    with telling(target, "replace"):
        prepared.chmod(0o600)
        sync_file(prepared)
        _rename(prepared, target)
        sync_folder(target.parent)


def move(source: Path, target: Path) -> None:
    """Rename `source` to `target`, durably for the folder of `target`."""
    with telling(target, "move to"):
        _rename(source, target)
        sync_folder(target.parent)


def shift(source: Path, target: Path) -> None:
    """Rename `source` to `target`, replacing it, without fsync: logs that are put aside."""
    with telling(target, "move to"):
        _rename(source, target)


def keep_link(source: Path, link: Path) -> None:
    """Let `link` name the same file as `source`, replacing an older `link`."""
    with telling(link, "link"):
        faults.at("link", link)
        link.unlink(missing_ok=True)
        os.link(source, link)


def sync_file(path: Path) -> None:
    """Fsync the file at `path`. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _sync(fd, path)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Fsync the folder `path`, so that names in it survive a power cut. Raises OSError."""
    faults.at("fsync-folder", path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_temporary(path: Path, data: Bytes, mode: int, *, durable: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMP_SUFFIX}")
    faults.at("open", path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            _write_all(fd, data, path)
            if durable:
                _sync(fd, path)
        finally:
            os.close(fd)
    except BaseException:
        remove_quietly(temporary)
        raise
    return temporary


def _write_all(fd: int, data: Bytes, path: Path) -> None:
    faults.at("write", path)
    left = memoryview(data).cast("B")
    while left:
        left = left[faults.write(fd, left) :]


def _sync(fd: int, path: Path) -> None:
    faults.at("fsync", path)
    os.fsync(fd)


def _rename(source: Path, target: Path) -> None:
    faults.at("rename", target)
    source.replace(target)


def _rename_temporary(temporary: Path, target: Path) -> None:
    try:
        _rename(temporary, target)
    except BaseException:
        remove_quietly(temporary)
        raise
