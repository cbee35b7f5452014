"""The drift monitor over real state: exactly once, quarantine with everything that belongs to it, and nothing lost."""

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.event import EVENTS
from upm_cli.core.records import Activation, DriftStatus, DriftWindow, Mode, Ring, Snapshot, Trainer
from upm_cli.core.window import Strings
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops.drift import Judged, Memory, judging
from upm_cli.ops.trainers import remove
from upm_cli.store import activations, drift, log, monitors, outbox, segments, snapshots, trainers
from upm_cli.store.session import Store
from upm_cli.store.together import alone
from upm_cli.telemetry.points import Recorder

HOUR = 3_600_000
T0 = 1_799_996_400_000  # a full hour
POLICY = DriftPolicy(sample_size=50)


@dataclass
class FixedClock:
    ms: int = T0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def era(self) -> str:
        return "test"

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


CLOCK = FixedClock()


def make_store(folder: Path) -> Store:
    store = Store.create(folder / ".upm", CLOCK)
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
    return store


def make_table(first_seq: int, hour: float, scores: list[float], tenant: str = "") -> Comparisons:
    n = len(scores)
    nothing = np.full(n, np.nan, np.float32)
    return Comparisons(
        seq=np.arange(first_seq, first_seq + n),
        start_ms=T0 + (hour * HOUR + np.arange(n)).astype(np.int64),
        window_id=Strings.of(f"w{first_seq + i}" for i in range(n)),
        tenant=Strings.of([tenant] * n),
        prediction=np.zeros(n, np.float32),
        truth=np.zeros(n),
        score=np.array(scores, np.float32),
        brier=nothing,
        base_brier=nothing,
        base_score=nothing,
    )


def commit(store: Store, *tables: Comparisons) -> None:
    for table in tables:
        segment = log.write_comparisons(store.home, "main", table, T0)
        with store.write() as tx:
            segments.add(tx, segment)


def add_snapshot(store: Store, version: int, first_seq: int, last_seq: int) -> None:
    with store.write() as tx:
        snapshots.put(
            tx,
            Snapshot(
                trainer="main",
                version=version,
                mode=Mode.SHADOW,
                digest="0" * 64,
                file_digest="0" * 64,
                codec="none",
                path=f"blobs/{version}",
                size_bytes=1,
                raw_bytes=1,
                first_seq=first_seq,
                last_seq=last_seq,
            ),
        )


def activate(store: Store, version: int) -> None:
    with store.write() as tx:
        trainer = trainers.get(tx, "main")
        activations.append(
            tx,
            Activation(
                trainer="main",
                ring=Ring.GLOBAL,
                epoch=trainer.epoch + 1,
                version=version,
                previous_version=None,
                percent=100,
                kind="activate",
                decision_id=f"d{version}",
                actor="me",
                reason="",
                at_ms=T0,
            ),
        )
        trainers.put(tx, replace(trainer, epoch=trainer.epoch + 1))


def judge(store: Store, policy: DriftPolicy = POLICY, **more: Any) -> Judged:
    return alone(store, judging(store, CLOCK, policy, "main", **more))


def windows(store: Store) -> list[DriftWindow]:
    with store.read() as reader:
        return drift.list_for(reader, "main")


def quarantine_events(store: Store) -> list[dict[str, Any]]:
    with store.read() as reader:
        return [dict(e.data) for e in outbox.after(reader) if e.type == "ai.upm.drift.quarantine"]


def barred(store: Store) -> list[int]:
    with store.read() as reader:
        return [s.version for s in snapshots.list_for(reader, "main") if s.quarantined]


def ledger_actions(store: Store) -> list[str]:
    path = store.home / "ledger.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [entry["action"] for entry in map(json.loads, lines) if entry["action"].startswith("drift")]


GOOD, BAD = [0.05] * 60, [0.5] * 60


def test_a_window_is_judged_when_the_next_hour_begins(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, GOOD))
    first = judge(store)
    assert (first.compared, first.position, first.closed, first.quarantined) == (60, 60, (), ())
    (row,) = windows(store)
    assert (row.status, row.verdict, row.n, row.p95) == (DriftStatus.OPEN, "unknown", 60, 0.05)

    commit(store, make_table(60, 1, GOOD))
    second = judge(store)
    assert [window.verdict for window in second.closed] == ["pass"]
    closed, still_open = windows(store)
    assert (closed.status, closed.verdict, closed.n) == (DriftStatus.CLOSED, "pass", 60)
    assert (closed.started_at_ms, closed.closed_at_ms) == (T0, T0 + HOUR)
    assert (closed.first_seq, closed.last_seq, closed.window_id) == (0, 59, "main/0")
    assert (still_open.status, still_open.verdict) == (DriftStatus.OPEN, "unknown")
    with store.read() as reader:
        assert trainers.get(reader, "main").drift_score == 0.05
        monitor = monitors.get(reader, "main")
    assert (monitor.position, monitor.compared) == (120, 120)


def test_nothing_new_commits_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    before = store.token()
    judge(store)
    judge(store, finish=True)
    assert store.token() == before
    commit(store, make_table(0, 0, GOOD))
    judge(store, finish=True)
    before = store.token()
    assert judge(store, finish=True).compared == 0
    assert judge(store).compared == 0
    assert store.token() == before


def test_the_end_of_an_input_judges_the_open_window_and_leaves_it_open(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, GOOD))
    judged = judge(store, finish=True)
    assert judged.growing is not None
    assert (judged.growing.verdict, judged.growing.status) == ("pass", DriftStatus.OPEN)
    commit(store, make_table(60, 0.5, GOOD))
    judge(store)
    (row,) = windows(store)
    assert (row.n, row.verdict, row.status) == (120, "unknown", DriftStatus.OPEN)


def test_a_failed_window_bars_its_snapshots_and_is_told_to_everybody_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add_snapshot(store, 1, 0, 50)
    add_snapshot(store, 2, 51, 100)
    add_snapshot(store, 3, 101, 130)
    activate(store, 1)
    commit(store, make_table(0, 0, GOOD), make_table(60, 1, BAD), make_table(120, 2, GOOD))
    recorder = Recorder(T0)
    judged = judge(store, recorder=recorder)
    assert [window.verdict for window in judged.closed] == ["pass", "fail"]
    failed = windows(store)[1]
    assert judged.quarantined == (failed,)
    assert (failed.status, failed.recommendation, failed.version) == (DriftStatus.QUARANTINED, "pause", 2)
    assert barred(store) == [2, 3], "their part of the log touches 60-119, and no later window has passed"
    (event,) = quarantine_events(store)
    assert EVENTS["ai.upm.drift.quarantine"].problems(event) == []
    assert event == {
        "trainer_id": "main",
        "drift_window_id": "main/60",
        "drift_p95": 0.5,
        "threshold": 0.2,
        "recommendation": "pause",
        "quarantined_at": "2027-01-15T07:00:00.000Z",
        "rule": "seed",
        "sample_count": 60,
        "snapshot_ids": ["main@2", "main@3"],
    }
    assert ledger_actions(store) == ["drift.quarantine"]
    points = [(point.name, point.metadata["drift_window_id"]) for point in recorder.drain(T0)]
    assert points == [
        ("upm.drift.score", "main/0"),
        ("upm.drift.score", "main/60"),
        ("upm.drift.quarantine", "main/60"),
    ]
    with store.read() as reader:
        assert trainers.get(reader, "main").drift_score == 0.5
    commit(store, make_table(180, 3, GOOD))
    judge(store)
    assert len(quarantine_events(store)) == 1
    assert windows(store)[1] == failed


def test_rollback_is_recommended_when_there_is_something_to_go_back_to(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add_snapshot(store, 1, 0, 50)
    add_snapshot(store, 2, 51, 100)
    activate(store, 1)
    activate(store, 2)
    commit(store, make_table(0, 0, GOOD), make_table(60, 1, BAD), make_table(120, 2, GOOD))
    assert [window.recommendation for window in judge(store).quarantined] == ["rollback"]


def test_a_snapshot_committed_after_its_window_failed_is_barred_too_and_a_released_one_stays_released(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path)
    add_snapshot(store, 1, 0, 90)
    commit(store, make_table(0, 0, BAD), make_table(60, 1, BAD), make_table(120, 2, GOOD))
    judge(store)
    assert barred(store) == [1]
    with store.write() as tx:
        snapshots.put(tx, replace(snapshots.get(tx, "main", 1), quarantined=False, quarantine_reason=None))
    add_snapshot(store, 2, 91, 150)
    add_snapshot(store, 3, 151, 170)
    commit(store, make_table(180, 2, GOOD))
    judge(store)
    assert barred(store) == [2]
    assert [window.metadata["suspects"] for window in windows(store)[:2]] == [[1], [1, 2]]


def test_a_snapshot_that_reaches_a_window_that_passed_is_not_suspected(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, BAD), make_table(60, 1, GOOD))
    add_snapshot(store, 1, 0, 30)
    add_snapshot(store, 2, 31, 121)  # the log ends with marks that are not compared
    judge(store, finish=True)
    assert barred(store) == [1], "the second learned from a bad hour, but predicted well in the one after it"
    commit(store, make_table(122, 2, BAD))
    add_snapshot(store, 3, 122, 183)
    judge(store, finish=True)
    assert barred(store) == [1, 3]


def test_quarantine_can_be_switched_off(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add_snapshot(store, 1, 0, 50)
    commit(store, make_table(0, 0, BAD), make_table(60, 1, GOOD))
    judge(store, replace(POLICY, quarantine_enabled=False))
    assert (windows(store)[0].verdict, windows(store)[0].status) == ("fail", DriftStatus.CLOSED)
    assert (barred(store), quarantine_events(store), ledger_actions(store)) == ([], [], [])


def test_too_few_samples_are_carried_on_until_there_are_enough(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, [0.5] * 20), make_table(20, 5, [0.5] * 20), make_table(40, 9, [0.5] * 20))
    assert judge(store).closed == ()
    commit(store, make_table(60, 12, [0.1]))
    (closed,) = judge(store).closed
    assert (closed.verdict, closed.n, closed.started_at_ms, closed.closed_at_ms) == ("fail", 60, T0, T0 + 10 * HOUR)


def test_unusable_scores_never_count_as_samples(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, [float("nan")] * 200), make_table(200, 1, [0.1] * 49), make_table(249, 2, [0.1]))
    judge(store, finish=True)
    (row,) = windows(store)
    assert (row.verdict, row.n, row.metadata["seed"]["dropped"]) == ("pass", 50, 200)


def test_a_window_that_failed_before_it_was_full_stays_failed_and_is_told_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, BAD))
    assert [window.verdict for window in judge(store, finish=True).quarantined] == ["fail"]
    commit(store, make_table(60, 0.5, [0.01] * 5000), make_table(5060, 1, GOOD))
    judge(store, finish=True)
    row = windows(store)[0]
    assert (row.verdict, row.status, row.p95, row.n) == ("fail", DriftStatus.QUARANTINED, 0.01, 5060)
    assert row.metadata["failed_early"] == {"n": 60, "p95": 0.5, "last_seq": 59}
    assert len(quarantine_events(store)) == 1


def test_a_window_an_operator_resolved_stays_resolved_while_it_grows(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, BAD))
    judge(store, finish=True)
    with store.write() as tx:
        drift.put(tx, replace(windows(store)[0], status=DriftStatus.RESOLVED))
    commit(store, make_table(60, 0.5, BAD), make_table(120, 1, GOOD))
    judge(store)
    assert windows(store)[0].status is DriftStatus.RESOLVED
    assert len(quarantine_events(store)) == 1


def test_a_changed_window_length_goes_on_from_the_open_window(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, GOOD), make_table(60, 1, GOOD), make_table(120, 1.5, GOOD))
    judge(store)
    commit(store, make_table(180, 2, GOOD))
    judge(store, replace(POLICY, window_duration_ms=HOUR // 4))
    found = [(w.first_seq, (w.started_at_ms - T0) / HOUR, (w.closed_at_ms - T0) / HOUR) for w in windows(store)]
    assert found == [(0, 0.0, 1.0), (60, 1.0, 1.25), (120, 1.5, 1.75), (180, 2.0, 2.25)]


def test_an_unknown_trainer_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(NotFoundError, match="mian"):
        alone(store, judging(store, CLOCK, POLICY, "mian"))
    commit(store, make_table(0, 0, GOOD))
    with store.read() as reader:
        (segment,) = segments.list_for(reader, "comparisons", "main")
    (store.home / segment.path).unlink()
    with pytest.raises(IntegrityError, match="main"):
        judge(store)
    with store.read() as reader:
        assert monitors.get(reader, "main").position == 0


def test_a_memory_that_is_behind_is_not_trusted(tmp_path: Path) -> None:
    store, memory = make_store(tmp_path), Memory()
    commit(store, make_table(0, 0, GOOD))
    judge(store, memory=memory)
    commit(store, make_table(60, 0.2, BAD))
    judge(store)  # somebody else
    commit(store, make_table(120, 1, GOOD))
    judge(store, memory=memory)
    assert [window.n for window in windows(store)] == [120, 60]


def test_only_the_newest_windows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upm_cli.ops.drift.KEEP_WINDOWS", 3)
    store = make_store(tmp_path)
    for hour in range(6):
        commit(store, make_table(60 * hour, hour, GOOD))
        judge(store)
    assert [window.first_seq for window in windows(store)] == [180, 240, 300]


def test_a_trainer_that_was_removed_and_added_again_is_judged_from_its_first_comparison(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    commit(store, make_table(0, 0, GOOD), make_table(60, 1, GOOD))
    judge(store)
    remove(store, "main", actor="me", reason="again")
    assert windows(store) == []
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
    commit(store, make_table(0, 0, BAD), make_table(60, 1, GOOD))
    assert [(window.first_seq, window.verdict) for window in judge(store).closed] == [(0, "fail")]


def plain(rows: list[DriftWindow]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(row) for row in rows]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.lists(st.integers(0, 6), min_size=2, max_size=8),
    seed=st.integers(0, 2**16),
    reads=st.lists(st.sampled_from(["fresh", "memory", "killed", "none"]), min_size=8, max_size=8),
)
def test_windows_are_the_same_however_often_the_monitor_ran_was_killed_or_forgot(
    tmp_path_factory: pytest.TempPathFactory, hours: list[int], seed: int, reads: list[str]
) -> None:
    rng = np.random.default_rng(seed)
    tables, seq = [], 0
    for hour in hours:
        scores = rng.choice([0.05, 0.1, 0.3, np.nan], int(rng.integers(1, 60))).tolist()
        tables.append(make_table(seq, hour, scores))
        seq += len(scores) + int(rng.integers(0, 3))  # rows of the log that were not compared
    policy = replace(POLICY, sample_size=40)

    steady = make_store(tmp_path_factory.mktemp("steady"))
    commit(steady, *tables)
    judge(steady, policy)

    store, memory = make_store(tmp_path_factory.mktemp("shaken")), Memory()
    for table, how in zip(tables, reads, strict=False):
        commit(store, table)
        if how == "memory":
            judge(store, policy, memory=memory)
        elif how == "fresh":
            judge(store, policy)
        elif how == "killed":
            with pytest.raises(KilledError):
                alone(store, judging(store, KillingClock(), policy, "main", memory=memory))
    judge(store, policy, memory=memory)
    assert plain(windows(store)) == plain(windows(steady))
    assert len(quarantine_events(store)) == len(quarantine_events(steady))
    assert ledger_actions(store) == ledger_actions(steady)


class KilledError(Exception):
    """Ends a call inside its unit of work, where the monitor's row is about to be written."""


class KillingClock(FixedClock):
    def now_ms(self) -> int:
        raise KilledError


def test_a_long_backlog_is_judged_in_several_commits_with_the_same_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [make_table(60 * hour, hour, BAD if hour == 5 else GOOD) for hour in range(9)]
    whole, parted = make_store(tmp_path / "whole"), make_store(tmp_path / "parted")
    commit(whole, *parts)
    commit(parted, *parts)
    judge(whole)
    monkeypatch.setattr("upm_cli.ops.drift.ROWS_AT_ONCE", 100)
    calls = 1
    while judge(parted, finish=True).more:
        calls += 1
    assert calls == 5
    assert plain(windows(parted)[:-1]) == plain(windows(whole)[:-1])
    assert [event["drift_window_id"] for event in quarantine_events(parted)] == ["main/300"]
