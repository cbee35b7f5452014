"""Telling webhooks what happened: from the outbox, in order, each event until it was taken.

A webhook that is new is told of what happens from then on. A pass reads, sends outside of any transaction, and then
commits how far it came; killed in between it sends the same message again, with the same id.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core import notices
from upm_cli.core.notices import Outcome, RetryPolicy
from upm_cli.core.records import Notifier, OutboxEvent
from upm_cli.errors import InvalidError, NotFoundError, TimedOutError, UpmError
from upm_cli.nearest import hint_for
from upm_cli.store import lease, notifiers, outbox

if TYPE_CHECKING:
    from upm_cli.config.schema import NotifySettings, Settings, WebhookSettings
    from upm_cli.store.session import Store

LEASE: Final = "notify"
MOST_AT_ONCE: Final = 50  # messages to one webhook in one pass: the others have their turn
_PAGE: Final = 1000

Send = Callable[["WebhookSettings", bytes, Mapping[str, str]], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass did for one webhook. `is_waiting`: it has something to tell, but not before its pause is over."""

    name: str
    sent: int
    error: str | None
    is_waiting: bool


class Sender:
    """Sends messages over HTTP, under the limits and to the addresses that the settings allow."""

    def __init__(self, clock: Clock, settings: "NotifySettings", project: Path) -> None:
        self._clock, self._settings, self._project = clock, settings, project

    def __call__(self, webhook: "WebhookSettings", content: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST `content`; whatever goes wrong is the outcome's error."""
        from upm_cli.safehttp.addresses import Allowed
        from upm_cli.safehttp.client import Site
        from upm_cli.safehttp.urls import parse

        until_s = self._clock.monotonic_s() + self._settings.timeout_ms / 1000
        try:
            left_s = _left(self._clock, until_s)
            site = Site.look_up(parse(webhook.url), Allowed.of(self._settings.allow_hosts), left_s)
            reply = site.request("POST", "", left_s, headers=headers, body=content, body_bytes=64 << 10)
        except UpmError as exc:
            return Outcome(at_ms=self._clock.now_ms(), error=exc.message)
        if 200 <= reply.status < 300:
            return Outcome(at_ms=self._clock.now_ms())
        asked = reply.headers.get("Retry-After", "")
        asked_ms = int(asked) * 1000 if asked.isdecimal() and len(asked) < 7 else 0
        return Outcome(at_ms=self._clock.now_ms(), error=f"it answered {reply.status}", asked_ms=asked_ms)


def _left(clock: Clock, until_s: float) -> Callable[[], float]:
    def left_s() -> float:
        left = until_s - clock.monotonic_s()
        if left <= 0:
            raise TimedOutError("it took longer than notify.timeout_ms", code="UPM-E163")
        return left

    return left_s


def secret_of(webhook: "WebhookSettings", project: Path) -> bytes | None:
    """Return what messages to `webhook` are signed with; None: they are not.

    Raises NotFoundError, RefusedError when others may read the file, InvalidError when it holds no secret.
    """
    from upm_cli.safehttp.tokens import read_token

    if webhook.secret_file is None:
        return None
    path = project / Path(webhook.secret_file).expanduser()
    try:
        return notices.secret_bytes(read_token(path).value)
    except NotFoundError as exc:
        said = f"there is no secret file {path}: upm notify secret {webhook.secret_file} makes one"
        raise NotFoundError(said, code=exc.code) from exc
    except UpmError as exc:
        raise type(exc)(exc.message, hint="upm notify secret FILE makes one", code=exc.code) from exc
    except ValueError as exc:
        raise InvalidError(
            f"{path} is no secret of a webhook: {exc}", hint="upm notify secret FILE makes one", code="UPM-E161"
        ) from exc


def tick(
    store: "Store", clock: Clock, settings: "Settings", project: Path, draw: random.Random, send: Send | None = None
) -> list[Passed]:
    """Tell every webhook what it is due. Raises BusyError when somebody else is at it."""
    send = send or Sender(clock, settings.notify, project)
    with lease.acquire(store.home, LEASE, "telling webhooks"):
        return [_pass(store, clock, settings, project, each, draw, send) for each in settings.notify.webhooks]


def _pass(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    project: Path,
    webhook: "WebhookSettings",
    draw: random.Random,
    send: Send,
) -> Passed:
    retry = _policy(settings)
    with store.read() as reader:
        before = notifiers.find(reader, webhook.name)
        newest = reader.meta.outbox_position
        row = before or Notifier(name=webhook.name, position=newest)
        events = outbox.after(reader, row.position, _PAGE)
    sent, is_waiting = 0, False
    while sent < MOST_AT_ONCE:
        left = [event for event in events if event.position > row.position]
        row, event = notices.next_event(row, webhook.topics, left, clock.now_ms(), retry)
        if event is None:
            break
        if row.next_attempt_at_ms is not None and clock.now_ms() < row.next_attempt_at_ms:
            is_waiting = True
            break
        outcome = _tell(webhook, project, event, clock, send)
        row = notices.after(row, event, outcome, draw.random(), retry)
        if outcome.error is not None:
            is_waiting = True
            break
        sent += 1
    if row != before:
        with store.write(actor="notify") as tx:
            notifiers.put(tx, replace(row, updated_at_ms=clock.now_ms()))
    return Passed(name=webhook.name, sent=sent, error=row.last_error, is_waiting=is_waiting)


def _tell(webhook: "WebhookSettings", project: Path, event: OutboxEvent, clock: Clock, send: Send) -> Outcome:
    content = notices.body(event, webhook.format)
    try:
        headers = notices.headers(event.event_id, clock.now_ms(), content, secret_of(webhook, project))
    except UpmError as exc:
        return Outcome(at_ms=clock.now_ms(), error=exc.message)
    return send(webhook, content, headers)


def _policy(settings: "Settings") -> RetryPolicy:
    section = settings.notify
    return RetryPolicy(
        first_ms=section.retry_backoff_ms, longest_ms=section.max_backoff_ms, give_up_ms=section.give_up_ms
    )


def due_at_ms(store: "Store", settings: "Settings") -> int | None:
    """Return from when on a pass has anything to do, as the state is now; None: not at all. One short read."""
    with store.read() as reader:
        rows = {row.name: row for row in notifiers.list_all(reader)}
        newest = reader.meta.outbox_position
    found = [rows.get(webhook.name) for webhook in settings.notify.webhooks]
    due = (0 if row is None else row.next_attempt_at_ms or 0 for row in found if row is None or row.position < newest)
    return min(due, default=None)


def test(
    clock: Clock, settings: "Settings", project: Path, name: str | None, send: Send | None = None
) -> list[tuple[str, Outcome]]:
    """Send a message that says that it is a test to one webhook, or to all. Raises NotFoundError."""
    send = send or Sender(clock, settings.notify, project)
    event = notices.made_up(ids.uuid7(clock), clock.now_ms())
    return [(each.name, _tell(each, project, event, clock, send)) for each in named(settings, name)]


def named(settings: "Settings", name: str | None) -> list["WebhookSettings"]:
    """Return the webhook called `name`, or all. Raises NotFoundError."""
    found = [each for each in settings.notify.webhooks if name in (None, each.name)]
    if found:
        return found
    known = [each.name for each in settings.notify.webhooks]
    raise NotFoundError(
        f"no webhook {name!r}" if name else "no webhook is set up",
        hint=hint_for(name or "", known, f"there are: {', '.join(known)}")
        if known
        else "add one to upm.yaml: notify: {webhooks: [{name: ops, url: https://…}]}",
        code="UPM-E160",
    )


def overview(store: "Store", settings: "Settings") -> list[dict[str, Any]]:
    """Return each webhook with how far it has been told."""
    with store.read() as reader:
        rows = {row.name: row for row in notifiers.list_all(reader)}
        newest = reader.meta.outbox_position
        pages = {
            each.name: outbox.after(reader, rows[each.name].position if each.name in rows else newest, _PAGE)
            for each in settings.notify.webhooks
        }
    found = []
    for webhook in settings.notify.webhooks:
        row = rows.get(webhook.name)
        waiting = sum(notices.topic_of(event) in webhook.topics for event in pages[webhook.name])
        found.append(
            {
                "name": webhook.name,
                "url": webhook.url,
                "format": webhook.format,
                "topics": list(webhook.topics),
                "signed": webhook.secret_file is not None,
                "waiting": waiting,
                "sent": row.sent if row else 0,
                "failures": row.failures if row else 0,
                "given_up": row.given_up if row else 0,
                "last_sent_at": ids.iso(row.last_sent_at_ms) if row and row.last_sent_at_ms is not None else None,
                "next_attempt_at": ids.iso(row.next_attempt_at_ms)
                if row and row.next_attempt_at_ms is not None
                else None,
                "last_error": row.last_error if row else None,
            }
        )
    return found
