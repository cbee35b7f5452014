"""Webhooks are told over real HTTP what the outbox holds: each event until it was taken, in order, signed."""

import base64
import hashlib
import hmac
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import ManualClock
from upm_cli.config.schema import NotifySettings, Settings, WebhookSettings
from upm_cli.errors import NotFoundError
from upm_cli.ops import notify
from upm_cli.store import lease, notifiers
from upm_cli.store.session import Store


@dataclass
class Receiver:
    """The other side: keeps what it gets, and answers with the statuses it was given, then 204."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    @property
    def reasons(self) -> list[str]:
        return [json.loads(content)["data"]["reason"] for _, content in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            made.got.append(({key.lower(): value for key, value in self.headers.items()}, content))
            status, more = made.answers.pop(0) if made.answers else (204, {})
            self.send_response(status)
            for key, value in more.items():
                self.send_header(key, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/hook?key=1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class World:
    store: Store
    clock: ManualClock
    settings: Settings
    folder: Path

    def happens(self, *reasons: str) -> None:
        with self.store.write() as tx:
            for reason in reasons:
                tx.event(
                    "ai.upm.rollback",
                    "/trainers/main",
                    trainer_id="main",
                    from_snapshot_id="main@2",
                    to_snapshot_id="main@1",
                    reason=reason,
                    rolled_back_at="t",
                )

    def tick(self) -> list[notify.Passed]:
        return notify.tick(self.store, self.clock, self.settings, self.folder, random.Random(1))

    @property
    def shown(self) -> dict[str, Any]:
        return notify.overview(self.store, self.settings)[0]


@pytest.fixture
def world(tmp_path: Path, receiver: Receiver) -> World:
    clock = ManualClock(now_ms=1_764_000_000_000)
    section = NotifySettings(webhooks=(WebhookSettings(name="ops", url=receiver.url),), retry_backoff_ms=1000)
    found = World(Store.create(tmp_path / ".upm", clock), clock, Settings(notify=section), tmp_path)
    found.happens("before the webhook was there")
    found.tick()
    return found


def test_a_new_webhook_is_told_of_what_happens_from_then_on_in_order(world: World, receiver: Receiver) -> None:
    world.happens("one", "two")
    world.happens("three")
    assert notify.due_at_ms(world.store, world.settings) == 0
    assert [each.sent for each in world.tick()] == [3]
    assert receiver.reasons == ["one", "two", "three"]
    assert world.tick()[0].sent == 0
    assert notify.due_at_ms(world.store, world.settings) is None
    assert (world.shown["sent"], world.shown["waiting"], world.shown["last_error"]) == (3, 0, None)


def test_what_was_not_taken_is_sent_again_with_the_same_id_after_its_pause(world: World, receiver: Receiver) -> None:
    receiver.answers = [(500, {}), (503, {"Retry-After": "7"})]
    world.happens("one", "two")
    (passed,) = world.tick()
    assert (passed.sent, passed.is_waiting, passed.error) == (0, True, "it answered 500")
    assert world.tick()[0].is_waiting
    assert len(receiver.got) == 1, "its pause is not over"
    world.clock.advance(1)
    world.tick()
    world.clock.advance(6.9)
    world.tick()
    assert len(receiver.got) == 2, "it asked to be left alone for seven seconds"
    world.clock.advance(0.2)
    assert world.tick()[0].sent == 2
    assert receiver.reasons == ["one", "one", "one", "two"]
    assert len(set(receiver.ids[:3])) == 1
    assert (world.shown["failures"], world.shown["sent"]) == (2, 2)


def test_a_receiver_that_is_gone_for_a_day_is_not_told_what_is_no_news_any_more(
    world: World, receiver: Receiver
) -> None:
    receiver.answers = [(500, {})] * 2
    world.happens("old")
    world.tick()
    world.clock.advance(86_400)
    world.happens("new")
    assert world.tick()[0].sent == 0
    world.clock.advance(1)
    assert world.tick()[0].sent == 1
    assert receiver.reasons == ["old", "new", "new"]
    assert world.shown["given_up"] == 1


def test_messages_are_signed_with_the_secret_as_its_file_has_it(world: World, receiver: Receiver) -> None:
    path = world.folder / "ops.secret"
    path.write_text("whsec_" + base64.b64encode(b"k" * 32).decode() + "\n")
    path.chmod(0o600)
    webhook = replace(world.settings.notify.webhooks[0], secret_file="ops.secret")
    world.settings = replace(world.settings, notify=replace(world.settings.notify, webhooks=(webhook,)))
    world.happens("signed")
    world.tick()
    headers, content = receiver.got[0]
    message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    theirs = base64.b64encode(hmac.digest(b"k" * 32, message, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{theirs}"
    assert world.shown["signed"]

    path.chmod(0o644)
    world.happens("not sent unsigned")
    assert "others may read" in str(world.tick()[0].error)
    path.unlink()
    world.clock.advance(10)
    assert "ops.secret" in str(world.tick()[0].error)
    assert len(receiver.got) == 1


def test_an_address_inside_a_private_network_is_not_told(world: World, receiver: Receiver) -> None:
    webhook = replace(world.settings.notify.webhooks[0], url="https://169.254.169.254/latest")
    world.settings = replace(world.settings, notify=replace(world.settings.notify, webhooks=(webhook,)))
    world.happens("secret")
    assert world.tick()[0].error
    assert receiver.got == []


def test_one_webhook_that_fails_does_not_hold_up_the_others(world: World, receiver: Receiver) -> None:
    broken = WebhookSettings(name="broken", url="http://127.0.0.1:9/")
    both = (broken, *world.settings.notify.webhooks)
    world.settings = replace(world.settings, notify=replace(world.settings.notify, webhooks=both))
    world.tick()
    world.happens("one")
    passed = {each.name: each for each in world.tick()}
    assert passed["broken"].error is not None
    assert passed["ops"].sent == 1
    assert receiver.reasons == ["one"]


def test_a_pass_that_was_killed_after_sending_sends_the_same_message_again(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.happens("one")
    monkeypatch.setattr(notifiers, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        world.tick()
    monkeypatch.undo()
    world.tick()
    assert receiver.reasons == ["one", "one"]
    assert len(set(receiver.ids)) == 1


def test_two_passes_at_once_are_one(world: World) -> None:
    with lease.acquire(world.store.home, notify.LEASE, "another"), pytest.raises(Exception, match="already running"):
        world.tick()


def test_a_test_message_says_that_it_is_one(world: World, receiver: Receiver) -> None:
    ((name, outcome),) = notify.test(world.clock, world.settings, world.folder, "ops")
    assert (name, outcome.error) == ("ops", None)
    assert "this is a test" in receiver.reasons[0]
    with pytest.raises(NotFoundError, match="no webhook 'nobody'"):
        notify.test(world.clock, world.settings, world.folder, "nobody")
