"""The file of a backup: a zstd-packed tar between two frames that zstd passes over.

    head     skippable frame: magic, JSON that says what this is (`core.backup.About`)
    body     one zstd frame: a plain ustar archive, whose last member SHA256SUMS has the sums of all others
    tail     skippable frame: magic, bytes before it, sha256 of all of them

So `tar --zstd -xf` unpacks it without upm, the head is read at once, a file that was cut has no tail, and no byte can
change unnoticed. Both directions stream. A reader trusts nothing: only names that a backup may have, only regular
files, no more of them and no more bytes than the head says.
"""

import contextlib
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from upm_cli.core import backup
from upm_cli.core.backup import About
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.store import fsio

CHUNK: Final = 1 << 20
_HEAD_FRAME: Final = 0x184D2A50
_TAIL_FRAME: Final = 0x184D2A51
_HEAD_MAGIC: Final = b"upm backup\n"
_TAIL_MAGIC: Final = b"upm backup ends\n"
_TAIL_BYTES: Final = 8 + len(_TAIL_MAGIC) + 8 + 32
_MOST_HEAD: Final = 16 << 20  # a project with many thousand trainers has a tenth of it
_BLOCK: Final = 512
_LEVEL: Final = 3
_MOST_WINDOW: Final = 8 << 20  # memory that unpacking may take; level 3 needs 2 MiB
_NAME: Final = 300  # bytes of a line in the sums, at most


def damaged(path: Path, why: str) -> IntegrityError:
    """Return the error for a backup that can't be trusted."""
    return IntegrityError(
        f"{path} is not a whole backup: {why}",
        hint="use another one: upm backup list",
        code="UPM-E190",
        context={"path": str(path)},
    )


class Writer:
    """Writes a backup to the open file `fd` as it comes; `path` is for messages. Raises StorageError."""

    def __init__(self, fd: int, path: Path, about: About, at_s: int) -> None:
        import zstandard

        self._fd, self._path, self._at_s = fd, path, at_s
        self._hash, self._written = hashlib.sha256(), 0
        self._sums: dict[str, str] = {}
        self._put(_frame(_HEAD_FRAME, _HEAD_MAGIC + backup.encode(about)))
        self._packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._member: tuple[str, int, Any] | None = None

    def begin(self, name: str, size: int) -> None:
        """Begin the member `name` of `size` bytes, all of which have to be written before `end`."""
        self._member = (name, size, hashlib.sha256())
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = size, 0o600, self._at_s
        self._pack(header.tobuf(tarfile.USTAR_FORMAT))

    def write(self, data: bytes) -> None:
        """Add to the member that was begun."""
        assert self._member is not None
        name, left, digest = self._member
        digest.update(data)
        self._member = (name, left - len(data), digest)
        self._pack(data)

    def end(self, size: int) -> str:
        """End the member; return its sha256. Raises IntegrityError unless it had just `size` bytes."""
        assert self._member is not None
        name, left, digest = self._member
        if left:
            raise IntegrityError(f"{name} changed while it was read", hint="try again", code="UPM-E191")
        self._pack(bytes(-size % _BLOCK))
        self._sums[name], self._member = digest.hexdigest(), None
        return self._sums[name]

    def add(self, name: str, data: bytes) -> None:
        """Write a whole member."""
        self.begin(name, len(data))
        self.write(data)
        self.end(len(data))

    def finish(self) -> tuple[str, int]:
        """Write what makes it whole; return sha256 and bytes of the file."""
        self.add(backup.SUMS, backup.sums_text(self._sums))
        self._pack(bytes(2 * _BLOCK))
        self._put(self._packer.flush())
        self._put(_frame(_TAIL_FRAME, _TAIL_MAGIC + self._written.to_bytes(8, "little") + self._hash.digest()))
        return self._hash.hexdigest(), self._written

    def _pack(self, data: bytes) -> None:
        if packed := self._packer.compress(data):
            self._put(packed)

    def _put(self, data: bytes) -> None:
        fsio.extend(self._fd, data, self._path)
        self._hash.update(data)
        self._written += len(data)


class Member:
    """One file in a backup. `read` it to its end; `sha256` is then known."""

    def __init__(self, name: str, size: int, body: "_Body") -> None:
        self.name, self.size = name, size
        self._body, self._left, self._hash = body, size, hashlib.sha256()

    def read(self, size: int = CHUNK) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        if not self._left or not size:
            return b""
        data = self._body.read(min(size if size > 0 else CHUNK, self._left, CHUNK))
        self._hash.update(data)
        self._left -= len(data)
        return data

    def drain(self) -> str:
        """Read what is left, and return the sha256 of all of it."""
        while self.read():
            pass
        return self._hash.hexdigest()


class _Body:
    """What the zstd frame unpacks to; everything that is read of the file goes through a sum."""

    def __init__(self, file: IO[bytes], path: Path, size: int, hashed: Any) -> None:
        import zstandard

        self._file, self._path, self._left, self._hash = file, path, size, hashed
        unpacker = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
        source: Any = _Source(self._raw)
        self._stream = unpacker.stream_reader(source, read_across_frames=False)

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises IntegrityError when there are fewer."""
        import zstandard

        parts, left = [], size
        try:
            while left and (part := self._stream.read(left)):
                parts.append(part)
                left -= len(part)
        except zstandard.ZstdError as exc:
            raise damaged(self._path, f"it can't be unpacked ({exc})") from exc
        if left:
            raise damaged(self._path, "it ends too early")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end(self) -> None:
        """Read to the end. Raises IntegrityError when there is more than the end of an archive."""
        import zstandard

        try:
            rest = self._stream.read(CHUNK)
            while part := self._stream.read(CHUNK):
                rest = rest[:CHUNK] + part
        except zstandard.ZstdError as exc:
            raise damaged(self._path, f"it can't be unpacked ({exc})") from exc
        if rest.strip(b"\0"):
            raise damaged(self._path, "there is something after its last file")
        while self._raw(CHUNK):
            pass

    def _raw(self, size: int) -> bytes:
        with fsio.telling(self._path, "read"):
            data = self._file.read(min(size, self._left))
        self._left -= len(data)
        self._hash.update(data)
        return data


class _Source:
    """A function as a file that zstandard reads from."""

    def __init__(self, read: Any) -> None:
        self.read = read


class Reader:
    """An open backup whose head and tail fit together. `members` are read in order, each before the next."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.path, self._file = path, file
        self.size_bytes = file.seek(0, os.SEEK_END)
        self.about, self._head_bytes = _head(file, path)
        self._digest = _tail(file, path, self.size_bytes, self._head_bytes)

    def members(self) -> Iterator[Member]:
        """Yield every file. Raises IntegrityError at the first thing that is not as it should be, at the end at last.

        Only what was yielded before the iterator ended by itself is known to be whole.
        """
        self._file.seek(0)
        hashed = hashlib.sha256(self._file.read(self._head_bytes))
        body = _Body(self._file, self.path, self.size_bytes - _TAIL_BYTES - self._head_bytes, hashed)
        sums: dict[str, str] = {}
        left, wrong = self.about.size_bytes, self._wrong
        while (header := self._header(body)).name != backup.SUMS:
            if not backup.may_hold(header.name) or header.name in sums:
                raise wrong(f"it holds {header.name[:200]!r}, which has no place in a backup")
            left -= header.size
            if left < 0 or len(sums) >= self.about.files:
                raise wrong("it holds more than it says")
            member = Member(header.name, header.size, body)
            yield member
            sums[member.name] = member.drain()
            body.read(-member.size % _BLOCK)
        if left or len(sums) != self.about.files:
            raise wrong("it holds less than it says")
        self._check_sums(body, header.size, sums)
        body.end()
        if hashed.digest() != self._digest:
            raise wrong("its bytes are not those that were written (the sha256 differs)")

    def _header(self, body: _Body) -> tarfile.TarInfo:
        try:
            found = tarfile.TarInfo.frombuf(body.read(_BLOCK), "ascii", "strict")
        except (tarfile.HeaderError, ValueError) as exc:
            raise self._wrong(f"it has no file where one should begin ({exc})") from exc
        if found.type != tarfile.REGTYPE or found.linkname or found.size < 0:
            raise self._wrong(f"{found.name[:200]!r} in it is not a plain file")
        return found

    def _check_sums(self, body: _Body, size: int, sums: dict[str, str]) -> None:
        if size > _NAME * (len(sums) + 1) or body.read(size) != backup.sums_text(sums):
            raise self._wrong(f"its files are not those of its {backup.SUMS}")
        body.read(-size % _BLOCK)

    def _wrong(self, why: str) -> IntegrityError:
        return damaged(self.path, why)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Open a backup. Raises NotFoundError, StorageError, and IntegrityError when its head or tail is missing."""
    with fsio.telling(path, "open"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as exc:
            raise NotFoundError(f"no file {path}", hint="upm backup list", code="UPM-E046") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise damaged(path, "it is not a plain file")
    with os.fdopen(fd, "rb") as file:
        yield Reader(file, path)


def _frame(magic: int, payload: bytes) -> bytes:
    return magic.to_bytes(4, "little") + len(payload).to_bytes(4, "little") + payload


def _head(file: IO[bytes], path: Path) -> tuple[About, int]:
    with fsio.telling(path, "read"):
        file.seek(0)
        start = file.read(8 + len(_HEAD_MAGIC))
        size = int.from_bytes(start[4:8], "little")
        if start[:4] != _HEAD_FRAME.to_bytes(4, "little") or start[8:] != _HEAD_MAGIC or size > _MOST_HEAD:
            raise damaged(path, "it does not begin like one")
        told = file.read(size - len(_HEAD_MAGIC))
    try:
        return backup.decode(told), 8 + size
    except ValueError as exc:
        raise damaged(path, str(exc)) from exc


def _tail(file: IO[bytes], path: Path, size: int, head_bytes: int) -> bytes:
    """Return the sha256 that a backup ends with."""
    with fsio.telling(path, "read"):
        file.seek(max(0, size - _TAIL_BYTES))
        found = file.read()
    expected = _frame(_TAIL_FRAME, _TAIL_MAGIC + (size - _TAIL_BYTES).to_bytes(8, "little") + bytes(32))[:-32]
    if size < head_bytes + _TAIL_BYTES or found[:-32] != expected:
        raise damaged(path, "it does not end like one: it was cut, or not copied to its end")
    return found[-32:]
