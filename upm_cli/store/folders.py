"""Open folders that other users may reach: nothing in them is followed, only what was looked at is used.

A path can be swapped for a link between two calls; a descriptor can't. So whoever writes where others may write opens
the folder once and works relative to that, one name at a time.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from upm_cli.store import fsio

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCKS: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.ENOLCK}


class Folder:
    """An open folder. Every method may raise OSError; `where` and `path` are only for messages."""

    def __init__(self, fd: int, where: str) -> None:
        self.fd, self.where = fd, where

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder `path`. Its last part must not be a link."""
        fsio.faults.at("open-folder", path)
        return cls(os.open(path, _FOLDER), str(path))

    @property
    def path(self) -> Path:
        return Path(self.where)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go; harmless when it is done twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _at(self, operation: str, name: str) -> None:
        if fsio.faults.before is not None:
            fsio.faults.at(operation, self.path / name)

    def stat(self) -> os.stat_result:
        return os.fstat(self.fd)

    def below(self, *names: str, mode: int | None = None) -> "Folder":
        """Open the folder `names` below this one, part by part. With a `mode`, missing ones are made with it."""
        here = Folder(os.dup(self.fd), self.where)
        for name in names:
            with here:
                here = here._child(name, mode)
        return here

    def _child(self, name: str, mode: int | None) -> "Folder":
        where = f"{self.where}/{name}"
        try:
            return Folder(os.open(name, _FOLDER, dir_fd=self.fd), where)
        except FileNotFoundError:
            if mode is None:
                raise
        self._at("mkdir", name)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=self.fd)
        made = Folder(os.open(name, _FOLDER, dir_fd=self.fd), where)
        os.fchmod(made.fd, mode)  # whatever the umask is
        return made

    def lock(self) -> bool:
        """Take this folder for this process alone; False when another one has it. Some file systems can't: True."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise
        return True

    def names(self) -> list[str]:
        """Return the names in this folder, sorted."""
        return sorted(os.listdir(self.fd))  # noqa: PTH208 - of a descriptor

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[tuple[int, os.stat_result]]:
        """Open the regular file `name` for reading. Raises OSError; ELOOP for anything else that has the name."""
        fd = os.open(name, _FILE, dir_fd=self.fd)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.ELOOP, "not a regular file", f"{self.where}/{name}")
            yield fd, found
        finally:
            os.close(fd)

    def read(self, name: str, at_most: int) -> bytes | None:
        """Return the content of the regular file `name`, None where there is none. Longer ones are cut there."""
        try:
            with self.file(name) as (fd, _):
                return _read(fd, at_most)
        except FileNotFoundError:
            return None

    def new_file(self, name: str, mode: int) -> tuple[int, str]:
        """Make an empty file beside `name` that will become it; return its descriptor and its name for now."""
        self._at("open", name)
        temporary = f".{name}.{secrets.token_hex(4)}{fsio.TEMP_SUFFIX}"
        fd = os.open(temporary, _NEW, mode, dir_fd=self.fd)
        os.fchmod(fd, mode)
        return fd, temporary

    def rename(self, before: str, after: str) -> None:
        """Put the file `before` in the place of `after`, at once."""
        self._at("rename", after)
        os.rename(before, after, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def link(self, name: str, second: str) -> None:
        """Let `second` name the same file as `name`, at once and replacing what it named before."""
        temporary = f".{second}.{secrets.token_hex(4)}{fsio.TEMP_SUFFIX}"
        self._at("link", second)
        os.link(name, temporary, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        try:
            self.rename(temporary, second)
        finally:  # it failed, or they were the same file: then a rename leaves both names
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self.fd)

    def drop(self, name: str) -> bool:
        """Remove the file `name`; return whether it was there."""
        self._at("unlink", name)
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            return False
        return True


def _read(fd: int, at_most: int) -> bytes:
    parts, left = [], at_most
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
