"""What every request passes first: is it for this host, from somebody who may, and not one too many?

It also gives each request an id, counts what became of it, and is the last catcher: whatever a handler raises becomes a
problem object.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from upm_cli.agent.server.meter import Meter
from upm_cli.agent.server.options import ServeOptions
from upm_cli.agent.server.problems import ProblemError, problem_of
from upm_cli.clock import Clock
from upm_cli.errors import UpmError
from upm_cli.ids import uuid7
from upm_cli.safehttp.tokens import TokenFile

OPEN_PATHS: Final = ("/healthz", "/readyz")  # probes have no token
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST_CLIENTS: Final = 10_000
_GONE: Final = 499  # the client closed the connection before it was answered

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Rate:
    """How many requests each client may send: `per_s` in the long run, twice as many at once."""

    per_s: float
    _left: "OrderedDict[str, tuple[float, float]]" = field(default_factory=OrderedDict)  # by client: how many, since

    def take(self, client: str, now_s: float) -> float:
        """Count one request; return 0, or the seconds after which another one would be taken."""
        if self.per_s <= 0:
            return 0.0
        most = 2 * self.per_s
        left, since_s = self._left.pop(client, (most, now_s))
        left = min(most, left + (now_s - since_s) * self.per_s)
        self._left[client] = (left - 1 if left >= 1 else left, now_s)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.per_s


class Front:
    """The outermost ASGI application."""

    def __init__(
        self,
        app: ASGIApp,
        options: ServeOptions,
        meter: Meter,
        clock: Clock,
        report: Callable[[BaseException], None],
        path_of: Callable[[Any], str],
    ) -> None:
        self._app, self._options, self._meter, self._clock = app, options, meter, clock
        self._report, self._path_of = report, path_of
        self._token = TokenFile(options.token_file) if options.token_file is not None else None
        self._rate = Rate(options.limits.requests_per_s)
        self._hosts = _own_names(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["app"] = self
        headers = dict(reversed(scope["headers"]))
        request_id = _request_id(headers, self._clock)
        scope["upm.request_id"] = request_id
        said: MutableMapping[str, int] = {}

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                said["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        began_s = time.perf_counter()
        try:
            response = await self._answer(scope, receive, answer, headers)
            if response is not None and "status" not in said:
                await response(scope, receive, answer)
        finally:
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "PUT", "POST") else "other"
            self._meter.requests[method, self._path_of(scope.get("endpoint")), said.get("status", _GONE)] += 1
            self._meter.answering.add(time.perf_counter() - began_s)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> Response | None:
        """Let the application answer; return the answer that is left to give when it raised."""
        try:
            self._admit(scope, headers)
            await self._app(scope, receive, send)
            return None
        except ClientDisconnect:
            return None
        except ProblemError as exc:
            problem = exc
        except UpmError as exc:
            problem = problem_of(exc)
        except HTTPException as exc:
            code = {404: "not-found", 405: "method-not-allowed"}.get(exc.status_code, "bad-request")
            problem = ProblemError(code, headers=exc.headers)
        except Exception as exc:
            self._report(exc)
            problem = ProblemError("internal", "it was noted; the request id leads to it")
        self._meter.problems[problem.code] += 1
        return problem.response(scope["upm.request_id"])

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raise ProblemError when the request is not to be answered at all."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts and _without_port(host) not in self._hosts:
            raise ProblemError(
                "wrong-host", f"{host[:80]!r} is not what this agent is called: {', '.join(self._hosts)}"
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
            raise ProblemError("cross-origin")
        if scope["path"] in OPEN_PATHS:
            return
        client = (scope.get("client") or ("", 0))[0]
        wait_s = self._rate.take(client, self._clock.monotonic_s())
        if wait_s > 0:
            raise ProblemError(
                "too-many",
                f"{self._options.limits.requests_per_s:g} a second are the most",
                headers={"Retry-After": str(max(1, round(wait_s)))},
            )
        if self._token is not None and not self._token.current().is_in(_authorization(scope["headers"])):
            raise ProblemError("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="upm agent"'})


def _authorization(headers: Headers) -> str:
    """Return the only Authorization header; "" when there is none, or more than one."""
    found = [value for name, value in headers if name == b"authorization"]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def _request_id(headers: dict[bytes, bytes], clock: Clock) -> str:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else uuid7(clock)


def _own_names(options: ServeOptions) -> tuple[str, ...]:
    """Return what the Host header may name; empty: anything.

    On loopback only its own names: a web page whose name was made to lead here (DNS rebinding) is not answered.
    """
    names = tuple(name.lower() for name in options.host_names)
    if options.is_loopback:
        bare = f"[{options.host}]" if ":" in options.host else options.host
        return tuple(dict.fromkeys((*names, bare, "localhost", "127.0.0.1", "[::1]")))
    return names


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() and (not name.count(":") or name.endswith("]")) else host
