"""How answers are put together."""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response


class JsonReply(Response):
    """An answer in JSON: UTF-8, compact, without NaN."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def not_modified(request: Request, etag: str) -> bool:
    """Say whether the client has what `etag` stands for already."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in [each.strip().removeprefix("W/") for each in given.split(",")]
