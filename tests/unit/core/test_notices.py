"""Messages to webhooks: what is told, signed how, and when it is told again."""

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core import notices
from upm_cli.core.event import EVENTS
from upm_cli.core.notices import Outcome, RetryPolicy, after, body, headers, next_event, secret_bytes, topic_of
from upm_cli.core.records import Notifier, OutboxEvent

DATA = {
    "ai.upm.drift.quarantine": {
        "trainer_id": "main",
        "drift_window_id": "main/1",
        "drift_p95": 0.31,
        "threshold": 0.2,
        "recommendation": "rollback",
        "quarantined_at": "t",
    },
    "ai.upm.rollback": {
        "trainer_id": "main",
        "from_snapshot_id": "main@2",
        "to_snapshot_id": "main@1",
        "reason": "worse",
        "rolled_back_at": "t",
    },
    "ai.upm.rollout.changed": {
        "trainer_id": "main",
        "rollout_id": "r",
        "change": "abort",
        "phase": "aborted",
        "stage": 2,
        "percent": 5,
        "version": 2,
        "champion": 1,
        "cause": "harm",
        "reason": "",
        "at": "t",
    },
    "ai.upm.worker.fatal": {"worker": "trainer-main", "reason": "died 4 times in 60 s", "restarts": 3, "at": "t"},
    "ai.upm.snapshot.activated": {
        "snapshot_id": "main@2",
        "trainer_id": "main",
        "version": 2,
        "activated_at": "t",
        "previous_snapshot_id": None,
        "ring": "canary",
        "percent": 5,
    },
    "ai.upm.feature.drift": {
        "trainer_id": "main",
        "features": ["hour"],
        "window_start": "t",
        "p": 0.001,
        "effect": 0.4,
    },
    "ai.upm.snapshot.created": {
        "snapshot_id": "main@2",
        "trainer_id": "main",
        "version": 2,
        "created_at": "t",
        "metadata": {},
    },
}


def event(kind: str, position: int = 1, at_ms: int = 1000, **data: object) -> OutboxEvent:
    found = OutboxEvent(
        event_id=f"e{position}",
        type=kind,
        source="/trainers/main",
        at_ms=at_ms,
        data={**DATA[kind], **data},
        position=position,
    )
    assert EVENTS[kind].problems(found.data) == []
    return found


ROW = Notifier(name="ops", position=0)


def test_the_signature_is_that_of_the_standard_webhooks_specification() -> None:
    secret = secret_bytes("whsec_plJ3nmyCDGBKInavdOK15jsl" + "AAAAAAAA")[:18]
    assert base64.b64encode(secret) == b"plJ3nmyCDGBKInavdOK15jsl"
    content = b'{"event_type":"ping","data":{"success":true}}'
    assert headers("msg_loFOjxBNrRLzqYUf", 1_731_705_121_999, content, secret) == {
        "Content-Type": "application/json",
        "webhook-id": "msg_loFOjxBNrRLzqYUf",
        "webhook-timestamp": "1731705121",
        "webhook-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }


def test_without_a_secret_nothing_is_signed() -> None:
    assert "webhook-signature" not in headers("e1", 0, b"{}", None)


@pytest.mark.parametrize("text", ["short", "whsec_", "whsec_AAAA", "whsec_not base64!"])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"bytes|base64"):
        secret_bytes(text)


@pytest.mark.parametrize(
    ("kind", "data", "topic"),
    [
        ("ai.upm.drift.quarantine", {}, "quarantine"),
        ("ai.upm.rollback", {}, "rollback"),
        ("ai.upm.rollout.changed", {"change": "abort"}, "rollout_aborted"),
        ("ai.upm.rollout.changed", {"change": "rollback"}, "rollout_aborted"),
        ("ai.upm.rollout.changed", {"change": "pause"}, "rollout_paused"),
        ("ai.upm.rollout.changed", {"change": "promote"}, "rollout_promoted"),
        ("ai.upm.rollout.changed", {"change": "activate"}, None),
        ("ai.upm.worker.fatal", {}, "worker_fatal"),
        ("ai.upm.snapshot.activated", {}, "activated"),
        ("ai.upm.feature.drift", {}, "feature_drift"),
        ("ai.upm.snapshot.created", {}, None),
    ],
)
def test_each_event_belongs_to_a_topic_or_to_none(kind: str, data: dict[str, object], topic: str | None) -> None:
    found = event(kind, **data)
    assert topic_of(found) == topic
    told = json.loads(body(found, "cloudevents"))
    assert (told["specversion"], told["id"], told["type"]) == ("1.0", "e1", kind)
    assert told["time"] == "1970-01-01T00:00:01.000Z"
    assert {key: told["data"][key] for key in found.data} == found.data
    assert json.loads(body(found, "slack")) == {"text": told["data"]["summary"]}
    assert "None" not in told["data"]["summary"].replace("none", "")


def test_harm_that_was_shown_by_evidence_alone_is_told_without_a_p95() -> None:
    said = notices.sentence(event("ai.upm.drift.quarantine", drift_p95=None))
    assert said == "main: quarantined, evidence of harm; recommended: rollback. Next: upm drift-report main"


def test_what_was_not_asked_for_is_passed_over() -> None:
    events = [event("ai.upm.snapshot.created", n) for n in (1, 2)] + [event("ai.upm.rollback", 3)]
    row, found = next_event(ROW, ["rollback"], events, 1000, RetryPolicy())
    assert (row.position, row.given_up, found) == (2, 0, events[2])
    row, found = next_event(ROW, ["quarantine"], events, 1000, RetryPolicy())
    assert (row.position, found) == (3, None)


def test_an_event_that_became_too_old_is_given_up_and_counted() -> None:
    policy = RetryPolicy(give_up_ms=500)
    events = [event("ai.upm.rollback", 1, at_ms=400), event("ai.upm.rollback", 2, at_ms=900)]
    row, found = next_event(replace(ROW, attempts=7, next_attempt_at_ms=99), ["rollback"], events, 1000, policy)
    assert (row.position, row.given_up, row.attempts, row.next_attempt_at_ms) == (1, 1, 0, None)
    assert found is events[1]


def test_pauses_double_up_to_the_longest_and_a_longer_wish_counts() -> None:
    policy = RetryPolicy(first_ms=100, longest_ms=1000)
    row, pauses = ROW, []
    for _ in range(6):
        row = after(row, event("ai.upm.rollback"), Outcome(at_ms=0, error="no"), 0.999999, policy)
        pauses.append(row.next_attempt_at_ms)
    assert pauses == [99, 199, 399, 799, 999, 999]
    assert (row.position, row.failures, row.last_error) == (0, 6, "no")
    row = after(row, event("ai.upm.rollback"), Outcome(at_ms=0, error="no", asked_ms=900), 0.0, policy)
    assert row.next_attempt_at_ms == 900
    row = after(row, event("ai.upm.rollback", 4), Outcome(at_ms=5), 0.5, policy)
    assert (row.position, row.sent, row.attempts, row.last_error, row.last_sent_at_ms) == (4, 1, 0, None, 5)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), max_size=3)), max_size=12))
def test_every_event_that_was_asked_for_is_told_once_and_in_order(script: list[tuple[bool, list[bool]]]) -> None:
    """Each pair: whether the event is asked for, and which of the first tries fail."""
    kinds = {True: "ai.upm.rollback", False: "ai.upm.snapshot.created"}
    events = [event(kinds[wanted], n) for n, (wanted, _) in enumerate(script, 1)]
    failing = {n: list(tries) for n, (_, tries) in enumerate(script, 1)}
    row, taken = ROW, []
    while True:
        left = [each for each in events if each.position > row.position]
        row, found = next_event(row, ["rollback"], left, 1000, RetryPolicy())
        if found is None:
            break
        fails = failing[found.position].pop(0) if failing[found.position] else False
        taken += [] if fails else [found.position]
        row = after(row, found, Outcome(at_ms=1000, error="no" if fails else None), 0.5, RetryPolicy())
    assert taken == [n for n, (wanted, _) in enumerate(script, 1) if wanted]
    assert (row.position, row.sent) == (len(events), len(taken))
