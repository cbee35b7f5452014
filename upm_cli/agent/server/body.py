"""Taking in what a request carries, no more of it than is allowed and no slower."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.requests import Request

from upm_cli.agent.server.options import Limits
from upm_cli.agent.server.problems import ProblemError
from upm_cli.core.delivery.envelope import strict_object
from upm_cli.errors import IntegrityError


def media_type(request: Request) -> str:
    """Return the kind of content that the request says it carries, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_size(request: Request, most: int) -> int | None:
    """Return how many bytes will come, None when they come in chunks. Raises ProblemError when they are too many."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ProblemError("bad-request", "Content-Length is no number")
    if int(text[:20]) > most:
        raise ProblemError("too-large", f"it announces {text[:20]} bytes; {most:,} are the most")
    return int(text)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise ProblemError when what is awaited inside takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as exc:
        raise ProblemError(
            "too-slow", f"it has to arrive within {seconds:g} s", headers={"Connection": "close"}
        ) from exc


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body of a request with JSON. Raises ProblemError."""
    if media_type(request) != "application/json":
        raise ProblemError("unsupported-media-type", "send it as application/json")
    declared_size(request, limits.json_bytes)
    data = bytearray()
    async with within(limits.body_s), aclosing(request.stream()) as stream:
        async for piece in stream:
            data += piece
            if len(data) > limits.json_bytes:
                raise ProblemError("too-large", f"{limits.json_bytes:,} bytes are the most")
    return bytes(data)


async def read_object(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the JSON object in the body. Raises ProblemError for anything else, keys that occur twice, and NaN."""
    data = await read_body(request, limits)
    try:
        return strict_object(data, "the body", limits.json_bytes)
    except IntegrityError as exc:
        raise ProblemError("bad-request", exc.message) from exc


def only_fields(found: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    """Raise ProblemError when `found` has other fields than the `known` ones."""
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise ProblemError("unfit", f"{what} has a field {unknown[0][:40]!r}; it may have {', '.join(known)}")


def only_query(request: Request, *known: str) -> dict[str, str]:
    """Return the parameters of the query. Raises ProblemError for one that is not `known`, or given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise ProblemError(
                "bad-request", f"there is no parameter {name[:40]!r}; there are {', '.join(known) or 'none'}"
            )
        if name in found:
            raise ProblemError("bad-request", f"the parameter {name} is given twice")
        found[name] = value
    return found
