"""The file of a backup: no byte of it changes unnoticed, and what somebody else made of it does no harm."""

import contextlib
import io
import os
import tarfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from tests.unit.core.test_backup import ABOUT
from upm_cli.errors import IntegrityError, NotFoundError, UpmError
from upm_cli.store import backupfile

LOG = ".upm/log/main/0-9.arrow"
FILES = {"upm.yaml": b"features: {}\n", ".upm/state.duckdb": bytes(range(256)) * 40, LOG: os.urandom(3000)}


@contextlib.contextmanager
def writing(path: Path, files: int, size: int) -> Iterator[backupfile.Writer]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield backupfile.Writer(fd, path, replace(ABOUT, files=files, size_bytes=size), 1_700_000_000)
    finally:
        os.close(fd)


def made(path: Path, files: dict[str, bytes]) -> Path:
    with writing(path, len(files), sum(map(len, files.values()))) as writer:
        for name, data in files.items():
            writer.add(name, data)
        writer.finish()
    return path


def content(path: Path) -> dict[str, bytes]:
    with backupfile.opened(path) as reader:
        found = {}
        for member in reader.members():
            parts = []
            while part := member.read(1000):
                parts.append(part)
            found[member.name] = b"".join(parts)
        return found


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    path = made(tmp_path / "a.upmbackup", FILES)
    assert content(path) == FILES
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_sums_are_those_of_the_files_and_tar_reads_it(tmp_path: Path) -> None:
    path = made(tmp_path / "a.upmbackup", FILES)
    packed = path.read_bytes()
    middle = packed[8 + int.from_bytes(packed[4:8], "little") : -64]
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(middle)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert archive.getnames() == [*FILES, "SHA256SUMS"]
        assert archive.extractfile(LOG).read() == FILES[LOG]  # type: ignore[union-attr]
        assert archive.getmember(LOG).mode == 0o600


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    path = made(tmp_path / "a.upmbackup", FILES)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (0x01, 0x80) if at % 7 else (0xFF,):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(IntegrityError) as caught:
                content(path)
            assert caught.value.code == "UPM-E190", at
    path.write_bytes(whole)
    assert content(path) == FILES


def test_every_cut_and_every_addition_is_found(tmp_path: Path) -> None:
    path = made(tmp_path / "a.upmbackup", FILES)
    whole = path.read_bytes()
    others = [whole[:size] for size in range(0, len(whole), 11)] + [whole + b"\0", whole + whole, b"\0" + whole]
    others += [whole[:500] + whole[600:], whole[:500] + b"x" + whole[500:]]
    for other in others:
        path.write_bytes(other)
        with pytest.raises(IntegrityError):
            content(path)


@pytest.mark.parametrize("name", ["/etc/cron.d/x", "../../.bashrc", ".upm/run/x.lease", ".upm/log/main/../../../x"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "a.upmbackup", {"upm.yaml": b"", name: b"harm"})
    with pytest.raises(IntegrityError, match="has no place in a backup"):
        content(path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with writing(tmp_path / "a.upmbackup", 2, 2) as writer:
        writer.add("upm.yaml", b"a")
        writer.add("upm.yaml", b"b")
        writer.finish()
    with pytest.raises(IntegrityError, match="has no place"):
        content(tmp_path / "a.upmbackup")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_SPARSE,
    ],
)
def test_links_devices_folders_and_extensions_are_refused(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo(LOG)
    header.type, header.linkname = kind, "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    with writing(tmp_path / "a.upmbackup", 1, 0) as writer:
        writer._pack(header.tobuf(tarfile.USTAR_FORMAT))
        writer.finish()
    with pytest.raises(IntegrityError, match="not a plain file"):
        content(tmp_path / "a.upmbackup")


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo(LOG).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 12  # base 256, below zero
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with writing(tmp_path / "a.upmbackup", 1, 0) as writer:
        writer._pack(bytes(header))
        writer.finish()
    with pytest.raises(IntegrityError):
        content(tmp_path / "a.upmbackup")


def test_a_bomb_ends_where_the_head_says_that_the_files_end(tmp_path: Path) -> None:
    with writing(tmp_path / "a.upmbackup", 1, 1000) as writer:
        writer.begin(LOG, 1 << 30)
        for _ in range(1 << 10):
            writer.write(bytes(1 << 20))
        writer.end(1 << 30)
        writer.finish()
    assert (tmp_path / "a.upmbackup").stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="more than it says"):
        content(tmp_path / "a.upmbackup")
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_more_files_than_the_head_says_are_refused(tmp_path: Path) -> None:
    with writing(tmp_path / "a.upmbackup", 1, 100) as writer:
        for number in range(2):
            writer.add(f".upm/log/main/{number}", b"")
        writer.finish()
    with pytest.raises(IntegrityError, match="more than it says"):
        content(tmp_path / "a.upmbackup")


def test_a_large_file_streams(tmp_path: Path) -> None:
    piece = os.urandom(1 << 20)
    with writing(tmp_path / "a.upmbackup", 1, 64 << 20) as writer:
        writer.begin(LOG, 64 << 20)
        for _ in range(64):
            writer.write(piece)
        writer.end(64 << 20)
        writer.finish()
    tracemalloc.start()
    with backupfile.opened(tmp_path / "a.upmbackup") as reader:
        assert [(member.name, member.size) for member in reader.members()] == [(LOG, 64 << 20)]
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError), backupfile.opened(tmp_path / "none"):
        pass
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UpmError), backupfile.opened(path):
            pass
