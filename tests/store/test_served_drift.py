"""What agents served is judged version by version, exactly once, and harm that was seen there bars the version."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.clock import ManualClock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.decision import recompute
from upm_cli.core.drift import DriftPolicy, DriftState
from upm_cli.core.event import EVENTS
from upm_cli.core.feedback import judging
from upm_cli.core.feedback.judging import ServedDrift
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import Activation, DriftStatus, DriftWindow, Mode, Ring, Snapshot, Trainer
from upm_cli.core.window import Strings
from upm_cli.ops import quarantined
from upm_cli.ops.served_drift import JudgedServed, Memory, judge_served
from upm_cli.store import activations, drift, ledger, log, monitors, outbox, segments, snapshots, trainers
from upm_cli.store.session import Store
from upm_cli.telemetry.points import Recorder

HOUR = 3_600_000
T0 = 1_799_996_400_000  # a full hour
POLICY = DriftPolicy(sample_size=40)
CLOCK = ManualClock(T0)
OWNER = "main:served"
GOOD, BAD = 0.05, 0.5


def table(first_seq: int, rows: Sequence[tuple[int, float, float]]) -> Served:
    """Return served comparisons of (version, hour, score), numbered from `first_seq` on."""
    n = len(rows)
    version, hour, score = np.array(rows, float).reshape(-1, 3).T
    nothing = np.full(n, np.nan, np.float32)
    ids = Strings.of(f"p{first_seq + i}" for i in range(n))
    start = T0 + (hour * HOUR).astype(np.int64) + np.arange(n)
    compared = Comparisons(
        np.arange(first_seq, first_seq + n), start, ids, Strings.empty(n), score.astype(np.float32), np.zeros(n),
        score.astype(np.float32), nothing, nothing, nothing,
    )  # fmt: skip
    words = Strings.of(["regression"] * n)
    return Served(
        compared, ids, version.astype(np.int64), words, np.zeros(n, np.int64), words, np.ones(n, np.bool_), start,
        start, words, np.ones(n, np.uint8), Strings.empty(n),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".upm", CLOCK)
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", last_version=4))
        for version in (1, 2, 3, 4):
            snapshots.put(tx, snapshot(version))
    for version in (1, 2, 3):
        activate(store, version)
    yield store
    store.close()


def snapshot(version: int) -> Snapshot:
    return Snapshot(
        trainer="main", version=version, mode=Mode.SHADOW, digest=f"{version:064x}", file_digest="0" * 64, codec="none",
        path=f"blobs/{version}", size_bytes=1, raw_bytes=1, first_seq=version * 100, last_seq=version * 100 + 99,
    )  # fmt: skip


def activate(store: Store, version: int) -> None:
    with store.write() as tx:
        trainer = trainers.get(tx, "main")
        move = Activation(
            trainer="main", ring=Ring.GLOBAL, epoch=trainer.epoch + 1, version=version, previous_version=None,
            percent=100, kind="activate", decision_id=f"d{version}", actor="me", reason="", at_ms=T0,
        )  # fmt: skip
        activations.append(tx, move)
        trainers.put(tx, replace(trainer, epoch=trainer.epoch + 1))


def commit(store: Store, *parts: Served) -> None:
    for part in parts:
        segment = log.write_served(store.home, "main", part, T0)
        with store.write() as tx:
            segments.add(tx, segment)


def judge(store: Store, policy: DriftPolicy = POLICY, **more: Any) -> JudgedServed:
    return judge_served(store, CLOCK, policy, "main", **more)


def windows(store: Store) -> list[DriftWindow]:
    with store.read() as reader:
        return drift.list_for(reader, OWNER)


def barred(store: Store) -> list[int]:
    with store.read() as reader:
        return [row.version for row in snapshots.list_for(reader, "main") if row.quarantined]


def hours(version: int, hour: float, score: float, n: int = 50) -> list[tuple[int, float, float]]:
    return [(version, hour, score)] * n


def test_each_version_has_windows_of_its_own(store: Store) -> None:
    commit(store, table(0, [*hours(3, 0, GOOD), *hours(2, 0, GOOD, 10), *hours(3, 1, GOOD), *hours(2, 1, GOOD, 35)]))
    done = judge(store)
    assert (done.compared, done.quarantined, done.more) == (145, (), False)
    assert [(row.version, row.n, row.verdict, row.status.value) for row in windows(store)] == [
        (3, 50, "pass", "closed"),
        (2, 45, "unknown", "open"),  # carried into the next hour
        (3, 50, "unknown", "open"),
    ]
    assert [row.window_id for row in windows(store)] == [f"{OWNER}/0", f"{OWNER}/50", f"{OWNER}/60"]
    with store.read() as reader:
        assert monitors.get(reader, OWNER).position == 145
        assert drift.list_for(reader, "main") == []  # the trainer's own are others
    done = judge(store, finish=True)
    assert [row.verdict for row in done.growing] == ["pass", "pass"]


def test_a_failed_window_of_what_serves_bars_the_version_and_says_where_to_go_back_to(store: Store) -> None:
    commit(store, table(0, [*hours(3, 0, BAD), *hours(3, 1, GOOD)]))
    recorder = Recorder(T0)
    done = judge(store, recorder=recorder, config_digest="c" * 64)
    (window,) = done.quarantined
    assert (window.version, window.status, window.recommendation) == (3, DriftStatus.QUARANTINED, "rollback")
    assert barred(store) == [3]
    with store.read() as reader:
        (event,) = [event for event in outbox.after(reader) if event.type == "ai.upm.drift.quarantine"]
        assert quarantined.window(reader, f"{OWNER}/0") == window
        (found,) = quarantined.of(reader)
        reason = snapshots.get(reader, "main", 3).quarantine_reason
    assert EVENTS[event.type].problems(event.data) == []
    assert (event.data["served_version"], event.data["snapshot_ids"]) == (3, ["main@3"])
    assert found.windows == (window,)
    assert reason == f"served window {OWNER}/0: P95 0.5 reached 0.2 at agents"
    entry = ledger.read(store.home)[-1]
    assert (entry["action"], entry["subject"]) == ("drift.served", "main")
    assert recompute("drift.served", entry["details"]["inputs"]) == entry["details"]["outcome"]
    assert entry["details"]["outcome"] == {"verdict": "fail", "barred": [3], "recommendation": "rollback"}
    points = [(point.name, point.metadata["served_version"]) for point in recorder.drain(T0)]
    assert points == [("upm.drift.score", "3"), ("upm.drift.quarantine", "3")]


def test_a_version_that_serves_nobody_is_barred_and_nothing_is_recommended(store: Store) -> None:
    commit(store, table(0, hours(2, 0, BAD)))
    (window,) = judge(store, finish=True).quarantined
    assert (window.version, window.recommendation) == (2, None)
    assert barred(store) == [2]
    entry = ledger.read(store.home)[-1]
    assert recompute("drift.served", entry["details"]["inputs"]) == entry["details"]["outcome"]


def test_with_nowhere_to_go_back_to_pausing_is_recommended(store: Store) -> None:
    for version in (1, 2):
        with store.write() as tx:
            snapshots.put(tx, replace(snapshot(version), quarantined=True))
    commit(store, table(0, hours(3, 0, BAD)))
    (window,) = judge(store, finish=True).quarantined
    assert window.recommendation == "pause"


def test_a_version_that_was_deleted_since_fails_all_the_same(store: Store) -> None:
    commit(store, table(0, hours(9, 0, BAD)))
    (window,) = judge(store, finish=True).quarantined
    assert (window.version, barred(store)) == (9, [])


@pytest.mark.parametrize("policy", [replace(POLICY, quarantine_enabled=False), replace(POLICY, rule="evidence")])
def test_where_windows_may_not_quarantine_the_verdict_is_told_all_the_same(store: Store, policy: DriftPolicy) -> None:
    commit(store, table(0, hours(3, 0, BAD)))
    assert judge(store, policy, finish=True).quarantined == ()
    assert [(row.verdict, row.status.value) for row in windows(store)] == [("fail", "open")]
    assert barred(store) == []


def test_too_few_samples_are_unknown(store: Store) -> None:
    commit(store, table(0, hours(3, 0, BAD, 39)))
    judge(store, finish=True)
    assert [(row.n, row.verdict) for row in windows(store)] == [(39, "unknown")]
    assert barred(store) == []


def test_one_that_was_released_stays_so(store: Store) -> None:
    commit(store, table(0, hours(3, 0, BAD)))
    judge(store, finish=True)
    with store.write() as tx:
        snapshots.put(tx, snapshot(3))
    commit(store, table(50, hours(3, 0.5, BAD)))
    judge(store, finish=True)
    assert barred(store) == []
    assert [row.status for row in windows(store)] == [DriftStatus.QUARANTINED]


def test_nothing_new_commits_nothing(store: Store) -> None:
    before = store.token()
    judge(store)
    judge(store, finish=True)
    assert store.token() == before
    commit(store, table(0, hours(3, 0, GOOD)))
    judge(store, finish=True)
    before = store.token()
    assert judge(store, finish=True).compared == 0
    assert store.token() == before


def test_a_version_that_nobody_is_asked_any_more_is_not_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "STALE", 100)
    commit(store, table(0, [*hours(2, 0, GOOD, 10), *hours(3, 0, GOOD, 200)]))
    judge(store)
    old = next(row for row in windows(store) if row.version == 2)
    assert (old.n, old.verdict, old.status) == (10, "unknown", DriftStatus.CLOSED)
    commit(store, table(210, hours(2, 0, GOOD, 10)))
    judge(store)
    assert [row.n for row in windows(store) if row.version == 2] == [10, 10]


rows = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4).map(float), st.sampled_from([GOOD, BAD])), max_size=60)


@given(rows, st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=60, deadline=None)
def test_windows_are_those_of_each_version_alone_however_they_are_cut(
    told: list[tuple[int, float, float]], cuts: list[int]
) -> None:
    policy = DriftPolicy(sample_size=4)
    whole = table(0, told)
    state, closed = ServedDrift(policy), []
    places = sorted({0, len(told), *(cut for cut in cuts if cut < len(told))})
    for start, stop in pairwise(places):
        closed += state.advance(whole.slice(start, stop))
    for version in {version for version, _, _ in told}:
        alone = DriftState(policy)
        mine = whole.take(np.flatnonzero(whole.version == version))
        assert [each.judged for each in closed if each.version == version] == alone.advance(mine.table)
        (still,) = [each.judged for each in state.open_windows() if each.version == version] or [None]
        assert still == alone.open_window()


def test_a_monitor_that_begins_anew_each_time_finds_the_same(tmp_path: Path, store: Store) -> None:
    chance = np.random.default_rng(7)
    told = [(int(v), float(h), GOOD) for v, h in zip(chance.integers(1, 4, 600), np.arange(600) // 60, strict=True)]
    parts = [table(at, told[at : at + 100]) for at in range(0, 600, 100)]
    other = Store.create(tmp_path / "other", CLOCK)
    with other.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
    memory = Memory()
    for part in parts:
        commit(store, part)
        commit(other, part)
        judge(store)
        judge(other, memory=memory)
    found = [(row.window_id, row.version, row.n, row.p95, row.status) for row in windows(store)]
    assert found == [(row.window_id, row.version, row.n, row.p95, row.status) for row in windows(other)]
    assert len(found) > 10
    other.close()
