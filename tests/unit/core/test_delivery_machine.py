"""The states of one adapter, the pauses between tries, and what is due."""

from dataclasses import replace
from typing import Any

import pytest

from upm_cli.core.delivery.breaker import Breaker, BreakerPolicy
from upm_cli.core.delivery.claims import ClaimPolicy, blocked_until_ms, claim, endpoint_of, key_of
from upm_cli.core.delivery.desired import Model, Target, Terms, Why, due, next_place, plan, renewal_ms
from upm_cli.core.delivery.envelope import Signature
from upm_cli.core.delivery.failures import FINAL, OF_THE_ENDPOINT, Failure
from upm_cli.core.delivery.machine import (
    LONGEST_ASKED_MS,
    Failed,
    Found,
    RetryPolicy,
    failed,
    is_due,
    is_settled,
    looked,
    place,
    retried,
    started,
    succeeded,
)
from upm_cli.core.delivery.memo import Agents, Memo, Sent, remember
from upm_cli.core.delivery.pointer import ModelFile, Place
from upm_cli.core.records import Adapter, AdapterStatus, Mode, Ring

NOW = 1_800_000_000_000
FILE = ModelFile(codec="zstd", size_bytes=10, raw_bytes=20, file_digest="f" * 64)
TERMS = Terms(now_ms=NOW, validity_ms=1000)
ROW = Adapter(adapter_key="edge", tenant_id="", trainer="main", kind="http", location="https://a", mode=Mode.SHADOW)


def target(version: int, **more: Any) -> Target:
    model = Model(version=version, digest=f"{version:064x}", file=FILE, signatures=more.pop("signatures", ()))
    return Target(**{"epoch": 1, "model": model, "ring": Ring.GLOBAL, **more})


def planned(row: Adapter = ROW, version: int = 1, terms: Terms = TERMS, **more: Any) -> Adapter:
    """Return the row with its new pointer as an envelope would stand there."""
    found = plan(row, target(version, **more), terms)
    return found.row if found.pointer is None else replace(found.row, pointer="envelope")


def synced(row: Adapter = ROW, version: int = 1, **more: Any) -> Adapter:
    row = planned(row, version, **more)
    return succeeded(row, place(row), NOW)


def fail(row: Adapter, failure: Failure = Failure.TIMEOUT, draw: float = 0.5, **more: Any) -> Adapter:
    what = Failed(at_ms=NOW, failure=failure, message="it failed", draw=draw, **more)
    return failed(row, place(row), RetryPolicy(max_retries=2, backoff_ms=1000, max_backoff_ms=3000), what)


def test_pauses_double_up_to_the_longest_and_are_drawn_evenly() -> None:
    policy = RetryPolicy(backoff_ms=1000, max_backoff_ms=5000)
    assert [policy.pause_ms(n, 0.5) for n in range(6)] == [500, 500, 1000, 2000, 2500, 2500]
    assert [policy.pause_ms(3, draw) for draw in (0.0, 0.25, 0.999)] == [0, 1000, 3996]
    assert policy.pause_ms(10**6, 0.5) == 2500
    assert [policy.probe_ms(draw) for draw in (0.0, 0.5)] == [2500, 3750]


def test_who_asks_for_time_gets_it_up_to_an_hour() -> None:
    policy = RetryPolicy()
    assert policy.pause_ms(1, 0.5, 20_000) == 20_000
    assert policy.pause_ms(7, 0.9, 20_000) == 54_000
    assert policy.pause_ms(1, 0.5, 10**9) == policy.probe_ms(0.0, 10**9) == LONGEST_ASKED_MS


def test_policies_refuse_nonsense() -> None:
    for make in (
        lambda: RetryPolicy(max_retries=-1),
        lambda: RetryPolicy(backoff_ms=-1),
        lambda: BreakerPolicy(failures=0),
        lambda: BreakerPolicy(cooldown_ms=-1),
    ):
        with pytest.raises(ValueError, match=r"retries|breaker"):
            make()


def test_tries_are_counted_until_they_are_used_up() -> None:
    row = planned()
    assert (row.status, is_due(row, NOW), is_settled(row)) == (AdapterStatus.PENDING, True, False)
    first = fail(started(row))
    assert (first.status, first.attempts, first.next_attempt_at_ms) == (AdapterStatus.PENDING, 1, NOW + 500)
    assert not is_due(first, NOW + 499)
    assert is_due(first, NOW + 500)
    last = fail(fail(first))
    assert (last.status, last.attempts, last.failures, last.next_attempt_at_ms) == (
        AdapterStatus.ERRORED,
        3,
        3,
        NOW + 2250,
    )
    assert (is_settled(last), is_due(last, NOW + 2250)) == (True, True)
    again = fail(last)
    assert (again.status, again.attempts) == (AdapterStatus.ERRORED, 4)
    assert retried(again, NOW).status is AdapterStatus.PENDING
    assert (retried(again, NOW).attempts, is_due(retried(again, NOW), NOW)) == (0, True)


@pytest.mark.parametrize("failure", list(Failure))
def test_some_failures_are_final(failure: Failure) -> None:
    row = fail(planned(), failure)
    assert (row.status is AdapterStatus.ERRORED, row.next_attempt_at_ms is None) == (failure in FINAL,) * 2
    assert not (FINAL & OF_THE_ENDPOINT)


def test_what_is_said_about_another_pointer_changes_nothing() -> None:
    old = planned()
    new = planned(old, version=2)
    assert place(new) > place(old)
    assert succeeded(new, place(old), NOW) is new
    what = Failed(at_ms=NOW, failure=Failure.BUSY, message="", draw=0.0)
    assert failed(new, place(old), RetryPolicy(), what) is new
    assert started(synced()).status is AdapterStatus.SYNCED
    nothing = replace(ROW, epoch=1, serial=1)
    assert succeeded(nothing, place(nothing), NOW) is nothing
    assert retried(nothing, NOW) is nothing


def test_a_success_forgets_what_went_wrong() -> None:
    row = succeeded(fail(planned()), Place(1, 1), NOW, "edge-1")
    assert (row.failures, row.last_error, row.next_attempt_at_ms, row.last_synced_at_ms) == (0, None, None, NOW)
    assert (row.acked_version, row.acked_epoch, row.acked_serial) == (1, 1, 1)
    assert Memo.of(row).agent == "edge-1"
    assert not is_due(row, NOW)


def test_a_memo_survives_the_metadata_of_a_row() -> None:
    memo = Memo(
        token_file="/t",
        ca_file="/c",
        agent="a",
        agents=Agents(on=1, behind=2, stale=3),
        note="n",
        sent=Sent(keyid="k", signed_by=("x", "y"), ring="global", kind="rollback", issued_at_ms=1, expires_at_ms=2),
        seen=Place(1, 2),
        climbs=3,
        lowers=Place(4, 5),
        ended=Place(6, 7),
    )
    row = replace(ROW, metadata=memo.to_json())
    assert Memo.of(row) == memo
    assert Memo.of(ROW) == Memo()
    assert Memo().to_json() == {}
    assert Memo.of(remember(row, note="")).note == ""


@pytest.mark.parametrize(
    ("change", "terms", "why"),
    [
        ({}, TERMS, None),
        ({"version": 2}, TERMS, Why.VERSION),
        ({"ring": Ring.CANARY}, TERMS, Why.RING),
        ({"signatures": (Signature("k", b"s"),)}, TERMS, Why.SIGNATURES),
        ({}, replace(TERMS, keyid="k"), Why.KEY),
        ({}, replace(TERMS, now_ms=NOW + 499), None),
        ({}, replace(TERMS, now_ms=NOW + 500), Why.VALIDITY),
        ({}, replace(TERMS, validity_ms=0), Why.VALIDITY),
        ({"epoch": 9, "kind": "rollback"}, TERMS, None),
    ],
)
def test_a_new_pointer_is_due_when_what_it_would_say_differs(
    change: dict[str, Any], terms: Terms, why: Why | None
) -> None:
    row = synced()
    wanted = target(**{"version": 1, **change})
    assert due(row, wanted, terms) is why
    found = plan(row, wanted, terms)
    assert (found.why, found.pointer is None) == (why, why is None)
    if found.pointer is not None:
        assert found.pointer.place > place(row)
        assert plan(replace(found.row, pointer="e"), wanted, terms).pointer is None


def test_a_pointer_without_an_end_gets_one_when_that_is_wanted() -> None:
    row = synced(terms=replace(TERMS, validity_ms=0))
    assert (renewal_ms(row), due(row, target(1), TERMS)) == (None, Why.VALIDITY)
    assert renewal_ms(synced()) == NOW + 500


def test_the_time_of_a_pointer_is_after_that_of_the_one_before_whatever_the_clock_says() -> None:
    row = synced()
    found = plan(row, target(2), replace(TERMS, now_ms=NOW - 10**6))
    assert found.pointer is not None
    assert (found.pointer.issued_at_ms, found.pointer.expires_at_ms) == (NOW + 1, NOW - 10**6 + 1000)


def test_nothing_live_leaves_agents_what_they_have() -> None:
    fresh = plan(ROW, Target(epoch=3), TERMS).row
    assert (fresh.status, fresh.pointer, Memo.of(fresh).note) == (
        AdapterStatus.PENDING,
        None,
        "nothing is live for this tenant",
    )
    had = plan(synced(), Target(epoch=3), TERMS).row
    assert (had.status, had.version, had.acked_version) == (AdapterStatus.SYNCED, None, 1)
    assert Memo.of(had).note == "nothing is live for this tenant; agents keep v1"
    assert plan(had, Target(epoch=3), TERMS).row == had
    assert is_settled(fresh)
    assert is_settled(had)


def test_what_may_have_got_through_leaves_a_barred_version_pending() -> None:
    tried = fail(planned(synced(), version=2))
    barred = plan(tried, target(2, barred="v2 is quarantined"), TERMS).row
    assert (barred.status, barred.version, barred.pointer) == (AdapterStatus.PENDING, 1, None)
    confirmed = synced(version=2)
    kept = plan(confirmed, target(2, barred="v2 is quarantined"), replace(TERMS, now_ms=NOW + 900)).row
    assert (kept.status, kept.pointer, kept.serial) == (AdapterStatus.SYNCED, confirmed.pointer, confirmed.serial)


def test_what_is_refused_is_an_error_once() -> None:
    row = plan(synced(), target(2, refused="no key"), TERMS).row
    assert (row.status, row.last_error, row.version, row.acked_version) == (AdapterStatus.ERRORED, "no key", 2, 1)
    later = replace(TERMS, now_ms=NOW + 5)
    assert plan(row, target(2, refused="no key"), later).row is row
    assert plan(row, target(2), later).why is Why.FIRST


def test_a_place_beyond_ours_is_stepped_over_in_the_same_epoch_only() -> None:
    row = synced()
    assert next_place(row, 1) == Place(1, 2)
    assert next_place(row, 5) == Place(5, 2)
    assert next_place(remember(row, seen=Place(1, 40)), 1) == Place(1, 41)
    assert next_place(remember(row, seen=Place(1, 40)), 2) == Place(2, 2)
    assert next_place(remember(row, seen=Place(7, 1)), 1) is None
    assert next_place(remember(row, seen=Place(1, 1 << 50)), 1) is None
    assert next_place(remember(row, seen=Place(1, 40), climbs=5), 1) is None
    assert next_place(remember(row, seen=Place(7, 1), lowers=Place(7, 3)), 1) == Place(1, 2)
    assert next_place(remember(row, seen=Place(7, 4), lowers=Place(7, 3)), 1) is None


def test_an_agent_ahead_of_a_restored_state_waits_for_a_person_and_then_steps_down() -> None:
    row = looked(synced(), Found(place=Place(7, 3), version=9, digest="9" * 64), NOW)
    assert Memo.of(row).seen == Place(7, 3)
    stuck = plan(row, target(1), TERMS).row
    assert (stuck.status, stuck.pointer) == (AdapterStatus.ERRORED, None)
    assert "has taken a pointer of epoch 7, serial 3; the trainer is at epoch 1" in (stuck.last_error or "")
    let = remember(stuck, lowers=Place(7, 3))
    found = plan(let, target(1), TERMS)
    assert found.pointer is not None
    assert (found.why, found.pointer.place, found.pointer.lowers_from) == (Why.LOWER, Place(1, 2), Place(7, 3))
    after = replace(found.row, pointer="e")
    assert plan(after, target(1), TERMS).pointer is None
    assert looked(after, Found(place=Place(7, 3), version=9, digest="9" * 64), NOW) is after
    following = plan(succeeded(after, place(after), NOW), target(2), TERMS).pointer
    assert following is not None
    assert following.lowers_from == Place(7, 3)  # for agents that were away
    beyond = plan(succeeded(after, place(after), NOW), target(2, epoch=8), TERMS).pointer
    assert beyond is not None
    assert beyond.lowers_from is None


def test_looks_find_what_was_lost_what_came_after_all_and_what_is_as_it_was() -> None:
    row = synced()
    right = Found(place=Place(1, 1), version=1, digest=row.digest or "")
    assert looked(row, right, NOW) is row
    lost = looked(row, None, NOW + 1)
    assert (lost.status, lost.acked_version, lost.attempts, is_due(lost, NOW)) == (AdapterStatus.PENDING, None, 0, True)
    older = planned(row, version=2)
    back = looked(succeeded(older, place(older), NOW), right, NOW)
    assert (back.status, back.acked_version, back.version) == (AdapterStatus.PENDING, 1, 2)
    assert "v1 of epoch 1, serial 1" in (back.last_error or "")
    assert looked(older, right, NOW) is older
    assert looked(planned(), None, NOW) == planned()
    came = looked(fail(older), Found(place=place(older), version=2, digest=older.digest or ""), NOW)
    assert (came.status, came.acked_version) == (AdapterStatus.SYNCED, 2)
    fork = looked(row, Found(place=Place(1, 1), version=1, digest="e" * 64), NOW)
    assert Memo.of(fork).seen == Place(1, 1)
    assert plan(fork, target(1), TERMS).why is Why.BEHIND


def test_a_breaker_opens_lets_one_through_and_closes() -> None:
    policy = BreakerPolicy(failures=2, cooldown_ms=1000)
    one = Breaker().ended(well=False, now_ms=NOW)
    assert not one.is_open(policy, NOW)
    two = one.sending(policy).ended(well=False, now_ms=NOW)
    assert two.is_open(policy, NOW)
    assert two.cools(policy, NOW + 999)
    assert not two.is_open(policy, NOW + 1000)
    assert not two.is_open(policy, NOW - 5000)  # the clock was set back
    probing = two.sending(policy)
    assert (probing.is_open(policy, NOW + 1000), probing.cools(policy, NOW + 1000)) == (True, False)
    assert probing.ended(well=False, now_ms=NOW + 1000).is_open(policy, NOW + 1999)
    assert probing.ended(well=True, now_ms=NOW + 1000) == Breaker()
    assert two.opens_at_ms(policy) == NOW + 1000


def fleet(count: int, **more: Any) -> list[Adapter]:
    return [planned(replace(ROW, adapter_key=f"e{n}", location=f"https://h{n}", **more)) for n in range(count)]


def test_claims_are_bounded_and_in_order() -> None:
    rows = fleet(6)
    rows[1] = fail(rows[1], draw=0.0)
    rows[2] = planned(rows[2], version=2, kind="rollback")
    rows[5] = succeeded(rows[5], place(rows[5]), NOW)
    got = claim(rows, set(), {}, NOW, ClaimPolicy(batch=10), BreakerPolicy())
    assert [row.adapter_key for row in got] == ["e2", "e0", "e3", "e4", "e1"]
    under_way = {key_of(rows[0]), key_of(rows[3])}
    got = claim(rows, under_way, {}, NOW, ClaimPolicy(batch=3), BreakerPolicy())
    assert [row.adapter_key for row in got] == ["e2"]
    assert claim(rows, under_way, {}, NOW, ClaimPolicy(batch=2), BreakerPolicy()) == []


def test_those_that_failed_leave_room_for_the_others() -> None:
    rows = [fail(row, draw=0.0) for row in fleet(10)] + [replace(ROW, adapter_key="good", **SENT)]
    policy = ClaimPolicy(batch=100, parallel=4)
    got = claim(rows, set(), {}, NOW, policy, BreakerPolicy())
    assert [row.adapter_key for row in got] == ["good", "e0", "e1"]
    got = claim(rows, {key_of(rows[0]), key_of(rows[1])}, {}, NOW, policy, BreakerPolicy())
    assert [row.adapter_key for row in got] == ["good"]


SENT: dict[str, Any] = {
    "pointer": "e",
    "version": 1,
    "digest": "d",
    "epoch": 1,
    "serial": 1,
    "location": "https://good",
}


def test_an_open_breaker_lets_one_of_its_rows_through_when_it_cooled() -> None:
    rows = [replace(row, location=f"https://h/{row.adapter_key}") for row in fleet(3)]
    breakers = {"https://h": Breaker(failures=5, failed_at_ms=NOW)}
    breaking = BreakerPolicy(failures=5, cooldown_ms=1000)
    assert claim(rows, set(), breakers, NOW + 999, ClaimPolicy(), breaking) == []
    assert blocked_until_ms(rows, breakers, NOW + 999, breaking) == NOW + 1000
    assert claim(rows, set(), breakers, NOW + 1000, ClaimPolicy(), breaking) == rows[:1]
    assert blocked_until_ms(rows, breakers, NOW + 1000, breaking) is None
    assert blocked_until_ms(rows, {}, NOW, breaking) is None


def test_an_endpoint_is_a_host_with_its_port_or_a_folder() -> None:
    assert endpoint_of(replace(ROW, location="https://a.example:8765/x/y")) == "https://a.example:8765"
    assert endpoint_of(replace(ROW, kind="directory", location="/srv/m")) == "directory:/srv/m"
