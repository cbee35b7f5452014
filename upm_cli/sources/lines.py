"""Files of lines (JSON lines, CSV; plain, gzip or zstd), read in whole lines from a remembered offset."""

import errno
import gzip
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from upm_cli.core.records import SourcePosition
from upm_cli.errors import InvalidError, StorageError
from upm_cli.sources.base import MAX_LINE_BYTES, Chunk, storable

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIP_BYTES: Final = 1 << 20
_PROBE_BYTES: Final = 64 << 10
_PEEK_BYTES: Final = 4096
_BAD_PACKING: Final = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


@dataclass(frozen=True, slots=True)
class LinesSource:
    """One file of lines. `offset` of a compressed file counts bytes of its content."""

    key: str
    path: str
    stream: str
    format: str = "jsonl"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def chunks(self, position: SourcePosition | None, max_bytes: int, *, final: bool = True) -> Iterator[Chunk]:
        """Read whole lines from `position`; see `Source.chunks`."""
        offset = position.offset if position else 0
        try:
            with open_content(Path(self.path)) as file:
                size = self._size(file)
                header = b""
                if self.format == "csv":
                    header = read_line(file)
                    offset = max(offset, len(header))
                for data, used in _pieces(file, offset, max_bytes, final=final):
                    after = SourcePosition(
                        stream=self.stream,
                        key=self.key,
                        path=storable(self.path),
                        offset=offset + used,
                        size_bytes=size,
                        meta=self.meta,
                    )
                    yield Chunk(data, offset, after, after.path, self.format, header)
                    offset += used
        except _BAD_PACKING as exc:
            raise _damaged(self.path, exc) from exc
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def _size(self, file: IO[bytes]) -> int:
        """Return the size of the file; raises FileNotFoundError when another one has taken its name by now."""
        plain = isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO)
        status = os.fstat(file.fileno()) if plain else Path(self.path).stat()
        if self.meta.get("inode", status.st_ino) != status.st_ino:
            raise FileNotFoundError(errno.ENOENT, "it was moved just now", self.path)
        return status.st_size


def _pieces(file: IO[bytes], offset: int, max_bytes: int, *, final: bool) -> Iterator[tuple[bytes, int]]:
    """Cut `file` up from `offset` as `cut_lines` does; of a plain file, each piece is read at once and never copied."""
    if not isinstance(file, io.BufferedReader) or not isinstance(file.raw, io.FileIO):
        _skip_to(file, offset)
        yield from cut_lines(file, max_bytes, final=final)
        return
    while True:
        size = _whole_lines(file.fileno(), offset, max_bytes)
        if size:
            data = os.pread(file.fileno(), size, offset)
            yield data, len(data)
            offset += len(data)
        else:
            file.seek(offset)
            found = next(cut_lines(file, max_bytes, final=final), None)
            if found is None:
                return
            yield found
            offset += found[1]


def _whole_lines(descriptor: int, offset: int, max_bytes: int) -> int:
    """Return how many of the next `max_bytes` are whole lines, by looking for the last newline from behind."""
    end = min(offset + max_bytes, os.fstat(descriptor).st_size)
    while end > offset:
        begin = max(offset, end - _PROBE_BYTES)
        newline = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1 - offset
        end = begin
    return 0


def cut_lines(file: IO[bytes], max_bytes: int, *, final: bool) -> Iterator[tuple[bytes, int]]:
    """Cut what is left of `file` into pieces of whole lines, about `max_bytes` each.

    Yields the bytes and how many bytes of the file they stand for: of a line longer than `MAX_LINE_BYTES` only the
    beginning is kept. An unfinished last line is yielded only when `final`.
    """
    rest = b""
    while True:
        block = file.read(max(1, max_bytes - len(rest)))
        data = rest + block if rest else block
        if not block:
            if data and final:
                yield data, len(data)
            return
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut], cut
            rest = data[cut:]
        elif len(data) < max_bytes:
            rest = data
        else:
            line, used, ended = _long_line(file, data)
            if ended or final:
                yield line, used
            rest = b""


def _long_line(file: IO[bytes], data: bytes) -> tuple[bytes, int, bool]:
    """Finish the line that begins with `data`: its kept bytes, its true length, and whether it has an end."""
    kept, used = [data], len(data)
    while piece := file.readline(_SKIP_BYTES):
        used += len(piece)
        if sum(map(len, kept)) <= MAX_LINE_BYTES:
            kept.append(piece)
        if piece.endswith(b"\n"):
            return b"".join(kept), used, True
    return b"".join(kept), used, False


def read_line(file: IO[bytes]) -> bytes:
    """Return the first line of `file` with its newline, cut at the longest allowed line."""
    return file.readline(MAX_LINE_BYTES)


def open_content(path: Path) -> IO[bytes]:
    """Open `path` for reading its content, decompressed if it is gzip or zstd."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(GZIP):
        return io.BufferedReader(gzip.GzipFile(path))
    if magic.startswith(ZSTD):
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        stream = decompressor.stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
        return io.BufferedReader(stream, 1 << 17)
    return path.open("rb")


def is_packed(path: Path) -> bool:
    """Say whether `path` is compressed. Raises OSError."""
    with path.open("rb") as file:
        return file.read(4).startswith((GZIP, ZSTD))


def peek(path: Path) -> bytes:
    """Return the first bytes of the content of `path`. Raises OSError, and InvalidError when it can't be unpacked."""
    try:
        with open_content(path) as file:
            return file.read(_PEEK_BYTES)
    except _BAD_PACKING as exc:
        raise _damaged(str(path), exc) from exc


def _damaged(path: str, exc: BaseException) -> InvalidError:
    return InvalidError(
        f"{path} can't be decompressed: {exc}",
        hint="what was read of it is kept; put a whole file in its place and run again",
        code="UPM-E036",
    )


def _skip_to(file: IO[bytes], offset: int) -> None:
    left = offset - file.tell()
    while left > 0 and (skipped := len(file.read(min(left, _SKIP_BYTES)))):
        left -= skipped


def unreadable(path: str, exc: OSError) -> StorageError:
    """Return the error that says why the operating system did not let us read `path`."""
    return StorageError(
        f"can't read {path}: {exc.strerror or exc}",
        hint=f"check that the user running upm may read it: ls -l {path}",
        code="UPM-E015",
    )
