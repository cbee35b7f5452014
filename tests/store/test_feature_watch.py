"""The watch over features, over real state: the same findings however it was cut, killed or damaged; what it holds."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upm_cli.clock import ManualClock
from upm_cli.config.schema import EvidenceSettings, PolicySettings, RolloutSettings, Settings
from upm_cli.core.decision import recompute
from upm_cli.core.event import EVENTS
from upm_cli.core.features.blob import unpack
from upm_cli.core.features.drift import OVER, FeatureDrift
from upm_cli.core.hashing import hash_name
from upm_cli.core.records import Activation, DriftStatus, DriftWindow, FeatureWatch, Ring, Trainer
from upm_cli.core.window import Csr, Strings, WindowBatch
from upm_cli.errors import NotFoundError
from upm_cli.ops import feature_drift, feature_watch, feature_watch_record, overrides, rollout
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops import trainers as trainer_ops
from upm_cli.ops.feature_watch import Memory, policy_of
from upm_cli.ops.rollout_status import gate_json, standing
from upm_cli.store import activations, blobs, collect, drift, feature_watches, ledger, log, outbox, segments, trainers
from upm_cli.store.session import Store
from upm_cli.testing import prove

HOUR = 3_600_000
STRETCH = 3 * HOUR  # what a look takes with so few windows that all of them count
WINDOWS = 720  # of a stretch
NAMES = ("amount", "age", "channel=web")
HASHES = np.array([11, 12, 13], np.uint32)
POLICY = PolicySettings(canary_tenants=("*",), min_shadow_hours=0, actors={"ada": "admin"}, readiness_quiet_hours=0)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk keeps through a power cut is tested elsewhere."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def make_rows(stretch: int, n: int, shift: float) -> WindowBatch:
    rng = np.random.default_rng(stretch)
    value = np.stack([rng.normal(shift, size=n), rng.normal(size=n), np.ones(n)], axis=1).astype(np.float32)
    present = np.stack([np.ones(n, bool), np.ones(n, bool), rng.random(n) < 0.5], axis=1)
    rows = WindowBatch.empty(n)
    rows.start_ms = stretch * STRETCH + np.arange(n) * (STRETCH // n)
    indptr = np.r_[0, present.sum(axis=1).cumsum()].astype(np.int64)
    rows.x = Csr(indptr, np.tile(HASHES, (n, 1))[present], value[present])
    return rows


@dataclass
class World:
    """A trainer whose log grows stretch by stretch."""

    folder: Path
    hold: bool = True
    stretches: int = 0
    end: int = 0
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.clock = ManualClock(1_800_000_000_000)
        self.store = Store.create(self.folder / ".upm", self.clock)
        self.settings = replace(
            Settings(),
            policy=POLICY,
            evidence=EvidenceSettings(features=20),
            rollout=RolloutSettings(
                on_feature_drift="hold" if self.hold else "report",
                stages=("shadow", "canary 25% for 1h", "global 100%"),
                watch_ms=0,
            ),
        )
        names = log.write_names(self.store.home, "main", Strings.of(list(NAMES)), HASHES, 0, 0)
        with self.store.write() as tx:
            trainers.put(tx, Trainer(name="main", stream="main"))
            segments.add(tx, names)

    def grow(self, count: int, shift: float = 0.0, n: int = WINDOWS) -> None:
        for _ in range(count):
            rows = make_rows(self.stretches, n, shift)
            segment = log.write(self.store.home, "main", rows, self.end, 0)
            with self.store.write() as tx:
                segments.add(tx, segment)
            self.end, self.stretches = self.end + n, self.stretches + 1

    def snapshot(self) -> int:
        """Make a snapshot that has learned from all rows so far."""
        with self.store.read() as reader:
            trainer = trainers.get(reader, "main")
        checkpoint = blobs.put(self.store.home, f"checkpoint at {self.end}".encode())
        fields = {"log": {"first_seq": 0, "last_seq": self.end - 1}, "windows": self.end, "metrics": {}}
        prepared = snapshot_ops.prepare(
            self.store.home, self.clock, self.settings, trainer, {"weights": np.arange(4.0, dtype=np.float32)}, fields,
            checkpoint_digest=checkpoint.digest,
        )  # fmt: skip
        with self.store.write() as tx:
            moved = replace(trainers.get(tx, "main"), log_position=self.end, checkpoint_digest=checkpoint.digest)
            row, moved = snapshot_ops.register(tx, self.store.home, moved, prepared)
            trainers.put(tx, moved)
        return row.version

    def make_live(self, version: int) -> None:
        with self.store.write() as tx:
            trainer = trainers.get(tx, "main")
            move = Activation(
                trainer="main", ring=Ring.GLOBAL, epoch=trainer.epoch + 1, version=version, previous_version=None,
                percent=100, kind="activate", decision_id=f"d{trainer.epoch}", actor="me", reason="",
                at_ms=self.clock.now_ms(),
            )  # fmt: skip
            activations.append(tx, move)
            trainers.put(tx, replace(trainer, epoch=trainer.epoch + 1))

    def watch(self, *, anew: bool = False, finish: bool = True) -> FeatureWatch | None:
        """Let the monitor look until there is nothing more; `anew`: as a process that was just started."""
        self.memory = Memory() if anew else self.memory
        while True:
            found = feature_watch.watch(self.store, self.clock, self.settings, "main", self.memory, finish=finish)
            if not found.more:
                return found.row

    def seen(self, **more: Any) -> FeatureWatch:
        row = self.watch(**more)
        assert row is not None
        return row

    @property
    def row(self) -> FeatureWatch | None:
        with self.store.read() as reader:
            return feature_watches.find(reader, "main")

    def told(self) -> list[dict[str, Any]]:
        with self.store.read() as reader:
            return [dict(event.data) for event in outbox.after(reader) if event.type == "ai.upm.feature.drift"]

    def restarts(self) -> list[dict[str, Any]]:
        return [entry["details"] for entry in ledger.read(self.store.home) if entry["action"] == "features.restart"]

    def blob(self, digest: str | None) -> Path:
        (found,) = blobs.files(self.store.home, str(digest))
        return found


def found_by(row: FeatureWatch) -> dict[str, Any]:
    """Return everything of a row that depends on the log alone."""
    times = {"looked_at_ms": 0, "updated_at_ms": 0}
    return {name: getattr(replace(row, **times), name) for name in FeatureWatch.__dataclass_fields__}  # type: ignore[arg-type]


def drifting(row: FeatureWatch) -> list[str]:
    return [str(one["feature"]) for one in row.drifting]


def with_live_version(folder: Path, **more: Any) -> World:
    world = World(folder, **more)
    world.grow(6)
    world.make_live(world.snapshot())
    return world


def test_it_says_what_one_pass_over_the_whole_log_says(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    for count, shift in ((3, 0.0), (2, 1.0)):
        world.grow(count, shift)
        world.clock.advance(10)
        world.watch(anew=count == 2)
    row = world.seen()
    with world.store.read() as reader:
        trainer = trainers.get(reader, "main")
    rows = feature_drift.reference_rows(world.store, trainer)
    assert rows is not None
    reference = feature_drift.learn(world.store, trainer, rows, policy_of(world.settings))
    assert reference is not None
    fold, looks = FeatureDrift(reference, reference.thinned(policy_of(world.settings))), []
    for first, batch in log.follow(world.store, "main", rows.last_seq + 1):
        looks += fold.fold(first, batch)
    assert (row.looks, row.verdict, drifting(row)) == (len(looks), "fail", ["amount"])
    assert fold.drifting().tolist() == [11]
    finding = next(one for one in looks[-1].findings if one.feature == 11)
    assert row.drifting[0]["p"] == finding.p_adjusted
    assert row.drifting[0]["effect"] == max(finding.psi, finding.w1 or 0.0)
    assert (row.look_start_ms, row.windows) == (looks[-1].span.start_ms, looks[-1].windows)
    state = unpack(blobs.get(world.store.home, str(row.state_digest)))
    assert state.keys() == fold.dump().keys()
    assert all(np.array_equal(state[name], array) for name, array in fold.dump().items())


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_is_the_same_however_often_it_looked_and_was_started(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], anew: list[bool]
) -> None:
    pieces, whole = World(tmp_path_factory.mktemp("pieces")), World(tmp_path_factory.mktemp("whole"))
    for world in (pieces, whole):
        world.grow(3)
        world.make_live(world.snapshot())
    for number, (count, is_anew) in enumerate(zip(cuts, anew, strict=False)):
        for world in (pieces, whole):
            world.grow(count, shift=1.0 if number % 2 else 0.0)
        pieces.watch(anew=is_anew, finish=False)
    assert found_by(pieces.seen()) == found_by(whole.seen())
    assert pieces.seen(anew=True) == pieces.row


def test_it_commits_at_once_what_is_news_and_everything_else_once_a_minute(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    world.grow(1)
    first = world.seen(finish=False)
    world.grow(1)
    calm = world.seen(finish=False)
    assert (first.verdict, calm.verdict) == ("unknown", "pass")
    world.grow(1)
    token = world.store.token()
    assert world.seen(finish=False) == calm, "another look that found the same is no news"
    assert world.store.token() == token
    world.clock.advance(61)
    world.grow(1, n=1)
    later = world.seen(finish=False)
    assert (later.position, later.looks, later.look_start_ms) == (world.end, calm.looks + 2, 8 * STRETCH)
    world.grow(2, shift=1.0)
    assert world.seen(finish=False).verdict == "fail", "that is news"


def test_a_process_that_died_between_two_commits_changes_nothing(tmp_path: Path) -> None:
    worlds = [with_live_version(tmp_path / name) for name in ("killed", "well")]
    for world in worlds:
        world.grow(2)
        world.watch()
        world.stretches -= 1
        world.grow(1, n=50, shift=1.0)
        world.watch(finish=False)
    committed = worlds[0].row
    worlds[0].memory = Memory()
    assert worlds[0].row == committed
    for world in worlds:
        world.grow(2, shift=1.0)
    killed, well = (found_by(world.seen()) for world in worlds)
    assert killed == well


def test_nothing_is_committed_when_the_process_dies_in_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def die(*_: Any) -> None:
        raise KilledError

    world, other = with_live_version(tmp_path / "killed"), with_live_version(tmp_path / "well")
    for each in (world, other):
        each.grow(2)
        each.watch()
        each.grow(3, shift=1.0)
    before = world.row
    with monkeypatch.context() as patch:
        patch.setattr(feature_watch_record.feature_watches, "put", die)
        with pytest.raises(KilledError):
            world.watch()
    assert world.row == before
    assert world.told() == []
    assert found_by(world.seen(anew=True)) == found_by(other.seen())
    assert [event["features"] for event in world.told()] == [["amount"]]


@pytest.mark.parametrize("which", ["reference_digest", "state_digest"])
@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_a_damaged_blob_is_learned_anew_on_the_record_with_the_same_findings(
    tmp_path: Path, which: str, damage: str
) -> None:
    world = with_live_version(tmp_path)
    world.grow(3, shift=1.0)
    before = world.seen()
    path = world.blob(getattr(before, which))
    if damage == "gone":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    world.clock.advance(3600)
    after = world.seen(anew=True)
    assert found_by(after) == found_by(before)
    assert after.looked_at_ms == before.looked_at_ms, "what was looked at again is no newer for it"
    (entry,) = world.restarts()
    assert entry["reason"]
    assert world.seen(anew=True) == after, "it has been healed"
    assert len(world.told()) == 1


def test_while_the_log_is_read_again_nobody_can_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = with_live_version(tmp_path)
    world.grow(4)
    before = world.seen()
    assert before.verdict == "pass"
    world.blob(before.state_digest).unlink()
    monkeypatch.setattr(feature_watch_record, "ROWS_AT_ONCE", 1500)
    found = feature_watch.watch(world.store, world.clock, world.settings, "main", Memory())
    assert found.more
    assert found.row is not None
    assert (found.row.verdict, found.row.reason) == ("unknown", "the log is still being read")
    assert found_by(world.seen(anew=True)) == found_by(before)


def test_another_live_version_has_a_reference_of_its_own_and_ends_the_drift(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    world.grow(20, shift=1.0)
    drifted = world.seen()
    assert (drifted.version, drifted.verdict) == (1, "fail")
    world.make_live(world.snapshot())
    world.grow(1, shift=1.0)
    learned = world.seen()
    assert (learned.version, learned.verdict, learned.looks) == (2, "unknown", 0)
    assert (learned.first_seq, learned.last_seq) == (26 * WINDOWS - 10_000, 26 * WINDOWS - 1)
    world.grow(2, shift=1.0)
    after = world.seen()
    assert (after.verdict, drifting(after)) == ("pass", [])
    assert [event["features"] for event in world.told()] == [["amount"], []]
    assert all(not EVENTS["ai.upm.feature.drift"].problems(event) for event in world.told())


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    world.grow(3)
    before = world.seen()
    world.settings = replace(world.settings, evidence=EvidenceSettings(features=1))
    after = world.seen()
    assert after.terms != before.terms
    assert (after.looks, after.position) == (before.looks, before.position)
    world.settings = replace(world.settings, evidence=EvidenceSettings(features=0))
    world.grow(2)
    assert world.watch() is None
    assert world.row == after, "nothing is watched"


def test_while_nothing_is_live_the_beginning_of_the_log_is_the_reference(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.grow(2)
    assert world.watch() is None
    world.grow(2)
    row = world.seen()
    assert (row.version, row.first_seq, row.last_seq) == (None, 0, 999)
    world.grow(25)
    assert world.seen().last_seq == 9999


def test_an_alarm_is_over_after_quiet_looks(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    world.grow(15, shift=1.0)
    assert world.seen().verdict == "fail"
    world.grow(3)
    alarmed = world.seen()
    assert (alarmed.verdict, drifting(alarmed)) == ("fail", ["amount"])
    assert not alarmed.drifting[0]["flagged"], "only its alarm is left"
    world.grow(OVER)
    assert world.seen().verdict == "pass"


def test_the_blobs_are_kept_by_the_collector_and_the_old_ones_are_not(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    world.grow(3)
    before = world.seen()
    world.grow(3)
    after = world.seen()
    with world.store.read() as reader:
        kept = collect.referenced(reader)
    assert {after.reference_digest, after.state_digest} <= kept
    assert blobs.files(world.store.home, str(before.state_digest)) == []
    world.clock.advance(10 * 3600)
    orphans = collect.orphans(world.store.home, kept, 10**14)
    assert not {world.blob(after.reference_digest), world.blob(after.state_digest)} & set(orphans)


def test_the_state_stays_below_a_megabyte_with_as_many_features_as_can_be(tmp_path: Path) -> None:
    most = policy_of(replace(Settings(), evidence=EvidenceSettings(features=10_000)))
    usual = policy_of(Settings())
    assert (most.max_features, usual.max_features) == (1000, 200)
    for policy in (most, usual):
        bytes_of_values = policy.max_features * policy.sample_size * 12
        assert bytes_of_values <= 720_000
        assert policy.sample_size >= 50, "the values themselves are compared from 50 on"


def test_a_trainer_that_is_removed_takes_its_watch_along(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.grow(4)
    assert world.seen().looks
    trainer_ops.remove(world.store, "main", actor="me", reason="over")
    assert world.row is None
    with pytest.raises(NotFoundError):
        world.watch()


# Rollouts


def start(world: World) -> None:
    """Begin a rollout of a second snapshot and bring it to its canary."""
    world.grow(3)
    world.snapshot()
    world.watch()
    prove(world.store, world.clock, "main")
    rollout.start(world.store, world.clock, world.settings, "main", None, actor="ada", reason="try it")
    go(world)
    assert live_canary(world) == 25


def go(world: World) -> rollout.Looked:
    """Let the stage's time pass, with good evidence, and look."""
    world.clock.advance(7200)
    shown = standing(world.store, world.clock, world.settings, "main")
    prove(world.store, world.clock, "main", shown.state.version, stage=shown.state.stage)
    looked = rollout.tick(world.store, world.clock, world.settings, "main")
    assert looked is not None
    return looked


def live_canary(world: World) -> int:
    with world.store.read() as reader:
        found = activations.live(reader, "main").get(Ring.CANARY)
    return 0 if found is None else found.percent


def held_by(looked: rollout.Looked) -> list[str]:
    return [] if looked.hold is None else [gate.gate for gate in looked.hold.gates]


def stage_of(world: World) -> int:
    return standing(world.store, world.clock, world.settings, "main").state.stage


def gate_of(world: World) -> dict[str, Any]:
    gates = standing(world.store, world.clock, world.settings, "main").gates
    return next((gate_json(gate) for gate in gates if gate.gate == "feature_drift"), {})


def ready(world: World) -> World:
    """Make the readiness of a lineage no topic."""
    world.settings = replace(world.settings, policy=replace(POLICY, readiness_share=0.01))
    with world.store.write() as tx:
        drift.put(
            tx,
            DriftWindow(
                trainer="main", window_id="main/0", version=None, started_at_ms=0, closed_at_ms=HOUR,
                status=DriftStatus.CLOSED, verdict="pass", threshold=0.2, n=1000, mean=0.1, p95=0.1, max=0.2,
            ),
        )  # fmt: skip
    return world


def test_a_rollout_is_held_while_a_feature_drifts_and_goes_on_when_that_is_over(tmp_path: Path) -> None:
    world = ready(with_live_version(tmp_path))
    start(world)
    world.grow(2, shift=1.0)
    world.watch()
    looked = go(world)
    assert held_by(looked) == ["feature_drift"]
    assert stage_of(world) == 1
    said = gate_of(world)
    assert (said["allowed"], said["says"], said["numbers"]["features"]) == (False, "no", ["amount"])
    assert "amount" in said["detail"]
    assert said["satisfy"]
    assert not standing(world.store, world.clock, world.settings, "main").is_healthy
    world.grow(2)
    world.watch()
    assert held_by(go(world)) == []
    assert stage_of(world) == 2
    for entry in ledger.read(world.store.home):
        if "inputs" in entry["details"] and entry["action"].startswith("rollout."):
            assert recompute(entry["action"], entry["details"]["inputs"]) == entry["details"]["outcome"]


def test_a_person_is_held_too_but_for_an_override(tmp_path: Path) -> None:
    world = ready(with_live_version(tmp_path))
    start(world)
    world.grow(2, shift=1.0)
    world.watch()
    assert held_by(go(world)) == ["feature_drift"]
    overrides.grant(
        world.store, world.clock, world.settings, "main", "feature_drift", actor="ada", reason="a campaign",
        for_ms=4 * HOUR,
    )  # fmt: skip
    assert held_by(go(world)) == []
    assert stage_of(world) == 2


def test_report_never_holds_and_warns(tmp_path: Path) -> None:
    world = ready(with_live_version(tmp_path, hold=False))
    start(world)
    assert gate_of(world) == {}, "nothing to say"
    world.grow(2, shift=1.0)
    world.watch()
    said = gate_of(world)
    assert (said["allowed"], said["numbers"]["features"]) == (True, ["amount"])
    assert "warning" in said["detail"]
    assert held_by(go(world)) == []
    assert stage_of(world) == 2


@pytest.mark.parametrize("spoil", ["missing", "unknown", "stale", "future", "off"])
def test_what_nobody_can_say_holds(tmp_path: Path, spoil: str) -> None:
    world = ready(with_live_version(tmp_path))
    start(world)
    row = world.row
    assert row is not None
    assert row.looked_at_ms is not None
    far = 10 * 24 * HOUR
    with world.store.write() as tx:
        if spoil == "missing":
            tx.execute("feature_watches.forget", trainer="main")
        elif spoil == "unknown":
            feature_watches.put(tx, replace(row, verdict="unknown", reason="made up"))
        elif spoil in ("stale", "future"):
            feature_watches.put(tx, replace(row, looked_at_ms=row.looked_at_ms + (far if spoil == "future" else -far)))
    if spoil == "off":
        world.settings = replace(world.settings, evidence=EvidenceSettings(features=0))
    assert held_by(go(world)) == ["feature_drift"]
    assert gate_of(world)["says"] == "unknown"
    assert stage_of(world) == 1


def test_the_salt_of_a_trainer_is_its_name(tmp_path: Path) -> None:
    world = with_live_version(tmp_path)
    world.grow(2)
    arrays = unpack(blobs.get(world.store.home, str(world.seen().reference_digest)))
    assert int(arrays["salt"][0]) == hash_name("main")
