"""Blobs come back bit for bit, or not at all."""

import contextlib
import gzip
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.exit_codes import ExitCode, for_error
from upm_cli.store import blobs
from upm_cli.store.blobs import Blob, Codec

CODECS: list[Codec] = ["zstd", "gzip", "none"]
DATA = b"weights " * 20 + bytes(range(64))


def read(home: Path, blob: Blob) -> bytes:
    return blobs.read(
        home,
        blob.path,
        digest=blob.digest,
        file_digest=blob.file_digest,
        codec=blob.codec,
        raw_bytes=blob.raw_bytes,
    )


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=5000))
def test_what_was_put_comes_back(codec: Codec, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.getbasetemp() / f"blobs-{codec}"
    blob = blobs.put(home, data, codec)
    assert read(home, blob) == blobs.get(home, blob.digest) == data
    stored = (home / blob.path).read_bytes()
    assert blob.digest == hashlib.sha256(data).hexdigest()
    assert blob.file_digest == hashlib.sha256(stored).hexdigest()
    assert (blob.raw_bytes, blob.size_bytes) == (len(data), len(stored))


@pytest.mark.parametrize(
    ("codec", "extension", "unpack"),
    [("zstd", "zst", lambda b: zstandard.decompress(b)), ("gzip", "gz", gzip.decompress), ("none", "bin", bytes)],
)
def test_a_stored_file_can_be_unpacked_by_the_codecs_own_tools(
    tmp_path: Path, codec: Codec, extension: str, unpack: object
) -> None:
    blob = blobs.put(tmp_path, DATA, codec)
    assert blob.path == f"blobs/sha256/{blob.digest[:2]}/{blob.digest}.{extension}"
    assert unpack((tmp_path / blob.path).read_bytes()) == DATA  # type: ignore[operator]


@pytest.mark.parametrize("codec", CODECS)
def test_a_flipped_bit_in_any_byte_is_refused_and_named(tmp_path: Path, codec: Codec) -> None:
    blob = blobs.put(tmp_path, DATA, codec)
    path = tmp_path / blob.path
    good = path.read_bytes()
    for at in range(len(good)):
        for bit in (at % 8, (at + 3) % 8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            path.write_bytes(bytes(bad))
            with pytest.raises(IntegrityError) as refused:
                read(tmp_path, blob)
            assert blob.path in refused.value.message
            assert for_error(refused.value) is ExitCode.INTEGRITY
            with contextlib.suppress(IntegrityError):  # a bit that means nothing, such as in gzip's time, may pass
                assert blobs.get(tmp_path, blob.digest) == DATA


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_cut_at_any_byte_or_with_more_behind_it_is_refused(tmp_path: Path, codec: Codec) -> None:
    blob = blobs.put(tmp_path, DATA, codec)
    path = tmp_path / blob.path
    good = path.read_bytes()
    for bad in [*(good[:at] for at in range(len(good))), good + b"\0", good + good]:
        path.write_bytes(bad)
        with pytest.raises(IntegrityError):
            read(tmp_path, blob)
        with pytest.raises(IntegrityError):
            blobs.get(tmp_path, blob.digest)


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_two_frames_that_hold_the_right_bytes_together_are_refused(tmp_path: Path, codec: Codec) -> None:
    blob = blobs.put(tmp_path, DATA, codec)
    halves = (DATA[:50], DATA[50:])
    pack = zstandard.ZstdCompressor().compress if codec == "zstd" else gzip.compress
    (tmp_path / blob.path).write_bytes(b"".join(pack(half) for half in halves))
    with pytest.raises(IntegrityError, match="can't be unpacked"):
        blobs.get(tmp_path, blob.digest)


def forged(home: Path, stored: bytes, codec: Codec, raw_bytes: int) -> Blob:
    """Return a blob whose row is in order, except that its file holds far more than it says."""
    blob = blobs.put(home, b"x" * raw_bytes, codec)
    (home / blob.path).write_bytes(stored)
    return Blob(
        digest=blob.digest, file_digest=hashlib.sha256(stored).hexdigest(), path=blob.path, codec=codec,
        size_bytes=len(stored), raw_bytes=raw_bytes,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["honest size", "no size", "wrong size"])
def test_a_zstd_bomb_is_refused_without_unpacking_it(tmp_path: Path, kind: str) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=kind == "honest size").compress(bytes(1 << 26))
    if kind == "wrong size":  # the frame of a small blob around the blocks of a big one
        small = zstandard.ZstdCompressor().compress(b"x" * 1000)
        bomb = small[:7] + bomb[9:]
    blob = forged(tmp_path, bomb, "zstd", 1000)
    tracemalloc.start()
    with pytest.raises(IntegrityError):
        read(tmp_path, blob)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_a_gzip_bomb_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    blob = forged(tmp_path, gzip.compress(bytes(1 << 26), 9), "gzip", 1000)
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="at most 1000 bytes"):
        read(tmp_path, blob)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_the_same_content_twice_is_written_once(tmp_path: Path) -> None:
    first = blobs.put(tmp_path, DATA)
    inode = (tmp_path / first.path).stat().st_ino
    assert blobs.put(tmp_path, DATA) == first
    assert (tmp_path / first.path).stat().st_ino == inode


def test_the_same_content_again_makes_the_file_young(tmp_path: Path) -> None:
    blob = blobs.put(tmp_path, DATA)
    os.utime(tmp_path / blob.path, (1000, 1000))
    blobs.put(tmp_path, DATA)
    assert (tmp_path / blob.path).stat().st_mtime > 1000


def test_the_same_content_again_repairs_a_damaged_file(tmp_path: Path) -> None:
    blob = blobs.put(tmp_path, DATA)
    (tmp_path / blob.path).write_bytes(b"rubbish")
    assert blobs.put(tmp_path, DATA) == blob
    assert read(tmp_path, blob) == DATA


def test_a_missing_blob_is_not_found_by_digest_but_corruption_for_a_row(tmp_path: Path) -> None:
    blob = blobs.put(tmp_path, DATA)
    (tmp_path / blob.path).unlink()
    with pytest.raises(NotFoundError) as missing:
        blobs.get(tmp_path, blob.digest)
    assert missing.value.code == "UPM-E043"
    with pytest.raises(IntegrityError, match="is missing"):
        read(tmp_path, blob)
