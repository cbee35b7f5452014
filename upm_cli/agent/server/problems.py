"""What an HTTP agent answers when it can't do what was asked: problem objects (RFC 9457), each with a stable code."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from upm_cli.core.canonical import canonical_json
from upm_cli.errors import UpmError

MEDIA_TYPE: Final = "application/problem+json"

#: code → (status, title)
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "bad-request": (400, "The request can't be read"),
    "unauthorized": (401, "The token is missing or wrong"),
    "cross-origin": (403, "Requests of other web sites are not answered"),
    "not-found": (404, "There is no such thing"),
    "nothing-served": (404, "Nothing is served to this tenant"),
    "method-not-allowed": (405, "This can't be done with it"),
    "too-slow": (408, "The request took too long to arrive"),
    "need-model": (409, "Send the model first"),
    "older": (409, "Something newer was taken before"),
    "pulls": (409, "This agent fetches its models itself"),
    "length-required": (411, "The request has to say how long it is"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "This kind of content is not taken"),
    "range": (416, "The file is not that long"),
    "wrong-host": (421, "The request is for another host"),
    "refused": (422, "What was sent is not taken"),
    "unfit": (422, "This can't be predicted or told"),
    "too-many": (429, "Too many requests"),
    "internal": (500, "This is a bug, or the disk refused"),
    "not-ready": (503, "Nothing is served yet"),
    "busy": (503, "Too much at the same time"),
    "disk-full": (507, "The disk is full"),
}

#: What the errors of the agent library are; the first that fits.
_OF_ERRORS: Final[Mapping[str, str]] = {
    "UPM-E010": "disk-full",
    "UPM-E130": "refused",
    "UPM-E131": "nothing-served",
    "UPM-E132": "refused",
    "UPM-E133": "refused",
    "UPM-E134": "refused",
    "UPM-E135": "busy",
    "UPM-E137": "unfit",
}


class ProblemError(Exception):
    """An answer that is an error. `more` are further members of the problem object."""

    def __init__(self, code: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.more = code, detail, more
        self.headers = dict(headers or {})
        self.status, self.title = PROBLEMS[code]

    def response(self, request_id: str) -> Response:
        """Return the answer."""
        body = {
            "type": f"urn:upm:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail or self.title,
            "code": self.code,
            "request_id": request_id,
            **self.more,
        }
        return Response(canonical_json(body), self.status, self.headers, MEDIA_TYPE)


def problem_of(error: UpmError) -> ProblemError:
    """Return the answer to a request that ended in `error`."""
    code = _OF_ERRORS.get(error.code, "internal")
    if error.context.get("took") in ("older", "forked"):
        code = "older"
    return ProblemError(code, error.message, upm_code=error.code, hint=error.hint)
