"""What a collection says of a real state, and of the files beside it: right, only what is known, and read once."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import ManualClock
from upm_cli.config.schema import DriftMonitorSettings, Settings, SupervisorSettings, TelemetrySettings, TrainerSettings
from upm_cli.core.records import DriftStatus, DriftWindow, Segment, Stream, TrainerStatus
from upm_cli.core.window import RowKind, WindowBatch
from upm_cli.errors import InvalidError
from upm_cli.ops import adapter_view, made_up, rollout, supervisor
from upm_cli.ops.metrics.collect import Collector
from upm_cli.ops.trainers import train_lease
from upm_cli.store import (
    compaction,
    drift,
    evidence,
    fsio,
    layout,
    lease,
    ledger,
    log,
    runfiles,
    segments,
    streams,
    telemetry,
    trainers,
)
from upm_cli.store.session import Store
from upm_cli.telemetry.metrics.exposition import Sample, render
from upm_cli.telemetry.points import Point, encode
from upm_cli.testing import open_policy, prove

T0 = 1_800_000_000_000
HOUR = 3_600_000
SETTINGS = Settings(supervisor=SupervisorSettings(default_trainers=(TrainerSettings(name="main"),)))


class Project:
    """A project on a clock that is moved, and its collector."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(T0)
        self.store = Store.create(folder / ".upm", self.clock)
        self.home = self.store.home
        self.settings = SETTINGS
        self.collector = self.new_collector()

    def new_collector(self) -> Collector:
        return Collector(self.store, self.clock, lambda: self.settings)

    def learn(self, name: str = "main") -> int:
        return made_up.learn(self.store, self.clock, self.settings, name)

    def read(self, family: str) -> dict[str, float]:
        """Return the samples of one metric by the values of their labels."""
        samples = self.collector.collect()
        render(samples)  # every one of them is as the table says
        return {
            " ".join([*s.labels.values(), *([s.suffix] if s.suffix else [])]): s.value
            for s in samples
            if s.family == family
        }

    def all(self) -> dict[Any, float]:
        return {sample.key: sample.value for sample in self.collector.collect()}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    found = Project(tmp_path)
    yield found
    found.store.close()


def test_a_project_that_has_done_nothing_tells_zeros_only_of_what_was_counted(project: Project) -> None:
    samples = project.collector.collect()
    known = {sample.family for sample in samples}
    assert project.read("upm_trainers") == {"shadow idle": 1}
    assert project.read("upm_windows_read_total") == {"main": 0}
    assert project.read("upm_quarantines_total") == {"main seed": 0, "main regret": 0, "main evidence": 0}
    assert project.read("upm_snapshots") == {"main": 0}
    assert project.read("upm_drift_threshold") == {"main": 0.2}
    for unknown in (
        "upm_snapshot_created_timestamp_seconds",
        "upm_snapshot_freshness_seconds",
        "upm_training_loss_last",
        "upm_drift_p95",
        "upm_drift_verdict",
        "upm_evidence_verdict",
        "upm_rollout_phase",
        "upm_active_version",
        "upm_stream_watermark_timestamp_seconds",
        "upm_ledger_verified",
        "upm_adapters",
    ):
        assert unknown not in known, unknown
    assert set(project.read("upm_metrics_collect_success").values()) == {1}


def test_snapshots_get_older_as_time_passes(project: Project) -> None:
    project.learn()
    project.clock.advance(90)
    project.learn()
    project.clock.advance(7)
    assert project.read("upm_snapshot_freshness_seconds") == {"main shadow": 7}
    assert project.read("upm_snapshot_created_timestamp_seconds") == {"main shadow": T0 / 1000 + 90}
    assert project.read("upm_snapshots_made_total") == {"main": 2}
    assert project.read("upm_snapshot_version") == {"main": 2}
    project.clock.advance(-1000)
    assert project.read("upm_snapshot_freshness_seconds") == {"main shadow": 0}


def test_windows_are_counted_by_what_became_of_them(project: Project) -> None:
    project.learn()
    stream = Stream(
        name="main", next_seq=1300, read=1400, released=1290, pending=40, duplicate=30, late=20, dead_letter=20,
        late_arrivals=5, early=3, gaps=2, labels_read=9, labels_joined=7, labels_orphan=2, watermark_ms=T0 - 5000,
    )  # fmt: skip
    with project.store.write() as tx:
        streams.put(tx, stream)
        row = trainers.get(tx, "main")
        trainers.put(tx, replace(row, trained=900, unlabelled=80, dead_letter=1, loss_sum=450.0, last_loss=0.25))
        segment = {"kind": "log", "owner": "main", "rows": 650, "size_bytes": 1, "digest": "0" * 64}
        for n, (first, last) in enumerate([(0, 649), (650, 1299)]):
            at_ms = T0 - 60_000 + n * 20_000
            segments.add(tx, Segment(first_seq=first, last_seq=last, path=f"log/{n}", created_at_ms=at_ms, **segment))
    assert project.read("upm_windows_total") == {
        "main trained": 900,
        "main unlabelled": 80,
        "main duplicate": 30,
        "main late": 20,
        "main dead_letter": 21,
    }
    assert project.read("upm_windows_pending") == {"main": 40 + 1290 - 981}
    assert project.read("upm_training_loss") == {"main _sum": 450, "main _count": 900}
    assert project.read("upm_training_loss_last") == {"main": 0.25}
    assert project.read("upm_trainer_lag_rows") == {"main": 300}
    assert project.read("upm_trainer_lag_seconds") == {"main": pytest.approx(40 * (1300 - 1000) / 650, abs=0.001)}
    with project.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), log_position=650))
    assert project.read("upm_trainer_lag_seconds") == {"main": 40}
    with project.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), log_position=325))
    assert project.read("upm_trainer_lag_seconds") == {"main": 50}
    assert project.read("upm_trainer_lag_rows") == {"main": 975}
    with project.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), log_position=1300))
    assert project.read("upm_trainer_lag_seconds") == {"main": 0}
    assert project.read("upm_replay_buffer_windows") == {"main": 40}
    assert project.read("upm_replay_buffer_limit_windows") == {"": 1000}
    assert project.read("upm_stream_labels_total") == {"main joined": 7, "main orphan": 2}
    assert project.read("upm_stream_watermark_timestamp_seconds") == {"main": T0 / 1000 - 5}


def test_merging_segments_does_not_make_what_waits_look_younger(project: Project) -> None:
    project.learn()
    with project.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), log_position=0))
        streams.put(tx, Stream(name="main", next_seq=10))
    for seq in range(10):
        segment = log.write(
            project.home, "main", WindowBatch.empty(1, RowKind.CUT), first_seq=seq, created_at_ms=project.clock.now_ms()
        )
        with project.store.write() as tx:
            segments.add(tx, segment)
        project.clock.advance(30)
    assert project.read("upm_trainer_lag_seconds") == {"main": 300}
    assert len(compaction.compact(project.store, "log", "main")) == 1
    project.clock.advance(5)
    assert project.read("upm_trainer_lag_seconds") == {"main": 305}


def window(seq: int, end_ms: int, scores: list[float], *, threshold: float = 0.2, **more: Any) -> DriftWindow:
    """Return the record of a judged drift window with these scores."""
    values = np.sort(np.array(scores))
    stats = {"scores": len(scores), "exceed": float((values >= threshold).mean())}
    fields = {
        "trainer": "main",
        "window_id": f"main/{seq}",
        "version": None,
        "started_at_ms": end_ms - HOUR,
        "closed_at_ms": end_ms,
        "status": DriftStatus.CLOSED,
        "verdict": "pass",
        "threshold": threshold,
        "n": len(scores),
        "mean": float(values.mean()),
        "p95": float(values[95 * len(scores) // 100]),
        "max": float(values[-1]),
        "first_seq": seq,
        "last_seq": seq + len(scores) - 1,
        "metadata": {"rule": "seed", "seed": stats},
    }
    return DriftWindow(**{**fields, **more})


def test_drift_is_told_of_the_last_hour_and_day_of_event_time(project: Project) -> None:
    project.learn()
    end_ms = T0 - 30 * 24 * HOUR
    rows = [
        window(0, end_ms - 25 * HOUR, [9.0] * 100),
        window(100, end_ms - 3 * HOUR, [0.01] * 90 + [0.5] * 10),
        window(200, end_ms, [0.01] * 97 + [0.3] * 3, threshold=0.25),
        window(300, end_ms + HOUR, [5.0] * 10, verdict="unknown"),
    ]
    with project.store.write() as tx:
        drift.put_all(tx, rows)
    assert project.read("upm_drift_samples") == {"main 1h": 100, "main 24h": 200}
    assert project.read("upm_drift_max") == {"main 1h": 0.3, "main 24h": 0.5}
    p95 = project.read("upm_drift_p95")
    assert p95["main 1h"] == 0.01
    assert 0.01 <= p95["main 24h"] <= 0.5
    assert project.read("upm_drift_mean")["main 1h"] == pytest.approx((97 * 0.01 + 3 * 0.3) / 100)
    assert project.read("upm_drift_threshold") == {"main": 0.25}
    assert project.read("upm_drift_verdict") == {"main pass": 0, "main fail": 0, "main unknown": 1}
    assert project.read("upm_drift_window_end_timestamp_seconds") == {"main": (end_ms + HOUR) / 1000}


def test_a_rollout_its_evidence_and_the_way_back_are_told(project: Project) -> None:
    project.settings = open_policy(SETTINGS, fsio.os_user())
    for _ in range(2):
        project.learn()
    made_up.quiet_window(project.store, project.clock, "main", 0.2)
    made_up.serve(project.store, project.clock, "main", 1)
    prove(project.store, project.clock, "main", verdict="unknown", windows=70)
    rollout.start(project.store, project.clock, project.settings, "main", actor=fsio.os_user(), reason="go")
    assert project.read("upm_active_version") == {"main global": 1}
    assert project.read("upm_active_tenants_ratio") == {"main global": 1}
    assert project.read("upm_evidence_verdict") == {
        "main lineage pass": 0,
        "main lineage fail": 0,
        "main lineage unknown": 1,
    }
    assert project.read("upm_evidence_windows") == {"main lineage": 70}
    assert project.read("upm_evidence_judged_timestamp_seconds") == {"main lineage": T0 / 1000}
    phases = project.read("upm_rollout_phase")
    assert {phase for phase, holds in phases.items() if holds} == {"main progressing"}
    assert len(phases) == 6
    assert project.read("upm_rollout_stage") == {"main": 0}
    assert project.read("upm_rollout_tenants_ratio") == {"main": 0}
    assert project.read("upm_rollouts_total") == {"main": 1}
    assert project.read("upm_trainer_epoch") == {"main": 1}
    assert project.read("upm_rollbacks_total") == {"main automatic": 0, "main person": 0}


def test_evidence_is_as_old_as_its_last_window_not_as_its_row(project: Project) -> None:
    project.learn()
    found = prove(project.store, project.clock, "main", windows=70)
    with project.store.write() as tx:
        evidence.put(tx, replace(found, findings={**found.findings, "judged_at_ms": T0 - 9000}))
        evidence.put(tx, replace(found, kind="candidate", windows=0))
    assert project.read("upm_evidence_judged_timestamp_seconds") == {"main lineage": T0 / 1000 - 9}


def entry(project: Project, action: str, subject: str, actor: str, **details: Any) -> None:
    with project.store.write(actor=actor) as tx:
        tx.ledger(action, subject, **details)


def test_quarantines_and_rollbacks_are_counted_from_the_ledger_each_once(project: Project) -> None:
    project.learn()
    entry(project, "drift.quarantine", "main", "drift-monitor", rule="seed")
    entry(project, "snapshot.rollback", "main@2", "drift-monitor")
    assert project.read("upm_rollbacks_total") == {"main automatic": 1, "main person": 0}
    entry(project, "drift.quarantine", "main", "drift-monitor", rule="regret")
    entry(project, "evidence.quarantine", "main", "drift-monitor")
    entry(project, "snapshot.activate", "main@2", "ann")
    entry(project, "rollout.withdraw", "main@3", "ann")
    counted = {"main seed": 1, "main regret": 1, "main evidence": 1}
    assert project.read("upm_quarantines_total") == counted
    assert project.read("upm_rollbacks_total") == {"main automatic": 1, "main person": 1}
    assert project.read("upm_quarantines_total") == counted
    assert project.read("upm_ledger_entries_total") == {"": 6}
    project.collector = project.new_collector()
    assert project.read("upm_quarantines_total") == counted


def test_a_ledger_that_went_back_is_counted_anew(project: Project) -> None:
    project.learn()
    entry(project, "drift.quarantine", "main", "drift-monitor", rule="seed")
    with project.store.read() as reader:
        before = reader.meta.ledger
    entry(project, "drift.quarantine", "main", "drift-monitor", rule="seed")
    with project.store.read() as reader:
        after = reader.meta.ledger
    wanted = ("drift.quarantine",)
    assert len(ledger.since(project.home, ledger.Head(), after, wanted) or []) == 2
    assert len(ledger.since(project.home, before, after, wanted) or []) == 1
    assert ledger.since(project.home, after, after, wanted) == []
    assert ledger.since(project.home, after, before, wanted) is None
    assert ledger.since(project.home, replace(before, hash="0" * 64), after, wanted) is None
    assert ledger.since(project.home, replace(after, hash="0" * 64), after, wanted) is None
    assert ledger.since(project.home, before, after, ("snapshot.rollback",)) == []
    assert project.read("upm_quarantines_total")["main seed"] == 2
    project.collector._ledger.head = replace(after, hash="0" * 64)
    assert project.read("upm_quarantines_total")["main seed"] == 2


def test_whether_the_ledger_is_whole_is_told_with_the_time_of_the_check(project: Project) -> None:
    entry(project, "snapshot.activate", "main@1", "ann")
    assert project.read("upm_ledger_verified") == {}
    project.collector.check_ledger()
    project.clock.advance(60)
    assert project.read("upm_ledger_verified") == {"": 1}
    assert project.read("upm_ledger_verified_timestamp_seconds") == {"": T0 / 1000}
    path = project.home / layout.LEDGER
    path.write_bytes(path.read_bytes().replace(b'"ann"', b'"eve"'))
    assert project.read("upm_ledger_verified") == {"": 1}
    project.collector.check_ledger()
    assert project.read("upm_ledger_verified") == {"": 0}
    assert project.read("upm_ledger_verified_timestamp_seconds") == {"": T0 / 1000 + 60}


def test_a_ledger_that_is_too_broken_to_be_counted_is_still_told_to_be_broken(project: Project) -> None:
    entry(project, "drift.quarantine", "main", "drift-monitor", rule="seed")
    path = project.home / layout.LEDGER
    path.write_bytes(path.read_bytes().replace(b'"rule":"seed"', b'"rule": seed"'))
    project.collector.check_ledger()
    assert project.read("upm_ledger_verified") == {"": 0}
    assert project.read("upm_metrics_collect_success")["ledger"] == 0
    assert project.read("upm_quarantines_total") == {}


def sync(project: Project, *points: Point) -> None:
    telemetry.append(project.home, "adapter-sync-sync", project.clock.now_ms(), encode(points))


def success(count: int) -> Point:
    measured = {"adapter_id": "edge", "snapshot_id": "main@4", "duration_ms": 100.0 * count}
    return Point(name="upm.adapter.sync.success", at_ms=T0, measurements=measured, count=count)


def test_telemetry_is_read_once_and_its_sums_outlive_its_files(project: Project) -> None:
    project.learn()
    sync(project, success(2))
    assert project.read("upm_adapter_sync_successes_total") == {"main": 2}
    sync(project, success(3))
    with (project.home / "telemetry" / "2027-01-15-other.jsonl").open("wb") as file:
        file.write(encode([success(4)]) + b'{"name":"upm.adap')
    assert project.read("upm_adapter_sync_successes_total") == {"main": 9}
    for path in telemetry.files(project.home):
        path.unlink()
    assert project.read("upm_adapter_sync_successes_total") == {"main": 9}
    project.collector = project.new_collector()
    assert project.read("upm_adapter_sync_duration_seconds") == {"main _sum": 0.9, "main _count": 9}
    project.clock.advance(86_400)
    sync(project, success(1))
    assert project.read("upm_adapter_sync_successes_total") == {"main": 10}


def test_a_telemetry_file_that_was_cut_is_read_from_its_new_end(project: Project) -> None:
    project.learn()
    sync(project, success(2), success(3))
    assert project.read("upm_adapter_sync_successes_total") == {"main": 5}
    (path,) = telemetry.files(project.home)
    path.write_bytes(b"")
    sync(project, success(1))
    assert project.read("upm_adapter_sync_successes_total") == {"main": 5}
    sync(project, success(1), success(1), success(1))
    assert project.read("upm_adapter_sync_successes_total")["main"] > 5


@pytest.mark.parametrize("kept", [b"{broken", b"[]", b'{"files": [1], "totals": 3}', b'{"files": {}, "totals": [1]}'])
def test_sums_that_can_not_be_read_begin_again(project: Project, kept: bytes) -> None:
    sync(project, success(2))
    (project.home / telemetry.FOLDER / telemetry.TOTALS).write_bytes(kept)
    project.collector = project.new_collector()
    assert project.read("upm_adapter_sync_successes_total") == {"main": 2}


def test_without_telemetry_its_counters_are_not_there(project: Project) -> None:
    project.learn()
    sync(project, success(2))
    project.settings = replace(SETTINGS, telemetry=TelemetrySettings(enabled=False))
    assert project.read("upm_adapter_sync_successes_total") == {}
    assert project.read("upm_drift_windows_judged_total") == {}


def test_workers_are_told_by_their_lease_and_their_last_word(project: Project) -> None:
    project.learn()
    status = {"lease": "trainer-main", "pid": 1, "state": "training", "at_ms": T0 - 4000, "done": 5, "rate": 12.5}
    runfiles.write_status(project.home, "trainer-main", {**status, "trainer": "main", "restarts": 2})
    runfiles.write_status(project.home, "ingest-main", {"lease": "ingest-main", "state": "failed", "stream": "main"})
    runfiles.write_status(
        project.home, "adapter-sync-sync", {"lease": "no such/lease", "state": "\x1b[2J", "at_ms": "x"}
    )
    (project.home / layout.RUN / "broken.json").write_text("{")
    with lease.acquire(project.home, "trainer-main", "test"):
        assert project.read("upm_worker_up") == {
            "adapter-sync-sync adapter-sync": 0,
            "ingest-main ingest": 0,
            "trainer-main trainer": 1,
        }
        assert project.read("upm_trainer_windows_per_second") == {"main": 12.5}
        resident = project.read("upm_worker_resident_memory_bytes")
        assert list(resident) == ["trainer-main trainer"]
        assert 1e6 < resident["trainer-main trainer"] < 1e11
    assert project.read("upm_worker_state") == {
        "adapter-sync-sync adapter-sync other": 1,
        "ingest-main ingest failed": 1,
        "trainer-main trainer training": 1,
    }
    assert project.read("upm_worker_status_timestamp_seconds") == {"trainer-main trainer": T0 / 1000 - 4}
    assert project.read("upm_worker_restarts_total") == {"trainer-main trainer": 2}
    assert project.read("upm_trainer_windows_per_second") == {}


@dataclass(frozen=True)
class Process:
    """One process, as ops.supervisor reports it."""

    name: str
    state: str
    restarts: int
    pid: int | None = 4711
    rss_bytes: int | None = 5_000_000
    jobs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    state: str
    workers: list[Process]


def test_a_supervisor_knows_restarts_and_who_gave_up(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.learn()
    report = Report(
        "running",
        [
            Process("trainer-main", "running", 2, jobs={"trainer-main": {"state": "running", "restarts": 1}}),
            Process("pool-1", "running", 0, jobs={"drift-main": {"state": "backoff", "restarts": 7}}),
            Process("ingest-main", "fatal", 3, pid=None, rss_bytes=None),
        ],
    )
    monkeypatch.setattr(supervisor, "report", lambda _: report)
    for name in ("trainer-main", "drift-main", "ingest-main"):
        runfiles.write_status(project.home, name, {"lease": name, "state": "training", "at_ms": T0})
    with lease.acquire(project.home, "trainer-main", "test"), lease.acquire(project.home, "drift-main", "test"):
        assert project.read("upm_worker_up") == {
            "drift-main drift": 1,
            "ingest-main ingest": 0,
            "pool-1 pool": 1,
            "supervisor supervisor": 1,
            "trainer-main trainer": 1,
        }
        assert set(project.read("upm_worker_state")) == {
            "drift-main drift backoff",
            "ingest-main ingest fatal",
            "pool-1 pool running",
            "supervisor supervisor running",
            "trainer-main trainer training",
        }
        assert project.read("upm_worker_restarts_total") == {
            "drift-main drift": 7,
            "ingest-main ingest": 3,
            "pool-1 pool": 0,
            "supervisor supervisor": 0,
            "trainer-main trainer": 3,
        }
        resident = {"pool-1 pool": 5_000_000, "trainer-main trainer": 5_000_000}
        assert project.read("upm_worker_resident_memory_bytes") == resident


def test_a_running_ingest_worker_knows_its_buffer_better_than_the_state(project: Project) -> None:
    project.learn()
    with project.store.write() as tx:
        streams.put(tx, Stream(name="main", pending=3, read=3))
    runfiles.write_status(project.home, "ingest-main", {"lease": "ingest-main", "stream": "main", "buffer": 44})
    assert project.read("upm_replay_buffer_windows") == {"main": 3}
    with lease.acquire(project.home, "ingest-main", "test"):
        assert project.read("upm_replay_buffer_windows") == {"main": 44}
        assert project.read("upm_windows_pending") == {"main": 3}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"desired": "pause"}, "paused"),
        ({"status": TrainerStatus.ERRORED}, "errored"),
        ({}, "idle"),
    ],
)
def test_the_state_of_a_trainer_is_that_of_upm_status(project: Project, change: dict[str, Any], state: str) -> None:
    project.learn()
    with project.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), **change))
    assert {name for name, holds in project.read("upm_trainer_state").items() if holds} == {f"main {state}"}
    assert project.read("upm_trainers") == {f"shadow {state}": 1}


def test_a_trainer_that_somebody_trains_is_training(project: Project) -> None:
    project.learn()
    with lease.acquire(project.home, train_lease("main"), "test"):
        assert project.read("upm_trainers") == {"shadow training": 1}


def test_a_trainer_that_serves_what_is_barred_is_quarantined(project: Project) -> None:
    from upm_cli.store import snapshots

    version = project.learn()
    made_up.serve(project.store, project.clock, "main", version)
    with project.store.write() as tx:
        snapshots.put(tx, replace(snapshots.get(tx, "main", version), quarantined=True))
    assert project.read("upm_trainers") == {"active quarantined": 1}
    assert project.read("upm_snapshots_quarantined") == {"main": 1}


OVERVIEW = {
    "total": 5,
    "by_status": {"pending": 0, "syncing": 0, "synced": 3, "errored": 2},
    "success_rate": {"value": 0.9, "ok": 9, "attempts": 10, "slo": 0.995, "since_ms": T0},
    "adapters": [
        {"trainer": "main", "status": status, "lag_versions": lag}
        for status, lag in [("synced", 0), ("synced", 0), ("synced", 1), ("errored", 7), ("errored", None)]
    ],
}


def test_adapters_are_counted_by_status_and_by_how_far_they_are_behind(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_view, "overview", lambda *_: OVERVIEW)
    assert project.read("upm_adapters") == {"main pending": 0, "main syncing": 0, "main synced": 3, "main errored": 2}
    behind = {"main 0": 2, "main 1": 1, "main 2": 0, "main 3+": 1, "main unknown": 1}
    assert project.read("upm_adapters_behind") == behind
    assert project.read("upm_adapter_sync_success_ratio") == {"": 0.9}
    assert project.read("upm_adapter_sync_objective_ratio") == {"": 0.995}
    assert project.read("upm_adapter_sync_failures_total") == {"main": 0}
    nothing = {**OVERVIEW, "success_rate": {**OVERVIEW["success_rate"], "value": None}, "adapters": []}  # type: ignore[dict-item]
    monkeypatch.setattr(adapter_view, "overview", lambda *_: nothing)
    assert project.read("upm_adapter_sync_success_ratio") == {}
    assert project.read("upm_adapters") == {}


def test_the_machine_and_the_exporter_are_told(project: Project) -> None:
    free, size = project.read("upm_disk_free_bytes"), project.read("upm_disk_size_bytes")
    assert list(free) == list(size) == ["state", "snapshots"]
    assert 0 < free["state"] < size["state"] == os.statvfs(project.home).f_blocks * os.statvfs(project.home).f_frsize
    assert project.read("upm_state_size_bytes") == {"": (project.home / layout.STATE).stat().st_size}
    assert project.read("upm_metrics_collected_timestamp_seconds") == {"": T0 / 1000}
    (labels,) = project.read("upm_build_info")
    assert labels.startswith("0.") or labels[0].isdigit()
    assert project.read("upm_metrics_collect_duration_seconds")["_count"] >= 5


def test_the_state_is_read_again_only_when_it_has_changed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from upm_cli.store import metrics

    reads: list[int] = []
    read = metrics.read
    monkeypatch.setattr(metrics, "read", lambda reader: reads.append(1) or read(reader))
    for _ in range(3):
        project.collector.collect()
    assert len(reads) == 1
    project.learn()
    project.clock.advance(5)
    assert project.read("upm_snapshot_freshness_seconds") == {"main shadow": 5}
    assert len(reads) == 2


def test_a_part_that_can_not_be_read_is_left_out_and_told(project: Project) -> None:
    project.learn()
    state = project.home / layout.STATE
    state.rename(state.with_suffix(".gone"))
    found = project.read("upm_metrics_collect_success")
    assert {part for part, well in found.items() if not well} == {"state", "adapters", "ledger", "telemetry", "machine"}
    assert project.collector.problems["state"].code == "UPM-E091"
    assert project.read("upm_windows_read_total") == {}
    state.with_suffix(".gone").rename(state)
    assert set(project.read("upm_metrics_collect_success").values()) == {1}
    assert project.read("upm_windows_read_total") == {"main": 0}


def test_settings_that_are_not_valid_any_more_leave_the_last_good_ones_in_force(project: Project) -> None:
    def broken() -> Settings:
        raise InvalidError("upm.yaml is not valid")

    project.settings = replace(SETTINGS, drift_monitor=DriftMonitorSettings(drift_threshold=0.4))
    assert project.read("upm_drift_threshold") == {"main": 0.4}
    project.collector._reload = broken
    assert project.read("upm_drift_threshold") == {"main": 0.4}
    assert project.read("upm_metrics_collect_success")["settings"] == 0


def test_very_many_trainers_are_told_as_a_hundred(project: Project) -> None:
    with project.store.write() as tx:
        first = trainers.find(tx, "main")
        assert first is None
    for n in range(2):
        project.learn(f"t{n:03d}")
    with project.store.write() as tx:
        row = trainers.get(tx, "t000")
        for n in range(2, 120):
            trainers.put(tx, replace(row, name=f"t{n:03d}", trained=1))
    made = project.read("upm_training_loss")
    names = {key.split()[0] for key in made}
    assert len(names) == 100
    assert {"main", "t000", "other"} <= names
    assert made["other _count"] == 121 - 99


def test_no_sample_is_told_twice_and_all_are_finite(project: Project) -> None:
    project.learn()
    samples = project.collector.collect()
    assert len({sample.key for sample in samples}) == len(samples)
    assert all(isinstance(sample, Sample) for sample in samples)
