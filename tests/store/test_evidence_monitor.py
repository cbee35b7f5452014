"""Contests over real state: who is scored on what, what follows from a failure, and the same findings however read."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.config.schema import (
    DriftMonitorSettings,
    EvidenceSettings,
    LearnerSettings,
    Settings,
    TrainerWorkerSettings,
)
from upm_cli.core.decision import recompute
from upm_cli.core.event import EVENTS
from upm_cli.core.plain import to_plain
from upm_cli.core.predict import model_predict
from upm_cli.core.records import Activation, Evidence, Mode, Monitor, Ring, RolloutRow, SourcePosition
from upm_cli.core.replay import ReplayPolicy
from upm_cli.core.window import LabelKind, RowKind
from upm_cli.ops import comparisons
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops import trainers as trainer_ops
from upm_cli.ops.drift import Judged, Memory, judging
from upm_cli.ops.evidence import current
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.keeping import release
from upm_cli.ops.training import TrainingSession
from upm_cli.sources.base import Chunk
from upm_cli.sources.decoder import Decoder
from upm_cli.store import activations, collect, ledger, log, monitors, outbox, rollouts, snapshots, trainers
from upm_cli.store.session import Store
from upm_cli.store.together import alone
from upm_cli.telemetry.points import Recorder

POLICY = ReplayPolicy(release_delay_ms=0, late_window_tolerance_ms=10**12, max_buffer_size=10_000)
HOUR = 3_600_000


@dataclass
class FixedClock:
    ms: int = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def era(self) -> str:
        return "test"

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


CLOCK = FixedClock()


def make_settings(**more: Any) -> Settings:
    monitor = {"sample_size": 10**6, **more.pop("monitor", {})}
    return Settings(
        trainer_worker=TrainerWorkerSettings(snapshot_interval=200, batch_size=20),
        learner=LearnerSettings(task=more.pop("task", "binary"), bits=8),
        drift_monitor=DriftMonitorSettings(**monitor),
        evidence=EvidenceSettings(**{"block_size": 20, **more}),
    )


@dataclass
class Project:
    """One trainer with its log, its training and its monitor, all in this process."""

    store: Store
    settings: Settings
    fed: int = 0
    memory: Memory = field(default_factory=Memory)
    tenants: int = 4

    def window(self, i: int, *, flip: bool = False, bare: bool = False, every_ms: int = 1000) -> dict[str, Any]:
        chance = np.random.default_rng(i)
        x = float(chance.normal())
        found: dict[str, Any] = {
            "window_id": f"w{i}",
            "window_start": i * every_ms,
            "window_end": i * every_ms + 999,
            "tenant_id": f"t{i % self.tenants}",
            "features": {"x": round(x, 3)},
        }
        return found if bare else {**found, "label": self.truth(i, flip=flip)}

    def truth(self, i: int, *, flip: bool = False) -> int:
        chance = np.random.default_rng(i)
        is_one = bool(chance.normal() + 0.3 * chance.normal() > 0)
        return int(is_one != flip)

    def feed(self, count: int, *, train: bool = True, **more: Any) -> None:
        """Ingest the next windows and learn from them."""
        self.events([self.window(self.fed + i, **more) for i in range(count)], train=train)
        self.fed += count

    def events(self, events: Sequence[dict[str, Any]], *, train: bool = True) -> None:
        session = IngestSession.open(self.store, CLOCK, POLICY, "main")
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        chunk = Chunk(data, 0, SourcePosition(stream="main", key="file", path="in.jsonl", offset=len(data)), "in.jsonl")
        session.take(Decoder(session.known_names()).decode(chunk), chunk)
        session.end_input()
        session.commit()
        if train:
            self.train()

    def train(self) -> None:
        session = TrainingSession.open(self.store, CLOCK, self.settings, "main", Recorder(CLOCK.now_ms()))
        while session.step():
            if session.must_commit:
                session.commit()
        session.close()

    def judge(self, *, anew: bool = False) -> Judged:
        """Let the monitor look until there is nothing more; `anew`: as a process that was just started."""
        memory = Memory() if anew else self.memory
        while True:
            steps = judging(
                self.store, CLOCK, self.settings.drift_monitor, "main", memory=memory, contests=self.settings
            )
            judged = alone(self.store, steps)
            if not judged.more:
                return judged

    def activate(self, version: int, ring: Ring = Ring.GLOBAL, percent: int = 100, rest: int | None = None) -> None:
        with self.store.write() as tx:
            trainer = trainers.get(tx, "main")
            activations.append(
                tx,
                Activation(
                    trainer="main", ring=ring, epoch=trainer.epoch + 1, version=version, previous_version=None,
                    percent=percent, kind="activate", decision_id=f"d{trainer.epoch}", actor="me", reason="",
                    at_ms=CLOCK.ms, rest_version=rest,
                ),
            )  # fmt: skip
            trainers.put(tx, replace(trainer, epoch=trainer.epoch + 1))

    def put_rollout(
        self, version: int | None, champion: int | None, stage: int, since_seq: int, number: int = 1
    ) -> None:
        with self.store.write() as tx:
            rollouts.put(
                tx,
                RolloutRow(
                    rollout_id=f"r{number}", trainer="main", number=number, phase="progressing", version=version,
                    champion=champion, stage=stage, state={"since_seq": since_seq}, actor="me", reason="",
                    started_at_ms=CLOCK.ms, updated_at_ms=CLOCK.ms,
                ),
            )  # fmt: skip

    @property
    def evidence(self) -> dict[str, Evidence]:
        with self.store.read() as reader:
            return current(reader, "main")

    @property
    def lineage(self) -> Evidence:
        return self.evidence["lineage"]

    @property
    def candidate(self) -> Evidence:
        return self.evidence["candidate"]

    @property
    def monitor(self) -> Monitor:
        with self.store.read() as reader:
            return monitors.get(reader, "main")

    @property
    def versions(self) -> list[int]:
        with self.store.read() as reader:
            return [row.version for row in snapshots.list_for(reader, "main")]

    @property
    def barred(self) -> list[int]:
        with self.store.read() as reader:
            return [row.version for row in snapshots.list_for(reader, "main") if row.quarantined]

    def told(self, type_: str) -> list[dict[str, Any]]:
        with self.store.read() as reader:
            return [dict(event.data) for event in outbox.after(reader) if event.type == type_]

    def decisions(self, kind: str) -> list[dict[str, Any]]:
        return [entry["details"] for entry in ledger.read(self.store.home) if entry["action"] == kind]

    def snapshot_file(self, version: int) -> Path:
        with self.store.read() as reader:
            return self.store.home / snapshots.get(reader, "main", version).path

    def slow_losses(self, version: int) -> dict[int, float]:
        """Brier of a snapshot on every labelled row of the log, one row after the other."""
        with self.store.read() as reader:
            arrays, manifest = snapshot_ops.load(self.store.home, snapshots.get(reader, "main", version))
        found = {}
        for first, batch in log.follow(self.store, "main", 0):
            for at in range(len(batch)):
                if batch.kind[at] <= RowKind.LABEL and batch.label_kind[at] != LabelKind.NONE:
                    p = float(model_predict(arrays, manifest, batch.x.slice(at, at + 1))[0, 0])
                    found[first + at] = (p - float(batch.label_value[at])) ** 2
        return found

    def prequential(self) -> dict[int, tuple[float, float]]:
        """Brier of the lineage and of the base rate on every compared row."""
        return {
            seq: (float(brier), float(base))
            for table in comparisons.follow(self.store, "main")
            for seq, brier, base in zip(table.seq.tolist(), table.brier, table.base_brier, strict=True)
        }


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    stores: list[Store] = []

    def new(**more: Any) -> Project:
        store = Store.create(tmp_path / f"home-{len(stores)}" / ".upm", CLOCK)
        stores.append(store)
        trainer_ops.add(store, CLOCK, "main", mode=Mode.SHADOW, actor="tester")
        return Project(store, make_settings(**more))

    yield new
    for store in stores:
        store.close()


def test_with_nothing_live_the_lineage_is_held_against_the_base_rate_from_the_first_window_on(
    make: Callable[..., Project],
) -> None:
    project = make()
    project.feed(1500)
    project.judge()
    row = project.lineage
    assert (row.contest_id, row.challenger, row.champion) == ("lineage/baseline/lineage/0", None, None)
    assert set(project.evidence) == {"lineage"}
    each = project.prequential()
    assert (row.windows, row.first_seq, row.last_seq) == (1500, 0, max(each))
    assert row.findings["mean"] == pytest.approx(np.mean([ours - base for ours, base in each.values()]), rel=1e-9)
    assert row.verdict == "pass"
    assert row.findings["gate"]["high"] < 0.01
    assert row.findings["labels"] == {
        "windows": 1500, "labelled": 1500, "share": 1.0, "needed": 0.95, "young": 0,
    }  # fmt: skip
    assert row.findings["tenant_names"] == ["t0", "t1", "t2", "t3"]
    assert "challenger lineage against the baseline: pass | mean excess -0." in row.findings["headline"]
    assert project.monitor.position == 1502  # behind the marks of the end
    (told,) = project.told("ai.upm.evidence.verdict")
    assert EVENTS["ai.upm.evidence.verdict"].problems(told) == []


def test_few_windows_are_unknown_and_say_about_how_many_more_are_needed(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(60)
    project.judge()
    row = project.lineage
    assert row.verdict == "unknown"
    assert row.findings["gate"]["needed"] > 0
    assert "more windows needed" in row.findings["headline"]
    assert project.told("ai.upm.evidence.verdict") == []


def test_the_lineage_is_held_against_the_live_version_on_windows_that_came_after(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(600)
    project.judge()
    project.activate(1)
    opened = project.monitor.position
    project.feed(500)
    project.judge()
    row = project.lineage
    assert (row.champion, row.contest_id) == (1, f"lineage/1/lineage/{opened}")
    champion, lineage = project.slow_losses(1), project.prequential()
    expected = [ours - champion[seq] for seq, (ours, _) in lineage.items() if seq >= opened]
    assert row.findings["windows"] == len(expected) == 500
    assert row.findings["mean"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_candidate_is_held_against_what_the_others_get_on_windows_neither_has_learned_from(
    make: Callable[..., Project],
) -> None:
    project = make()
    project.feed(200)
    project.feed(200, flip=True)
    assert project.versions == [1, 2]
    project.activate(1)
    project.activate(2, Ring.CANARY, percent=10)
    project.feed(400)
    project.judge()
    row = project.candidate
    with project.store.read() as reader:
        first = snapshots.get(reader, "main", 2).last_seq + 1
    assert row.contest_id == f"candidate/1/2/{first}"
    assert project.lineage.champion == 1
    one, two = project.slow_losses(1), project.slow_losses(2)
    expected = [two[seq] - one[seq] for seq in one if seq >= first]
    assert row.findings["windows"] == len(expected) == 400
    assert row.findings["mean"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_harmful_candidate_fails_and_is_barred_alone(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(200)
    project.feed(400, flip=True)
    bad = project.versions[-1]
    project.activate(1)
    project.activate(bad, Ring.CANARY, percent=10)
    project.feed(400)
    project.judge()
    row = project.candidate
    assert row.verdict == "fail"
    assert project.barred == [bad]
    assert row.findings["barred"] == [bad]
    (told,) = project.told("ai.upm.drift.quarantine")
    assert EVENTS["ai.upm.drift.quarantine"].problems(told) == []
    assert (told["rule"], told["recommendation"]) == ("evidence", "rollback")
    assert (told["snapshot_ids"], told["contest_id"]) == ([f"main@{bad}"], row.contest_id)
    with project.store.read() as reader:
        why = snapshots.get(reader, "main", bad).quarantine_reason
    assert why is not None
    assert f"candidate v{bad} against v1: fail | mean excess +0." in why
    project.feed(200)
    project.judge()
    assert len(project.told("ai.upm.drift.quarantine")) == 1  # told once
    assert project.candidate.verdict == "fail"


def test_what_contests_decided_can_be_worked_out_again(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(200)
    project.feed(400, flip=True)
    project.activate(1)
    project.activate(project.versions[-1], Ring.CANARY, percent=10)
    for _ in range(4):
        project.feed(150)
        project.judge()
    found = 0
    for kind in ("evidence.verdict", "evidence.quarantine"):
        for details in project.decisions(kind):
            assert recompute(kind, details["inputs"]) == to_plain(details["outcome"])
            found += 1
    assert found >= 2


def test_the_seed_rule_alone_leaves_what_evidence_found_unpunished(make: Callable[..., Project]) -> None:
    project = make(monitor={"rule": "seed"})
    project.feed(200)
    project.feed(400, flip=True)
    project.activate(1)
    project.activate(project.versions[-1], Ring.CANARY, percent=10)
    project.feed(400)
    project.judge()
    assert project.candidate.verdict == "fail"
    assert project.barred == []
    assert project.told("ai.upm.drift.quarantine") == []


def test_the_evidence_rule_alone_reports_failing_windows_without_quarantine(make: Callable[..., Project]) -> None:
    for rule, expected in (("both", "quarantined"), ("evidence", "open")):
        project = make(task="regression", monitor={"rule": rule, "sample_size": 50, "drift_threshold": 1e-6})
        project.settings = replace(project.settings, evidence=replace(project.settings.evidence, loss_scale=1.0))
        project.feed(100)
        alone(project.store, judging(project.store, CLOCK, project.settings.drift_monitor, "main", finish=True))
        with project.store.read() as reader:
            (window,) = reader.query("drift.newest", trainer="main", limit=1)
        assert (window["verdict"], window["status"]) == ("fail", expected)


def test_a_lineage_that_fails_bars_what_it_learned_while_it_was_bad_and_not_the_champion(
    make: Callable[..., Project],
) -> None:
    project = make()
    for _ in range(4):
        project.feed(200)
    project.activate(4)
    project.judge()
    project.feed(200)
    harm_begins = project.lineage.findings["from_seq"] + 200
    for _ in range(8):
        project.feed(150, flip=True)
        project.feed(150)  # what it learned just before is wrong here
        project.judge()
    row = project.lineage
    assert row.verdict == "fail"
    assert row.findings["exceedance"]["verdict"] == "fail"
    assert "the share of bad scores rose above what is allowed" in row.findings["headline"]
    assert row.findings["exceedance"]["alarm_seq"] > row.findings["doubt_from"] >= harm_begins - 20
    with project.store.read() as reader:
        rows = snapshots.list_for(reader, "main")
    expected = [s.version for s in rows if s.first_seq <= row.last_seq and s.last_seq >= row.findings["doubt_from"]]
    assert project.barred == expected
    assert not {1, 2, 3, 4, 5} & set(expected)
    (told,) = project.told("ai.upm.drift.quarantine")
    assert told["recommendation"] == "pause"  # v4 serves and is good: there is nothing to go back from


def test_a_champion_that_cannot_be_read_is_unknown_with_the_reason_and_the_contest_begins_anew_when_it_can(
    make: Callable[..., Project],
) -> None:
    project = make()
    project.feed(400)
    project.activate(1)
    path = project.snapshot_file(1)
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    project.feed(600)
    project.judge(anew=True)
    row = project.lineage
    assert row.verdict == "unknown"
    assert "can't be scored" in row.findings["headline"]
    assert row.findings["windows"] == 0
    path.write_bytes(good)
    project.feed(600)
    project.judge(anew=True)
    again = project.lineage
    assert again.contest_id != row.contest_id
    assert again.findings["windows"] == 600
    assert again.findings["broken"] is None


def test_a_deleted_champion_never_passes(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(400)
    project.activate(1)
    project.feed(600)
    with project.store.write() as tx:
        snapshots.remove(tx, "main", 1)
    project.judge(anew=True)
    assert project.lineage.verdict == "unknown"
    assert "main@1 is gone" in project.lineage.findings["headline"]


def test_releasing_what_a_contest_barred_begins_it_anew(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(200)
    project.feed(400, flip=True)
    bad = project.versions[-1]
    project.activate(1)
    project.activate(bad, Ring.CANARY, percent=10)
    project.feed(400)
    project.judge()
    failed = project.candidate
    release(project.store, CLOCK, "main", str(bad), actor="me", reason="the labels were wrong")
    project.judge()
    row = project.candidate
    assert (failed.verdict, row.verdict) == ("fail", "unknown")
    assert row.contest_id == f"candidate/1/{bad}/{project.monitor.position}"
    assert project.barred == []


def test_reading_after_every_commit_or_all_at_once_gives_the_same_bytes(make: Callable[..., Project]) -> None:
    often, once = make(), make()
    for count in (130, 7, 400, 1, 262):
        often.feed(count)
        often.judge(anew=True)
        once.feed(count)
    once.judge()
    assert often.monitor.state_digest == once.monitor.state_digest is not None
    assert often.lineage == replace(once.lineage, updated_at_ms=often.lineage.updated_at_ms)


def test_nothing_new_commits_nothing(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(100)
    project.judge()
    before = project.store.token()
    project.judge()
    project.judge(anew=True)
    assert project.store.token() == before


def test_the_state_is_kept_from_the_collector_and_the_one_before_is_removed(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(100)
    project.judge()
    first = project.monitor.state_digest
    project.feed(100)
    project.judge()
    second = project.monitor.state_digest
    with project.store.read() as reader:
        kept = collect.referenced(reader)
    assert second in kept
    assert first not in kept
    assert list((project.store.home / "blobs").rglob(f"{first}*")) == []


def test_a_lost_state_begins_the_contests_anew_and_is_on_the_record(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(600)
    project.activate(1)
    project.feed(600)
    project.judge()
    assert project.lineage.findings["windows"] == 600
    (path,) = (project.store.home / "blobs").rglob(f"{project.monitor.state_digest}*")
    path.unlink()
    opened = project.monitor.position
    project.feed(40)
    project.judge(anew=True)
    row = project.lineage
    assert row.contest_id == f"lineage/1/lineage/{opened}"
    assert (row.verdict, row.findings["windows"]) == ("unknown", 40)
    (entry,) = project.decisions("evidence.restart")
    assert "no blob" in entry["reason"]
    assert row.findings["tenant_names"] == ["t0", "t1", "t2", "t3"]  # they are read from the log again


def test_windows_of_a_stage_are_those_that_came_after_it_began(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(200)
    project.feed(200)
    project.activate(1)
    project.activate(2, Ring.CANARY, percent=1)
    project.put_rollout(2, 1, stage=1, since_seq=0)
    project.feed(200)
    project.judge()
    first = project.candidate
    assert (first.stage, first.windows, first.findings["attempt"]) == (1, 200, 1)
    since = project.monitor.position
    project.put_rollout(2, 1, stage=2, since_seq=since)
    project.feed(300)
    project.judge()
    row = project.candidate
    assert row.contest_id == first.contest_id
    assert (row.stage, row.windows, row.findings["windows"]) == (2, 300, 500)
    assert row.first_seq == row.findings["fresh_first_seq"] >= since
    assert row.last_seq < project.monitor.position
    project.put_rollout(2, 1, stage=2, since_seq=project.monitor.position)
    project.feed(40)
    project.judge()
    assert (project.candidate.windows, project.candidate.findings["windows"]) == (40, 540)


def test_missing_labels_hold_a_contest_at_unknown_and_count_as_the_worst(make: Callable[..., Project]) -> None:
    project = make()
    for _ in range(10):
        project.feed(120)
        project.feed(30, bare=True)
    project.judge()
    row = project.lineage
    assert row.verdict == "unknown"
    assert row.findings["labels"]["share"] == 0.8
    assert "labels: 80 % of 1,500 windows, needs 95 %" in row.findings["reasons"]
    measure, gate = row.findings["promote"], row.findings["gate"]
    assert gate["pessimistic"]
    assert gate["high"] == pytest.approx(0.8 * measure["high"] + 0.2)
    assert gate["low"] == pytest.approx(0.8 * measure["low"] - 0.2)
    late = [{"window_id": f"w{i}", "label": project.truth(i)} for i in range(project.fed) if i % 150 >= 120]
    project.events(late)
    project.judge()
    assert project.lineage.verdict == "pass"
    assert project.lineage.findings["labels"]["share"] == 1.0
    assert project.lineage.findings["windows"] == 1500


def test_a_window_is_judged_once_its_label_had_the_time_it_takes(make: Callable[..., Project]) -> None:
    project = make(label_horizon_ms=HOUR)
    project.feed(300, every_ms=60_000)  # five hours
    project.judge()
    row = project.lineage
    newest = 299 * 60_000
    mature = [i for i in range(300) if (i * 60_000 // HOUR + 1) * HOUR + HOUR <= newest]
    assert row.findings["windows"] == len(mature) == 180
    assert row.findings["labels"]["windows"] == 180
    assert row.findings["labels"]["young"] == 120
    project.feed(61, every_ms=60_000, bare=True)
    project.judge()
    assert project.lineage.findings["windows"] == 300  # the newest window begins an hour after the fifth ended


def test_without_any_label_nothing_is_known(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(300, bare=True)
    project.judge()
    row = project.lineage
    assert (row.verdict, row.windows) == ("unknown", 0)
    assert "labels: 0 % of 300 windows, needs 95 %" in row.findings["headline"]


def test_a_monitor_that_was_overtaken_looks_again(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(200)
    project.judge()
    stale = Memory()
    project.judge(anew=True)
    project.feed(100)
    other = Project(project.store, project.settings)
    other.judge()
    steps = judging(
        project.store, CLOCK, project.settings.drift_monitor, "main", memory=stale, contests=project.settings
    )
    judged = alone(project.store, steps)
    assert judged.compared == 0
    assert project.lineage.findings["windows"] == 300


@pytest.mark.parametrize("task", ["multiclass", "regression", "structured"])
def test_every_task_has_a_baseline_and_snapshots_that_are_scored(make: Callable[..., Project], task: str) -> None:
    project = make(task="auto", loss_scale=2.0)
    label = {
        "multiclass": lambda i: ("cold", "warm")[project.truth(i)],
        "regression": lambda i: project.truth(i) * 2.0,
        "structured": lambda i: {"heat": project.truth(i) * 1.0, "noise": 0.25},
    }[task]

    def feed(count: int) -> None:
        many = range(project.fed, project.fed + count)
        project.events([{**project.window(i, bare=True), "label": label(i)} for i in many])
        project.fed += count

    feed(600)
    project.judge()
    assert project.lineage.findings["windows"] in (599, 600)  # the first number has no mean before it
    project.activate(1)
    feed(300)
    project.judge()
    row = project.lineage
    assert (row.champion, row.findings["windows"], row.findings["labels"]["share"]) == (1, 300, 1.0)
    assert abs(row.findings["mean"]) < 0.2
