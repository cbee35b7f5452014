"""The ingest session over real state: every record in one place, one commit or none, the same log after any crash."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.core.hashing import hash_name
from upm_cli.core.records import SourcePosition, Stream
from upm_cli.core.replay import ReplayPolicy
from upm_cli.core.window import LabelKind, RowKind, Strings, WindowBatch
from upm_cli.errors import BusyError, IntegrityError, NotFoundError, StorageError, UsageError
from upm_cli.ops import dead_letters, ingest_state
from upm_cli.ops.ingest import IngestSession, check
from upm_cli.sources.base import Chunk
from upm_cli.sources.decoder import Decoder
from upm_cli.store import fsio, lease, log, segments, sources, streams
from upm_cli.store.session import Store
from upm_cli.telemetry.points import Recorder

HERE = Path(__file__).parent
POLICY = ReplayPolicy(release_delay_ms=5_000, late_window_tolerance_ms=20_000, max_buffer_size=4)


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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".upm", CLOCK)
    yield store
    store.close()


def window(window_id: str, start_ms: int, **more: Any) -> dict[str, Any]:
    features = {"size": start_ms, "kind": "mail"}
    return {"window_id": window_id, "window_start": start_ms, "window_end": start_ms + 9, "features": features, **more}


def truth(window_id: str, label: Any) -> dict[str, Any]:
    return {"window_id": window_id, "label": label}


def chunk_of(events: Sequence[dict[str, Any] | bytes], offset: int = 0, **more: Any) -> Chunk:
    data = b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in events)
    position = SourcePosition(stream="main", key="file", path="in.jsonl", offset=offset + len(data))
    return Chunk(data, offset, position, "in.jsonl", **more)


def open_session(store: Store, recorder: Recorder | None = None) -> IngestSession:
    return IngestSession.open(store, CLOCK, POLICY, "main", recorder)


def feed(session: IngestSession, *events: dict[str, Any] | bytes) -> Stream:
    chunk = chunk_of(events)
    session.take(Decoder(session.known_names()).decode(chunk), chunk)
    return session.commit()


def finish(session: IngestSession) -> Stream:
    session.end_input()
    return session.commit()


def stream_of(store: Store) -> Stream:
    with store.read() as r:
        found = streams.find(r, "main")
    assert found is not None
    return found


def log_of(store: Store) -> WindowBatch:
    with store.read() as r:
        files = segments.list_for(r, "log", "main")
    return WindowBatch.concat([rows for _, rows in log.scan(store.home, files, 0)])


def log_rows(store: Store) -> list[tuple[str, str]]:
    """Return (kind, window id) by log position."""
    rows = log_of(store)
    return [(RowKind(kind).name, row) for kind, row in zip(rows.kind.tolist(), rows.window_id.to_list(), strict=True)]


def assert_counts_add_up(s: Stream) -> None:
    assert s.read == s.released + s.pending + s.duplicate + s.late + s.dead_letter


def test_a_commit_moves_rows_counts_positions_and_names_at_once(store: Store) -> None:
    session = open_session(store)
    done = feed(session, window("a", 1000, label=1), b"{oops", window("b", 9000), window("a", 1000), window("c", 8000))
    assert (done.read, done.released, done.pending, done.duplicate, done.dead_letter) == (5, 1, 2, 1, 1)
    assert done == stream_of(store)
    assert_counts_add_up(done)
    assert log_rows(store) == [("WINDOW", "a"), ("CUT", "")]
    with store.read() as r:
        (position,) = sources.list_for(r, "main")
        names = log.read_names(store.home, segments.list_for(r, "names", "main"))
    assert position.offset == len(chunk_of([window("a", 1000, label=1), b"{oops", window("b", 9000)]).data) + len(
        chunk_of([window("a", 1000), window("c", 8000)]).data
    )
    assert names[hash_name("size") & 0xFFFFFFFF] == "size"
    assert set(names.values()) == {"size", "kind=mail"}
    assert sorted(open_session(store).known_names().tolist()) == sorted(names)


def test_a_declared_end_is_marked_once_however_often_it_is_declared(store: Store) -> None:
    session = open_session(store)
    feed(session, window("a", 1000))
    finish(session)
    finish(session)
    finish(open_session(store))
    assert log_rows(store) == [("WINDOW", "a"), ("END", ""), ("CUT", "")]
    feed(session := open_session(store), window("b", 2000))
    finish(session)
    assert log_rows(store)[3:] == [("WINDOW", "b"), ("END", ""), ("CUT", "")]


def test_a_commit_without_rows_leaves_no_cut_in_the_log(store: Store) -> None:
    session = open_session(store)
    done = feed(session, window("a", 1000), window("b", 2000))
    assert (done.pending, done.next_seq) == (2, 0)
    generation = store.token()
    session.release_idle(4_999)
    session.commit()
    assert store.token() == generation, "nothing was to be committed"
    session.release_idle(5_000)
    session.commit()
    assert log_rows(store) == [("WINDOW", "a"), ("WINDOW", "b"), ("CUT", "")]


def test_an_older_session_can_write_nothing_once_the_stream_is_taken(store: Store) -> None:
    older = open_session(store)
    newer = open_session(store)
    with pytest.raises(BusyError) as refused:
        feed(older, window("a", 1000))
    assert refused.value.code == "UPM-E075"
    assert stream_of(store).read == 0
    assert feed(newer, window("a", 1000)).read == 1


def test_a_late_label_becomes_a_row_with_the_features_of_its_window(store: Store) -> None:
    session = open_session(store)
    feed(session, window("a", 1000, tenant_id="acme"), window("b", 2000), window("z", 10_000))
    feed(session, window("c", 20_000), window("d", 30_000), truth("a", "spam"), truth("c", 3), truth("d", True))
    session = open_session(store)
    done = feed(session, truth("b", {"x": 1.5}), truth("a", "ham"), truth("nobody", 1))
    assert (done.labels_read, done.labels_joined, done.labels_orphan) == (6, 4, 1)
    rows = log_of(store)
    labels = np.flatnonzero(rows.kind == RowKind.LABEL)
    assert rows.window_id.take(labels).to_list() == ["a", "c", "b"]
    for row in labels.tolist():
        (of,) = [i for i in np.flatnonzero(rows.kind == RowKind.WINDOW) if rows.window_id[i] == rows.window_id[row]]
        assert (rows.start_ms[row], rows.end_ms[row], rows.tenant[row]) == (
            rows.start_ms[of],
            rows.end_ms[of],
            rows.tenant[of],
        )
        assert rows.x.value[slice(*rows.x.indptr[row : row + 2])].tolist() == [float(rows.start_ms[of]), 1.0]
    assert rows.label_text.take(labels).to_list() == ["spam", "", '{"x":1.5}']
    assert rows.label_value[labels[1]] == 3
    (letter,) = dead_letters.find(store, "main")
    assert (letter.kind, json.loads(letter.raw)) == ("label", truth("nobody", 1.0))
    finish(session)
    rows = log_of(store)
    (joined,) = [i for i in range(len(rows)) if rows.window_id[i] == "d"]
    assert (rows.kind[joined], rows.label_kind[joined], rows.label_value[joined]) == (0, LabelKind.BOOL, 1.0)


def test_windows_beyond_the_tolerance_are_kept_in_the_late_ledger(store: Store) -> None:
    done = feed(open_session(store), window("a", 100_000), window("old", 3_000, label=0.5, tenant_id="acme"))
    assert (done.late, done.pending) == (1, 1)
    assert_counts_add_up(done)
    (row,) = dead_letters.late_windows(store, "main")
    assert row == {
        "window_id": "old",
        "window_start": 3_000,
        "window_end": 3_009,
        "tenant_id": "acme",
        "label_kind": int(LabelKind.NUMBER),
        "label_value": 0.5,
        "label_text": "",
        "index": row["index"],
        "value": [3000.0, 1.0],
    }
    assert row["index"][0] == hash_name("size") & 0xFFFFFFFF


def test_late_windows_can_be_put_into_the_log_after_all(store: Store) -> None:
    session = open_session(store)
    old = window("old", 3_000, label={"x": 0.25}, tenant_id="acme")
    feed(session, window("a", 100_000), old, window("bare", 2_000), old)
    assert stream_of(store).late == 3
    assert dead_letters.readmit_late(store, CLOCK, POLICY, "main") == dead_letters.Retried(tried=3, ingested=3)
    done = stream_of(store)
    assert (done.read, done.late, done.released, done.duplicate, done.late_arrivals) == (4, 0, 2, 1, 2)
    assert_counts_add_up(done)
    assert dead_letters.late_windows(store, "main") == []
    rows = log_of(store)
    assert rows.window_id.to_list() == ["old", "bare", ""]
    assert (rows.tenant[0], rows.label_text[0], rows.start_ms[0], rows.end_ms[0]) == (
        "acme",
        '{"x":0.25}',
        3_000,
        3_009,
    )
    assert rows.x.value.tolist() == [3000.0, 1.0, 2000.0, 1.0]
    assert rows.x.index.tolist()[0] == hash_name("size") & 0xFFFFFFFF
    assert feed(open_session(store), truth("bare", 1)).labels_joined == 1
    assert dead_letters.readmit_late(store, CLOCK, POLICY, "main") == dead_letters.Retried()


def test_dead_letters_keep_the_record_as_it_was(store: Store) -> None:
    long = json.dumps({"window_id": 1.5, "pad": "x" * 100_000}).encode()
    done = feed(open_session(store), b"{oops", b"\xff\xfe{}", long)
    assert (done.read, done.dead_letter) == (3, 3)
    broken, binary, cut = dead_letters.find(store, "main")
    assert (broken.raw, broken.source, broken.offset, broken.whole) == (b"{oops", "in.jsonl", 0, True)
    assert "not JSON" in broken.reason
    assert (binary.raw, binary.offset) == (b"\xff\xfe{}", 6)
    assert binary.row()["raw"] == "��{}"
    assert (cut.raw, cut.whole) == (long[: 64 << 10], False)
    assert dead_letters.find(store, "main", limit=1) == [broken]


def test_dead_letters_that_can_be_read_now_leave_the_list_and_are_counted_once(store: Store) -> None:
    session = open_session(store)
    feed(session, window("a", 1_000), b"{oops", truth("b", 1), truth("never", 2), window("z", 10_000))
    before = stream_of(store)
    assert (before.dead_letter, before.labels_orphan) == (1, 2)
    feed(session, window("b", 11_000))
    assert dead_letters.retry(store, CLOCK, POLICY, "main") == dead_letters.Retried(tried=3, ingested=1, left=2)
    after = stream_of(store)
    assert (after.labels_read, after.labels_joined, after.labels_orphan) == (2, 1, 1)
    assert [letter.raw[:20] for letter in dead_letters.find(store, "main")] == [b"{oops", b'{"window_id":"never"']
    assert_counts_add_up(after)
    again = dead_letters.retry(store, CLOCK, POLICY, "main")
    assert (again.tried, again.left) == (2, 2)
    assert stream_of(store).read == after.read
    feed(open_session(store), b"{more")
    assert len(dead_letters.find(store, "main")) == 3


def test_a_record_that_was_refused_by_mistake_is_read_again_as_what_it_is(store: Store) -> None:
    """As after an update that reads more than the version before."""
    session = open_session(store)
    good = json.dumps(window("x", 9_000)).encode()
    csv = {"format": "csv", "header": b"window_id,window_start,window_end,size,label\n"}
    for chunk in (
        chunk_of([good]),
        chunk_of([b"y,9500,9600,4,1"], **csv),
        chunk_of([json.dumps(truth("q", 1)).encode()]),
    ):
        decoded = Decoder().decode(chunk)
        refused = type(decoded)(
            WindowBatch.empty(), Strings.empty(0), np.zeros(0, np.uint32), [_reject(chunk.data.rstrip())], 1
        )
        session.take(refused, chunk)
    session.commit()
    assert stream_of(store).dead_letter == 3
    assert dead_letters.retry(store, CLOCK, POLICY, "main").ingested == 2
    after = stream_of(store)
    assert (after.read, after.pending, after.dead_letter) == (2, 2, 0)
    assert (after.labels_read, after.labels_orphan) == (1, 1)
    assert [letter.kind for letter in dead_letters.find(store, "main")] == ["label"]
    finish(open_session(store))
    rows = log_of(store)
    assert rows.window_id.to_list()[:2] == ["x", "y"]
    assert rows.x.value.tolist() == [9000.0, 1.0, 4.0]


def _reject(raw: bytes) -> Any:
    from upm_cli.sources.base import Reject

    return Reject(0, "refused by mistake", raw)


def test_retrying_waits_for_nobody_while_a_worker_has_the_stream(store: Store) -> None:
    feed(open_session(store), b"{oops")
    with (
        lease.acquire(store.home, "ingest-main", "upm train --follow"),
        pytest.raises(BusyError, match="upm train --follow"),
    ):
        dead_letters.retry(store, CLOCK, POLICY, "main")


def test_unknown_streams_and_impossible_names_are_refused(store: Store) -> None:
    with pytest.raises(NotFoundError):
        dead_letters.find(store, "nosuch")
    with pytest.raises(NotFoundError):
        dead_letters.retry(store, CLOCK, POLICY, "nosuch")
    with pytest.raises(UsageError):
        IngestSession.open(store, CLOCK, POLICY, "../etc")


def test_a_damaged_saved_buffer_is_refused_and_named(store: Store) -> None:
    feed(open_session(store), window("a", 1000))
    digest = stream_of(store).state_digest
    assert digest is not None
    (path,) = (store.home / "blobs" / "sha256" / digest[:2]).iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=digest[:8]):
        open_session(store)


def test_telemetry_tells_of_commits_only(store: Store) -> None:
    recorder = Recorder(0)
    session = open_session(store, recorder)
    chunk = chunk_of([window("a", 1000), window("b", 9000), window("a", 1000), window("c", 2000)])
    session.take(Decoder().decode(chunk), chunk)
    assert recorder.drain(1) == []
    session.commit()
    points = {point.name: (point.measurements, point.count) for point in recorder.drain(2)}
    assert points == {
        "upm.replay_buffer.add": ({"window_id": "b", "buffer_size": 1}, 2),
        "upm.replay_buffer.duplicate": ({"window_id": "a"}, 1),
        "upm.replay_buffer.late_arrival": ({"window_id": "c", "delay_ms": 2000}, 1),
        "upm.replay_buffer.release": ({"count": 2, "sequence_start": 0, "sequence_end": 1}, 1),
    }


def test_gaps_are_counted_and_the_newest_are_known_by_their_ends(store: Store) -> None:
    policy = ReplayPolicy(gap_ms=2_000)
    session = IngestSession.open(store, CLOCK, policy, "main")
    feed(session, *(window(f"w{s}", s) for s in (1000, 2000, 7000, 8000, 30_000)))
    assert finish(session).gaps == 2
    assert ingest_state.recent_gaps(store, "main") == [(2000, 7000), (8000, 30_000)]
    assert ingest_state.recent_gaps(store, "other") == []


def test_saved_buffers_do_not_pile_up(store: Store) -> None:
    session = open_session(store)
    for i in range(30):
        feed(session, window(f"w{i}", 1000 * i))
    assert len(list((store.home / "blobs").rglob("*.zst"))) <= 12
    assert finish(open_session(store)).released == 30


def test_checking_input_counts_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(chunk_of([window("a", 1, label=1), b"{oops", window("b", 2), truth("a", 2)]).data)
    found = check([str(file)])
    assert (found["windows"], found["labels"], found["rejected"]) == (2, 1, 1)
    assert [(r["source"], r["offset"]) for r in found["rejects"]] == [(str(file), file.read_bytes().index(b"{oops"))]
    assert list(tmp_path.iterdir()) == [file]


def crooked_input(file: Path, seed: int) -> None:
    """Write windows out of order, twice, late and too late, with labels that come later, and lines that are none."""
    rng = random.Random(seed)
    events: list[tuple[float, bytes]] = []
    for i in range(150):
        start = 1_000 * i
        arrival = start + rng.choice([0, 0, 3_000, 4_900, 9_000, 60_000])
        line = json.dumps(window(f"w{i}", start, **({"label": i % 2} if i % 3 else {}))).encode()
        events += [(arrival + again, line) for again in rng.choice([(0,), (0,), (0, 4_000), (0, 50_000)])]
        if i % 3 == 0:
            events.append(
                (arrival + rng.choice([-2_000, 1_000, 8_000, 70_000]), json.dumps(truth(f"w{i}", 1)).encode())
            )
        if i % 17 == 0:
            events.append((arrival, b'{"window_id": "bad%d", "features": [' % i))
    events.sort(key=lambda event: event[0])
    file.write_bytes(b"".join(line + b"\n" for _, line in events))


def run_script(home: Path, file: Path, die_at: int) -> int:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "ingest_until_killed.py"), str(home), str(file), str(die_at)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -9), done.stderr[-3000:]
    return done.returncode


def outcome(home: Path) -> tuple[list[tuple[str, str]], list[Any], Stream]:
    store = Store(home, CLOCK)
    rows = log_of(store)
    columns = [rows.start_ms.tolist(), rows.label_text.to_list(), rows.x.indptr.tolist(), rows.x.value.tolist()]
    letters = [(letter.offset, letter.raw) for letter in dead_letters.find(store, "main")]
    late = dead_letters.late_windows(store, "main")
    stream = stream_of(store)
    result = log_rows(store), [*columns, letters, late], stream
    store.close()
    return result


def equal_but_for_time(a: Stream, b: Stream) -> bool:
    from dataclasses import replace

    return replace(a, epoch=0, updated_at_ms=0, state_digest=None) == replace(
        b, epoch=0, updated_at_ms=0, state_digest=None
    )


@pytest.mark.slow
def test_killed_anywhere_the_log_is_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    crooked_input(file, 7)
    Store.create(tmp_path / "whole", CLOCK).close()
    assert run_script(tmp_path / "whole", file, 0) == 0
    rows, facts, stream = outcome(tmp_path / "whole")
    assert_counts_add_up(stream)
    assert min(stream.duplicate, stream.late, stream.dead_letter, stream.late_arrivals, stream.early) > 0
    assert min(stream.labels_joined, stream.labels_orphan) > 0
    rng = random.Random(11)
    kills = 0
    for life in range(3):
        home = tmp_path / f"killed{life}"
        Store.create(home, CLOCK).close()
        while run_script(home, file, rng.randint(1, 160)) != 0:
            kills += 1
            assert kills < 60
        again, facts_again, stream_again = outcome(home)
        assert again == rows
        assert facts_again == facts
        assert equal_but_for_time(stream_again, stream)
    assert kills >= 6, "too few kills to tell anything"


@pytest.mark.slow
def test_a_disk_that_fails_at_any_operation_of_a_commit_leaves_all_or_nothing(tmp_path: Path) -> None:
    events = [window(f"w{i}", 1_000 * i) for i in range(12)] + [b"{oops", truth("w1", 1), window("old", -50_000)]
    failures = 0
    for number in range(1, 400):
        store = Store.create(tmp_path / str(number), CLOCK)
        feed(open_session(store), window("first", -3_000), window("second", 2_500))
        before = stream_of(store)
        left = [number]

        def before_each(operation: str, path: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(28, "No space left on device")

        session = open_session(store)
        fsio.faults.before = before_each
        try:
            feed(session, *events)
        except StorageError as exc:
            assert exc.code == "UPM-E010"
            failures += 1
            fsio.faults.before = None
            between = stream_of(store)
            assert between.read in (before.read, before.read + 14)
            if between.read == before.read:
                assert_counts_add_up(feed(open_session(store), *events))
        finally:
            fsio.faults.before = None
        done = finish(open_session(store))
        assert (done.read, done.released, done.dead_letter, done.late) == (16, 14, 1, 1)
        assert [row for kind, row in log_rows(store) if kind == "WINDOW"].count("w5") == 1
        store.close()
        if left[0] > 0:
            break
    assert failures > 20
