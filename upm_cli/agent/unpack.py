"""Stored bytes → raw bytes, a little at a time, never more than is expected, and exactly one frame.

Memory stays flat whatever the bytes announce: a zstd frame is fed block by block (a block holds at most 128 KiB), gzip
is asked for so many bytes at most, and what goes over the limit ends it.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Final

CHUNK: Final = 1 << 20
MAX_WINDOW: Final = 1 << 23  # of a zstd frame: what it may look back, and so what its decoder keeps

Read = Callable[[int], bytes]  # at most so many bytes, b"" at the end

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_HEADER: Final = 18  # the longest
_ZSTD_BLOCK: Final = 128 << 10


def unpacked(read: Read, codec: str, raw_bytes: int) -> Iterator[bytes]:
    """Yield the raw bytes in pieces. Raises ValueError unless they are exactly one frame of `raw_bytes` bytes."""
    left = raw_bytes
    for piece in {"zstd": _zstd, "gzip": _gzip, "none": _plain}[codec](read):
        left -= len(piece)
        if left < 0:
            raise ValueError(f"it unpacks to more than {raw_bytes:,} bytes")
        yield piece
    if left:
        raise ValueError(f"it unpacks to {raw_bytes - left:,} bytes instead of {raw_bytes:,}")


def _plain(read: Read) -> Iterator[bytes]:
    while piece := read(CHUNK):
        yield piece


def _gzip(read: Read) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        while not unpacker.eof and (piece := unpacker.unconsumed_tail or read(CHUNK)):
            yield unpacker.decompress(piece, CHUNK)
        if not unpacker.eof:
            raise ValueError("it ends in the middle")
        if unpacker.unused_data or read(1):
            raise ValueError("something follows its only gzip member")
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc


def _zstd(read: Read) -> Iterator[bytes]:
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
    try:
        for part in _zstd_parts(read, zstandard.frame_header_size):
            if unpacker.eof:
                break
            yield unpacker.decompress(part)
    except zstandard.ZstdError as exc:
        raise ValueError(str(exc)) from exc
    if not unpacker.eof:
        raise ValueError("it ends in the middle")
    if unpacker.unused_data or read(1):
        raise ValueError("something follows its only zstd frame")


def _zstd_parts(read: Read, header_size: Callable[[bytes], int]) -> Iterator[bytes]:
    """Cut one frame into its header, its blocks and its checksum (RFC 8878, section 3.1.1)."""
    start = _exactly(read, 6)
    if start[:4] != _ZSTD_MAGIC:
        raise ValueError("it is no zstd frame")
    start += _exactly(read, header_size(start + bytes(_ZSTD_HEADER - 6)) - 6)
    yield start
    is_last = False
    while not is_last:
        head = _exactly(read, 3)
        word = int.from_bytes(head, "little")
        is_last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if size > _ZSTD_BLOCK:
            raise ValueError(f"it has a block of {size:,} bytes")
        yield head + _exactly(read, 1 if kind == 1 else size)
    if start[4] & 4:
        yield _exactly(read, 4)


def _exactly(read: Read, count: int) -> bytes:
    data = read(count) if count else b""
    while len(data) < count:
        more = read(count - len(data))
        if not more:
            raise ValueError("it ends in the middle")
        data += more
    return data
