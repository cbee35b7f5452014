"""Asking an HTTP agent how it is doing, from the shell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from upm_cli.adapters.acks import read_ack
from upm_cli.adapters.base import Ack
from upm_cli.adapters.http import check_url
from upm_cli.clock import Clock
from upm_cli.core.delivery.envelope import strict_object
from upm_cli.errors import IntegrityError, RefusedError, TimedOutError
from upm_cli.ids import iso
from upm_cli.safehttp.addresses import Allowed
from upm_cli.safehttp.client import Reply, Site
from upm_cli.safehttp.faults import Fault, HttpError
from upm_cli.safehttp.resolve import Resolve
from upm_cli.safehttp.tokens import read_token

MAX_ANSWER_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an agent says. `status`: ok, stale, or that nothing is served yet; `stale`: so much of it is."""

    agent: str
    status: str
    stale: int
    serving: list[dict[str, Any]]


def ask(
    url: str,
    *,
    token_file: Path | None,
    ca_file: Path | None,
    allow_hosts: Sequence[str],
    clock: Clock,
    timeout_s: float,
    resolve: Resolve | None = None,
) -> Asked:
    """Return what the agent at `url` says.

    Raises UsageError and RefusedError for addresses that nothing is sent to, RefusedError when the agent wants another
    token, HttpError when it can't be reached or says what nobody can read, TimedOutError.
    """
    until_s = clock.monotonic_s() + timeout_s

    def left_s() -> float:
        left = until_s - clock.monotonic_s()
        if left <= 0:
            raise TimedOutError(f"{url} did not answer within {timeout_s:g} s", hint="give it longer: --timeout 60s")
        return left

    headers = {} if token_file is None else {"Authorization": read_token(token_file).header()}
    site = Site.look_up(check_url(url, allow_hosts), Allowed.of(allow_hosts), left_s, ca_file=ca_file, resolve=resolve)
    status = _object(url, site.request("GET", "/status", left_s, headers=headers, body_bytes=MAX_ANSWER_BYTES), 200)
    ready = _object(url, site.request("GET", "/readyz", left_s, headers=headers), 200, 503)
    try:
        acks = [read_ack(each) for each in status["serving"]]
        return Asked(
            agent=str(status["agent"]),
            status=str(ready["status"]),
            stale=int(ready["stale"]),
            serving=[_row(ack) for ack in acks],
        )
    except (IntegrityError, KeyError, TypeError, ValueError) as exc:
        raise HttpError(Fault.GARBLED, f"{url}: its answer is not that of an agent of upm") from exc


def _object(url: str, reply: Reply, *wanted: int) -> dict[str, Any]:
    if reply.status in (401, 403):
        raise RefusedError(
            f"{url} wants another token (it answered {reply.status})",
            hint="give the file that the agent was started with: --token-file FILE",
            code="UPM-E150",
        )
    if reply.status not in wanted:
        raise HttpError(Fault.GARBLED, f"{url} answered {reply.status}, as an agent of upm does not")
    try:
        return strict_object(reply.body, "the answer", MAX_ANSWER_BYTES)
    except IntegrityError as exc:
        raise HttpError(Fault.GARBLED, f"{url}: {exc.message}") from exc


def _row(ack: Ack) -> dict[str, Any]:
    return {
        "trainer": ack.trainer,
        "tenant": ack.tenant or None,
        "version": ack.version,
        "digest": ack.digest,
        "epoch": ack.place.epoch,
        "serial": ack.place.serial,
        "loaded_at": None if ack.loaded_at_ms is None else iso(ack.loaded_at_ms),
    }
