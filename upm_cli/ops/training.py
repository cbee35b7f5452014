"""Training as units of work: read the log where it goes on, fold, commit checkpoint, comparisons and snapshots at once.

A commit is files first, rows second, fenced: if the trainer was rolled back or taken over meanwhile, nothing of it
is written and `SupersededError` tells the worker to start again from what is in the state.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from upm_cli.clock import Clock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.learning.labels import TaskVote
from upm_cli.core.records import Segment, Snapshot, Trainer, TrainerStatus
from upm_cli.core.training import Fold, Refused
from upm_cli.core.window import RowKind, WindowBatch
from upm_cli.ops import checkpoints
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.store import blobs, collect, log, rejects, seen, segmentfiles, segments, trainers
from upm_cli.store.together import Steps, Unit, alone
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store, Tx


class SupersededError(Exception):
    """Somebody else moved the trainer (rollback, takeover): what was not committed is void."""


@dataclass(slots=True)
class _Pending:
    """What has been learned and not committed."""

    comparisons: list[Comparisons] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    snapshots: list[snapshot_ops.Prepared] = field(default_factory=list)
    windows: int = 0
    loss_sum: float = 0.0
    started_s: float = 0.0


class TrainingSession:
    """One worker's hold on one trainer: the fold in memory, and what of it is committed."""

    def __init__(
        self,
        store: "Store",
        clock: Clock,
        settings: "Settings",
        trainer: Trainer,
        fold: Fold | None,
        recorder: Recorder,
    ) -> None:
        self._store, self._clock, self._settings, self._recorder = store, clock, settings, recorder
        self.trainer = trainer
        self.fold = fold
        self._vote = TaskVote()
        self._voted_to = trainer.log_position
        self._pending = _Pending(started_s=clock.monotonic_s())
        self._token: tuple[int, int] | None = None
        self._ahead: list[Segment] = []
        self._snapshot_at = trainer.snapshot_at_trained
        self._written: _Checkpoint | None = None
        self._outdated = collect.Outdated(store.home)
        self._log_end = 0
        self.must_commit = False

    @classmethod
    def open(
        cls, store: "Store", clock: Clock, settings: "Settings", name: str, recorder: Recorder
    ) -> "TrainingSession":
        """Take the trainer over: raise its fence and load its checkpoint."""
        return alone(store, cls.opening(store, clock, settings, name, recorder))

    @classmethod
    def opening(
        cls, store: "Store", clock: Clock, settings: "Settings", name: str, recorder: Recorder
    ) -> "Steps[TrainingSession]":
        """Yield the unit of work of `open`."""

        def take_over(tx: "Tx") -> Trainer:
            trainer = trainers.get(tx, name)
            if trainer.config_digest not in (None, settings.digest()):
                changed = {"before": trainer.config_digest, "after": settings.digest()}
                tx.ledger("trainer.config", name, **changed, reason="settings that change what is learned are others")
            trainer = replace(
                trainer,
                fence=trainer.fence + 1,
                status=TrainerStatus.TRAINING if trainer.desired == "run" else TrainerStatus.PAUSED,
                config_digest=settings.digest(),
                updated_at_ms=clock.now_ms(),
            )
            trainers.put(tx, trainer)
            return trainer

        trainer: Trainer = yield Unit(actor="trainer", work=take_over)
        return cls(store, clock, settings, trainer, checkpoints.load_checkpoint(store, trainer), recorder)

    @property
    def is_paused(self) -> bool:
        return self.trainer.desired == "pause"

    @property
    def is_deciding(self) -> bool:
        """Whether the trainer still waits for labels that say what there is to learn."""
        return self.fold is None

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        position = self.fold.position if self.fold else self.trainer.log_position
        return position != self.trainer.log_position or bool(self._pending.snapshots)

    @property
    def is_ahead(self) -> bool:
        """Whether there are segments to read, as far as is known."""
        return bool(self._ahead) and not self.is_paused

    @property
    def trained(self) -> int:
        return self.fold.tally.trained if self.fold else self.trainer.trained

    @property
    def loss(self) -> float | None:
        """Progressive loss: the mean over every window learned, each before it was learned."""
        found = self.fold.tally if self.fold else self.trainer
        return found.loss_sum / found.trained if found.trained else None

    @property
    def next_seq(self) -> int:
        """The log row that is read next; those that wait for their batch have been read."""
        return self.fold.next_seq if self.fold else self._voted_to

    @property
    def lag(self) -> int:
        """Log rows not yet consumed, as far as is known."""
        return max(0, self._log_end - (self.fold.position if self.fold else self.trainer.log_position))

    def look(self) -> None:
        """Read the state again if its file changed: new segments, pause and resume, a rollback."""
        token = self._store.token()
        if token == self._token:
            return
        start = self.next_seq
        with self._store.read() as reader:
            fresh = trainers.get(reader, self.trainer.name)
            self._ahead = segments.list_for(reader, "log", fresh.stream, from_seq=start)
        self._token = token
        if fresh.fence != self.trainer.fence:
            raise SupersededError
        self.trainer = replace(self.trainer, desired=fresh.desired, pause_reason=fresh.pause_reason)
        if self._ahead:
            self._log_end = self._ahead[-1].last_seq + 1

    def step(self) -> bool:
        """Consume the next segment of the log; return whether there was one. Raises SupersededError."""
        self.look()
        if self.is_paused or not self._ahead:
            return False
        segment = self._ahead.pop(0)
        try:
            rows = log.read(self._store.home, segment)
        except segmentfiles.SegmentGoneError:
            with self._store.read() as reader:
                known = segments.list_for(reader, "log", self.trainer.stream, from_seq=segment.first_seq)
            if segment in known:
                raise  # it should be there: the log is damaged
            self._token = None
            return True  # merged into another segment meanwhile: look again
        if self.fold is None:
            self._decide(rows, segment)
        else:
            self._learn(rows.slice(self.fold.next_seq - segment.first_seq, len(rows)))
        return True

    def _decide(self, rows: WindowBatch, segment: Segment) -> None:
        """Look at labels until the task is known; then go back and learn from the first row on."""
        start, ends = self._voted_to - segment.first_seq, np.flatnonzero(rows.kind == RowKind.END) + 1
        for stop in [*ends[ends > start].tolist(), len(rows)]:
            self._vote.take(rows.slice(start, stop))
            self.fold = checkpoints.begin_fold(self._settings, self._vote, self.trainer, input_ended=stop in ends)
            if self.fold is not None:
                self._token = None
                return
            start = stop
        self._voted_to = segment.last_seq + 1
        if ends.size and not self._vote.count:
            self._pass_unlabelled()

    def _pass_unlabelled(self) -> None:
        """Consume a complete input that had no label at all: there is nothing to learn, and no task to decide."""
        unlabelled = 0
        with self._store.write(actor="trainer") as tx:
            fresh = trainers.get(tx, self.trainer.name)
            if fresh.fence != self.trainer.fence:
                raise SupersededError
            known = segments.list_for(tx, "log", fresh.stream, from_seq=fresh.log_position)
            for _, rows in log.scan(
                self._store.home, [s for s in known if s.last_seq < self._voted_to], fresh.log_position
            ):
                unlabelled += int((rows.kind == RowKind.WINDOW).sum())
            fresh = replace(
                fresh,
                log_position=self._voted_to,
                unlabelled=fresh.unlabelled + unlabelled,
                updated_at_ms=self._clock.now_ms(),
            )
            trainers.put(tx, fresh)
        self.trainer = fresh

    def _learn(self, rows: WindowBatch) -> None:
        assert self.fold is not None
        before = self.fold.tally.trained, self.fold.tally.loss_sum
        for step in self.fold.advance(rows):
            if len(step.comparisons):
                self._pending.comparisons.append(step.comparisons)
            self._pending.refused += step.refused
            interval = self._settings.trainer_worker.snapshot_interval
            if step.cut and self.fold.tally.trained // interval > self._snapshot_at // interval:
                self._prepare_snapshot()
        self._pending.windows += self.fold.tally.trained - before[0]
        self._pending.loss_sum += self.fold.tally.loss_sum - before[1]

    def _prepare_snapshot(self) -> None:
        """Write the model as it is now; it becomes a snapshot with the commit that follows at once."""
        assert self.fold is not None
        self._snapshot_at = self.fold.tally.trained
        checkpoint = self._checkpoint()
        self._pending.snapshots.append(
            snapshot_ops.prepare(
                self._store.home,
                self._clock,
                self._settings,
                self.trainer,
                *checkpoints.snapshot_parts(self.fold, checkpoint.weights_sha256),
                checkpoint_digest=checkpoint.digest,
                version=self.trainer.last_version + len(self._pending.snapshots) + 1,
            )
        )
        self.must_commit = True

    def _checkpoint(self) -> "_Checkpoint":
        """Write the fold as it is now, unless that is written already."""
        assert self.fold is not None
        at = (self.fold.position, self.fold.tally.trained)
        if self._written is None or self._written.at != at:
            data = checkpoints.encode_checkpoint(self.fold)
            digest = blobs.put(self._store.home, data, "zstd").digest
            self._written = _Checkpoint(at, digest, checkpoints.weights_sha256(self.fold))
        return self._written

    def commit(self) -> None:
        """Make everything learned so far durable: files first, then all rows at once. Raises SupersededError."""
        alone(self._store, self.committing())

    def committing(self) -> Steps[None]:
        """Yield the unit of work of `commit`; nothing is learned until it is done."""
        if self.fold is None:
            return
        now = self._clock.now_ms()
        checkpoint = self._checkpoint()
        files = self._write_files(now)

        def register(tx: "Tx") -> tuple[Trainer, list[Snapshot], set[str]]:
            fresh = trainers.get(tx, self.trainer.name)
            if fresh.fence != self.trainer.fence:
                raise SupersededError
            for segment in files:
                segments.add(tx, segment)
            rows = []
            for prepared in self._pending.snapshots:
                row, fresh = snapshot_ops.register(tx, self._store.home, fresh, prepared)
                rows.append(row)
            changed = self._row(fresh, checkpoint, now)
            trainers.put(tx, changed)
            seen.trainer_changed(tx, fresh, changed)
            return changed, rows, collect.referenced(tx, among=self._outdated.with_one_more(outdated))

        outdated = self.trainer.checkpoint_digest
        changed, rows, needed = yield Unit(actor="trainer", work=register)
        if outdated and outdated not in needed:
            self._outdated.add(outdated, needed, now)
        self._measure(rows, now)
        self.trainer = changed
        self._pending = _Pending(started_s=self._clock.monotonic_s())
        self.must_commit = False

    def close(self) -> None:
        """Commit what is left and say that nobody trains this trainer now."""
        alone(self._store, self.closing())

    def closing(self) -> Steps[None]:
        """Yield the units of work of `close`."""
        try:
            if self.dirty:
                yield from self.committing()
        except SupersededError:
            return  # rolled back while stopping: the state is already as it should be
        needed = yield Unit(actor="trainer", work=self._let_go)
        self._outdated.remove_all(needed, self._clock.now_ms())

    def _let_go(self, tx: "Tx") -> set[str]:
        fresh = trainers.get(tx, self.trainer.name)
        status = TrainerStatus.PAUSED if fresh.desired == "pause" else TrainerStatus.IDLE
        if fresh.fence == self.trainer.fence and fresh.status is not status:
            trainers.put(tx, replace(fresh, status=status, updated_at_ms=self._clock.now_ms()))
        return collect.referenced(tx, among=self._outdated.with_one_more(None))

    def _write_files(self, now_ms: int) -> list[Segment]:
        home, name = self._store.home, self.trainer.name
        files = []
        if self._pending.comparisons:
            files.append(log.write_comparisons(home, name, Comparisons.concat(self._pending.comparisons), now_ms))
        if self._pending.refused:
            source = f"log of {self.trainer.stream}"
            rows = [
                {"reason": one.reason, "source": source, "offset": one.seq, "window_id": one.window_id}
                for one in self._pending.refused
            ]
            owner = refused_owner(name)
            with self._store.read() as reader:
                last = segments.last(reader, "dead", owner)
            first = last.last_seq + 1 if last else 0
            files.append(rejects.write(home, owner, "dead", rows, first_seq=first, created_at_ms=now_ms))
        return files

    def _row(self, fresh: Trainer, checkpoint: "_Checkpoint", now_ms: int) -> Trainer:
        assert self.fold is not None
        tally = self.fold.tally
        spec = self.fold.learner.spec
        return replace(
            fresh,
            status=TrainerStatus.TRAINING,
            last_window_id=tally.last_window_id or fresh.last_window_id,
            last_window_fetched_at_ms=now_ms,
            last_loss=tally.last_loss,
            log_position=self.fold.position,
            trained=tally.trained,
            unlabelled=tally.unlabelled,
            dead_letter=tally.dead_letter,
            loss_sum=tally.loss_sum,
            influence={str(version): counts for version, counts in sorted(tally.influence.items())},
            metrics=self.fold.metrics.report(),
            checkpoint_digest=checkpoint.digest,
            weights_sha256=checkpoint.weights_sha256,
            snapshot_at_trained=self._snapshot_at,
            learner=asdict(spec),
            updated_at_ms=now_ms,
        )

    def _measure(self, rows: list[Snapshot], now_ms: int) -> None:
        windows = self._pending.windows
        about = {"trainer_id": self.trainer.name}
        for row in rows:
            snapshot_ops.measure(self._recorder, row)
        if windows:
            elapsed_ms = (self._clock.monotonic_s() - self._pending.started_s) * 1000
            loss = self._pending.loss_sum / windows
            measured = {"loss": loss, "duration_ms": elapsed_ms, "window_count": windows}
            self._recorder.record("upm.trainer.update", measured, about)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A fold that is written: where it stood, under which digest, and the hash of its weights."""

    at: tuple[int, int]
    digest: str
    weights_sha256: str


def refused_owner(trainer: str) -> str:
    """Return the name under which the windows that a trainer would not take are kept."""
    return f"{trainer}.refused"
