"""The replay buffer: windows go in in any order, and one order that does not depend on it comes out.

Defined for one arrival at a time, so that nothing depends on how arrivals are cut into batches. The watermark is the
greatest start seen minus `release_delay_ms`, the floor is the watermark minus `late_window_tolerance_ms`. A window

1. whose id was accepted before, with a start not below the floor, is a duplicate and dropped;
2. that starts below the floor is late: for the late ledger, not for the log;
3. whose place was released already (it starts at or before the watermark, or its key is not above the greatest key
   released in order) is a late arrival, and released at once;
4. otherwise waits in the buffer.

Then its start moves the watermark, what that reaches is released in the order of the keys (start, bytes of the id),
and while more than `max_buffer_size` windows wait, the first of them is released early. A separate label is attached
to its window while that waits; if its window is one of the last `label_horizon` released that had come without, it
becomes a LABEL row; else it is an orphan. The words are those of Akidau et al. 2015, "The Dataflow Model".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from upm_cli.core.gaps import GapFinder
from upm_cli.core.late_labels import AwaitingLabel, Placed, Rows, attach, place_labels
from upm_cli.core.ordering import log_order
from upm_cli.core.replay_arrays import Array, batch_from_arrays, batch_to_arrays, strings_from_arrays, strings_to_arrays
from upm_cli.core.replay_result import Released
from upm_cli.core.replay_schedule import NOT_YET, Schedule, schedule
from upm_cli.core.seen import BoolArray, SeenIds
from upm_cli.core.window import I64Array, LabelKind, RowKind, Strings, WindowBatch

NEVER: Final = -(1 << 62)  # before every start
_NO_GAPS: Final = np.zeros((0, 2), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPolicy:
    """How long to wait for disorder, and what counts as late. Times are event time."""

    release_delay_ms: int = 5_000
    late_window_tolerance_ms: int = 60_000
    max_buffer_size: int = 1_000  # windows
    gap_ms: int | None = None  # longest spacing of released starts that is no gap; None: learned, see GapFinder
    label_horizon: int = 100_000  # windows released without a label that a later label can still find

    def __post_init__(self) -> None:
        least = {"release_delay_ms": 0, "late_window_tolerance_ms": 0, "max_buffer_size": 1, "label_horizon": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if self.gap_ms is not None and self.gap_ms < 1:
            raise ValueError(f"gap_ms must be at least 1, got {self.gap_ms}")


@dataclass(slots=True)
class _Arrivals:
    """The m windows of one push and what becomes of each: `duplicate`, `late`, `passed` (m,), or else it waits."""

    windows: WindowBatch
    position: I64Array  # (m,) row in the pushed batch
    before: I64Array  # (m,) the watermark it met
    watermarks: I64Array  # (m,) after it
    duplicate: BoolArray
    late: BoolArray
    passed: BoolArray


@dataclass(slots=True)
class _Rows:
    """The n rows at hand: those that waited, then those accepted, as they came."""

    batch: WindowBatch
    bare: BoolArray  # (n,) came without a label
    arrived: I64Array  # (n,) number of the arrival, -1 for those that waited
    in_order: I64Array  # rows that were not passed on arrival, in log order
    plan: Schedule  # of `in_order`

    def timeline(self, position: I64Array) -> tuple[I64Array, I64Array, BoolArray]:
        """Return for each row when it is released (row of the pushed batch, or NOT_YET), its rank, and if passed."""
        at = np.append(position, -1)
        time = at[self.arrived]
        passed = np.ones(time.size, np.bool_)
        rank = np.zeros(time.size, np.int64)
        passed[self.in_order] = self.plan.passed
        rank[self.in_order] = np.arange(self.in_order.size)
        waits = self.plan.time == NOT_YET
        time[self.in_order] = np.where(waits, NOT_YET, at[np.where(waits, -1, self.plan.time)])
        return time, rank, passed


class ReplayBuffer:
    """Orders and deduplicates the windows of one stream.

    A batch that is pushed is not modified, but may live on in the buffer and in what is released: don't change it.
    """

    def __init__(self, policy: ReplayPolicy, *, next_seq: int = 0) -> None:
        self.policy = policy
        self.next_seq = next_seq  # log position of the next row
        self._newest_ms = NEVER  # greatest start seen
        self._last_key: tuple[int, str] | None = None  # greatest key released in order
        self._pending = WindowBatch.empty()  # in log order
        self._pending_bare: BoolArray = np.zeros(0, np.bool_)  # came without a label
        self._seen = SeenIds()
        self._awaiting = AwaitingLabel(policy.label_horizon)
        self._gaps = GapFinder(policy.gap_ms)

    @property
    def pending(self) -> int:
        """How many windows wait."""
        return len(self._pending)

    @property
    def watermark_ms(self) -> int | None:
        """What starts at or before it has been released; None before the first window."""
        return None if self._newest_ms == NEVER else self._newest_ms - self.policy.release_delay_ms

    def holds(self, ids: Sequence[str]) -> list[bool]:
        """Say of which windows a label would find its place: they wait, or were released lately without one."""
        waiting = set(self._pending.window_id.to_list())
        oldest = self._awaiting.count - self._awaiting.limit
        numbers = [self._awaiting.number_of(key) for key in ids]
        return [
            key in waiting or (number is not None and number >= oldest)
            for key, number in zip(ids, numbers, strict=True)
        ]

    def mark(self) -> int:
        """Reserve and return the log position of a row (END, CUT) that the caller puts behind what was released."""
        self.next_seq += 1
        return self.next_seq - 1

    def push(self, batch: WindowBatch) -> Released:
        """Take the rows of `batch`, of kinds WINDOW and LABEL in the order of arrival, and release what is due."""
        is_label = batch.kind == RowKind.LABEL
        if not is_label.any():
            return self._advance(self._sort_out(batch, np.arange(len(batch))), None, np.zeros(0, np.int64))
        windows, labels = np.flatnonzero(~is_label), np.flatnonzero(is_label)
        return self._advance(self._sort_out(batch.take(windows), windows), batch.take(labels), labels)

    def drain(self) -> Released:
        """Release everything that waits: the input is complete."""
        batch, bare = self._pending, self._pending_bare
        self._pending, self._pending_bare = WindowBatch.empty(), bare[:0]
        gaps = self._pass_over(batch, np.arange(len(batch)))
        return self._emit(batch, bare, gaps)

    def release_idle(self, idle_ms: int) -> Released:
        """Release everything that waits if nothing has arrived for `release_delay_ms` of wall time, else nothing."""
        if idle_ms >= self.policy.release_delay_ms:
            return self.drain()
        return self._emit(WindowBatch.empty(), np.zeros(0, np.bool_), _NO_GAPS)

    def readmit(self, windows: WindowBatch) -> Released:
        """Release windows at once that had been late: they are wanted after all.

        Duplicates are those whose id is in the horizon, and all but the first of an id among them; whether an older
        window of the same id is in the log is not known any more.
        """
        first: dict[str, int] = {}
        ids = windows.window_id.to_list()
        repeated = np.array([first.setdefault(key, row) != row for row, key in enumerate(ids)], np.bool_)
        floor_ms = self._newest_ms - self._reach_ms
        seen = self._seen.admit(windows.window_id, windows.start_ms, np.full(len(ids), floor_ms), floor_ms)
        batch = windows.take(np.flatnonzero(~(repeated | seen)))
        result = self._emit(batch, batch.label_kind == LabelKind.NONE, _NO_GAPS)
        result.duplicates = windows.window_id.take(np.flatnonzero(repeated | seen))
        result.late_arrivals = batch.window_id
        result.late_arrival_ms = np.maximum((self.watermark_ms or 0) - batch.start_ms, 0)
        return result

    def to_arrays(self) -> dict[str, Array]:
        """Return everything needed to go on, by name; counts that the caller keeps are not part of it."""
        seen_ids, seen_starts = self._seen.live(self._newest_ms - self._reach_ms)
        bare_ids, bare_seqs, labelled = self._awaiting.columns()
        start, window_id = self._last_key or (NEVER, "")
        return {
            "next_seq": np.array([self.next_seq]),
            "newest_ms": np.array([self._newest_ms]),
            "last_start_ms": np.array([start]),
            **strings_to_arrays("last_id", Strings.of([window_id])),
            **batch_to_arrays("pending", self._pending),
            "pending_bare": self._pending_bare,
            **strings_to_arrays("seen_id", seen_ids),
            "seen_start_ms": seen_starts,
            **strings_to_arrays("bare_id", bare_ids),
            "bare_seq": bare_seqs,
            "bare_labelled": labelled,
            "bare_count": np.array([self._awaiting.count]),
            "gaps": self._gaps.to_array(),
        }

    @classmethod
    def from_arrays(cls, policy: ReplayPolicy, arrays: Mapping[str, Array]) -> Self:
        """Go on from what `to_arrays` gave; `policy` may be another one. Raises KeyError when an array is missing."""
        self = cls(policy, next_seq=int(arrays["next_seq"][0]))
        self._newest_ms = int(arrays["newest_ms"][0])
        if (start := int(arrays["last_start_ms"][0])) != NEVER:
            self._last_key = start, strings_from_arrays("last_id", arrays)[0]
        self._pending = batch_from_arrays("pending", arrays)
        self._pending_bare = arrays["pending_bare"]
        ids, starts = strings_from_arrays("seen_id", arrays), arrays["seen_start_ms"]
        self._seen.admit(ids, starts, np.full(starts.size, NEVER), NEVER)
        bare = strings_from_arrays("bare_id", arrays), arrays["bare_seq"], arrays["bare_labelled"]
        self._awaiting.restore(*bare, int(arrays["bare_count"][0]))
        self._gaps = GapFinder.from_array(arrays["gaps"], policy.gap_ms)
        return self

    @property
    def _reach_ms(self) -> int:
        """How far behind the greatest start a window is late."""
        return self.policy.release_delay_ms + self.policy.late_window_tolerance_ms

    def _sort_out(self, windows: WindowBatch, position: I64Array) -> _Arrivals:
        """Decide about each arrival by the watermark it met, and move the watermark behind them all."""
        starts = windows.start_ms
        newest = np.maximum.accumulate(np.concatenate([[self._newest_ms], starts]))
        watermarks = newest - self.policy.release_delay_ms
        floors = newest - self._reach_ms
        self._newest_ms = int(newest[-1])
        before = watermarks[:-1]
        duplicate = self._seen.admit(windows.window_id, starts, floors[:-1], int(floors[-1]))
        late = (starts < floors[:-1]) & ~duplicate
        passed = ((starts <= before) | self._behind_last_key(windows)) & ~late & ~duplicate
        return _Arrivals(windows, position, before, watermarks[1:], duplicate, late, passed)

    def _behind_last_key(self, windows: WindowBatch) -> BoolArray:
        if self._last_key is None:
            return np.zeros(len(windows), np.bool_)
        start, window_id = self._last_key
        behind = windows.start_ms < start
        for row in np.flatnonzero(windows.start_ms == start):
            behind[row] = windows.window_id[int(row)] <= window_id
        return behind

    def _line_up(self, came: _Arrivals, *, with_time: bool) -> _Rows:
        """Put the accepted windows behind those that wait, and work out when each is released."""
        accepted = np.flatnonzero(~(came.duplicate | came.late))
        windows = _pick(came.windows, accepted)
        here = len(self._pending)
        batch = WindowBatch.concat([self._pending, windows]) if here else windows
        bare = np.concatenate([self._pending_bare, windows.label_kind == LabelKind.NONE])
        arrived = np.concatenate([np.full(here, -1), accepted])
        waits = np.flatnonzero(~np.concatenate([np.zeros(here, np.bool_), came.passed[accepted]]))
        whole = waits.size == len(batch)
        order = log_order(*((batch.start_ms, batch.window_id) if whole else _keys(batch, waits)))
        in_order = waits if order is None else waits[order]
        plan = schedule(
            batch.start_ms[in_order],
            arrived[in_order],
            came.watermarks,
            self.policy.max_buffer_size,
            with_time=with_time or not whole,
        )
        return _Rows(batch, bare, arrived, in_order, plan)

    def _advance(self, came: _Arrivals, labels: WindowBatch | None, label_at: I64Array) -> Released:
        """Buffer what waits, release what is due, place the labels, and count it all."""
        rows = self._line_up(came, with_time=labels is not None)
        prefix = rows.plan.prefix
        if labels is None and prefix is not None and rows.in_order.size == len(rows.batch):
            out = rows.in_order[:prefix]
            self._hold(rows.batch, rows.bare, rows.in_order[prefix:])
            result = self._emit(_pick(rows.batch, out), rows.bare[out], self._pass_over(rows.batch, out))
            passed = out[:0]
        else:
            labels = WindowBatch.empty(0, RowKind.LABEL) if labels is None else labels
            result, passed = self._advance_by_time(rows, came.position, labels, label_at)
        came_late = rows.arrived[passed]
        held = ~(came.duplicate | came.late)
        held[came_late] = False
        buffered = np.flatnonzero(held)
        result.read = len(came.windows)
        result.early = rows.plan.early
        if came.late.any():
            result.late = came.windows.take(np.flatnonzero(came.late))
        if came.duplicate.any():
            result.duplicates = came.windows.window_id.take(np.flatnonzero(came.duplicate))
        if passed.size:
            result.late_arrivals = rows.batch.window_id.take(passed)
            result.late_arrival_ms = np.maximum(came.before[came_late] - came.windows.start_ms[came_late], 0)
        result.buffered = buffered.size
        if buffered.size:
            result.last_buffered = came.windows.window_id[int(buffered[-1])]
        return result

    def _advance_by_time(
        self, rows: _Rows, position: I64Array, labels: WindowBatch, label_at: I64Array
    ) -> tuple[Released, I64Array]:
        """Merge what is released in order, late arrivals and late labels by the arrival that brought each out.

        Returns the rows that were passed, too, in the order of arrival.
        """
        time, rank, passed = rows.timeline(position)
        waits = time == NOT_YET
        arrived = np.append(position, -1)[rows.arrived]
        placed = self._place(rows, arrived, time, rank, labels, label_at)
        batch = attach(rows.batch, labels, placed.attached)
        self._hold(batch, rows.bare, rows.in_order[waits[rows.in_order]])
        gaps = self._pass_over(batch, rows.in_order[~(waits | passed)[rows.in_order]])

        extra = np.array([label for label, _, _ in placed.late], np.int64)
        every = WindowBatch.concat([batch, labels.take(extra)])
        log = _by_time(np.concatenate([time, label_at[extra]]), np.concatenate([rank, np.zeros(extra.size, np.int64)]))
        place = np.zeros(len(every), np.int64)
        place[log] = np.arange(log.size)
        bare = np.concatenate([rows.bare, np.zeros(extra.size, np.bool_)])
        target = [self.next_seq + int(place[row]) if row is not None else seq for _, row, seq in placed.late]

        result = self._emit(every.take(log), bare[log], gaps)
        result.label_rows, result.label_seqs = place[len(batch) :], np.array(target, np.int64)
        result.labels_read, result.labels_duplicate = len(labels), placed.duplicate
        result.labels_joined = len(placed.attached) + len(placed.late)
        orphan = np.array(placed.orphan, np.int64)
        result.orphans, result.orphan_rows = labels.take(orphan), label_at[orphan]
        return result, np.flatnonzero(passed)

    def _place(
        self,
        rows: _Rows,
        arrived: I64Array,
        time: I64Array,
        rank: I64Array,
        labels: WindowBatch,
        label_at: I64Array,
    ) -> Placed:
        if not len(labels):
            return Placed()
        log = _by_time(time, rank)
        bare = log[rows.bare[log]]
        numbers = np.full(time.size, -1)
        numbers[bare] = self._awaiting.count + np.arange(bare.size)
        labelled = rows.batch.label_kind != LabelKind.NONE
        known = Rows(rows.batch.window_id, arrived, time, labelled, numbers, time[bare])
        return place_labels(labels.window_id.to_list(), label_at.tolist(), known, self._awaiting)

    def _hold(self, batch: WindowBatch, bare: BoolArray, rows: I64Array) -> None:
        """Let `rows` of `batch`, in log order, wait."""
        self._pending, self._pending_bare = _pick(batch, rows), bare[rows]

    def _pass_over(self, batch: WindowBatch, rows: I64Array) -> I64Array:
        """Note that `rows` of `batch` are released in order; return the gaps between them."""
        if rows.size:
            self._last_key = int(batch.start_ms[rows[-1]]), batch.window_id[int(rows[-1])]
        return self._gaps.find(batch.start_ms[rows])

    def _emit(self, batch: WindowBatch, bare: BoolArray, gaps: I64Array) -> Released:
        """Give log positions to released rows; those that came `bare` (n,) can still be found by a label."""
        if bare.any():
            at = np.flatnonzero(bare)
            ids = batch.window_id if at.size == len(batch) else batch.window_id.take(at)
            self._awaiting.add(ids, self.next_seq + at, batch.label_kind[at] != LabelKind.NONE)
        first_seq = self.next_seq
        self.next_seq += len(batch)
        return Released(
            batch=batch, first_seq=first_seq, pending=self.pending, watermark_ms=self.watermark_ms, gaps=gaps
        )


def _by_time(time: I64Array, rank: I64Array) -> I64Array:
    """Return the rows that are released, by the arrival that released them, then by rank."""
    released = np.flatnonzero(time != NOT_YET)
    return released[np.lexsort((rank[released], time[released]))]


def _keys(batch: WindowBatch, rows: I64Array) -> tuple[I64Array, Strings]:
    return batch.start_ms[rows], batch.window_id.take(rows)


def _pick(batch: WindowBatch, rows: I64Array) -> WindowBatch:
    """Return `rows` of `batch`; when they follow each other, without copying."""
    if rows.size and rows[-1] - rows[0] == rows.size - 1 and (rows[1:] > rows[:-1]).all():
        if rows.size == len(batch):
            return batch
        return batch.slice(int(rows[0]), int(rows[-1]) + 1)
    return batch.take(rows)
