"""The vectorised replay buffer against a slow, obvious loop over single arrivals."""

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.replay import ReplayBuffer, ReplayPolicy
from upm_cli.core.window import Csr, LabelKind, RowKind, Strings, WindowBatch

BLOCK = 64  # of the learned gap rule, as docs say


@dataclass(frozen=True)
class Arrival:
    window_id: str
    start_ms: int = 0
    label: float | None = None
    is_label: bool = False


@dataclass
class Outcome:
    """Everything that can be observed, summed over a run."""

    log: list[tuple[Any, ...]] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    late: list[tuple[str, int]] = field(default_factory=list)
    late_arrivals: list[tuple[str, int]] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    orphans: list[tuple[str, float]] = field(default_factory=list)
    early: int = 0
    read: int = 0
    buffered: int = 0
    labels_joined: int = 0
    labels_duplicate: int = 0
    pending: int = 0
    watermark_ms: int | None = None


class Oracle:
    """The definition in the docstring of core/replay.py, word by word."""

    def __init__(self, policy: ReplayPolicy) -> None:
        self.policy = policy
        self.out = Outcome()
        self.newest: int | None = None
        self.last_key: tuple[int, bytes] | None = None
        self.accepted: dict[str, int] = {}
        self.heap: list[tuple[int, bytes]] = []
        self.labels: dict[bytes, float | None] = {}  # of waiting windows
        self.bare: set[bytes] = set()  # waiting windows that came without
        self.released_bare: list[list[Any]] = []  # [id, seq, labelled]
        self.spacings: list[int] = []
        self.last_start: int | None = None

    def watermark(self) -> int | None:
        return None if self.newest is None else self.newest - self.policy.release_delay_ms

    def arrive(self, arrival: Arrival) -> None:
        if arrival.is_label:
            return self.label(arrival.window_id, arrival.label)
        self.out.read += 1
        mark = self.watermark()
        floor = None if mark is None else mark - self.policy.late_window_tolerance_ms
        key = (arrival.start_ms, arrival.window_id.encode())
        before = self.accepted.get(arrival.window_id)
        if before is not None and floor is not None and before >= floor:
            self.out.duplicates.append(arrival.window_id)
        elif floor is not None and arrival.start_ms < floor:
            self.out.late.append((arrival.window_id, arrival.start_ms))
        else:
            self.accepted[arrival.window_id] = arrival.start_ms
            if mark is not None and (arrival.start_ms <= mark or (self.last_key is not None and key <= self.last_key)):
                self.out.late_arrivals.append((arrival.window_id, max(0, mark - arrival.start_ms)))
                self.emit(key, arrival.label, arrival.label is None)
            else:
                self.out.buffered += 1
                heapq.heappush(self.heap, key)
                self.labels[key[1]] = arrival.label
                if arrival.label is None:
                    self.bare.add(key[1])
        self.newest = arrival.start_ms if self.newest is None else max(self.newest, arrival.start_ms)
        while self.heap and self.heap[0][0] <= self.newest - self.policy.release_delay_ms:
            self.release()
        while len(self.heap) > self.policy.max_buffer_size:
            self.out.early += 1
            self.release()
        return None

    def release(self) -> None:
        key = heapq.heappop(self.heap)
        if self.last_start is not None and key[0] > self.last_start:
            spacing = key[0] - self.last_start
            if self.policy.gap_ms is not None:
                is_gap = spacing > self.policy.gap_ms
            else:
                whole = len(self.spacings) // BLOCK * BLOCK
                is_gap = whole > 0 and spacing > 3 * sorted(self.spacings[whole - BLOCK : whole])[BLOCK // 2 - 1]
            if is_gap:
                self.out.gaps.append((self.last_start, key[0]))
            self.spacings.append(spacing)
        self.last_start = key[0]
        self.last_key = key
        was_bare = key[1] in self.bare
        self.bare.discard(key[1])
        self.emit(key, self.labels.pop(key[1]), was_bare)

    def emit(self, key: tuple[int, bytes], label: float | None, came_bare: bool) -> None:
        seq = len(self.out.log)
        self.out.log.append(("window", key[1].decode(), key[0], label))
        if came_bare:
            self.released_bare.append([key[1], seq, label is not None])

    def label(self, window_id: str, value: float | None) -> None:
        key = window_id.encode()
        if key in self.labels:
            if self.labels[key] is None:
                self.labels[key] = value
                self.out.labels_joined += 1
            else:
                self.out.labels_duplicate += 1
            return
        kept = self.released_bare[max(0, len(self.released_bare) - self.policy.label_horizon) :]
        for entry in reversed(kept):
            if entry[0] == key:
                if entry[2]:
                    self.out.labels_duplicate += 1
                else:
                    entry[2] = True
                    self.out.labels_joined += 1
                    self.out.log.append(("label", window_id, entry[1], value))
                return
        assert value is not None
        self.out.orphans.append((window_id, value))

    def drain(self) -> None:
        while self.heap:
            self.release()

    def outcome(self) -> Outcome:
        self.out.pending, self.out.watermark_ms = len(self.heap), self.watermark()
        return self.out


def batch_of(arrivals: list[Arrival]) -> WindowBatch:
    n = len(arrivals)
    label = [a.label for a in arrivals]
    start = np.array([a.start_ms for a in arrivals], np.int64)
    value = start.astype(np.float32)  # a feature by which a row can be told after it has moved
    return WindowBatch(
        np.array([RowKind.LABEL if a.is_label else RowKind.WINDOW for a in arrivals], np.uint8),
        Strings.of(a.window_id for a in arrivals),
        Strings.of("t" + a.window_id for a in arrivals),
        start,
        start + 7,
        np.array([LabelKind.NONE if v is None else LabelKind.NUMBER for v in label], np.uint8),
        np.array([np.nan if v is None else v for v in label], np.float64),
        Strings.of("" if v is None else f"text {v}" for v in label),
        Csr(np.arange(n + 1), np.arange(n, dtype=np.uint32), value),
    )


class Recorder:
    """Sums up what a ReplayBuffer says it did."""

    def __init__(self, buffer: ReplayBuffer) -> None:
        self.buffer = buffer
        self.out = Outcome()

    def push(self, arrivals: list[Arrival]) -> None:
        self.note(self.buffer.push(batch_of(arrivals)), arrivals)

    def note(self, done: Any, arrivals: list[Arrival]) -> None:
        batch, out = done.batch, self.out
        assert done.first_seq == len(out.log)
        target = dict(zip(done.label_rows.tolist(), done.label_seqs.tolist(), strict=True))
        for row in range(len(batch)):
            value = None if batch.label_kind[row] == LabelKind.NONE else float(batch.label_value[row])
            assert batch.label_text[row] == ("" if value is None else f"text {value}")
            if row in target:
                assert batch.kind[row] == RowKind.LABEL
                out.log.append(("label", batch.window_id[row], target[row], value))
                continue
            start = int(batch.start_ms[row])
            assert batch.kind[row] == RowKind.WINDOW
            assert (batch.tenant[row], int(batch.end_ms[row])) == ("t" + batch.window_id[row], start + 7)
            assert batch.x.value[batch.x.indptr[row] : batch.x.indptr[row + 1]].tolist() == [np.float32(start)]
            out.log.append(("window", batch.window_id[row], start, value))
        out.duplicates += done.duplicates.to_list()
        out.late += zip(done.late.window_id.to_list(), done.late.start_ms.tolist(), strict=True)
        out.late_arrivals += zip(done.late_arrivals.to_list(), done.late_arrival_ms.tolist(), strict=True)
        out.gaps += map(tuple, done.gaps.tolist())
        out.orphans += zip(done.orphans.window_id.to_list(), done.orphans.label_value.tolist(), strict=True)
        assert [arrivals[row].window_id for row in done.orphan_rows] == done.orphans.window_id.to_list()
        assert done.labels_read == done.labels_joined + done.labels_duplicate + len(done.orphans)
        out.early += done.early
        out.read += done.read
        out.buffered += done.buffered
        out.labels_joined += done.labels_joined
        out.labels_duplicate += done.labels_duplicate
        out.pending, out.watermark_ms = done.pending, done.watermark_ms


POLICIES = st.builds(
    ReplayPolicy,
    release_delay_ms=st.integers(0, 20),
    late_window_tolerance_ms=st.integers(0, 30),
    max_buffer_size=st.one_of(st.integers(1, 6), st.just(1000)),
    gap_ms=st.one_of(st.none(), st.integers(1, 10)),
    label_horizon=st.one_of(st.integers(0, 4), st.just(1000)),
)
IDS = st.one_of(
    st.text("ab\0é", max_size=3),  # ties, prefixes, zero bytes
    st.integers(0, 40).map(lambda n: f"window-{n:03d}"),
    st.integers(0, 9999).map(str),
)
LABELS = st.one_of(st.none(), st.integers(0, 3).map(float))


@st.composite
def arrivals(draw: st.DrawFn, *, with_labels: bool = False) -> list[Arrival]:
    """Time that mostly moves on, with steps back, ties, repetitions, and labels for windows known and unknown."""
    now, made = draw(st.integers(-50, 50)), []
    for window_id in draw(st.lists(IDS, max_size=40)):
        kind = draw(st.integers(0, 9))
        now += draw(st.integers(0, 6)) if kind < 8 else draw(st.integers(0, 60))
        if with_labels and kind % 3 == 0:
            known = st.sampled_from(made[-6:]).map(lambda a: a.window_id) if made else IDS
            label = float(draw(st.integers(0, 3)))
            made.append(Arrival(draw(st.one_of(known, known, IDS)), label=label, is_label=True))
        elif kind == 7 and made:
            made.append(draw(st.sampled_from(made)))
        else:
            start = now - draw(st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 80)))
            made.append(Arrival(window_id, start, draw(LABELS)))
    return made


@st.composite
def cuts(draw: st.DrawFn, rows: list[Arrival]) -> list[list[Arrival]]:
    at = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    return [rows[a:b] for a, b in zip([0, *at], [*at, len(rows)], strict=True)]


def oracle_of(policy: ReplayPolicy, rows: list[Arrival], *, drain: bool) -> Outcome:
    oracle = Oracle(policy)
    for row in rows:
        oracle.arrive(row)
    if drain:
        oracle.drain()
    return oracle.outcome()


@settings(max_examples=700, deadline=None)
@given(st.data(), POLICIES, st.booleans(), st.booleans())
def test_any_cut_into_batches_does_what_single_arrivals_do(
    data: st.DataObject, policy: ReplayPolicy, drain: bool, with_labels: bool
) -> None:
    rows = data.draw(arrivals(with_labels=with_labels))
    recorder = Recorder(ReplayBuffer(policy))
    for part in data.draw(cuts(rows)):
        recorder.push(part)
    if drain:
        recorder.note(recorder.buffer.drain(), [])
    assert recorder.out == oracle_of(policy, rows, drain=drain)


@settings(max_examples=500, deadline=None)
@given(st.data(), POLICIES, st.booleans())
def test_a_buffer_saved_and_restored_anywhere_goes_on_as_if_nothing_had_been(
    data: st.DataObject, policy: ReplayPolicy, with_labels: bool
) -> None:
    rows = data.draw(arrivals(with_labels=with_labels))
    recorder = Recorder(ReplayBuffer(policy))
    for part in data.draw(cuts(rows)):
        recorder.push(part)
        recorder.buffer = ReplayBuffer.from_arrays(policy, recorder.buffer.to_arrays())
    recorder.note(recorder.buffer.drain(), [])
    assert recorder.out == oracle_of(policy, rows, drain=True)


@settings(max_examples=250, deadline=None)
@given(st.data(), POLICIES)
def test_every_window_ends_in_exactly_one_place(data: st.DataObject, policy: ReplayPolicy) -> None:
    rows = data.draw(arrivals(with_labels=True))
    buffer = ReplayBuffer(policy)
    places: list[str] = []
    read = released = 0
    for part in data.draw(cuts(rows)):
        done = buffer.push(batch_of(part))
        read += done.read
        released += done.windows
        places += done.duplicates.to_list() + done.late.window_id.to_list()
        places += [done.batch.window_id[i] for i in np.flatnonzero(done.batch.kind == RowKind.WINDOW)]
    assert read == len(places) + buffer.pending == sum(not row.is_label for row in rows)
    rest = buffer.drain()
    assert sorted(places + rest.batch.window_id.to_list()) == sorted(r.window_id for r in rows if not r.is_label)


@settings(max_examples=250, deadline=None)
@given(st.data(), st.integers(1, 50))
def test_any_order_within_the_release_delay_gives_the_identical_log(data: st.DataObject, delay: int) -> None:
    steps = data.draw(st.lists(st.integers(0, 20), min_size=1, max_size=40))
    starts = np.cumsum(steps).tolist()
    windows = [Arrival(f"w{data.draw(st.integers(0, 3))}-{i}", start) for i, start in enumerate(starts)]
    # a window is held back by less than the delay: nothing that comes before it starts more than the delay later
    held = [data.draw(st.integers(0, delay - 1)) for _ in windows]
    shuffled = [
        w for _, _, w in sorted((w.start_ms + h, i, w) for i, (w, h) in enumerate(zip(windows, held, strict=True)))
    ]
    policy = ReplayPolicy(release_delay_ms=delay, max_buffer_size=1000)
    recorder = Recorder(ReplayBuffer(policy))
    for part in data.draw(cuts(shuffled)):
        recorder.push(part)
    recorder.note(recorder.buffer.drain(), [])
    expected = sorted(windows, key=lambda w: (w.start_ms, w.window_id.encode()))
    assert [row[1] for row in recorder.out.log] == [w.window_id for w in expected]
    assert not recorder.out.late_arrivals
    assert not recorder.out.late


def test_long_streams_with_disorder_overflow_and_repetitions_agree_with_the_loop() -> None:
    rng = np.random.default_rng(20)
    for trial in range(12):
        n = 3000
        starts = np.cumsum(rng.choice([1, 1, 1, 2, 40], n)) - rng.integers(0, (1, 60, 400)[trial % 3], n)
        rows = [
            Arrival(f"w{i if rng.random() < 0.95 else rng.integers(0, i + 1)}", int(start), (None, 1.0)[trial % 2])
            for i, start in enumerate(starts)
        ]
        if trial % 4 == 3:
            rows = [Arrival(r.window_id, label=2.0, is_label=True) if rng.random() < 0.3 else r for r in rows]
        policy = ReplayPolicy(
            release_delay_ms=50,
            late_window_tolerance_ms=200,
            max_buffer_size=int(rng.choice([5, 60, 1000])),
            label_horizon=300,
        )
        recorder = Recorder(ReplayBuffer(policy))
        ends = np.sort(rng.integers(0, n, 30)).tolist()
        for a, b in zip([0, *ends], [*ends, n], strict=True):
            recorder.push(rows[a:b])
        recorder.note(recorder.buffer.drain(), [])
        assert recorder.out == oracle_of(policy, rows, drain=True)
