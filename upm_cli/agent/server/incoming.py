"""A model on its way in: written beside its place, proven, and only then put there."""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from upm_cli.agent.server.problems import ProblemError
from upm_cli.agent.unpack import unpacked
from upm_cli.core.delivery import places
from upm_cli.store import fsio

_PIECE: Final = 1 << 20
_SPARE: Final = 16 << 20  # bytes that stay free on the disk


def digest_of(path: Path) -> str | None:
    """Return the sha256 of the file at `path`; None when there is none that can be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What a request says of the model that it carries."""

    digest: str
    codec: str
    size_bytes: int
    raw_bytes: int
    file_digest: str

    def path(self, folder: Path) -> Path:
        return folder / places.model(self.digest, self.codec)


@dataclass(slots=True)
class Incoming:
    """A file being written. Raises StorageError when the disk refuses, ProblemError when the bytes are wrong."""

    announced: Announced
    folder: Path
    size: int = 0
    _fd: int = -1
    _proof: Any = field(default_factory=hashlib.sha256)
    _temporary: Path = Path()

    def begin(self) -> None:
        """Make the file, if there is room for all of it."""
        path = self.announced.path(self.folder)
        fsio.make_folder(path.parent)
        found = os.statvfs(path.parent)
        free = found.f_bavail * found.f_frsize
        if free < self.announced.size_bytes + _SPARE:
            raise ProblemError("disk-full", f"it needs {self.announced.size_bytes:,} bytes; {free:,} are free")
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{fsio.TEMP_SUFFIX}")
        with fsio.telling(path, "write"):
            fsio.faults.at("open", path)
            self._fd = os.open(
                self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )

    def add(self, data: bytes | bytearray) -> None:
        """Append `data`."""
        path = self.announced.path(self.folder)
        with fsio.telling(path, "write", self.announced.size_bytes):
            fsio.faults.at("write", path)
            left = memoryview(data)
            while left:
                left = left[fsio.faults.write(self._fd, left) :]
        self._proof.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Prove what came, as it is stored and unpacked, and put it at its place."""
        announced = self.announced
        if self.size != announced.size_bytes:
            raise ProblemError("refused", f"{self.size:,} bytes came instead of {announced.size_bytes:,}")
        if self._proof.hexdigest() != announced.file_digest:
            raise ProblemError("refused", "the bytes that came do not have the sha256 of Upm-File-Digest")
        os.lseek(self._fd, 0, os.SEEK_SET)
        proof = hashlib.sha256()
        try:
            for piece in unpacked(lambda most: os.read(self._fd, most), announced.codec, announced.raw_bytes):
                proof.update(piece)
        except ValueError as exc:
            raise ProblemError("refused", f"it can't be unpacked: {exc}") from exc
        if proof.hexdigest() != announced.digest:
            raise ProblemError("refused", "what it unpacks to does not have the digest in the address")
        fsio.publish(self._temporary, announced.path(self.folder))
        self._temporary = Path()

    def end(self) -> None:
        """Let go of the file; what was not finished is removed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary.name:
            fsio.remove_quietly(self._temporary)


def remove_unfinished(folder: Path) -> None:
    """Remove what uploads left behind that a crash cut off."""
    for path in (folder / places.MODELS).glob(f".*{fsio.TEMP_SUFFIX}"):
        fsio.remove_quietly(path)
