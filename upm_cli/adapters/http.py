"""HTTP agents: pointers and models are PUT to them, and what they serve is read back.

A pointer goes first; only an agent that asks for its model gets it. Nothing counts as delivered before the agent's own
answers, to the pointer and to a question after it, name the version, the digest and the place that were sent.
docs/reference/agent-http.md has the interface.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from upm_cli.adapters.acks import read_ack
from upm_cli.adapters.base import Ack, Deadline, Delivery, DeliveryError, Failure
from upm_cli.clock import Clock
from upm_cli.core.delivery.envelope import strict_object
from upm_cli.core.delivery.pointer import Pointer
from upm_cli.errors import IntegrityError, RefusedError, StorageError, UpmError, UsageError
from upm_cli.safehttp import addresses
from upm_cli.safehttp.addresses import Allowed
from upm_cli.safehttp.client import FileBody, Reply, Site
from upm_cli.safehttp.faults import HttpError
from upm_cli.safehttp.resolve import Resolve
from upm_cli.safehttp.tokens import read_token
from upm_cli.safehttp.urls import Url, parse

NEEDS_MODEL: Final = "need-model"
MAX_ANSWER_BYTES: Final = 4 << 20  # what it serves to each of many tenants
MAX_RETRY_AFTER_S: Final = 86_400.0

#: Statuses of an agent that can't now, but may be able to later.
_BUSY: Final = (408, 425, 429, 500, 502, 503, 504)


def check_url(text: str, allow_hosts: Sequence[str]) -> Url:
    """Return the URL of an agent, as far as can be said without looking its name up.

    Raises UsageError when it is none, RefusedError when nothing may be sent there.
    """
    url, allowed = parse(text), Allowed.of(allow_hosts)
    if url.query:
        raise UsageError("the address of an agent has no query", hint="https://agent.example:8765", code="UPM-E142")
    if url.literal is not None:
        addresses.check(url, [url.host], allowed)
    elif url.scheme == "http" and url.host != "localhost" and url.host not in allowed.names and not allowed.networks:
        raise RefusedError(
            f"nothing is sent to {url} without TLS",
            hint="use https, or list it in adapter_sync.allow_hosts",
            code="UPM-E141",
        )
    return url


class HttpAdapter:
    """The adapter for one URL. Every delivery looks its name up, reads its token and connects anew."""

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        allow_hosts: Sequence[str] = (),
        clock: Clock,
        resolve: Resolve | None = None,
    ) -> None:
        self._url, self._allow_hosts = url, tuple(allow_hosts)
        self._token_file, self._ca_file = token_file, ca_file
        self._clock, self._resolve = clock, resolve

    def deliver(self, delivery: Delivery, deadline: Deadline) -> Ack:
        """Send the pointer, and its model if that is asked for; return what is served then. Raises DeliveryError."""
        with _as_delivery_errors():
            site, pointer = self._site(deadline), delivery.pointer
            ack = self._put_pointer(site, delivery, deadline)
            if ack is None:
                self._put_model(site, delivery, deadline)
                ack = self._put_pointer(site, delivery, deadline)
            if ack is None:
                raise DeliveryError(Failure.LYING, "the agent took the model and says that it has none")
            if not ack.confirms(pointer):
                raise DeliveryError(Failure.LYING, f"the agent took {_told(pointer)} and says it serves {_said(ack)}")
            served = self._report(site, pointer.trainer, pointer.tenant, deadline)
            if served is None or not served.confirms(pointer):
                what = "nothing" if served is None else _said(served)
                raise DeliveryError(Failure.LYING, f"the agent said it serves {_told(pointer)}; asked, it says {what}")
            return served

    def report(self, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
        """Return what the agent says it serves; None: nothing to this tenant. Raises DeliveryError."""
        with _as_delivery_errors():
            return self._report(self._site(deadline), trainer, tenant, deadline)

    def _site(self, deadline: Deadline) -> Site:
        url = check_url(self._url, self._allow_hosts)
        allowed = Allowed.of(self._allow_hosts)
        return Site.look_up(url, allowed, deadline.left_s, ca_file=self._ca_file, resolve=self._resolve)

    def _headers(self, **more: str) -> dict[str, str]:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        if self._token_file is not None:
            headers["Authorization"] = read_token(self._token_file).header()
        return headers

    def _put_pointer(self, site: Site, delivery: Delivery, deadline: Deadline) -> Ack | None:
        """Return what the agent answers to the pointer; None: it asks for the model."""
        path = _pointer_path(delivery.pointer.trainer, delivery.pointer.tenant)
        headers = self._headers(Content_Type="application/json")
        reply = site.request("PUT", path, deadline.left_s, headers=headers, body=delivery.envelope)
        if reply.status == 200:
            return read_ack(strict_object(reply.body, "the agent's answer", MAX_ANSWER_BYTES))
        if reply.status == 409 and _problem(reply).get("code") == NEEDS_MODEL:
            return None
        raise self._failure(reply)

    def _put_model(self, site: Site, delivery: Delivery, deadline: Deadline) -> None:
        model = delivery.pointer.model
        headers = self._headers(
            Content_Type="application/octet-stream",
            Upm_Codec=model.codec,
            Upm_Raw_Bytes=str(model.raw_bytes),
            Upm_File_Digest=model.file_digest,
        )
        try:
            file = delivery.model.open("rb")
        except OSError as exc:
            raise DeliveryError(Failure.DISK, f"can't read {delivery.model}: {exc.strerror}") from exc
        with file:
            size = file.seek(0, 2)
            if size != model.size_bytes:
                raise DeliveryError(Failure.DISK, f"{delivery.model} has {size:,} bytes, not {model.size_bytes:,}")
            file.seek(0)
            body = FileBody(file=file, size=size)
            path = f"/models/{delivery.pointer.digest}"
            reply = site.request("PUT", path, deadline.left_s, headers=headers, body=body)
        if reply.status not in (200, 201):
            raise self._failure(reply)

    def _report(self, site: Site, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
        path = f"/status?trainer={quote(trainer, safe='')}&tenant={quote(tenant, safe='')}"
        reply = site.request("GET", path, deadline.left_s, headers=self._headers(), body_bytes=MAX_ANSWER_BYTES)
        if reply.status != 200:
            raise self._failure(reply)
        plain = strict_object(reply.body, "the agent's status", MAX_ANSWER_BYTES)
        serving = plain.get("serving")
        if not isinstance(serving, list):
            raise DeliveryError(Failure.GARBLED, "the agent's status has no list of what it serves")
        acks = [read_ack(each) for each in serving]
        return next((ack for ack in acks if (ack.trainer, ack.tenant) == (trainer, tenant)), None)

    def _failure(self, reply: Reply) -> DeliveryError:
        """Return the error that an answer stands for."""
        problem = _problem(reply)
        said = _shown(problem.get("detail") or problem.get("title"))
        message = f"the agent answered {reply.status}{f': {said}' if said else ''}"
        if reply.status in _BUSY:
            wait_s = retry_after_s(reply.headers.get("Retry-After", ""), self._clock.now_ms())
            return DeliveryError(Failure.BUSY, message, retry_after_s=wait_s)
        if reply.status == 507:
            return DeliveryError(Failure.DISK, message)
        if reply.status in (401, 403):
            return DeliveryError(Failure.REFUSED, message, hint="does it have the same token as --token-file here?")
        if reply.status in (400, 404, 405, 409, 411, 413, 415, 422, 431) and problem:
            return DeliveryError(Failure.REFUSED, message)
        if 300 <= reply.status < 400:
            return DeliveryError(
                Failure.GARBLED, f"{message}, a redirect; none is followed", hint="give its own address"
            )
        return DeliveryError(Failure.GARBLED, message, hint="is that the address of an agent?  upm agent status URL")


def retry_after_s(value: str, now_ms: int) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date; None when it can't be read."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, at.timestamp() - now_ms / 1000), MAX_RETRY_AFTER_S)


def _pointer_path(trainer: str, tenant: str) -> str:
    query = f"?tenant={quote(tenant, safe='')}" if tenant else ""
    return f"/pointers/{quote(trainer, safe='')}{query}"


def _problem(reply: Reply) -> dict[str, Any]:
    """Return the problem object of an answer; empty when it has none that can be read."""
    try:
        return strict_object(reply.body, "the problem", MAX_ANSWER_BYTES)
    except IntegrityError:
        return {}


def _shown(text: Any) -> str:
    """Return what an agent said, fit for one line of a message."""
    words = str(text or "")[:300]
    return "".join(c if c.isprintable() else "�" for c in words)


def _told(pointer: Pointer) -> str:
    return f"v{pointer.version} ({pointer.place})"


def _said(ack: Ack) -> str:
    return f"v{ack.version} with digest {ack.digest[:12]}… ({ack.place}) to {ack.tenant or 'windows without a tenant'}"


@contextmanager
def _as_delivery_errors() -> Iterator[None]:
    """Turn what goes wrong here, on the way and in what comes back into a DeliveryError."""
    try:
        yield
    except DeliveryError:
        raise
    except HttpError as exc:
        raise DeliveryError(Failure(exc.fault.value), exc.message, hint=exc.hint) from exc
    except IntegrityError as exc:
        failure = Failure.DISK if exc.code == "UPM-E090" else Failure.GARBLED
        raise DeliveryError(failure, exc.message) from exc
    except StorageError as exc:
        raise DeliveryError(Failure.DISK, exc.message, hint=exc.hint) from exc
    except UpmError as exc:  # the address, the token or the certificates: nothing was sent
        failure = Failure.FORBIDDEN if exc.code in ("UPM-E141", "UPM-E142") else Failure.REFUSED
        raise DeliveryError(failure, exc.message, hint=exc.hint) from exc
