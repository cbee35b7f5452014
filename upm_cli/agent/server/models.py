"""PUT and GET of /models/{digest}."""

import asyncio
import os
import re
from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from upm_cli.agent.server.body import declared_size, media_type, only_query, within
from upm_cli.agent.server.fleet import Fleet
from upm_cli.agent.server.incoming import Announced, Incoming, digest_of
from upm_cli.agent.server.meter import Meter
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.problems import ProblemError
from upm_cli.agent.server.replies import JsonReply, not_modified
from upm_cli.core.delivery import places

_PIECE: Final = 1 << 20
_SENT: Final = 256 << 10
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class Models:
    """The handlers of stored models."""

    def __init__(self, fleet: Fleet, options: ServeOptions, meter: Meter) -> None:
        self._fleet, self._options, self._meter = fleet, options, meter
        self._uploads = asyncio.Semaphore(options.limits.uploads)

    async def put(self, request: Request) -> Response:
        """Take in a model, unless it is there."""
        only_query(request)
        if self._fleet.pulls:
            raise ProblemError("pulls")
        announced = self._announced(request)
        path = announced.path(self._options.folder)
        answer = {"digest": announced.digest, "codec": announced.codec, "size_bytes": announced.size_bytes}
        if await anyio.to_thread.run_sync(digest_of, path) == announced.file_digest:
            return JsonReply(answer)
        if self._uploads.locked():
            raise ProblemError("busy", "other models are coming in", headers={"Retry-After": "1"})
        async with self._uploads:
            await self._receive(request, Incoming(announced, self._options.folder))
        self._meter.models += 1
        self._meter.model_bytes += announced.size_bytes
        return JsonReply(answer, 201)

    async def _receive(self, request: Request, incoming: Incoming) -> None:
        limits = self._options.limits
        seconds = limits.model_s + incoming.announced.size_bytes / limits.slowest_bytes
        try:
            await anyio.to_thread.run_sync(incoming.begin)
            waiting = bytearray()
            async with within(seconds), aclosing(request.stream()) as stream:
                async for piece in stream:
                    waiting += piece
                    if len(waiting) >= _PIECE:
                        await anyio.to_thread.run_sync(incoming.add, waiting)
                        waiting = bytearray()
                await anyio.to_thread.run_sync(incoming.add, waiting)
            await anyio.to_thread.run_sync(incoming.finish)
        finally:
            incoming.end()

    def _announced(self, request: Request) -> Announced:
        """Return what the headers say. Raises ProblemError."""
        most = self._options.limits.model_bytes
        if media_type(request) != "application/octet-stream":
            raise ProblemError("unsupported-media-type", "send it as application/octet-stream")
        size, headers = declared_size(request, most), request.headers
        if size is None:
            raise ProblemError("length-required", "give Content-Length")
        digest, file_digest = request.path_params["digest"], headers.get("upm-file-digest", "")
        codec, raw = headers.get("upm-codec", ""), headers.get("upm-raw-bytes", "")
        if not (places.is_digest(digest) and places.is_digest(file_digest)):
            raise ProblemError("bad-request", "the digest in the address and Upm-File-Digest are sha256 in hexadecimal")
        if codec not in places.EXTENSIONS:
            raise ProblemError("bad-request", f"Upm-Codec is one of {', '.join(places.EXTENSIONS)}")
        if not (raw.isascii() and raw.isdigit() and size > 0 and int(raw[:20]) > 0):
            raise ProblemError("bad-request", "Content-Length and Upm-Raw-Bytes are numbers above 0")
        if int(raw[:20]) > most:
            raise ProblemError("too-large", f"it unpacks to {raw[:20]} bytes; {most:,} are the most")
        return Announced(digest=digest, codec=codec, size_bytes=size, raw_bytes=int(raw), file_digest=file_digest)

    async def get(self, request: Request) -> Response:
        """Send a stored model, or a part of it."""
        only_query(request)
        digest = request.path_params["digest"]
        for codec in places.EXTENSIONS if places.is_digest(digest) else ():
            path = self._options.folder / places.model(digest, codec)
            fd = await anyio.to_thread.run_sync(_opened, path)
            if fd is not None:
                return _sent(request, fd, codec, path)
        raise ProblemError("not-found", "there is no model with that digest")


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None


def _sent(request: Request, fd: int, codec: str, path: Path) -> Response:
    """Return the answer that sends the open file, and closes it."""
    size = os.fstat(fd).st_size
    etag = f'"{path.name}.{size}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Upm-Codec": codec, "Cache-Control": "private, immutable"}
    try:
        if not_modified(request, etag):
            return _closing(Response(None, 304, headers), fd)
        first, last = _range(request, etag, size)
    except ProblemError:
        os.close(fd)
        raise
    status, headers["Content-Length"] = 200, str(last + 1 - first)
    if (first, last) != (0, size - 1):
        status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{size}"
    return FileReply(request, fd, first, last + 1, status, headers)


def _closing(response: Response, fd: int) -> Response:
    os.close(fd)
    return response


class FileReply(Response):
    """An answer of the bytes from `at` to before `end` of an open file, which it closes."""

    media_type = "application/octet-stream"

    def __init__(self, request: Request, fd: int, at: int, end: int, status_code: int, headers: dict[str, str]) -> None:
        self._request, self._fd, self._at, self._end = request, fd, at, end
        super().__init__(None, status_code, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self._end if scope["method"] == "HEAD" else self._at
            while at < self._end and not await self._request.is_disconnected():
                piece = await anyio.to_thread.run_sync(os.pread, self._fd, min(_SENT, self._end - at), at)
                if not piece:
                    raise OSError("the file has become shorter")
                at += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            os.close(self._fd)


def _range(request: Request, etag: str, size: int) -> tuple[int, int]:
    """Return the first and last byte that are asked for; all of them unless exactly one range is."""
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if found is None or found.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return 0, size - 1
    begin, end = found[1][:20], found[2][:20]
    if begin:
        first, last = int(begin), min(int(end), size - 1) if end else size - 1
    else:
        first, last = max(0, size - int(end)), size - 1
    if end and begin and int(end) < int(begin):
        return 0, size - 1
    if first >= size or (not begin and int(end) == 0):
        raise ProblemError("range", f"it has {size:,} bytes", headers={"Content-Range": f"bytes */{size}"})
    return first, last
