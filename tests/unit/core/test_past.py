"""What held at an instant, from moves and ledger entries, in the order of the record."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.past import live_at, standing_at
from upm_cli.core.records import Activation, Ring
from upm_cli.ids import iso

MOVE = Activation(
    trainer="main",
    ring=Ring.GLOBAL,
    epoch=1,
    version=1,
    previous_version=None,
    percent=100,
    kind="activate",
    decision_id="d",
    actor="ada",
    reason="",
    at_ms=0,
)


def entry(n: int, action: str, subject: str, at_ms: int | None = None, **details: Any) -> dict[str, Any]:
    at = iso(n * 1000 if at_ms is None else at_ms)
    return {"n": n, "at": at, "actor": "ada", "action": action, "subject": subject, "details": details}


@given(
    st.lists(st.tuples(st.sampled_from(Ring), st.integers(1, 9), st.integers(0, 20)), max_size=10), st.integers(0, 20)
)
def test_a_ring_serves_the_last_move_that_had_been_made(moves: list[tuple[Ring, int, int]], at_ms: int) -> None:
    history = [
        replace(MOVE, epoch=epoch, ring=ring, version=version, at_ms=when)
        for epoch, (ring, version, when) in enumerate(moves, 1)
    ]
    expected: dict[Ring, int] = {}
    for ring, version, when in moves:
        if when <= at_ms:
            expected[ring] = version
    assert {ring: move.version for ring, move in live_at(reversed(history), at_ms).items()} == expected


def test_a_clock_that_was_set_back_does_not_bring_an_older_move_back() -> None:
    history = [replace(MOVE, at_ms=5000), replace(MOVE, epoch=2, version=2, at_ms=1000)]
    assert live_at(history, 999) == {}
    assert live_at(history, 1000)[Ring.GLOBAL].version == 2
    assert live_at(history, 9000)[Ring.GLOBAL].version == 2


LEDGER = [
    entry(1, "trainer.add", "main"),
    entry(2, "snapshot.activate", "main@2", ring="global"),
    entry(3, "snapshot.pin", "main@1"),
    entry(4, "drift.quarantine", "main", snapshot_ids=["main@3", "main@4"]),
    entry(5, "snapshot.activate", "other@9", ring="global"),
    entry(6, "snapshot.rollback", "main@4", to_version=2, rings=["canary", "global"]),
    entry(7, "trainer.pause", "main"),
    entry(8, "drift.extend", "main", snapshot_ids=["main@5"]),
    entry(9, "snapshot.release", "main@3"),
    entry(10, "snapshot.activate", "main@2", ring="global"),
    entry(11, "snapshot.activate", "main@6", ring="global"),
    entry(12, "snapshot.unpin", "main@1"),
    entry(13, "trainer.resume", "main"),
    entry(14, "snapshot.gc", "main", versions=[4]),
    entry(15, "trainer.remove", "main"),
]


def at(n: int) -> Any:
    found = standing_at(LEDGER, "main", iso(n * 1000))
    return dict(found.ring_pins), found.pinned, found.quarantined, found.paused


def test_pins_quarantines_and_pauses_are_followed_entry_by_entry() -> None:
    assert at(2) == ({}, (), (), False)
    assert at(3) == ({}, (1,), (), False)
    assert at(5) == ({}, (1,), (3, 4), False)
    assert at(6) == ({"canary": 2, "global": 2}, (1,), (3, 4), False)
    assert at(8) == ({"canary": 2, "global": 2}, (1,), (3, 4, 5), True)
    assert at(10) == ({"canary": 2, "global": 2}, (1,), (4, 5), True)  # the pinned version itself lifts no pin
    assert at(11) == ({"canary": 2}, (1,), (4, 5), True)
    assert at(13) == ({"canary": 2}, (), (4, 5), False)
    assert at(14) == ({"canary": 2}, (), (5,), False)
    assert at(15) == ({}, (), (), False)


def test_a_rollout_is_where_its_last_decision_left_it() -> None:
    stages = [{"ring": "shadow", "percent": 0}, {"ring": "canary", "percent": 5}]
    state = {"rollout_id": "r1", "phase": "progressing", "stage": 1, "percent": 5, "version": 7, "champion": 2}
    entries = [
        entry(1, "rollout.start", "main", outcome={"state": {**state, "stage": 0, "percent": 0, "version": None}}),
        entry(2, "rollout.step", "main@7", inputs={"policy": {"stages": stages}}, outcome={"state": state}),
        entry(3, "rollout.step", "main@7", outcome={"refused": {"message": "no"}}),
        entry(4, "rollout.step", "main@7", outcome={"state": {**state, "phase": "aborted", "percent": 0}}),
    ]
    assert standing_at(entries, "main", iso(500)).rollout is None
    first = standing_at(entries, "main", iso(1000)).rollout
    assert first is not None
    assert (first.name, first.version, first.of_stages, first.number) == ("shadow", None, 0, 1)
    second = standing_at(entries, "main", iso(3000)).rollout
    assert second is not None
    assert (second.name, second.version, second.champion, second.of_stages, second.number) == ("canary 5 %", 7, 2, 2, 2)
    last = standing_at(entries, "main", iso(4000)).rollout
    assert last is not None
    assert last.phase == "aborted"


def test_a_withdrawn_candidate_that_did_harm_is_quarantined_and_its_trainer_paused() -> None:
    kept = entry(1, "rollout.withdraw", "main@3", quarantined=False)
    harmed = entry(2, "rollout.withdraw", "main@4", quarantined=True)
    assert standing_at([kept], "main", iso(9000)).quarantined == ()
    found = standing_at([kept, harmed], "main", iso(9000))
    assert (found.quarantined, found.paused) == ((4,), True)


def test_a_rollback_without_a_checkpoint_leaves_the_trainer_paused() -> None:
    back = {"to_version": 1, "rings": ["global"]}
    assert not standing_at([entry(1, "snapshot.rollback", "main@2", **back, trainer="put back")], "main", "9").paused
    assert standing_at([entry(1, "snapshot.rollback", "main@2", **back, trainer="paused")], "main", "9").paused


def test_a_contest_that_names_a_released_version_again_does_not_bar_it_again() -> None:
    entries = [
        entry(1, "evidence.quarantine", "main", snapshot_ids=["main@3"], inputs={"doubt": {"known": []}}),
        entry(2, "snapshot.release", "main@3"),
        entry(3, "evidence.quarantine", "main", snapshot_ids=["main@3", "main@4"], inputs={"doubt": {"known": [3]}}),
    ]
    assert standing_at(entries, "main", iso(3000)).quarantined == (4,)
