"""Snapshots, activation, rollback and deletion over a real store and real files."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import upm_cli.ops
from upm_cli.config.schema import Features, Settings, SnapshotManagerSettings
from upm_cli.core.event import EVENTS
from upm_cli.core.gates import Candidate, GateResult
from upm_cli.core.records import DriftStatus, DriftWindow, Mode, Ring, Snapshot, SnapshotStatus, Trainer
from upm_cli.core.retention import DAY_MS, RetentionPolicy
from upm_cli.errors import BusyError, IntegrityError, NotFoundError, RefusedError, StorageError, UsageError
from upm_cli.ops import keeping, telemetry
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.activate import activate
from upm_cli.ops.export import export
from upm_cli.ops.rollback import rollback
from upm_cli.ops.take import take
from upm_cli.store import (
    activations,
    blobs,
    collect,
    drift,
    fsio,
    incidents,
    ledger,
    outbox,
    pins,
    reserve,
    snapshots,
    trainers,
)
from upm_cli.store.session import Store
from upm_cli.testing import open_policy, prove

T0 = 1_800_000_000_000


@dataclass
class FixedClock:
    ms: int = T0
    elapsed_s: float = 0.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        self.elapsed_s += 0.001
        return self.elapsed_s

    def era(self) -> str:
        return "test"

    def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds


@dataclass
class World:
    """A project with one trainer whose learning is made up: the weights are its position in the log."""

    home: Path
    clock: FixedClock = field(default_factory=FixedClock)
    settings: Settings = field(default_factory=Settings)
    name: str = "main"
    proves: bool = True  # what is activated has passed its contest, and the policy has nothing against it

    def __post_init__(self) -> None:
        self.store = Store.create(self.home, self.clock)
        with self.store.write() as tx:
            if trainers.find(tx, self.name) is None:
                trainers.put(tx, Trainer(name=self.name, stream=self.name))

    @property
    def trainer(self) -> Trainer:
        with self.store.read() as reader:
            return trainers.get(reader, self.name)

    def rows(self) -> dict[int, Snapshot]:
        with self.store.read() as reader:
            return {row.version: row for row in snapshots.list_for(reader, self.name)}

    def learn(self, windows: int = 100) -> int:
        """Learn `windows` log rows, commit, take a snapshot; return its version."""
        trainer = self.trainer
        end = trainer.log_position + windows
        checkpoint = blobs.put(self.home, f"checkpoint at {end} of {trainer.checkpoint_digest}".encode())
        fields = {
            "log": {"first_seq": 0, "last_seq": end - 1},
            "windows": end,
            "metrics": {"loss": 0.5},
            "weights_sha256": f"weights at {end}",
        }
        weights = {"weights": np.arange(16, dtype=np.float32) + end}
        prepared = snapshot_ops.prepare(
            self.home,
            self.clock,
            self.settings,
            trainer,
            weights,
            fields,
            checkpoint_digest=checkpoint.digest,
        )
        with self.store.write() as tx:
            moved = replace(
                trainers.get(tx, self.name),
                log_position=end,
                trained=end,
                checkpoint_digest=checkpoint.digest,
                weights_sha256=f"weights at {end}",
            )
            row, moved = snapshot_ops.register(tx, self.home, moved, prepared)
            trainers.put(tx, moved)
        return row.version

    def activate(self, word: str = "latest", ring: Ring = Ring.GLOBAL, **more: Any) -> Any:
        settings: Settings = open_policy(self.settings, "ada") if self.proves else self.settings
        if self.proves and ring is not Ring.SHADOW:
            self.prove()
        return activate(self.store, self.clock, settings, self.name, word, ring=ring, actor="ada", **more)

    def prove(self) -> None:
        """Let the lineage, and each snapshot, have passed against what serves now."""
        prove(self.store, self.clock, self.name, first_seq=0, windows=1)

    def rollback(self, **more: Any) -> Any:
        return rollback(self.store, self.clock, self.name, actor="ada", **{"reason": "bad", **more})

    def live(self) -> dict[str, int]:
        with self.store.read() as reader:
            return {ring.value: a.version for ring, a in activations.live(reader, self.name).items()}

    def file_of(self, version: int) -> Path:
        return self.home / self.rows()[version].path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / ".upm")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


# --- making and reading ------------------------------------------------------------------------------------------


def test_a_snapshot_knows_its_parent_its_part_of_the_log_and_the_event_tells_of_it(world: World) -> None:
    world.learn(100)
    world.learn(50)
    row = world.rows()[2]
    assert (row.parent, row.first_seq, row.last_seq, row.windows, row.mode) == (1, 100, 149, 150, Mode.SHADOW)
    assert row.manifest["libraries"]["numpy"] == np.__version__
    assert row.manifest["platform"]["cpu_features"] or row.manifest["platform"]["cpu_baseline"]
    with world.store.read() as reader:
        (first, second) = outbox.after(reader)
    assert EVENTS[second.type].problems(second.data) == []
    assert (second.data["snapshot_id"], first.data["version"]) == ("main@2", 1)


def test_the_stored_snapshot_is_what_the_public_library_reads(world: World) -> None:
    world.learn(7)
    row = world.rows()[1]
    data = blobs.get(world.home, row.digest)
    assert safetensors.numpy.load(data)["weights"].tolist() == [float(7 + i) for i in range(16)]


@pytest.mark.parametrize("codec", ["zstd", "gzip", "none"])
def test_every_flipped_bit_of_a_stored_snapshot_is_refused(tmp_path: Path, codec: str) -> None:
    world = World(tmp_path, settings=Settings(snapshot_manager=SnapshotManagerSettings(compression=codec)))
    world.learn()
    row, path = world.rows()[1], world.file_of(1)
    assert (row.codec, snapshot_ops.load(world.home, row)[1]["version"]) == (codec, 1)
    whole = path.read_bytes()
    for bit in range(0, len(whole) * 8, 7):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        with pytest.raises(IntegrityError, match="blobs/sha256"):
            snapshot_ops.load(world.home, row)
    path.write_bytes(whole)
    assert keeping.verify(world.store, [row])[0].error is None


def test_a_row_that_says_something_else_than_its_file_is_found(world: World) -> None:
    world.learn()
    row = world.rows()[1]
    lying = replace(row, manifest={**row.manifest, "windows": 7})
    (found,) = keeping.verify(world.store, [lying])
    assert found.error is not None
    assert "windows" in found.error.message
    assert found.error.code == "UPM-E095"


def test_a_number_taken_in_between_makes_the_worker_renumber_its_snapshot(world: World) -> None:
    trainer = world.trainer
    fields = {"log": {"first_seq": 0, "last_seq": 9}, "windows": 10, "metrics": {}}
    prepared = snapshot_ops.prepare(
        world.home, world.clock, world.settings, trainer, {"w": np.ones(1)}, fields, checkpoint_digest=None
    )
    world.learn()
    with world.store.write() as tx:
        row, moved = snapshot_ops.register(tx, world.home, trainers.get(tx, "main"), prepared)
        trainers.put(tx, moved)
    assert (row.version, row.parent, world.trainer.last_version) == (2, 1, 2)
    assert snapshot_ops.load(world.home, world.rows()[2])[1]["version"] == 2


class Checkpoints:
    """Stands for `ops.checkpoints`: a fold is the digest of its checkpoint. `meanwhile` runs while one is loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.meanwhile = meanwhile
        monkeypatch.setitem(sys.modules, "upm_cli.ops.checkpoints", self)  # type: ignore[arg-type]
        monkeypatch.setattr(upm_cli.ops, "checkpoints", self, raising=False)

    def load_checkpoint(self, store: Store, trainer: Trainer) -> str:
        blobs.get(store.home, trainer.checkpoint_digest or "")
        self.meanwhile()
        return f"{trainer.checkpoint_digest} {trainer.log_position}"

    def snapshot_parts(self, fold: str, weights: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        digest, position = fold.split()
        log = {"first_seq": 0, "last_seq": int(position) - 1}
        return {"w": np.ones(3)}, {"log": log, "windows": int(position), "metrics": {}, "of": digest}


def commit_without_snapshot(world: World, windows: int = 10) -> str:
    """Let the trainer learn and commit, as it does between snapshots; its former checkpoint is dropped."""
    trainer = world.trainer
    end = trainer.log_position + windows
    checkpoint = blobs.put(world.home, f"checkpoint at {end}".encode())
    with world.store.write() as tx:
        trainers.put(tx, replace(trainer, log_position=end, checkpoint_digest=checkpoint.digest))
    return checkpoint.digest


def take_one(world: World) -> Any:
    return take(world.store, world.clock, world.settings, "main", actor="ada", note="by hand")


def test_a_snapshot_on_demand_is_of_what_is_committed_and_on_the_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkpoints(monkeypatch)
    world.learn(100)
    digest = commit_without_snapshot(world, 30)
    taken = take_one(world)
    row = world.rows()[2]
    assert (taken.is_new, taken.snapshot) == (True, row)
    assert (row.checkpoint_digest, row.manifest["of"], row.note) == (digest, digest, "by hand")
    assert (row.parent, row.first_seq, row.last_seq, world.trainer.last_version) == (1, 100, 129, 2)
    assert ledger.read(world.home)[-1]["action"] == "snapshot.create"
    (point,) = telemetry.read(world.home)
    assert (point.name, point.measurements["version"]) == ("upm.trainer.snapshot", 2)
    again = take_one(world)
    assert (again.is_new, again.snapshot) == (False, row)


def test_a_snapshot_on_demand_is_tried_again_when_the_trainer_commits_in_between(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [commit_without_snapshot(world)]

    def meanwhile() -> None:
        if len(digests) < 3:
            digests.append(commit_without_snapshot(world))

    Checkpoints(monkeypatch, meanwhile)
    taken = take_one(world)
    assert taken.snapshot.checkpoint_digest == digests[-1]
    assert (taken.snapshot.windows, list(world.rows())) == (30, [1])


def test_a_trainer_that_never_stands_still_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_without_snapshot(world)
    Checkpoints(monkeypatch, lambda: commit_without_snapshot(world))
    with pytest.raises(BusyError, match="commits faster"):
        take_one(world)
    assert world.rows() == {}


def test_a_missing_checkpoint_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = commit_without_snapshot(world)
    next(world.home.glob(f"blobs/sha256/*/{digest}.*")).unlink()
    Checkpoints(monkeypatch)
    with pytest.raises(NotFoundError, match=digest):
        take_one(world)


# --- activation --------------------------------------------------------------------------------------------------


def test_activation_moves_the_pointer_and_tells_event_and_ledger(world: World) -> None:
    world.learn()
    world.learn()
    first = world.activate("1")
    done = world.activate("v0002", reason="better")
    live = done.activation
    assert (live.version, live.previous_version, live.ring, live.percent, live.epoch) == (2, 1, Ring.GLOBAL, 100, 2)
    assert {version: row.status for version, row in world.rows().items()} == {
        1: SnapshotStatus.ARCHIVED,
        2: SnapshotStatus.ACTIVATED,
    }
    assert (world.trainer.epoch, world.trainer.mode) == (2, Mode.ACTIVE)
    with world.store.read() as reader:
        event = outbox.after(reader)[-1]
        assert activations.history(reader, "main") == [first.activation, live]
    assert EVENTS[event.type].problems(event.data) == []
    assert (event.type, event.data["previous_snapshot_id"]) == ("ai.upm.snapshot.activated", "main@1")
    entry = ledger.read(world.home)[-1]
    assert (entry["action"], entry["actor"], entry["details"]["reason"]) == ("snapshot.activate", "ada", "better")


def test_activating_what_is_active_changes_nothing(world: World) -> None:
    world.learn()
    before = world.activate().activation
    world.proves = False
    token = world.store.token()
    again = world.activate()
    assert (again.is_done, again.activation, world.store.token()) == (True, before, token)


def test_another_percentage_of_the_same_version_is_a_move(world: World) -> None:
    world.learn()
    world.activate(ring=Ring.CANARY)
    wider = world.activate(ring=Ring.CANARY, percent=5)
    assert (wider.is_done, wider.activation.percent, wider.activation.epoch) == (False, 5, 2)
    assert world.activate(ring=Ring.CANARY).activation.percent == 5


@pytest.mark.parametrize(
    ("ring", "percent"), [(Ring.SHADOW, 1), (Ring.CANARY, 0), (Ring.CANARY, 100), (Ring.GLOBAL, 101), (Ring.GLOBAL, 0)]
)
def test_percentages_that_make_no_sense_are_refused(world: World, ring: Ring, percent: int) -> None:
    world.learn()
    with pytest.raises(UsageError):
        world.activate(ring=ring, percent=percent)


def test_a_dry_run_says_what_would_be_and_changes_nothing(world: World) -> None:
    world.learn()
    world.activate(dry_run=True)
    world.prove()
    done = activate(
        world.store,
        world.clock,
        open_policy(world.settings, "ada"),
        "main",
        ring=Ring.GLOBAL,
        actor="ada",
        dry_run=True,
    )
    assert (done.activation.version, done.activation.epoch, world.live()) == (1, 1, {})
    assert [entry["action"] for entry in ledger.read(world.home)] == []


def test_a_damaged_snapshot_is_not_activated(world: World) -> None:
    world.learn()
    damage(world.file_of(1))
    with pytest.raises(IntegrityError, match="blobs/sha256"):
        world.activate()
    assert world.live() == {}


def test_a_quarantined_snapshot_is_refused_in_every_ring_and_the_gate_is_named(world: World) -> None:
    world.learn()
    with world.store.write() as tx:
        snapshots.put(tx, replace(world.rows()[1], quarantined=True, quarantine_reason="drift"))
    for ring in Ring:
        with pytest.raises(RefusedError, match=r"gate quarantine: main@1 is quarantined \(drift\)") as refusal:
            world.activate(ring=ring)
        assert "upm snapshot release" in refusal.value.hint


def test_the_feature_flag_keeps_tenants_out_but_not_shadow(tmp_path: Path) -> None:
    world = World(tmp_path, settings=Settings(features=Features(unified_model=False)))
    world.learn()
    with pytest.raises(RefusedError, match="gate feature"):
        world.activate(ring=Ring.CANARY)
    assert world.activate(ring=Ring.SHADOW).activation.ring is Ring.SHADOW


def test_a_further_gate_can_be_put_in(world: World) -> None:
    def never(candidate: Candidate) -> GateResult:
        return GateResult(gate="never", allowed=False, detail=f"v{candidate.version}", satisfy="wait")

    world.learn()
    with pytest.raises(RefusedError, match="gate never: v1") as refusal:
        world.activate(gates=[never])
    assert (refusal.value.hint, world.live()) == ("wait", {})


@pytest.mark.parametrize(
    ("word", "version"), [("2", 2), ("v2", 2), ("0002", 2), ("v0002", 2), ("latest", 3), ("active", 2), ("previous", 1)]
)
def test_words_for_versions(world: World, word: str, version: int) -> None:
    for _ in range(3):
        world.learn()
    world.activate("1")
    world.activate("2")
    with world.store.read() as reader:
        assert snapshot_ops.find(reader, "main", word).version == version


@pytest.mark.parametrize(
    ("word", "error"),
    [("9", NotFoundError), ("best", UsageError), ("v", UsageError), ("-1", UsageError), ("previous", NotFoundError)],
)
def test_words_that_name_no_version_are_refused(world: World, word: str, error: type[Exception]) -> None:
    world.learn()
    with world.store.read() as reader, pytest.raises(error):
        snapshot_ops.find(reader, "main", word)


def test_a_decision_from_an_older_epoch_is_refused(world: World) -> None:
    for _ in range(3):
        world.learn()
    world.activate("1")

    def meddle(candidate: Candidate) -> GateResult:
        if world.trainer.epoch == 1 and candidate.version == 2:
            world.activate("3")  # between the reading and the commit of the activation of 2
        return GateResult(gate="meddle", allowed=True, detail="")

    with pytest.raises(BusyError, match="epoch 1 to 2 meanwhile: ada made v3 live in global"):
        world.activate("2", gates=[meddle])
    assert world.live() == {"global": 3}


# --- rollback ----------------------------------------------------------------------------------------------------


def rolled_back_world(world: World) -> World:
    """v1 and v2 were live in turn, v3 is, and v4 was learned since."""
    for _ in range(3):
        world.activate(str(world.learn()))
    world.learn()
    return world


def test_rollback_goes_to_what_was_live_before_without_being_told(world: World) -> None:
    rolled_back_world(world)
    before = world.trainer
    done = world.rollback()
    assert (done.from_version, done.to_version, done.rings, done.pinned) == (3, 2, (Ring.GLOBAL,), True)
    after, rows = world.trainer, world.rows()
    assert (rows[3].status, rows[3].quarantined) == (SnapshotStatus.ROLLED_BACK, True)
    assert rows[2].status is SnapshotStatus.ACTIVATED
    assert after.checkpoint_digest == rows[2].checkpoint_digest
    assert after.weights_sha256 == "weights at 200"
    assert (after.log_position, after.last_version, after.epoch) == (400, 4, 4)
    assert after.fence == before.fence + 1
    (rewind,) = after.lineage
    assert (rewind["at_seq"], rewind["to_version"], rewind["skipped_from_seq"], rewind["skipped_to_seq"]) == (
        400,
        2,
        200,
        399,
    )
    with world.store.read() as reader:
        (incident,) = incidents.list_for(reader, "main")
        assert pins.live(reader, "main")[Ring.GLOBAL].version == 2
        event = outbox.after(reader)[-1]
    assert (incident.incident_id, incident.reason) == (done.incident_id, "bad")
    assert (incident.suspect_first_seq, incident.suspect_last_seq) == (200, 399)
    assert EVENTS[event.type].problems(event.data) == []
    assert (event.data["from_snapshot_id"], event.data["to_snapshot_id"]) == ("main@3", "main@2")
    assert ledger.read(world.home)[-1]["action"] == "snapshot.rollback"


def test_a_second_rollback_is_done_already(world: World) -> None:
    rolled_back_world(world)
    first = world.rollback()
    token = world.store.token()
    again = world.rollback()
    assert (again.is_done, again.to_version, again.incident_id) == (True, 2, first.incident_id)
    assert (again.epoch, again.pinned, world.store.token()) == (first.epoch, True, token)


def test_going_further_back_takes_naming_the_version(world: World) -> None:
    rolled_back_world(world)
    world.rollback()
    further = world.rollback(to="1")
    assert (further.from_version, further.to_version, world.live()) == (2, 1, {"global": 1})


def test_a_rolled_back_version_and_what_learned_on_from_it_can_not_be_activated(world: World) -> None:
    rolled_back_world(world)
    world.rollback()
    with pytest.raises(RefusedError, match="gate quarantine"):
        world.activate("3")
    with pytest.raises(RefusedError, match="gate lineage: main@4 learned on from v3"):
        world.activate("4")
    fresh = world.learn()
    assert (world.rows()[fresh].parent, world.rows()[fresh].first_seq) == (2, 400)
    done = world.activate(str(fresh))
    assert done.lifted_pin is not None
    assert done.lifted_pin.version == 2
    with world.store.read() as reader:
        assert pins.live(reader, "main") == {}


def test_releasing_the_rolled_back_version_opens_the_way_for_its_descendants(world: World) -> None:
    rolled_back_world(world)
    world.rollback()
    with pytest.raises(UsageError, match="needs a reason"):
        keeping.release(world.store, world.clock, "main", "3", actor="ada", reason="")
    row, changed = keeping.release(world.store, world.clock, "main", "3", actor="ada", reason="wrong alarm")
    assert (row.quarantined, row.status, changed) == (False, SnapshotStatus.ARCHIVED, True)
    assert keeping.release(world.store, world.clock, "main", "3", actor="ada", reason="again")[1] is False
    assert world.activate("4").activation.version == 4


def test_a_version_that_serves_several_rings_leaves_all_of_them(world: World) -> None:
    world.activate(str(world.learn()))
    world.learn()
    world.activate("2", Ring.CANARY, percent=5)
    world.activate("2")
    done = world.rollback()
    assert (done.rings, world.live()) == ((Ring.GLOBAL, Ring.CANARY), {"global": 1, "canary": 1})
    with world.store.read() as reader:
        assert set(pins.live(reader, "main")) == {Ring.GLOBAL, Ring.CANARY}
        assert activations.live(reader, "main")[Ring.CANARY].percent == 5


def test_a_canary_goes_back_to_what_is_live_for_everybody(world: World) -> None:
    world.activate(str(world.learn()))
    world.learn()
    world.activate("2", Ring.CANARY)
    done = world.rollback()
    assert (done.rings, done.from_version, done.to_version) == ((Ring.CANARY,), 2, 1)


def test_rollback_skips_a_damaged_target_and_says_so(world: World) -> None:
    rolled_back_world(world)
    damage(world.file_of(2))
    done = world.rollback()
    assert done.to_version == 1
    assert world.rows()[2].path in done.skipped[0].message


def test_rollback_with_no_whole_target_names_them_all_and_changes_nothing(world: World) -> None:
    rolled_back_world(world)
    damage(world.file_of(2))
    world.file_of(1).unlink()
    token = world.store.token()
    with pytest.raises(IntegrityError, match="no version to go back to is whole") as failure:
        world.rollback()
    assert failure.value.context["versions"] == [2, 1]
    assert world.store.token() == token


def test_a_named_target_that_is_damaged_is_not_replaced_by_another(world: World) -> None:
    rolled_back_world(world)
    damage(world.file_of(1))
    with pytest.raises(IntegrityError):
        world.rollback(to="1")
    assert world.live() == {"global": 3}


@pytest.mark.parametrize("harm", [Path.unlink, damage])
def test_without_a_whole_checkpoint_the_trainer_is_paused(world: World, harm: Callable[[Path], None]) -> None:
    rolled_back_world(world)
    before = world.trainer
    digest = world.rows()[2].checkpoint_digest or ""
    harm(next(world.home.glob(f"blobs/sha256/*/{digest}.*")))
    done = world.rollback()
    after = world.trainer
    assert (done.learner, done.to_version) == ("paused", 2)
    assert (after.desired, after.checkpoint_digest, after.lineage) == ("pause", before.checkpoint_digest, ())
    assert "v2" in (after.pause_reason or "")
    assert after.fence == before.fence + 1
    later = world.learn()
    with pytest.raises(RefusedError, match="gate lineage"):
        world.activate(str(later))


def test_with_nothing_else_ever_live_it_goes_to_the_newest_snapshot_before_the_suspect_windows(world: World) -> None:
    for _ in range(5):
        world.learn(100)
    world.activate("5")
    window = DriftWindow(
        trainer="main",
        window_id="main/250",
        version=2,
        started_at_ms=T0,
        closed_at_ms=T0 + 1,
        status=DriftStatus.QUARANTINED,
        verdict="fail",
        threshold=0.2,
        n=100,
        mean=0.5,
        p95=0.9,
        max=1.0,
        first_seq=250,
        last_seq=349,
    )
    with world.store.write() as tx:
        drift.put(tx, window)
    assert world.rollback(dry_run=True).to_version == 2
    with world.store.write() as tx:
        drift.put(tx, replace(window, status=DriftStatus.CLOSED))
    assert world.rollback().to_version == 4


def test_a_rollback_resolves_the_windows_that_failed_and_leaves_their_snapshots_barred(world: World) -> None:
    rolled_back_world(world)
    window = DriftWindow(
        trainer="main",
        window_id="main/0",
        version=3,
        started_at_ms=T0,
        closed_at_ms=T0 + 1,
        status=DriftStatus.QUARANTINED,
        verdict="fail",
        threshold=0.2,
        n=100,
        mean=0.5,
        p95=0.9,
        max=1.0,
    )
    passed = replace(window, window_id="main/1", status=DriftStatus.CLOSED, verdict="pass", first_seq=100, last_seq=199)
    with world.store.write() as tx:
        drift.put_all(tx, [window, passed])
    done = world.rollback()
    with world.store.read() as reader:
        after = {row.window_id: row for row in drift.list_for(reader, "main")}
    assert after["main/1"] == passed
    metadata = {"incident_id": done.incident_id, "resolved_by": "ada"}
    assert after["main/0"] == replace(window, status=DriftStatus.RESOLVED, metadata=metadata)
    assert world.rows()[done.from_version].quarantined


def test_rollback_with_nothing_live_is_refused(world: World) -> None:
    world.learn()
    with pytest.raises(RefusedError, match="nothing live to roll back from"):
        world.rollback()
    world.activate(ring=Ring.SHADOW)
    with pytest.raises(RefusedError, match="nothing live in global"):
        world.rollback(ring=Ring.GLOBAL)


def test_rollback_from_the_first_version_is_refused_with_what_would_help(world: World) -> None:
    world.activate(str(world.learn()))
    with pytest.raises(RefusedError, match="no sound version older than v1") as refusal:
        world.rollback()
    assert "upm pause main" in refusal.value.hint


def test_a_target_that_is_newer_or_quarantined_is_refused(world: World) -> None:
    rolled_back_world(world)
    with pytest.raises(RefusedError, match="v4 is newer than v3"):
        world.rollback(to="4")
    with world.store.write() as tx:
        snapshots.put(tx, replace(world.rows()[1], quarantined=True))
    with pytest.raises(RefusedError, match="main@1 is quarantined"):
        world.rollback(to="1")


def test_a_dry_run_of_a_rollback_changes_nothing(world: World) -> None:
    rolled_back_world(world)
    token = world.store.token()
    done = world.rollback(dry_run=True)
    assert (done.from_version, done.to_version, world.store.token()) == (3, 2, token)


def test_rollback_wins_over_an_activation_that_came_in_between(world: World) -> None:
    rolled_back_world(world)
    world.activate("4")
    world.activate("3")
    meddled = threading.Event()
    real_load = snapshot_ops.load

    def load(home: Path, row: Snapshot) -> Any:
        if not meddled.is_set():
            meddled.set()
            world.activate("4")
        return real_load(home, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("upm_cli.ops.rollback.snapshot_ops.load", load)
        done = world.rollback()
    assert (done.from_version, done.is_done, world.live()) == (4, False, {"global": done.to_version})
    assert done.to_version in (2, 3)


# --- faults ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a process that dies: nothing catches it."""


@pytest.fixture
def faults() -> Any:
    yield fsio.faults
    fsio.faults.before = None


def fail_at(number: int, error: BaseException) -> tuple[Callable[[str, Path], None], list[str]]:
    seen: list[str] = []

    def before(operation: str, path: Path) -> None:
        seen.append(f"{operation} {path.name}")
        if len(seen) == number:
            raise error

    return before, seen


KILLED_ROLLBACK = """
import os, sys
from pathlib import Path
from upm_cli.clock import SystemClock
from upm_cli.ops.rollback import rollback
from upm_cli.store import fsio
from upm_cli.store.session import Store

left = int(sys.argv[2])

def before(operation, path):
    global left
    left -= 1
    if left == 0:
        os._exit(137)

store = Store(Path(sys.argv[1]), SystemClock())
fsio.faults.before = before
rollback(store, SystemClock(), "main", actor="ada", reason="bad")
"""


@pytest.mark.slow
def test_a_rollback_killed_at_any_write_is_done_or_not_and_then_done_by_the_next(tmp_path: Path) -> None:
    rolled_back_world(World(tmp_path / "template")).store.close()
    number, code = 0, 137
    while code == 137:
        number += 1
        home = tmp_path / str(number)
        shutil.copytree(tmp_path / "template", home)
        code = subprocess.run(
            [sys.executable, "-c", KILLED_ROLLBACK, str(home), str(number)], cwd=Path(__file__).parents[2], check=False
        ).returncode
        world = World(home)
        done = world.rollback()
        assert (world.live(), world.trainer.epoch) == ({"global": 2}, 4), number
        with world.store.read() as reader:
            assert [i.incident_id for i in incidents.list_for(reader, "main")] == [done.incident_id], number
        actions = [entry["action"] for entry in ledger.read(home)]
        assert actions.count("snapshot.rollback") == 1, number
    assert (code, number > 4) == (0, True)


def test_an_activation_cut_off_at_any_write_is_done_or_not(tmp_path: Path, faults: Any) -> None:
    number, finished = 0, False
    while not finished:
        number += 1
        home = tmp_path / str(number) / ".upm"
        world = World(home)
        world.learn()
        faults.before, seen = fail_at(number, Killed())
        try:
            world.activate()
            finished = True
        except Killed:
            pass
        faults.before = None
        world.store.close()
        world = World(home)
        assert world.activate().activation.epoch == 1, seen
        assert world.live() == {"global": 1}, seen
    assert number > 4


def test_a_full_disk_gives_up_its_reserve_for_a_rollback_and_the_first_commit_with_room_makes_it_again(
    world: World, faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_back_world(world)
    assert (world.home / reserve.RESERVE).stat().st_size == reserve.SIZE_BYTES

    def full_while_reserved(operation: str, path: Path) -> None:
        if operation == "open" and reserve.size_bytes(world.home):
            raise OSError(28, os.strerror(28), str(path))

    free = [reserve.ROOM_BYTES - 1]
    monkeypatch.setattr(fsio, "disk_space", lambda _: (free[0], 1 << 40))
    faults.before = full_while_reserved
    assert world.rollback().to_version == 2
    assert reserve.size_bytes(world.home) == 0
    assert reserve.give_up(world.home) is False
    faults.before = None
    world.learn()
    assert reserve.size_bytes(world.home) == 0  # what is free is for the next commits
    free[0] += 1
    world.learn()
    assert reserve.size_bytes(world.home) == reserve.SIZE_BYTES


def test_a_disk_that_stays_full_is_told_and_nothing_changed(world: World, faults: Any) -> None:
    rolled_back_world(world)

    def full(operation: str, path: Path) -> None:
        if operation == "open":
            raise OSError(28, os.strerror(28), str(path))

    faults.before = full
    with pytest.raises(StorageError, match="the disk is full"):
        world.rollback()
    faults.before = None
    assert world.live() == {"global": 3}


# --- races -------------------------------------------------------------------------------------------------------

RACER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from upm_cli.clock import SystemClock
from upm_cli.config.schema import RolloutSettings, Settings
from upm_cli.core.records import Ring
from upm_cli.errors import UpmError
from upm_cli.ops.activate import activate
from upm_cli.ops.export import export
from upm_cli.ops.rollback import rollback
from upm_cli.store.session import Store
from upm_cli.testing import open_policy

home, verb, version = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
settings = open_policy(replace(Settings(), rollout=RolloutSettings(max_evidence_age_ms=365 * 86_400_000)), "racer")
store = Store(home, SystemClock(), command=verb)
with store.read() as reader:
    pass
print("ready", flush=True)
sys.stdin.readline()
try:
    if verb == "activate":
        done = activate(store, SystemClock(), settings, "main", version, ring=Ring.GLOBAL, actor="racer")
    else:
        done = rollback(store, SystemClock(), "main", actor="racer", reason="race")
    print("unchanged" if done.is_done else "changed")
except UpmError as exc:
    print(exc.code)
"""


def race(home: Path, *runs: tuple[str, str]) -> list[str]:
    """Start one process for each (verb, version), let them go at the same moment, return what each says."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(home), verb, version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for verb, version in runs
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return [racer.communicate(timeout=60)[0].strip() for racer in racers]


def test_of_two_processes_that_activate_the_same_version_one_does_it(world: World) -> None:
    world.learn()
    world.clock.ms = time.time_ns() // 1_000_000
    world.prove()
    said = race(world.home, ("activate", "1"), ("activate", "1"))
    assert sorted(said) == ["changed", "unchanged"]
    assert world.trainer.epoch == 1


def test_of_processes_that_activate_different_versions_each_epoch_has_one_winner(world: World) -> None:
    for _ in range(4):
        world.learn()
    world.clock.ms = time.time_ns() // 1_000_000
    world.prove()
    said = race(world.home, *(("activate", str(version)) for version in range(1, 5)))
    assert set(said) <= {"changed", "UPM-E073", "UPM-E051"}, "a late one finds another champion than the proof's"
    with world.store.read() as reader:
        history = activations.history(reader, "main")
    assert [a.epoch for a in history] == list(range(1, said.count("changed") + 1))
    assert world.live() == {"global": history[-1].version}


def test_of_several_processes_that_roll_back_one_does_it(world: World) -> None:
    rolled_back_world(world)
    said = race(world.home, *([("rollback", "")] * 4))
    assert sorted(said) == ["changed", "unchanged", "unchanged", "unchanged"]
    with world.store.read() as reader:
        assert len(incidents.list_for(reader, "main")) == 1


# --- keeping -----------------------------------------------------------------------------------------------------


def old_world(world: World, count: int = 6) -> World:
    for _ in range(count):
        world.learn()
        world.clock.ms += DAY_MS
    world.clock.ms += 100 * DAY_MS
    return world


def collect_garbage(world: World, *, keep: int = 0, days: float = 30, dry_run: bool = False) -> keeping.Collected:
    policy = RetentionPolicy(keep=keep, keep_days=days)
    return keeping.collect_garbage(world.store, world.clock, ["main"], policy, actor="ada", dry_run=dry_run)


def blob_files(world: World) -> set[str]:
    return {path.name.partition(".")[0] for path in (world.home / "blobs/sha256").glob("*/*")}


def test_gc_deletes_what_nobody_needs_and_its_files(world: World) -> None:
    old_world(world)
    world.activate("2")
    world.activate("3")
    keeping.set_pinned(world.store, "main", "4", True, actor="ada", reason="keep")
    before = blob_files(world)
    planned = collect_garbage(world, dry_run=True)
    assert (planned.deleted, blob_files(world)) == ({"main": [5]}, before)
    done = collect_garbage(world)
    assert done == planned
    assert set(world.rows()) == {1, 2, 3, 4, 6}
    assert done.protected["main"] == {
        1: "rollback target of global",
        2: "active in global before",
        3: "active in global",
        4: "pinned",
        6: "the trainer learns on from it",
    }
    rows = world.rows().values()
    assert blob_files(world) == {row.digest for row in rows} | {row.checkpoint_digest for row in rows}
    assert all(each.error is None for each in keeping.verify(world.store, list(rows)))
    assert collect_garbage(world).orphans == 0


def test_rollback_works_after_the_strictest_gc(world: World) -> None:
    old_world(world)
    for version in ("1", "3", "5"):
        world.activate(version)
    collect_garbage(world, days=0)
    assert world.rollback().to_version == 3


def test_gc_keeps_the_newest_and_the_young(world: World) -> None:
    old_world(world)
    assert collect_garbage(world, keep=4, dry_run=True).deleted == {"main": [1, 2]}
    assert collect_garbage(world, days=103.5, dry_run=True).deleted == {"main": [1, 2, 3]}


def test_gc_collects_orphans_only_when_they_are_old(world: World) -> None:
    world.learn()
    orphan = blobs.put(world.home, b"left by a killed process")
    path = world.home / orphan.path
    needed = blob_files(world) - {orphan.digest}
    now_ms = path.stat().st_mtime_ns // 1_000_000
    assert collect.orphans(world.home, needed, now_ms + collect.GRACE_MS - 1) == []
    assert collect.orphans(world.home, needed, now_ms + collect.GRACE_MS) == [path]
    world.clock.ms = now_ms + collect.GRACE_MS
    done = collect_garbage(world)
    assert (done.orphans, done.freed_bytes, path.exists()) == (1, orphan.size_bytes, False)


def test_an_orphan_that_is_put_to_use_while_it_is_collected_stays(world: World) -> None:
    orphan = blobs.put(world.home, b"wanted again")
    path = world.home / orphan.path
    later_ms = path.stat().st_mtime_ns // 1_000_000 + 2 * collect.GRACE_MS
    assert collect.orphans(world.home, set(), later_ms) == [path]
    os.utime(path, ns=(later_ms * 1_000_000, later_ms * 1_000_000))  # blobs.put of the same bytes makes it young
    assert collect.remove(path, later_ms) == 0
    assert blobs.get(world.home, orphan.digest) == b"wanted again"


def test_gc_cut_off_between_rows_and_files_is_finished_by_the_next(world: World, faults: Any) -> None:
    old_world(world)
    gone = {row.digest for version, row in world.rows().items() if version < 6}

    def die_on_files(operation: str, path: Path) -> None:
        if operation == "rename" and path.name.endswith(".trash"):
            raise Killed

    faults.before = die_on_files
    with pytest.raises(Killed):
        collect_garbage(world)
    faults.before = None
    assert set(world.rows()) == {6}
    assert gone <= blob_files(world)
    world.clock.ms = max(p.stat().st_mtime_ns for p in world.home.glob("blobs/sha256/*/*")) // 1_000_000
    world.clock.ms += collect.GRACE_MS
    collect_garbage(world)
    assert not gone & blob_files(world)


def test_pinning_twice_changes_nothing_the_second_time(world: World) -> None:
    world.learn()
    pinned = keeping.set_pinned(world.store, "main", "1", True, actor="ada", reason="")
    again = keeping.set_pinned(world.store, "main", "1", True, actor="ada", reason="")
    assert (pinned[1], again[1], again[0].pinned) == (True, False, True)
    assert keeping.set_pinned(world.store, "main", "1", False, actor="ada", reason="")[1] is True


def test_an_export_is_readable_without_us(world: World, tmp_path: Path) -> None:
    world.learn(3)
    done = export(world.store, world.rows()[1], tmp_path / "out")
    model, manifest = done.model, done.manifest
    assert safetensors.numpy.load_file(model)["weights"][0] == 3.0
    about = json.loads(manifest.read_text())
    assert about["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert about["manifest"]["version"] == 1


def test_verify_all_finds_the_one_that_is_damaged(world: World) -> None:
    for _ in range(3):
        world.learn()
    damage(world.file_of(2))
    found = keeping.verify(world.store, list(world.rows().values()))
    assert [(each.snapshot.version, each.error is None) for each in found] == [(1, True), (2, False), (3, True)]
