"""Ingest as units of work: what was decoded goes through the replay buffer into the log, all of it or nothing.

A commit is files first, row second: log segment, feature names, dead letters, late windows and the state of the
buffer are written, then one unit of work registers them, moves the source positions and counts. It is fenced by the
epoch of the stream: once another worker has taken the stream, nothing of the older one is written. After a crash at
any moment a new session begins where the last commit ended, and makes the same log rows from the same chunks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from upm_cli.clock import Clock
from upm_cli.core.records import Segment, SourcePosition, Stream
from upm_cli.core.replay import ReplayBuffer, ReplayPolicy
from upm_cli.core.replay_result import Released
from upm_cli.core.window import I64Array, RowKind, Strings, U32Array, WindowBatch
from upm_cli.errors import BusyError
from upm_cli.ids import check_name
from upm_cli.ops import dead_rows, ingest_state, log_windows
from upm_cli.ops.ingest_check import check, check_outcomes
from upm_cli.sources.base import Chunk, Decoded
from upm_cli.store import blobs, log, rejects, seen, segments, sources, streams
from upm_cli.store.together import Steps, Unit, alone
from upm_cli.telemetry.points import Recorder

if TYPE_CHECKING:
    from upm_cli.store.session import Store, Tx

__all__ = ["IngestSession", "check", "check_outcomes"]

KEPT_GAPS: Final = 1000  # newest gaps that stay known by their ends
Row = Mapping[str, Any]


class Told(Protocol):
    """What was decoded with feature names in it."""

    names: Strings
    name_hashes: U32Array


class Companion(Protocol):
    """Something else that is read into a stream and commits with it."""

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        ...

    def write_files(self, now_ms: int) -> list[Segment]:
        """Write the files of what is to be committed, and return their segments."""
        ...

    def register(self, tx: "Tx", now_ms: int) -> None:
        """Write the rows."""
        ...

    def committed(self) -> None:
        """The commit is durable."""
        ...


@dataclass(slots=True)
class _Uncommitted:
    """What has been done in memory since the last commit."""

    batches: list[WindowBatch] = field(default_factory=list)  # log rows
    label_seqs: dict[int, int] = field(default_factory=dict)  # of a LABEL row → of its window
    names: list[Strings] = field(default_factory=list)
    name_hashes: list[U32Array] = field(default_factory=list)
    dead: list[Row] = field(default_factory=list)
    late: list[Row] = field(default_factory=list)
    positions: dict[str, SourcePosition] = field(default_factory=dict)
    replaced: list[tuple[Segment, Segment | None]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    measured: list[tuple[str, dict[str, Any], int]] = field(default_factory=list)
    changed: bool = False


class IngestSession:
    """One worker's hold on one stream: the replay buffer in memory, and what of it is committed.

    `take` chunks and `commit`; where commits fall decides where CUT rows stand in the log, so commit after a fixed
    amount of input, not of time, where a log is to be reproduced. After any error the session is void: open another.
    """

    def __init__(
        self, store: "Store", clock: Clock, stream: Stream, buffer: ReplayBuffer, recorder: Recorder | None
    ) -> None:
        self._store, self._clock, self._recorder = store, clock, recorder
        self.stream = stream  # as committed
        self._buffer = buffer
        self._gaps: I64Array = np.zeros((0, 2), np.int64)
        self._rows_since_end = False
        self._work = _Uncommitted()
        self._known: dict[str, SourcePosition] | None = (
            None  # as committed; nobody else moves them, as we hold the epoch
        )
        self._numbers: dict[str, int] = {}  # by kind of segment the number of the next row, known likewise
        self._saved = ingest_state.SavedStates(store.home)
        self.companions: list[Companion] = []

    @classmethod
    def open(
        cls, store: "Store", clock: Clock, policy: ReplayPolicy, stream: str, recorder: Recorder | None = None
    ) -> "IngestSession":
        """Take the stream over (it is made if need be): raise its epoch and load its replay buffer.

        The caller holds the lease `ingest-<stream>`. Raises IntegrityError when the saved buffer is damaged.
        """
        return alone(store, cls.opening(store, clock, policy, stream, recorder))

    @classmethod
    def opening(
        cls, store: "Store", clock: Clock, policy: ReplayPolicy, stream: str, recorder: Recorder | None = None
    ) -> "Steps[IngestSession]":
        """Yield the unit of work of `open`."""
        check_name(stream, "stream")

        def take_over(tx: "Tx") -> Stream:
            row = streams.find(tx, stream) or Stream(name=stream)
            row = replace(row, epoch=row.epoch + 1, updated_at_ms=clock.now_ms())
            streams.put(tx, row)
            return row

        row: Stream = yield Unit(actor="ingest", work=take_over)
        if row.state_digest is None:
            return cls(store, clock, row, ReplayBuffer(policy, next_seq=row.next_seq), recorder)
        arrays = ingest_state.load(store, row)
        self = cls(store, clock, row, ReplayBuffer.from_arrays(policy, arrays), recorder)
        self._gaps = arrays["recent_gaps"]
        self._rows_since_end = bool(arrays["rows_since_end"][0])
        return self

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit."""
        return self._work.changed or any(companion.dirty for companion in self.companions)

    @property
    def pending(self) -> int:
        """How many windows wait in the buffer."""
        return self._buffer.pending

    @property
    def windows_read(self) -> int:
        """How many windows were ever read into this stream, taken chunks included."""
        return self.stream.read + self._work.counts["read"]

    def positions(self) -> list[SourcePosition]:
        """Return how far each source has been read, taken chunks included."""
        if self._known is None:
            with self._store.read() as reader:
                self._known = {position.key: position for position in sources.list_for(reader, self.stream.name)}
        return list((self._known | self._work.positions).values())

    def known_names(self) -> U32Array:
        """Return the hashes of the feature names that the stream has told already, (n,) uint32."""
        with self._store.read() as reader:
            told = segments.list_for(reader, "names", self.stream.name)
        return np.array(list(log.read_names(self._store.home, told)), np.uint32)

    def take(self, decoded: Decoded, chunk: Chunk) -> Released:
        """Put a decoded chunk through the replay buffer. Nothing is durable before `commit`."""
        work = self._work
        work.counts["read"] += len(decoded.rejects)
        work.counts["dead_letter"] += len(decoded.rejects)
        work.dead += (dead_rows.of_reject(reject, chunk, self._clock.now_ms()) for reject in decoded.rejects)
        self.tell_names(decoded)
        work.positions[chunk.position.key] = replace(chunk.position, updated_at_ms=self._clock.now_ms())
        done = self.push(decoded.batch)
        work.dead += dead_rows.of_orphans(done.orphans, chunk, self._clock.now_ms())
        return done

    def tell_names(self, decoded: Told) -> None:
        """Keep the feature names that are new."""
        if len(decoded.names):
            self._work.names.append(decoded.names)
            self._work.name_hashes.append(decoded.name_hashes)

    def push(self, batch: WindowBatch, *, keep_late: bool = True) -> Released:
        """Put rows that have no source position through the buffer; orphan labels are left to the caller.

        So are windows that came too late, unless they are to be kept (`keep_late`).
        """
        self._work.changed = True
        return self._note(self._buffer.push(batch), keep_late=keep_late)

    def append(self, late: WindowBatch) -> Released:
        """Put windows behind everything that `push` left to the caller."""
        return self._note(self._buffer.readmit(late))

    def holds(self, ids: Sequence[str]) -> list[bool]:
        """Say of which windows a label would find its place; see ReplayBuffer."""
        return self._buffer.holds(ids)

    def count_duplicates(self, count: int) -> None:
        """Count windows that were read and are in the stream already."""
        self._work.counts.update(read=count, duplicate=count)

    def keep_late(self, late: WindowBatch) -> None:
        """Put windows into the late ledger that `push` left to the caller."""
        self._work.late += dead_rows.of_late(late)
        self._work.counts["late"] += len(late)

    def keep(self, *, dead: Sequence[Row] = (), late: Sequence[Row] = ()) -> None:
        """Put rows of a companion, who counts them, into the dead letters and the late ledger."""
        self._work.dead += dead
        self._work.late += late
        self._work.changed |= bool(dead or late)

    def readmit(self, late: WindowBatch) -> Released:
        """Put windows of the late ledger into the log."""
        self._work.counts["late"] -= len(late)
        return self._note(self._buffer.readmit(late))

    def end_input(self) -> Released:
        """The input is complete: release everything, and mark its end if there were rows since the last end."""
        done = self._note(self._buffer.drain())
        if self._rows_since_end:
            self._mark(RowKind.END)
            self._rows_since_end = False
        return done

    def release_idle(self, idle_ms: int) -> Released:
        """Release everything if nothing has arrived for the release delay; see ReplayBuffer."""
        return self._note(self._buffer.release_idle(idle_ms))

    def retract(self, *, dead_letters: int = 0, orphans: int = 0) -> None:
        """Uncount records that are about to be fed in again."""
        self._work.counts.update({"read": -dead_letters, "dead_letter": -dead_letters})
        self._work.counts.update({"labels_read": -orphans, "labels_orphan": -orphans})

    def replace_rejects(self, old: Segment, rows: Sequence[Row]) -> None:
        """Let `rows` stand for the dead letters or late windows of `old`, not more of them than there were."""
        new = None
        if rows:
            at_ms = self._clock.now_ms()
            new = rejects.write(
                self._store.home, old.owner, old.kind, rows, first_seq=old.first_seq, created_at_ms=at_ms
            )
        self._work.replaced.append((old, new))
        self._work.changed = True

    def commit(self) -> Stream:
        """Make everything since the last commit durable, or nothing of it; return the stream as it is now.

        Raises BusyError when another worker has taken the stream, StorageError when the disk refuses.
        """
        return alone(self._store, self.committing())

    def committing(self) -> Steps[Stream]:
        """Yield the unit of work of `commit`, files first; nothing is taken until it is done."""
        work, now_ms = self._work, self._clock.now_ms()
        if not self.dirty:
            return self.stream
        if work.batches:
            self._mark(RowKind.CUT)
        files = self._write_files(now_ms)
        busy = [companion for companion in self.companions if companion.dirty]
        for companion in busy:
            files += companion.write_files(now_ms)
        state = blobs.put(self._store.home, self._state())

        def register(tx: "Tx") -> Stream:
            fresh = streams.find(tx, self.stream.name)
            if fresh is None or fresh.epoch != self.stream.epoch:
                raise _taken_over(self.stream)
            self._register(tx, files)
            for companion in busy:
                companion.register(tx, now_ms)
            changed = self._row(fresh, state.digest, now_ms)
            streams.put(tx, changed)
            seen.stream_changed(tx, fresh, changed)
            return changed

        changed: Stream = yield Unit(actor="ingest", work=register)
        for name, measured, count in work.measured if self._recorder else ():
            self._recorder.record(name, measured, {"stream": changed.name}, count)  # type: ignore[union-attr]
        if self._known is not None:
            self._known |= work.positions
        self._numbers |= {file.kind: file.last_seq + 1 for file in files}
        self.stream, self._work = changed, _Uncommitted()
        self._saved.add(state)
        for companion in busy:
            companion.committed()
        return changed

    def _note(self, done: Released, *, keep_late: bool = True) -> Released:
        """Count what the buffer did and keep its rows for the commit."""
        work = self._work
        if len(done.batch):
            work.changed = True
            work.batches.append(done.batch)
            seqs = done.first_seq + done.label_rows
            work.label_seqs.update(zip(seqs.tolist(), done.label_seqs.tolist(), strict=True))
            self._rows_since_end = True
        if keep_late:
            self.keep_late(done.late)
        self._gaps = np.concatenate([self._gaps, done.gaps])[-KEPT_GAPS:]
        work.measured += done.telemetry()
        work.counts.update(
            read=done.read,
            released=done.windows,
            duplicate=len(done.duplicates),
            late_arrivals=len(done.late_arrivals),
            early=done.early,
            gaps=len(done.gaps),
            labels_read=done.labels_read,
            labels_joined=done.labels_joined,
            labels_orphan=len(done.orphans),
        )
        return done

    def _mark(self, kind: RowKind) -> None:
        self._buffer.mark()
        self._work.batches.append(WindowBatch.empty(1, kind))
        self._work.changed = True

    def _write_files(self, now_ms: int) -> list[Segment]:
        work, home, name = self._work, self._store.home, self.stream.name
        files = []
        if work.batches:
            first = self.stream.next_seq
            rows = log_windows.fill_labels(self._store, name, WindowBatch.concat(work.batches), first, work.label_seqs)
            files.append(log.write(home, name, rows, first, now_ms))
        if work.names:
            names, hashes = Strings.concat(work.names), np.concatenate(work.name_hashes)
            files.append(log.write_names(home, name, names, hashes, self._number("names"), now_ms))
        for kind, bad in (("dead", work.dead), ("late", work.late)):
            if bad:
                first = self._number(kind)
                files.append(rejects.write(home, name, kind, bad, first_seq=first, created_at_ms=now_ms))
        return files

    def _number(self, kind: str) -> int:
        """Return the number of the next row of a kind of segment that only this session writes."""
        if kind not in self._numbers:
            with self._store.read() as reader:
                last = segments.last(reader, kind, self.stream.name)
            self._numbers[kind] = last.last_seq + 1 if last else 0
        return self._numbers[kind]

    def _register(self, tx: "Tx", files: Sequence[Segment]) -> None:
        for old, new in self._work.replaced:
            segments.remove(tx, [old])
            if new is not None:
                segments.add(tx, new)
        for segment in files:
            segments.add(tx, segment)
        for position in self._work.positions.values():
            sources.put(tx, position)

    def _row(self, fresh: Stream, state_digest: str, now_ms: int) -> Stream:
        counts = {name: getattr(fresh, name) + count for name, count in self._work.counts.items()}
        return replace(
            fresh,
            **counts,
            next_seq=self._buffer.next_seq,
            pending=self._buffer.pending,
            watermark_ms=self._buffer.watermark_ms,
            state_digest=state_digest,
            updated_at_ms=now_ms,
        )

    def _state(self) -> bytes:
        return ingest_state.encode(self.stream, self._buffer, self._gaps, rows_since_end=self._rows_since_end)


def _taken_over(stream: Stream) -> BusyError:
    return BusyError(
        f"another ingest worker has taken stream {stream.name}; what this one had not committed is left to it",
        hint="nothing is lost; upm status shows who works",
        code="UPM-E075",
        context={"stream": stream.name, "epoch": stream.epoch},
    )
