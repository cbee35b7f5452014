"""An `upm agent serve` that models are asked of: one question at a time, under limits of time and size.

Nothing is sent without TLS but to this machine, or where there is no token to lose.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from upm_cli.agent.errors import AgentError, AgentUsageError, UnreachableError
from upm_cli.clock import Clock
from upm_cli.core.delivery import envelope
from upm_cli.errors import UpmError
from upm_cli.ids import check_name
from upm_cli.safehttp.addresses import LOOPBACK, Allowed
from upm_cli.safehttp.client import Reply, Site
from upm_cli.safehttp.faults import Fault, HttpError
from upm_cli.safehttp.tokens import read_token
from upm_cli.safehttp.urls import Url, parse

ASK_S: Final = 10.0  # for a question that is answered in a few bytes
STATUS_BYTES: Final = 4 << 20
WRONG: Final = "is that the address of an `upm agent serve`?"

LeftS = Callable[[], float]


class Server:
    """One address. Each request looks its name up, reads the token and connects anew."""

    def __init__(self, address: str, *, token_file: Path | None, ca_file: Path | None, clock: Clock) -> None:
        self.url = _checked(address, has_token=token_file is not None)
        self._allowed = Allowed.of([self.url.host])
        self._token_file, self._ca_file, self._clock = token_file, ca_file, clock

    def __str__(self) -> str:
        return str(self.url)

    def get(
        self,
        path: str,
        seconds: float,
        *,
        most: int,
        headers: dict[str, str] | None = None,
        into: Callable[[bytes], object] | None = None,
    ) -> Reply:
        """Return the answer to GET `path`, within `seconds`. Raises HttpError, AgentError."""
        left_s = self._left_s(seconds)
        sent = dict(headers or {})
        try:
            if self._token_file is not None:
                sent["Authorization"] = read_token(self._token_file).header()
            site = Site.look_up(self.url, self._allowed, left_s, ca_file=self._ca_file)
            return site.request("GET", path, left_s, headers=sent, body_bytes=most, into=into)
        except (HttpError, AgentError):
            raise
        except UpmError as exc:  # the token, the certificates or the address
            raise UnreachableError(exc.message, hint=exc.hint) from exc

    def trainers(self, tenant: str) -> list[str]:
        """Return the trainers that something is served of to `tenant`. Raises AgentError."""
        with as_unreachable():
            reply = self.get("/status", ASK_S, most=STATUS_BYTES)
            if reply.status != 200:
                raise answered(self, reply)
            try:
                plain = envelope.strict_object(reply.body, "the status", STATUS_BYTES)
                served = [each for each in plain["serving"] if (each.get("tenant") or "") == tenant]
                return sorted({check_name(each["trainer"], "trainer") for each in served})
            except (KeyError, TypeError, AttributeError, UpmError) as exc:
                raise UnreachableError(f"{self} does not say what it serves", hint=WRONG) from exc

    def _left_s(self, seconds: float) -> LeftS:
        until = self._clock.monotonic_s() + seconds

        def left_s() -> float:
            left = until - self._clock.monotonic_s()
            if left <= 0:
                raise HttpError(Fault.TIMEOUT, f"{self} took longer than {seconds:.0f} s")
            return left

        return left_s


@contextlib.contextmanager
def as_unreachable() -> Iterator[None]:
    """Turn an HttpError into an UnreachableError, and an answer that is not what it should be too."""
    try:
        yield
    except HttpError as exc:
        raise UnreachableError(exc.message, hint="what is in use stays; it is tried again") from exc


def _checked(address: str, *, has_token: bool) -> Url:
    try:
        url = parse(address)
    except UpmError as exc:
        raise AgentUsageError(exc.message, hint=exc.hint) from exc
    if url.query:
        raise AgentUsageError(f"{address} has a query", hint="give the address alone: https://agent.example:8765")
    literal = url.literal
    is_here = url.host == "localhost" or (
        literal is not None and any(literal.version == net.version and literal in net for net in LOOPBACK)
    )
    if has_token and url.scheme == "http" and not is_here:
        raise AgentUsageError(f"the token would be sent to {address} without TLS", hint="use https")
    return url


def answered(server: Server, reply: Reply) -> UnreachableError:
    hint = "does it have the same token as token_file?" if reply.status in (401, 403) else WRONG
    return UnreachableError(f"{server} answered {reply.status}", hint=hint)
