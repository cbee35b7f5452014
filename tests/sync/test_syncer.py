"""Adapter sync against simulated agents: who gets what, in which order, what a failure leaves, what the state says."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated import Inline, World, agent_row

from upm_cli.adapters.base import Ack, Deadline, Delivery, DeliveryError, Failure
from upm_cli.config.schema import AdapterSyncSettings, PolicySettings, SnapshotManagerSettings
from upm_cli.core.delivery.envelope import Envelope, Signature
from upm_cli.core.delivery.memo import Memo
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.delivery.ratchet import Took
from upm_cli.core.records import AdapterStatus, Mode, Ring
from upm_cli.errors import StorageError
from upm_cli.ops import sync_plan, tenants
from upm_cli.ops.crew import Crew
from upm_cli.ops.rollback import rollback
from upm_cli.ops.sync_signing import Signing
from upm_cli.store import adapters, fsio, snapshots, sync_tallies


def fails(failure: Failure, *keys: str, **more: Any) -> Any:
    """Return a network in which these agents fail."""
    return lambda key: DeliveryError(failure, f"{key} is {failure}", **more) if key in keys else None


def test_an_adapter_gets_what_its_tenant_gets(world: World) -> None:
    world.more = {"policy": PolicySettings(canary_tenants=("*",))}
    world.serve(world.learn())
    tenants.set_rule(world.store, world.clock, world.settings, "main", "acme", "allow", actor=tenant_admin())
    world.add(agent_row("edge"), agent_row("edge", "acme"))
    world.settle()
    assert {name: (row.version, row.acked_version, row.mode) for name, row in world.rows().items()} == {
        "edge": (1, 1, Mode.ACTIVE),
        "edge/acme": (1, 1, Mode.ACTIVE),
    }
    canary(world, world.learn(), 50)
    world.settle()
    assert world.row("edge/acme").acked_version == 2
    assert world.row("edge/acme").mode is Mode.CANARY
    served = world.network.agent("edge", "acme").serving
    assert served is not None
    assert (served.version, served.ring, served.tenant, served.kind) == (2, "canary", "acme", "activate")


def tenant_admin() -> str:
    return fsio.os_user()


def canary(world: World, version: int, percent: int) -> None:
    """Let ring canary serve `version` to a share of the tenants."""
    from upm_cli.core.activation import plan_activation
    from upm_cli.core.changes import Decision, activation_changes
    from upm_cli.ops.decisions import View, write

    with world.store.write() as tx:
        view = View.read(tx, "main")
        plan = plan_activation(view.trainer, view.live, view.pins, version, Ring.CANARY, percent)
        decision = Decision(decision_id=f"canary-{version}", actor="x", reason="x", at_ms=world.clock.now_ms())
        write(tx, activation_changes(plan, view.trainer, view.rows, decision))
        tx.ledger("snapshot.activate", f"main@{version}")


def test_a_rollback_reaches_everybody_as_a_later_pointer_to_an_earlier_version(world: World) -> None:
    world.learn(2)
    world.add_agents(20)
    for version in (1, 2):
        world.serve(version)
        world.settle()
    rollback(world.store, world.clock, "main", actor="me", reason="worse")
    world.settle()
    assert world.statuses() == {"synced": 20}
    for agent in world.network.agents.values():
        assert [(each.version, each.kind) for each, _ in agent.served] == [
            (1, "activate"),
            (2, "activate"),
            (1, "rollback"),
        ]
        assert {took for _, took in agent.served} == {Took.NEWER}
    assert {(row.version, row.epoch) for row in world.rows().values()} == {(1, 3)}


def test_what_is_in_sync_is_not_sent_again_and_costs_no_commit(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(5)
    syncer = world.settle()
    token, sent = world.store.token(), list(world.network.sent)
    for _ in range(40):
        syncer.step(0)
        world.clock.advance(1)
    assert (world.store.token(), world.network.sent) == (token, sent)


def test_nothing_is_sent_before_something_is_live_and_the_row_says_so(world: World) -> None:
    world.learn()
    world.add_agents(1)
    world.settle()
    row = world.row("edge-0000")
    assert (row.status, row.version, row.attempts) == (AdapterStatus.PENDING, None, 0)
    assert Memo.of(row).note == "nothing is live for this tenant"
    assert world.network.sent == []


def test_a_quarantined_version_is_never_sent_and_agents_keep_what_they_have(world: World) -> None:
    world.learn(2)
    world.add_agents(2)
    world.serve(1)
    world.settle()
    world.network.down = fails(Failure.UNREACHABLE, "edge-0001")
    world.serve(2)
    syncer = world.syncer()
    syncer.step(0)
    world.network.down = lambda key: None
    bar(world, 2)
    world.settle(syncer)
    first, second = world.rows().values()
    assert (first.acked_version, Memo.of(first).note) == (2, "v2 is quarantined; it is not sent anew")
    assert (second.version, second.acked_version, second.pointer) == (1, 1, None)
    assert second.status is AdapterStatus.PENDING  # the try may have got through
    assert Memo.of(second).note == "v2 is quarantined: not sent; agents keep v1"
    assert [each.version for each, _ in world.network.agent("edge-0001").served] == [1]


def bar(world: World, version: int) -> None:
    with world.store.write() as tx:
        row = snapshots.get(tx, "main", version)
        snapshots.put(tx, replace(row, quarantined=True, quarantine_reason="P95 0.4"))
        tx.event("ai.upm.drift.quarantine", "/trainers/main", trainer_id="main")


def test_a_version_whose_row_is_gone_is_not_sent(world: World) -> None:
    world.learn(2)
    world.add_agents(1)
    world.serve(2)
    with world.store.write() as tx:
        snapshots.remove(tx, "main", 2)
    world.settle()
    assert Memo.of(world.row("edge-0000")).note == "v2 was removed: not sent"
    assert world.network.sent == []


def test_a_failed_delivery_is_tried_again_later_each_time_and_then_given_up(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(2)
    world.network.down = fails(Failure.UNREACHABLE, "edge-0000")
    world.settle()
    bad, good = world.rows().values()
    assert (bad.status, bad.attempts, bad.failures) == (AdapterStatus.ERRORED, 4, 4)
    assert bad.last_error == "edge-0000 is unreachable"
    assert good.status is AdapterStatus.SYNCED
    assert bad.next_attempt_at_ms is not None
    assert world.network.sent.count(("edge-0000", "")) == 4


def test_one_that_was_given_up_is_tried_now_and_then_and_comes_back_by_itself(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(1)
    world.network.down = fails(Failure.TIMEOUT, "edge-0000")
    syncer = world.settle()
    for _ in range(60):
        syncer.step(0)
        world.clock.advance(5)
    tried = len(world.network.sent)
    assert 4 + 4 <= tried <= 4 + 10  # in five minutes, every half to whole minute
    world.network.down = lambda key: None
    for _ in range(15):
        syncer.step(0)
        world.clock.advance(5)
    row = world.row("edge-0000")
    assert (row.status, row.failures, row.last_error) == (AdapterStatus.SYNCED, 0, None)


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.FORBIDDEN])
def test_a_final_failure_is_not_tried_again_until_something_changes(world: World, failure: Failure) -> None:
    world.learn(2)
    world.serve(1)
    world.add_agents(1)
    world.network.down = fails(failure, "edge-0000")
    syncer = world.settle()
    for _ in range(20):
        syncer.step(0)
        world.clock.advance(60)
    assert world.network.sent == [("edge-0000", "")]
    row = world.row("edge-0000")
    assert (row.status, row.attempts, row.next_attempt_at_ms) == (AdapterStatus.ERRORED, 1, None)
    world.network.down = lambda key: None
    world.serve(2)
    world.settle(syncer)
    assert world.row("edge-0000").acked_version == 2


def test_who_asks_to_be_left_alone_is_for_so_long(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(1)
    world.network.down = fails(Failure.BUSY, "edge-0000", retry_after_s=90.0)
    syncer = world.syncer()
    for _ in range(10):
        syncer.step(0)
        world.clock.advance(8)
    assert len(world.network.sent) == 1
    world.clock.advance(11)
    syncer.step(0)
    assert len(world.network.sent) == 2


def test_an_endpoint_that_keeps_failing_is_left_alone_and_then_tried_by_one(world: World) -> None:
    world.sync = AdapterSyncSettings(breaker_failures=3, breaker_cooldown_ms=30_000, max_retries=10, max_parallel=1)
    world.serve(world.learn())
    names = [f"edge-{n:04d}" for n in range(10)]
    world.add(*(agent_row(name, location=f"https://host/{name}") for name in names), agent_row("other"))
    world.network.down = fails(Failure.UNREACHABLE, *names)
    syncer = world.settle(within_s=20)
    assert syncer.is_settled()
    tried = [key for key, _ in world.network.sent]
    assert len(tried) == 3 + 1
    assert world.row("other").status is AdapterStatus.SYNCED
    assert sum(row.attempts for row in world.rows().values()) == 4  # those that wait lose no try
    world.clock.advance(31)
    world.settle(syncer, within_s=5)
    assert len(world.network.sent) == 5  # one probe, which failed
    world.network.down = lambda key: None
    world.clock.advance(31)
    world.settle(syncer, within_s=10)
    assert world.statuses() == {"synced": 11}


def test_rollbacks_go_first_and_whoever_failed_last(world: World) -> None:
    world.sync = AdapterSyncSettings(sync_batch_size=1)
    world.learn(2)
    world.add_agents(4)
    world.serve(1)
    world.network.down = fails(Failure.BUSY, "edge-0000")
    syncer = world.syncer()
    syncer.step(0)
    world.network.down = lambda key: None
    world.network.sent.clear()
    world.clock.advance(2)
    world.settle(syncer)
    assert [key for key, _ in world.network.sent] == ["edge-0001", "edge-0002", "edge-0003", "edge-0000"]


def test_no_more_than_a_batch_is_under_way_at_once(world: World) -> None:
    world.sync = AdapterSyncSettings(sync_batch_size=3)
    world.serve(world.learn())
    world.add_agents(10)
    syncer = world.syncer()
    at_once = []
    while not syncer.is_settled():
        before = len(world.network.sent)
        syncer.step(0)
        at_once.append(len(world.network.sent) - before)
    assert max(at_once) == 3
    assert world.statuses() == {"synced": 10}


def test_a_slow_adapter_keeps_nobody_waiting(world: World) -> None:
    """All others are confirmed while one delivery still hangs; it is confirmed when it ends."""
    world.serve(world.learn())
    world.add_agents(40)
    slow, carry = threading.Event(), world.network.carry

    def carry_slowly(agent: Any, raw: bytes, model: bytes) -> None:
        if agent.name == "edge-0000":
            assert slow.wait(30)
        carry(agent, raw, model)

    world.network.carry = carry_slowly  # type: ignore[method-assign]
    syncer = world.syncer(crew=Crew(4))
    try:
        while sum(row.status is AdapterStatus.SYNCED for row in syncer.rows) < 39:
            syncer.step(1.0)
        assert not world.network.agent("edge-0000").served
        slow.set()
        while not syncer.is_settled():
            syncer.step(1.0)
    finally:
        slow.set()
        syncer.close()
    assert world.statuses() == {"synced": 40}


def test_a_delivery_that_hangs_for_ever_is_given_up_and_its_thread_replaced(world: World) -> None:
    world.sync = AdapterSyncSettings(max_parallel=1, max_retries=0, sync_timeout_ms=1000)
    world.serve(world.learn())
    world.add_agents(2)
    hang, hangs, carry = threading.Event(), threading.Event(), world.network.carry

    def carry_or_hang(agent: Any, raw: bytes, model: bytes) -> None:
        if agent.name == "edge-0000":
            hangs.set()
            assert hang.wait(30)
        carry(agent, raw, model)

    world.network.carry = carry_or_hang  # type: ignore[method-assign]
    syncer = world.syncer(crew=Crew(1))
    try:
        syncer.step(0)
        assert hangs.wait(30)
        world.clock.advance(7)
        while not syncer.is_settled():
            syncer.step(0.5)
        bad, good = world.rows().values()
        assert (bad.status, good.status) == (AdapterStatus.ERRORED, AdapterStatus.SYNCED)
        assert "could not be interrupted" in (bad.last_error or "")
    finally:
        hang.set()
        syncer.close()


def test_an_ack_for_something_else_is_no_success(world: World) -> None:
    world.sync = AdapterSyncSettings(max_retries=0)
    world.serve(world.learn())
    world.add_agents(1)

    class Liar:
        def __init__(self, network: Any) -> None:
            self.network = network

        def open_adapter(self, row: Any, settings: Any, clock: Any) -> "Liar":
            return self

        def group(self, row: Any) -> None:
            return None

        def deliver(self, delivery: Delivery, deadline: Deadline) -> Ack:
            wanted = delivery.pointer
            return Ack(agent="liar", trainer="main", tenant="", version=1, digest="0" * 64, place=wanted.place)

        def report(self, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
            return None

    world.settle(world.syncer(kinds=Liar(world.network)))
    row = world.row("edge-0000")
    assert row.status is AdapterStatus.ERRORED
    assert row.last_error is not None
    assert row.last_error.startswith("asked for v1 of epoch 1, serial 1, it says that it serves v1 (000000000000…)")
    assert row.acked_version is None


def test_an_old_result_does_not_overwrite_a_newer_plan(world: World) -> None:
    world.learn(2)
    world.serve(1)
    world.add_agents(1)
    crew = Later()
    syncer = world.syncer(crew=crew)
    syncer.step(0)
    assert crew.waiting == 1
    world.serve(2)
    syncer.step(0)
    crew.let_go()
    syncer.step(0)  # the result for v1 comes in
    row = syncer.rows[0]
    assert (row.version, row.status is AdapterStatus.SYNCED, row.acked_version) == (2, False, None)
    syncer.step(0)  # v2 goes out
    crew.let_go()
    world.settle(syncer)
    assert world.row("edge-0000").acked_version == 2
    assert [each.version for each, _ in world.network.agent("edge-0000").served] == [1, 2]


class Later(Inline):
    """A crew whose results come when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[Any] = []

    @property
    def waiting(self) -> int:
        return len(self._done)

    def collect(self, wait_s: float) -> list[tuple[int, Any]]:
        held, self._held = self._held, []
        return held

    def let_go(self) -> None:
        self._held += self._done
        self._done = []


def test_a_row_that_was_removed_meanwhile_stays_removed(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(2)
    crew = Later()
    syncer = world.syncer(crew=crew)
    syncer.step(0)
    with world.store.write() as tx:
        adapters.remove(tx, "edge-0000", "")
        tx.ledger("adapter.remove", "edge-0000")
    crew.let_go()
    world.settle(syncer)
    assert list(world.rows()) == ["edge-0001"]


def test_what_is_under_way_when_the_state_is_written_is_marked_as_syncing_and_resumed_after_a_crash(
    world: World,
) -> None:
    world.serve(world.learn())
    world.add_agents(3)
    crew = Later()
    syncer = world.syncer(crew=crew)
    syncer.step(0)
    crew._held, crew._done = crew._done[:1], crew._done[1:]
    world.clock.advance(2)
    syncer.step(0)
    assert world.statuses() == {"syncing": 2, "synced": 1}
    world.network.sent.clear()
    world.settle(world.syncer(seed=2))  # another process, after this one was killed
    assert [key for key, _ in world.network.sent] == ["edge-0001", "edge-0002"]
    assert world.statuses() == {"synced": 3}


def test_a_state_that_can_not_be_written_loses_no_result(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(3)
    syncer = world.syncer()
    planned = world.settle(within_s=0)
    planned.step(0)
    world.add_agents(3)

    def full(operation: str, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    syncer = world.syncer(crew=(crew := Later()))
    syncer.step(0)
    crew.let_go()
    fsio.faults.before = full
    try:
        with pytest.raises(StorageError):
            syncer.step(0)
    finally:
        fsio.faults.before = None
    world.settle(syncer)
    assert world.statuses() == {"synced": 3}


def test_pointers_are_renewed_at_half_of_their_validity(world: World) -> None:
    world.sync = AdapterSyncSettings(pointer_validity_ms=3_600_000)
    world.serve(world.learn())
    world.add_agents(1)
    syncer = world.settle()
    agent = world.network.agent("edge-0000")
    for _ in range(3 * 6):
        syncer.step(0)
        world.clock.advance(600)
        assert agent.serving is not None
        assert agent.serving.expires_at_ms is not None
        assert agent.serving.expires_at_ms > world.clock.now_ms()
    assert [each.place.serial for each, _ in agent.served] == [1, 2, 3, 4, 5, 6]
    world.sync = AdapterSyncSettings(pointer_validity_ms=0)
    world.settle()
    assert agent.serving is not None
    assert agent.serving.expires_at_ms is None


class Key:
    """A signer that signs with its name."""

    def __init__(self, keyid: str) -> None:
        self.keyid = keyid

    def sign(self, envelope: Envelope) -> Signature:
        return Signature(self.keyid, self.keyid.encode())


def sign_with(monkeypatch: pytest.MonkeyPatch, signing: Signing) -> None:
    monkeypatch.setattr("upm_cli.ops.sync.signing", lambda home: signing)


def test_a_new_key_and_a_new_signature_of_the_snapshot_make_new_pointers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve(world.learn())
    world.add_agents(1)
    serials = []
    for signing, signed_by in (
        (Signing(), ()),
        (Signing(Key("aa")), ()),
        (Signing(Key("bb")), ("bb",)),
        (Signing(), ()),
    ):
        sign_with(monkeypatch, signing)
        with world.store.write() as tx:
            row = snapshots.get(tx, "main", 1)
            signatures = tuple(Signature(each, b"s").to_json() for each in signed_by)
            snapshots.put(tx, replace(row, signatures=signatures or row.signatures))
            tx.ledger("keys.rotate", "main")
        world.settle()
        row = world.row("edge-0000")
        serials.append((row.serial, Memo.of(row).sent.keyid))  # type: ignore[union-attr]
    assert serials == [(1, None), (2, "aa"), (3, "bb"), (3, "bb")]  # without a key nothing signed is replaced


@pytest.mark.parametrize(
    ("signing", "signed", "said"),
    [
        (Signing(), True, "nothing can sign: there is no key"),
        (Signing(problem="the key's file is damaged"), True, "nothing can sign: the key's file is damaged"),
        (Signing(Key("aa")), False, "main@1 is not signed"),
        (Signing(Key("aa")), True, None),
    ],
)
def test_where_signatures_are_required_nothing_goes_without_them(
    world: World, monkeypatch: pytest.MonkeyPatch, signing: Signing, signed: bool, said: str | None
) -> None:
    world.more = {"snapshot_manager": SnapshotManagerSettings(require_signature=True)}
    sign_with(monkeypatch, signing)
    world.serve(world.learn())
    if signed:
        with world.store.write() as tx:
            row = snapshots.get(tx, "main", 1)
            snapshots.put(tx, replace(row, signatures=(Signature("aa", b"s").to_json(),)))
    world.add_agents(1)
    world.settle()
    row = world.row("edge-0000")
    if said is None:
        assert (row.status, row.acked_version) == (AdapterStatus.SYNCED, 1)
    else:
        assert (row.status, row.version, row.acked_version, world.network.sent) == (AdapterStatus.ERRORED, 1, None, [])
        assert said in (row.last_error or "")


def test_an_adapter_that_was_removed_and_added_again_goes_on_above_what_its_agent_has_taken(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(1)
    world.sync = AdapterSyncSettings(pointer_validity_ms=1000)
    for _ in range(5):
        world.settle()
        world.clock.advance(0.6)
    agent = world.network.agent("edge-0000")
    before = agent.serving
    assert before is not None
    assert before.place.serial >= 5
    world.add(agent_row("edge-0000"))  # a row as new
    world.settle()
    row = world.row("edge-0000")
    assert (row.status, agent.serving is not None) == (AdapterStatus.SYNCED, True)
    assert (row.epoch, row.serial) > (before.place.epoch, before.place.serial)


def test_an_agent_that_always_says_to_be_further_on_is_given_up(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(1)

    class Boaster:
        def open_adapter(self, row: Any, settings: Any, clock: Any) -> "Boaster":
            self.serial = row.serial + 1
            return self

        def group(self, row: Any) -> None:
            return None

        def deliver(self, delivery: Delivery, deadline: Deadline) -> Ack:
            raise DeliveryError(Failure.REFUSED, "older")

        def report(self, trainer: str, tenant: str, deadline: Deadline) -> Ack | None:
            at = Place(1, self.serial)
            return Ack(agent="b", trainer=trainer, tenant=tenant, version=1, digest="0" * 64, place=at)

    world.settle(world.syncer(kinds=Boaster()))
    row = world.row("edge-0000")
    assert (row.status, row.pointer) == (AdapterStatus.ERRORED, None)
    assert "--lower-epoch" in (row.last_error or "")
    assert row.serial == 1 + 2 * 5


def test_what_was_lost_is_noticed_and_sent_again(world: World) -> None:
    world.serve(world.learn())
    world.add_agents(2)
    syncer = world.settle()
    world.network.agents.clear()  # both start anew, with nothing
    for _ in range(14):
        syncer.step(0, looks=True)
        world.clock.advance(5)
    assert {agent.serving.version for agent in world.network.agents.values() if agent.serving} == {1}
    assert len(world.network.agents) == 2


def test_places_are_not_looked_at_where_that_is_switched_off(world: World) -> None:
    world.sync = AdapterSyncSettings(look_ms=0)
    world.serve(world.learn())
    world.add_agents(1)
    syncer = world.settle()
    world.network.agents.clear()
    for _ in range(20):
        syncer.step(0, looks=True)
        world.clock.advance(35)
    assert world.network.agents == {}


def test_success_is_counted_once_for_each_pointer_and_each_try(world: World) -> None:
    world.sync = AdapterSyncSettings(max_retries=1, retry_backoff_ms=10)
    world.learn(2)
    world.serve(1)
    world.add_agents(4)
    world.network.down = fails(Failure.UNREACHABLE, "edge-0000")
    world.settle()
    assert tally(world) == (5, 3, 4, 3)  # tries, of them well; ended, of them well
    world.network.down = lambda key: None
    world.clock.advance(61)
    world.settle()
    assert tally(world) == (6, 4, 4, 3)  # it came after all: the pointer counted already
    world.serve(2)
    world.settle()
    assert tally(world) == (10, 8, 8, 7)


def tally(world: World) -> tuple[int, int, int, int]:
    with world.store.read() as reader:
        found = sync_tallies.list_since(reader, 0)
    return (
        sum(each.tries for each in found),
        sum(each.tries_ok for each in found),
        sum(each.ended for each in found),
        sum(each.ended_ok for each in found),
    )


def test_starts_successes_and_failures_are_measured_with_the_fields_of_the_seed(world: World) -> None:
    world.sync = AdapterSyncSettings(max_retries=0)
    world.serve(world.learn())
    world.add_agents(3)
    world.network.down = fails(Failure.DISK, "edge-0001")
    world.settle()
    points = {point.name: point for point in world.recorder.drain(world.clock.now_ms())}
    start = points["upm.adapter.sync.start"]
    assert (start.measurements, start.count) == ({"snapshot_id": "main@1", "adapter_count": 3}, 1)
    well = points["upm.adapter.sync.success"]
    assert well.count == 2
    assert well.measurements.keys() == {"adapter_id", "snapshot_id", "duration_ms"}
    badly = points["upm.adapter.sync.failure"]
    assert badly.measurements == {
        "adapter_id": "edge-0001",
        "snapshot_id": "main@1",
        "reason": "disk",
        "retry_count": 1,
    }


def test_the_plan_is_made_again_only_when_something_could_have_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.learn(2)
    world.serve(1)
    world.add_agents(1)
    syncer = world.settle()
    made = []
    real = sync_plan.make_plan
    monkeypatch.setattr("upm_cli.ops.sync.make_plan", lambda *given: made.append(1) or real(*given))
    world.learn(2)  # more than the template has: snapshots are made, nothing is decided
    syncer.step(0)
    assert made == []
    world.serve(2)
    syncer.step(0)
    assert made == [1]
    world.clock.advance(31)
    syncer.step(0)
    assert made == [1, 1]


def test_a_shadow_gets_each_snapshot_as_soon_as_it_is_made_and_leaves_one_that_is_barred(world: World) -> None:
    world.learn(2)
    world.add_agents(1)
    world.add(replace(agent_row("shadow"), metadata={"is_shadow": True}))
    world.serve(1)
    syncer = world.settle()
    assert (world.row("edge-0000").acked_version, world.row("shadow").acked_version) == (1, 2)
    assert world.row("shadow").mode is Mode.SHADOW
    world.learn()
    world.settle(syncer)
    assert (world.row("edge-0000").acked_version, world.row("shadow").acked_version) == (1, 3)
    bar(world, 3)
    world.settle(syncer)
    assert world.row("shadow").acked_version == 2
    served = [each for each, _ in world.network.agent("shadow").served]
    assert [(each.version, each.ring) for each in served] == [(2, "shadow"), (3, "shadow"), (2, "shadow")]
    assert [each.place for each in served] == sorted(each.place for each in served)
