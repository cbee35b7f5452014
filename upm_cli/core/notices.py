"""What people are told of without asking, and in which form: messages to webhooks, signed, in order, tried again.

A webhook is told of the events of the outbox that it asked for, one after the other. Its progress is a position: an
event counts as told once the other side has answered 2xx, or when it has become too old to be news. A message carries
the event's id, so that one that arrives twice is known to have arrived.

The headers and the signature are those of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over
"<id>.<unix seconds>.<body>", in base64, behind "v1,".
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from upm_cli.core.records import Notifier, OutboxEvent
from upm_cli.ids import iso

MIN_SECRET_BYTES: Final = 24
_PREFIX: Final = "whsec_"

#: What a webhook may ask for → (type of the event, values of its field `change` if not all).
TOPICS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "quarantine": ("ai.upm.drift.quarantine", ()),
    "rollback": ("ai.upm.rollback", ()),
    "rollout_aborted": ("ai.upm.rollout.changed", ("abort", "rollback")),
    "rollout_paused": ("ai.upm.rollout.changed", ("pause",)),
    "rollout_promoted": ("ai.upm.rollout.changed", ("promote",)),
    "worker_fatal": ("ai.upm.worker.fatal", ()),
    "activated": ("ai.upm.snapshot.activated", ()),
    "feature_drift": ("ai.upm.feature.drift", ()),
}
DEFAULT_TOPICS: Final = ("quarantine", "rollback", "rollout_aborted", "worker_fatal")
FORMATS: Final = ("cloudevents", "slack")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a message that was not taken is sent again, and when it is no news any more. Milliseconds."""

    first_ms: int = 1_000  # longest pause before the second try; doubled each time
    longest_ms: int = 300_000
    give_up_ms: int = 86_400_000  # age of an event after which it is passed over


def topic_of(event: OutboxEvent) -> str | None:
    """Return the topic that an event belongs to, or None when it is of none."""
    for topic, (kind, changes) in TOPICS.items():
        if event.type == kind and (not changes or event.data.get("change") in changes):
            return topic
    return None


def body(event: OutboxEvent, form: str) -> bytes:
    """Return the message about `event`: a CloudEvent, or the text that chat services take."""
    if form == "slack":
        return json.dumps({"text": sentence(event)}, ensure_ascii=False).encode()
    told = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": event.source,
        "type": event.type,
        "time": iso(event.at_ms),
        "datacontenttype": "application/json",
        "data": {**event.data, "summary": sentence(event)},
    }
    return json.dumps(told, ensure_ascii=False).encode()


def sentence(event: OutboxEvent) -> str:
    """Return what happened in one sentence, and what to look at next."""
    data = event.data
    name = str(data.get("trainer_id", ""))
    if event.type == "ai.upm.drift.quarantine":
        p95 = data.get("drift_p95")
        measured = "evidence of harm" if p95 is None else f"P95 {p95:.4g} reached {data.get('threshold'):.4g}"
        said = f"{name}: quarantined, {measured}; recommended: {data.get('recommendation')}"
        return f"{said}. Next: upm drift-report {name}"
    if event.type == "ai.upm.rollback":
        return (
            f"{name}: rolled back from {data.get('from_snapshot_id')} to {data.get('to_snapshot_id')} "
            f"({data.get('reason')}). Next: upm audit list --type snapshot.rollback"
        )
    if event.type == "ai.upm.rollout.changed":
        said = f"{name}: rollout {data.get('change')}, {data.get('phase')} at {data.get('percent')} %"
        return f"{said} ({data.get('reason') or data.get('cause')}). Next: upm rollout status {name}"
    if event.type == "ai.upm.worker.fatal":
        return f"worker {data.get('worker')} was given up: {data.get('reason')}. Next: upm ps, upm logs"
    if event.type == "ai.upm.snapshot.activated":
        return f"{name}: {data.get('snapshot_id')} is live in {data.get('ring')} for {data.get('percent')} %"
    if event.type == "ai.upm.feature.drift":
        features = ", ".join(map(str, data.get("features") or ())) or "none any more"
        return f"{name}: features that drift: {features}. Next: upm drift-report {name} --by feature"
    return f"{event.type} of {event.source}"


def secret_bytes(text: str) -> bytes:
    """Return the key in a secret: base64 behind "whsec_", or the text itself. Raises ValueError for a short one."""
    if text.startswith(_PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error as exc:
            raise ValueError("what follows whsec_ is not base64") from exc
    else:
        key = text.encode()
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret has {len(key)} bytes; {MIN_SECRET_BYTES} are the least")
    return key


def headers(event_id: str, at_ms: int, content: bytes, secret: bytes | None) -> dict[str, str]:
    """Return the headers of a message sent at `at_ms`; signed where there is a secret."""
    at_s = str(at_ms // 1000)
    found = {"Content-Type": "application/json", "webhook-id": event_id, "webhook-timestamp": at_s}
    if secret is not None:
        signed = hmac.new(secret, b".".join((event_id.encode(), at_s.encode(), content)), hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one try to tell: `error` None when it was taken. `asked_ms`: to be left alone for so long."""

    at_ms: int
    error: str | None = None
    asked_ms: int = 0


def next_event(
    row: Notifier, topics: Sequence[str], events: Sequence[OutboxEvent], now_ms: int, policy: RetryPolicy
) -> tuple[Notifier, OutboxEvent | None]:
    """Pass over what `row` does not ask for or what is no news any more; return the first event to tell, if any.

    `events` are those behind its position, oldest first.
    """
    for event in events:
        if topic_of(event) in topics:
            if now_ms - event.at_ms < policy.give_up_ms:
                return row, event
            row = replace(row, given_up=row.given_up + 1)
        row = replace(row, position=event.position, attempts=0, next_attempt_at_ms=None)
    return row, None


def after(row: Notifier, event: OutboxEvent, outcome: Outcome, draw: float, policy: RetryPolicy) -> Notifier:
    """Return `row` after a try to tell `event`. `draw` is from [0, 1): the pause is drawn, its bound doubles."""
    if outcome.error is None:
        return replace(
            row,
            position=event.position,
            sent=row.sent + 1,
            attempts=0,
            next_attempt_at_ms=None,
            last_sent_at_ms=outcome.at_ms,
            last_error=None,
        )
    bound = min(policy.longest_ms, policy.first_ms << min(row.attempts, 30))
    pause_ms = max(int(draw * bound), min(outcome.asked_ms, policy.longest_ms))
    return replace(
        row,
        attempts=row.attempts + 1,
        failures=row.failures + 1,
        next_attempt_at_ms=outcome.at_ms + pause_ms,
        last_error=outcome.error,
    )


def made_up(event_id: str, at_ms: int) -> OutboxEvent:
    """Return the event that `upm notify test` sends: it says that it is none."""
    data: dict[str, Any] = {
        "trainer_id": "test",
        "from_snapshot_id": "test@2",
        "to_snapshot_id": "test@1",
        "reason": "this is a test of upm notify: nothing happened",
        "rolled_back_at": iso(at_ms),
    }
    return OutboxEvent(event_id=event_id, type="ai.upm.rollback", source="/trainers/test", at_ms=at_ms, data=data)
