"""Blobs: snapshots and checkpoints, named by the sha256 of their raw bytes, stored compressed.

`blobs/sha256/<first two>/<digest>.<zst|gz|bin>`. Reading never trusts a file: its size and sha256 are checked when
they are known, it must be exactly one frame with nothing after it, it is unpacked into no more than the expected raw
size, and the raw bytes must have the digest.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.store import fsio
from upm_cli.store.layout import BLOBS

Codec = Literal["zstd", "gzip", "none"]
_EXTENSION: Final[dict[Codec, str]] = {"zstd": "zst", "gzip": "gz", "none": "bin"}
_ZSTD_LEVEL: Final = 1  # 350 MB/s; higher levels gain little on weights
_GZIP_LEVEL: Final = 6
_PIECE: Final = 1 << 18
MAX_RAW_BYTES: Final = 1 << 31  # what a blob of unknown size may unpack to


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What was stored. `digest` is over the raw bytes, `file_digest` over the stored ones, `path` below the home."""

    digest: str
    file_digest: str
    path: str
    codec: Codec
    size_bytes: int
    raw_bytes: int


def put(home: Path, data: bytes, codec: Codec = "zstd") -> Blob:
    """Store `data` durably. What is there already, whole, is not written again."""
    digest = hashlib.sha256(data).hexdigest()
    path = _relative(digest, codec)
    stored = _kept(home / path, data, codec)
    if stored is None:
        stored = _pack(data, codec)
        fsio.make_folder((home / path).parent)
        fsio.durable_write(home / path, stored)
    return Blob(
        digest=digest,
        file_digest=hashlib.sha256(stored).hexdigest(),
        path=path,
        codec=codec,
        size_bytes=len(stored),
        raw_bytes=len(data),
    )


def get(home: Path, digest: str) -> bytes:
    """Return the raw bytes of a blob of which only the digest is known.

    Raises NotFoundError when there is none, IntegrityError when its bytes are not what the digest says.
    """
    for codec in _EXTENSION:
        path = _relative(digest, codec)
        stored = _read_file(home / path)
        if stored is not None:
            return _unpack_checked(stored, path, digest, codec, None)
    raise NotFoundError(f"no blob {digest}", hint="upm doctor lists what is missing", code="UPM-E043")


def read(home: Path, path: str, *, digest: str, file_digest: str, codec: str, raw_bytes: int) -> bytes:
    """Return the raw bytes of a blob of which the state knows everything. Raises IntegrityError on any difference."""
    stored = _read_file(home / path)
    if stored is None:
        raise _damaged(path, "is missing")
    if hashlib.sha256(stored).hexdigest() != file_digest:
        raise _damaged(path, f"is not what was written (sha256 of the file is not {file_digest[:12]}…)")
    if codec not in _EXTENSION:
        raise _damaged(path, f"has an unknown codec {codec!r}")
    return _unpack_checked(stored, path, digest, codec, raw_bytes)


def digest_of(read: Callable[[int], bytes], codec: Codec) -> str:
    """Return the sha256 of the raw bytes of a stored blob that is read piece by piece, in bounded memory.

    Raises ValueError for what can't be unpacked, or unpacks to more than a blob may have.
    """
    import zstandard

    source: Any = _Source(read)
    found, left = hashlib.sha256(), MAX_RAW_BYTES
    stream: Any = source
    if codec == "zstd":
        stream = zstandard.ZstdDecompressor().stream_reader(source)
    elif codec == "gzip":
        stream = gzip.GzipFile(fileobj=source, mode="rb")
    try:
        while part := stream.read(_PIECE):
            left -= len(part)
            if left < 0:
                raise ValueError(f"it unpacks to more than {MAX_RAW_BYTES:,} bytes")
            found.update(part)
    except (zstandard.ZstdError, zlib.error, OSError, EOFError) as exc:
        raise ValueError(str(exc)) from exc
    return found.hexdigest()


class _Source:
    """A function as a file to read from."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


def files(home: Path, digest: str) -> list[Path]:
    """Return the files of a blob; none where it is missing."""
    return [path for codec in _EXTENSION if (path := home / _relative(digest, codec)).exists()]


def _relative(digest: str, codec: Codec) -> str:
    return f"{BLOBS}/{digest[:2]}/{digest}.{_EXTENSION[codec]}"


def _read_file(path: Path) -> bytes | None:
    with fsio.telling(path, "read"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _kept(path: Path, data: bytes, codec: Codec) -> bytes | None:
    """Return what is stored at `path` if it is whole, and make it young, so that no collector takes it now."""
    if not fsio.touch(path):
        return None
    stored = _read_file(path)
    try:
        return stored if stored is not None and _unpack(stored, codec, len(data)) == data else None
    except ValueError:
        return None


def _pack(data: bytes, codec: Codec) -> bytes:
    if codec == "none":
        return data
    if codec == "gzip":
        return gzip.compress(data, _GZIP_LEVEL, mtime=0)
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True, write_content_size=True).compress(data)


def _unpack_checked(stored: bytes, path: str, digest: str, codec: Codec, raw_bytes: int | None) -> bytes:
    try:
        raw = _unpack(stored, codec, raw_bytes)
    except ValueError as exc:
        raise _damaged(path, f"can't be unpacked: {exc}") from exc
    if hashlib.sha256(raw).hexdigest() != digest:
        raise _damaged(path, f"does not hold the bytes of digest {digest[:12]}…")
    return raw


def _unpack(stored: bytes, codec: Codec, raw_bytes: int | None) -> bytes:
    """Unpack exactly one frame of `raw_bytes` bytes (None: of what it declares, up to a limit). Raises ValueError."""
    raw = {"zstd": _unpack_zstd, "gzip": _unpack_gzip, "none": _unpack_none}[codec](stored, raw_bytes)
    if raw_bytes is not None and len(raw) != raw_bytes:
        raise ValueError(f"{len(raw)} bytes instead of {raw_bytes}")
    return raw


def _unpack_none(stored: bytes, raw_bytes: int | None) -> bytes:
    return stored


def _unpack_gzip(stored: bytes, raw_bytes: int | None) -> bytes:
    limit = min(int.from_bytes(stored[-4:], "little"), MAX_RAW_BYTES) if raw_bytes is None else raw_bytes
    unpacker = zlib.decompressobj(wbits=31)
    try:
        raw = unpacker.decompress(stored, limit + 1)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    if len(raw) > limit or not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"not exactly one gzip member of at most {limit} bytes")
    return raw


def _unpack_zstd(stored: bytes, raw_bytes: int | None) -> bytes:
    import zstandard

    try:
        declared = zstandard.frame_content_size(stored)  # -1: not declared
        limit = MAX_RAW_BYTES if raw_bytes is None else raw_bytes
        if not 0 <= declared <= limit:
            raise ValueError(f"it declares {declared} bytes, {limit} are allowed")
        unpacker = zstandard.ZstdDecompressor()
        raw: bytes = unpacker.decompress(
            stored, max_output_size=limit, read_across_frames=False, allow_extra_data=False
        )
    except zstandard.ZstdError as exc:
        raise ValueError(str(exc)) from exc
    return raw


def _damaged(path: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} {why}",
        hint="do not use it; go back to another version, or restore the file from a backup",
        code="UPM-E090",
        context={"path": path},
    )
