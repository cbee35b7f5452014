"""Training as units of work over real state: one commit or none, fenced, and the task decided by the first labels."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from upm_cli.config.schema import LearnerSettings, Settings, TrainerWorkerSettings
from upm_cli.core.records import Mode, Segment, SnapshotStatus, SourcePosition, Trainer, TrainerStatus
from upm_cli.core.replay import ReplayPolicy
from upm_cli.errors import IntegrityError, StorageError
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops import trainers as trainer_ops
from upm_cli.ops.activate import activate
from upm_cli.ops.checkpoints import encode_checkpoint
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.refused import refused_windows
from upm_cli.ops.rollback import rollback
from upm_cli.ops.training import SupersededError, TrainingSession
from upm_cli.sources.base import Chunk
from upm_cli.sources.decoder import Decoder
from upm_cli.store import blobs, collect, compaction, fsio, history, log, segments, snapshots, trainers
from upm_cli.store.kept import KeptState
from upm_cli.store.session import Store
from upm_cli.telemetry.points import Recorder

POLICY = ReplayPolicy(release_delay_ms=0, late_window_tolerance_ms=10**9, max_buffer_size=10_000)


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


@dataclass
class Project:
    store: Store
    settings: Settings
    fed: int = 0

    def feed(self, labels: Sequence[Any], *, end: bool = False) -> None:
        """Ingest one window for each label (None: bare) in one commit; with `end` the input is complete."""
        events = [window(self.fed + i, label) for i, label in enumerate(labels)]
        self.feed_events(events, end=end)
        self.fed += len(labels)

    def feed_events(self, events: Sequence[dict[str, Any]], *, end: bool = False) -> None:
        session = IngestSession.open(self.store, CLOCK, POLICY, "main")
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        chunk = Chunk(data, 0, SourcePosition(stream="main", key="file", path="in.jsonl", offset=len(data)), "in.jsonl")
        session.take(Decoder(session.known_names()).decode(chunk), chunk)
        if end:
            session.end_input()
        session.commit()

    def open(self) -> TrainingSession:
        return TrainingSession.open(self.store, CLOCK, self.settings, "main", Recorder(CLOCK.now_ms()))

    def train(self) -> Trainer:
        """Train to the end of the log as a worker does, and stop."""
        session = self.open()
        while session.step():
            if session.must_commit:
                session.commit()
        session.close()
        return self.trainer

    @property
    def trainer(self) -> Trainer:
        with self.store.read() as reader:
            return trainers.get(reader, "main")

    @property
    def versions(self) -> list[int]:
        with self.store.read() as reader:
            return [row.version for row in snapshots.list_for(reader, "main")]

    @property
    def comparisons(self) -> list[Segment]:
        with self.store.read() as reader:
            return segments.list_for(reader, "comparisons", "main")

    def everything(self) -> dict[str, Any]:
        """What the control state says of the trainer."""
        return {
            "trainer": self.trainer,
            "versions": self.versions,
            "compared": self.comparisons,
            "refused": refused_windows(self.store, "main"),
        }

    def blob(self, digest: str) -> Path:
        (path,) = (self.store.home / "blobs").rglob(f"{digest}*")
        return path


def window(i: int, label: Any) -> dict[str, Any]:
    features = {"x": i % 5 - 2, "kind": f"k{i % 3}"}
    found = {"window_id": f"w{i}", "window_start": i * 1000, "window_end": i * 1000 + 999, "features": features}
    return found if label is None else {**found, "label": label}


def make_settings(interval: int = 1000, task: str = "auto") -> Settings:
    return Settings(
        trainer_worker=TrainerWorkerSettings(snapshot_interval=interval), learner=LearnerSettings(task=task, bits=8)
    )


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    stores: list[Store] = []

    def new(interval: int = 1000, task: str = "auto") -> Project:
        store = Store.create(tmp_path / f"home-{len(stores)}" / ".upm", CLOCK)
        stores.append(store)
        trainer_ops.add(store, CLOCK, "main", mode=Mode.SHADOW, actor="tester")
        return Project(store, make_settings(interval, task))

    yield new
    for store in stores:
        store.close()


@pytest.fixture
def faults() -> Iterator[fsio.Faults]:
    yield fsio.faults
    fsio.faults.before = None


BINARY = [0, 1, 1, 0] * 25


def test_nothing_is_visible_before_the_commit_and_everything_after_it(make: Callable[..., Project]) -> None:
    project = make(interval=50)
    project.feed(BINARY, end=True)
    session = project.open()
    before = project.everything()
    while session.step():
        pass
    assert session.must_commit
    assert project.everything() == before

    session.commit()
    after = project.trainer
    assert project.versions == [1]
    assert (after.trained, after.log_position, after.snapshot_at_trained) == (100, 102, 100)
    assert [segment.rows for segment in project.comparisons] == [100]
    with project.store.read() as reader:
        row = snapshots.get(reader, "main", 1)
    assert row.checkpoint_digest == after.checkpoint_digest
    assert row.windows == 100
    assert after.checkpoint_digest is not None
    stored = blobs.get(project.store.home, after.checkpoint_digest)
    assert hashlib.sha256(stored).hexdigest() == after.checkpoint_digest
    assert session.fold is not None
    assert stored == encode_checkpoint(session.fold)


def test_comparisons_hold_the_predictions_made_before_learning(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(BINARY, end=True)
    project.train()
    compared = log.read_comparisons(project.store.home, project.comparisons[0])
    assert compared.window_id.to_list() == [f"w{i}" for i in range(100)]
    assert compared.truth.tolist() == [float(label) for label in BINARY]
    assert compared.prediction[:32].tolist() == [0.5] * 32, "the first batch is predicted by a model that knows nothing"
    assert abs(compared.score - abs(compared.prediction - compared.truth)).max() < 1e-6


@pytest.mark.parametrize("operation", ["write", "fsync", "rename"])
def test_a_disk_that_fails_during_a_commit_leaves_the_state_as_it_was(
    make: Callable[..., Project], faults: fsio.Faults, operation: str
) -> None:
    calm = make(interval=50)
    calm.feed(BINARY, end=True)
    expected = calm.train()

    project = make(interval=50)
    project.feed(BINARY, end=True)
    session = project.open()
    before = project.everything()

    def fail(what: str, path: Path) -> None:
        if what == operation:
            raise OSError(28, "No space left on device")

    faults.before = fail
    with pytest.raises(StorageError):
        while session.step():
            pass  # the snapshot that is due writes its model and its checkpoint
        session.commit()
    faults.before = None
    assert project.everything() == before

    again = project.train()
    assert again.weights_sha256 == expected.weights_sha256
    assert (again.trained, project.versions) == (100, [1])


def test_a_takeover_voids_what_was_not_committed(make: Callable[..., Project]) -> None:
    project = make(interval=50)
    project.feed(BINARY, end=True)
    old = project.open()
    while old.step():
        pass
    project.open()
    before = project.everything()
    with pytest.raises(SupersededError):
        old.commit()
    assert project.everything() == before
    with pytest.raises(SupersededError):
        old.look()
    old.close()
    assert project.everything() == before, "closing what is void changes nothing"


def test_a_rollback_in_between_voids_what_was_not_committed_and_training_goes_on_from_the_good_model(
    make: Callable[..., Project],
) -> None:
    project = make(interval=100)
    for _ in range(2):
        project.feed(BINARY, end=True)
        project.train()
    assert project.versions == [1, 2]
    for version in ("1", "2"):
        activate(project.store, CLOCK, project.settings, "main", version, actor="tester")
    good = project.trainer

    session = project.open()
    project.feed(BINARY, end=True)
    session.step()
    rollback(project.store, CLOCK, "main", actor="tester", reason="it was bad")
    before = project.everything()
    with pytest.raises(SupersededError):
        session.commit()
    assert project.everything() == before
    with project.store.read() as reader:
        first = snapshots.get(reader, "main", 1)
    assert project.trainer.checkpoint_digest == first.checkpoint_digest

    after = project.train()
    assert after.log_position == 3 * 102
    assert after.weights_sha256 != good.weights_sha256
    with project.store.read() as reader:
        last = snapshots.list_for(reader, "main")[-1]
    assert last.parent == 1, "what is learned now descends from the good version"


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0, 1], "binary"),
        ([True, False], "binary"),
        ([0, 1, 2], "regression"),
        (["mail", "chat"], "multiclass"),
        ([{"size": 1.0, "age": 2}, {"size": 3.0}], "structured"),
    ],
)
def test_the_first_labels_decide_the_task(make: Callable[..., Project], labels: list[Any], task: str) -> None:
    project = make()
    project.feed(labels * 20, end=True)
    trainer = project.train()
    assert trainer.learner["task"] == task
    assert trainer.trained == 20 * len(labels)
    assert (trainer.unlabelled, trainer.dead_letter) == (0, 0)


def test_the_task_is_decided_by_the_thousandth_label_and_not_before(make: Callable[..., Project]) -> None:
    project = make()
    project.feed([0, 1, None] * 499)
    assert project.train().learner == {}, "998 labels, and more may come"
    assert (project.trainer.trained, project.trainer.log_position) == (0, 0)
    project.feed([1, 1, 7.5], end=True)
    trainer = project.train()
    assert trainer.learner["task"] == "binary"
    assert (trainer.trained, trainer.unlabelled, trainer.dead_letter) == (1000, 499, 1)


def test_a_complete_input_decides_the_task_with_fewer_labels(make: Callable[..., Project]) -> None:
    project = make()
    project.feed([3.5, None, 2.0], end=True)
    trainer = project.train()
    assert trainer.learner["task"] == "regression"
    assert (trainer.trained, trainer.unlabelled, trainer.log_position) == (2, 1, 5)


def test_the_task_is_the_same_when_the_segments_of_the_log_were_merged_before(make: Callable[..., Project]) -> None:
    outcomes = []
    for merged in (False, True):
        project = make()
        project.feed([0, 1] * 5, end=True)  # a complete input: it decides
        for _ in range(9):
            project.feed([2.5, 3.5, 0.5, 1])
        project.feed([1, 0], end=True)
        if merged:
            assert compaction.compact(project.store, "log", "main", min_files=2)
        trainer = project.train()
        outcomes.append((trainer.learner["task"], trainer.trained, trainer.dead_letter, trainer.weights_sha256))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][:3] == ("binary", 10 + 9 + 2, 27)


def test_segments_merged_while_training_change_nothing(make: Callable[..., Project]) -> None:
    calm, merging = make(), make()
    for project in (calm, merging):
        for _ in range(10):
            project.feed(BINARY[:20])
        project.feed(BINARY, end=True)
    expected = calm.train()
    session = merging.open()
    session.step()
    assert compaction.compact(merging.store, "log", "main", min_files=2)
    for old in (merging.store.home / "log" / "main").glob("*.arrow"):
        if old.name not in {Path(segment.path).name for segment in _log(merging)}:
            old.unlink()
    while session.step():
        pass
    session.close()
    assert merging.trainer.weights_sha256 == expected.weights_sha256
    assert merging.trainer.log_position == expected.log_position


def _log(project: Project) -> list[Segment]:
    with project.store.read() as reader:
        return segments.list_for(reader, "log", "main")


def test_a_missing_segment_of_the_log_is_reported_as_damage(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(BINARY, end=True)
    (segment,) = _log(project)
    (project.store.home / segment.path).unlink()
    session = project.open()
    with pytest.raises(IntegrityError) as caught:
        session.step()
    assert segment.path in caught.value.message
    assert project.trainer.log_position == 0


def test_a_label_of_another_kind_is_kept_as_a_dead_letter_with_its_reason(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(BINARY, end=True)
    project.feed(["spam", 5, {"size": 1.0}], end=True)
    trainer = project.train()
    assert (trainer.trained, trainer.dead_letter) == (100, 3)
    kept = [(row["window_id"], row["offset"], row["reason"]) for row in refused_windows(project.store, "main")]
    assert kept == [
        ("w100", 102, "the label is of another kind than binary labels are"),
        ("w101", 103, "the label is neither 0 nor 1"),
        ("w102", 104, "the label is of another kind than binary labels are"),
    ]


def test_refused_labels_that_came_late_are_all_kept(make: Callable[..., Project]) -> None:
    project = make(interval=10)
    project.feed([*BINARY, *[None] * 6], end=True)
    project.train()
    for k in range(3):
        truths = [{"window_id": f"w{100 + 2 * k + j}", "label": "not a number"} for j in range(2)]
        project.feed_events(truths, end=True)
        project.train()
    trainer = project.trainer
    assert (trainer.trained, trainer.unlabelled, trainer.dead_letter) == (100, 6, 0), "their windows stay unlabelled"
    assert [row["window_id"] for row in refused_windows(project.store, "main")] == [f"w{i}" for i in range(100, 106)]


def test_late_labels_turn_unlabelled_windows_into_trained_ones(make: Callable[..., Project]) -> None:
    project = make()
    project.feed([*BINARY, None, None, None], end=True)
    assert (project.train().trained, project.trainer.unlabelled) == (100, 3)
    project.feed_events([{"window_id": "w100", "label": 1}, {"window_id": "w102", "label": 0}], end=True)
    trainer = project.train()
    assert (trainer.trained, trainer.unlabelled, trainer.dead_letter) == (102, 1, 0)


def test_an_input_without_labels_is_passed_over_and_a_later_one_is_learned(make: Callable[..., Project]) -> None:
    project = make()
    project.feed([None] * 50, end=True)
    trainer = project.train()
    assert (trainer.trained, trainer.unlabelled, trainer.log_position) == (0, 50, 52)
    assert (trainer.status, trainer.checkpoint_digest) == (TrainerStatus.IDLE, None)
    project.feed(BINARY, end=True)
    trainer = project.train()
    assert (trainer.trained, trainer.unlabelled, trainer.log_position) == (100, 50, 52 + 102)


def test_superseded_checkpoints_are_removed_unless_a_snapshot_needs_them(make: Callable[..., Project]) -> None:
    project = make(interval=200)
    seen = []
    for _ in range(3):
        project.feed(BINARY, end=True)
        digest = project.train().checkpoint_digest
        assert digest is not None
        seen.append(digest)
    with project.store.read() as reader:
        (made,) = snapshots.list_for(reader, "main")
    assert made.checkpoint_digest == seen[1], "200 windows: the second run reached the interval"
    kept = {digest for digest in seen if list((project.store.home / "blobs").rglob(f"{digest}*"))}
    assert kept == {seen[1], seen[2]}


def test_checkpoints_of_kept_states_stay_while_the_trainer_runs(
    make: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(interval=100_000)
    session = None
    seen: list[str] = []

    def there() -> set[str]:
        return {digest for digest in seen if list((project.store.home / "blobs").rglob(f"{digest}*"))}

    for number in range(history.KEPT + 3):
        project.feed(BINARY, end=True)
        session = session or project.open()
        while session.step():
            pass
        session.commit()
        seen.append(project.trainer.checkpoint_digest or "")
        assert there() == set(seen[-history.KEPT - 1 :]), number
    assert session is not None
    for path in history.states(project.store.home):
        with KeptState(project.store.home, path, project.store.clock).read() as reader:
            assert (trainers.get(reader, "main").checkpoint_digest or "") in there()
    monkeypatch.setattr(collect, "KEPT_BYTES", 1)
    project.feed(BINARY, end=True)
    while session.step():
        pass
    session.commit()
    seen.append(project.trainer.checkpoint_digest or "")
    assert there() == {seen[-1]}  # large ones are not kept
    session.close()
    assert there() == {seen[-1]}


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_flipped_bit_in_the_checkpoint_is_refused(make: Callable[..., Project], place: int) -> None:
    project = make()
    project.feed(BINARY, end=True)
    digest = project.train().checkpoint_digest
    assert digest is not None
    path = project.blob(digest)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    before = project.trainer
    with pytest.raises(IntegrityError):
        project.open()
    after = project.trainer
    assert (after.trained, after.weights_sha256, after.log_position) == (100, before.weights_sha256, 102)


def test_a_checkpoint_that_holds_something_else_is_refused_by_name(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(BINARY, end=True)
    project.train()
    other = blobs.put(project.store.home, b"not what a trainer knows")
    with project.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "main"), checkpoint_digest=other.digest))
    with pytest.raises(IntegrityError) as caught:
        project.open()
    assert caught.value.code == "UPM-E096"
    assert "main" in caught.value.message
    assert "upm rollback main" in caught.value.hint


def test_a_paused_trainer_learns_nothing_until_it_may_go_on(make: Callable[..., Project]) -> None:
    project = make()
    project.feed(BINARY, end=True)
    session = project.open()
    trainer_ops.set_desired(project.store, CLOCK, "main", "pause", actor="tester", reason="labels look wrong")
    assert not session.step()
    assert session.is_paused
    assert session.trained == 0
    session.close()
    assert project.trainer.status is TrainerStatus.PAUSED
    trainer_ops.set_desired(project.store, CLOCK, "main", "run", actor="tester", reason="")
    assert project.train().trained == 100


def test_how_often_a_run_commits_changes_neither_weights_nor_models(make: Callable[..., Project]) -> None:
    often, seldom = make(interval=64), make(interval=64)
    for project in (often, seldom):
        for _ in range(6):
            project.feed(BINARY[:44])
        project.feed(BINARY, end=True)
    session = often.open()
    while session.step():
        session.commit()
    session.close()
    seldom.train()
    assert often.trainer.weights_sha256 == seldom.trainer.weights_sha256
    assert often.trainer.checkpoint_digest == seldom.trainer.checkpoint_digest
    digests = []
    for project in (often, seldom):
        with project.store.read() as reader:
            digests.append([(row.version, row.digest, row.windows) for row in snapshots.list_for(reader, "main")])
    assert digests[0] == digests[1]
    assert len(digests[0]) >= 3


def test_a_restart_makes_at_most_one_snapshot_of_the_same_windows(make: Callable[..., Project]) -> None:
    project = make(interval=32, task="binary")
    project.feed(BINARY[:40])  # 32 learned, 8 wait beyond the mark
    assert project.train().trained == 32
    for _ in range(3):
        project.train()
    assert project.versions == [1]
    with project.store.read() as reader:
        assert snapshots.get(reader, "main", 1).status is SnapshotStatus.CREATED
    project.feed(BINARY[:4], end=True)
    assert project.train().trained == 44
    assert project.versions == [1]
    assert snapshot_ops.load(project.store.home, _first(project))[1]["windows"] == 32


def _first(project: Project) -> Any:
    with project.store.read() as reader:
        return snapshots.get(reader, "main", 1)
