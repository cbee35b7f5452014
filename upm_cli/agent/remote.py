"""A tenant's pointer and models at an `upm agent serve`, and the folder they are fetched into.

    GET /pointers/{trainer}?tenant=…   the envelope; with its ETag, so that nothing is sent when nothing has changed
    GET /models/{digest}               the stored file, piece by piece, going on where a former attempt stopped

What is fetched is proven before it gets its name.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from upm_cli.agent import files
from upm_cli.agent.errors import AgentError, DamagedError, NothingToServeError, UnreachableError
from upm_cli.agent.loading import OpenFile
from upm_cli.agent.url import ASK_S, WRONG, Server, answered, as_unreachable
from upm_cli.clock import Clock
from upm_cli.core.delivery import envelope, places
from upm_cli.core.delivery.pointer import ModelFile, Pointer
from upm_cli.safehttp.client import Reply
from upm_cli.safehttp.faults import Fault, HttpError
from upm_cli.store import fsio

PIECE: Final = 1 << 20  # bytes of a model that one request asks for
PIECE_S: Final = 60.0
LOCK_S: Final = 600.0  # how long another process may fetch the same model


class Remote:
    """One tenant's pointer at a server; models are fetched into `folder`, which has the layout of a model directory."""

    def __init__(self, server: Server, folder: Path, trainer: str, tenant: str, clock: Clock) -> None:
        self._server, self._folder, self._clock = server, folder, clock
        query = f"?tenant={quote(tenant, safe='')}" if tenant else ""
        self._path = f"/pointers/{quote(trainer, safe='')}{query}"
        self._etag, self._data = "", b""

    def stamp(self) -> files.Stamp | None:
        """Return nothing: only asking tells."""
        return None

    def fetch(self) -> bytes:
        """Return the envelope that is there; it is sent only if it has changed. Raises AgentError."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        with as_unreachable():
            reply = self._server.get(self._path, ASK_S, most=envelope.MAX_ENVELOPE_BYTES, headers=headers)
        if reply.status == 304 and self._etag:
            return self._data
        if reply.status == 404:
            raise NothingToServeError(
                f"{self._server} has no pointer at {self._path}", hint="upm adapter list shows what is sent where"
            )
        if reply.status != 200:
            raise answered(self._server, reply)
        self._etag, self._data = reply.headers.get("ETag", ""), reply.body
        return reply.body

    def opener(self, pointer: Pointer) -> OpenFile:
        """Return what fetches the model, if it is not there, and opens it."""
        return functools.partial(self._open, pointer)

    @contextlib.contextmanager
    def _open(self, pointer: Pointer) -> Iterator[tuple[int, int]]:
        name = places.model(pointer.digest, pointer.model.codec)
        self._have(name, pointer)
        with files.opened(self._folder, name) as found:
            yield found

    def _have(self, name: str, pointer: Pointer) -> None:
        """Have the whole file of the model below the folder. Raises AgentError, StorageError."""
        if _is_whole(self._folder, name, pointer.model):
            return
        path = self._folder / name
        fsio.make_folder(path.parent)
        partial = path.with_name(f".{path.name}.fetched")
        with fsio.telling(partial, "write", pointer.model.size_bytes):
            fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "r+b") as file:
                self._wait_for_turn(fd, partial)
                if _is_whole(self._folder, name, pointer.model):  # another process was at it
                    return
                self._fetch_model(file, pointer)
                file.flush()
                if _sha256(fd) != pointer.model.file_digest:
                    os.ftruncate(fd, 0)
                    raise DamagedError(
                        f"{self._server} sends other bytes than its pointer to v{pointer.version} says",
                        hint="what is in use stays; it is fetched again",
                    )
                fsio.publish(partial, path)

    def _wait_for_turn(self, fd: int, partial: Path) -> None:
        until = self._clock.monotonic_s() + LOCK_S
        while True:
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._clock.monotonic_s() > until:
                raise UnreachableError(f"another process is fetching {partial.name}", hint="look for one that hangs")
            self._clock.sleep(0.02)

    def _fetch_model(self, file: BinaryIO, pointer: Pointer) -> None:
        """Fetch what `file` lacks of the model; what has come stays in it, whatever happens."""
        path, total = f"/models/{pointer.digest}", pointer.model.size_bytes
        at = file.seek(0, os.SEEK_END)
        if at > total:
            at = _cut(file)
        while at < total:
            reply, whole = self._ask(path, at, min(at + PIECE, total), total, file)
            if reply.status == 200:
                at = whole.size
                if at != total:
                    raise UnreachableError(f"{self._server} sent {at:,} bytes of a model of {total:,}", hint=WRONG)
            elif reply.status == 206 and _begins_at(reply, at) and reply.body:
                file.seek(at)
                file.write(reply.body)
                at += len(reply.body)
            elif reply.status == 416 and at:
                at = _cut(file)
            elif reply.status == 404:
                raise DamagedError(
                    f"{self._server} has a pointer to {pointer.trainer}@{pointer.version}, but not its model",
                    hint="send it again: upm sync run",
                )
            else:
                raise answered(self._server, reply)

    def _ask(self, path: str, first: int, stop: int, total: int, file: BinaryIO) -> "tuple[Reply, _Whole]":
        """Ask for bytes `first` to `stop`; whoever knows no ranges sends all, and then it is written to `file`."""
        whole = _Whole(file)
        headers = {"Range": f"bytes={first}-{stop - 1}"}
        with as_unreachable():
            try:
                return self._server.get(path, PIECE_S, most=PIECE, headers=headers, into=whole.add), whole
            except HttpError as exc:
                if exc.fault is not Fault.GARBLED:
                    raise
            whole = _Whole(file)
            return self._server.get(path, PIECE_S * (1 + total // PIECE), most=total, into=whole.add), whole


class _Whole:
    """A model that is sent as a whole, written to `file` from its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self.size, self._file = 0, file

    def add(self, piece: bytes) -> None:
        if not self.size:
            _cut(self._file)
        self._file.write(piece)
        self.size += len(piece)


def _begins_at(reply: Reply, at: int) -> bool:
    return re.match(rf"bytes {at}-", reply.headers.get("Content-Range", "")) is not None


def _cut(file: BinaryIO) -> int:
    file.seek(0)
    return file.truncate()


def _is_whole(folder: Path, name: str, model: ModelFile) -> bool:
    try:
        with files.opened(folder, name) as (fd, size):
            return size == model.size_bytes and _sha256(fd) == model.file_digest
    except (FileNotFoundError, AgentError):
        return False


def _sha256(fd: int) -> str:
    proof = hashlib.sha256()
    os.lseek(fd, 0, os.SEEK_SET)
    while piece := os.read(fd, PIECE):
        proof.update(piece)
    return proof.hexdigest()
