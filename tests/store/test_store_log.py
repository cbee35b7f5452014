"""Segments come back as they were written, in order and whole, or are named."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.clock import SystemClock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.records import Segment
from upm_cli.core.window import Csr, Influence, Strings, WindowBatch
from upm_cli.errors import IntegrityError
from upm_cli.store import compaction, log, rejects, segmentfiles, segments
from upm_cli.store.session import Store

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
I64 = st.integers(-(2**63), 2**63 - 1)
F32 = st.floats(width=32, allow_nan=False)
ROW = st.tuples(
    st.integers(0, 3), TEXT, st.sampled_from(["", "acme", "globex", "ü"]), I64, I64, st.integers(0, 4),
    st.floats(), TEXT, st.lists(st.tuples(st.integers(0, 2**32 - 1), F32), max_size=4),
)  # fmt: skip
ASKED = st.one_of(st.just((0, 0)), st.tuples(st.integers(1, 2**31 - 1), st.integers(0, 2)))  # version, Acted


def batch_of(rows: list[Any]) -> WindowBatch:
    """Return the columns of rows (kind, id, tenant, start, end, label kind, value, text, [(index, value)])."""
    kind, ids, tenants, start, end, label_kind, label_value, label_text, features = zip(*rows, strict=True)
    flat = [pair for row in features for pair in row]
    return WindowBatch(
        kind=np.array(kind, np.uint8),
        window_id=Strings.of(ids),
        tenant=Strings.of(tenants),
        start_ms=np.array(start, np.int64),
        end_ms=np.array(end, np.int64),
        label_kind=np.array(label_kind, np.uint8),
        label_value=np.array(label_value, np.float64),
        label_text=Strings.of(label_text),
        x=Csr(
            np.cumsum([0, *map(len, features)]).astype(np.int64),
            np.array([index for index, _ in flat], np.uint32),
            np.array([value for _, value in flat], np.float32),
        ),
    )


def windows(first: int, n: int) -> WindowBatch:
    rows = [
        (0, f"w{k}", "acme" if k % 2 else "", k * 1000, k * 1000 + 1000, 1, k / 2, "", [(k, 1.0)])
        for k in range(first, first + n)
    ]
    return batch_of(rows)


def flat(columns: Any) -> dict[str, Any]:
    """Return every array in a batch with its type, in a form that can be compared."""
    found = {}
    for field in dataclasses.fields(columns):
        value = getattr(columns, field.name)
        if isinstance(value, np.ndarray):
            found[field.name] = (value.dtype, value.tobytes())
        elif value is not None:
            found |= {f"{field.name}.{name}": item for name, item in flat(value).items()}
    return found


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=8), first_seq=st.integers(0, 2**40))
def test_a_log_segment_comes_back_bit_for_bit(
    rows: list[Any], first_seq: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.getbasetemp() / "log-property"
    batch = batch_of(rows)
    batch.label_value[np.isnan(batch.label_value)] = np.nan  # one NaN, as it is kept as null
    segment = log.write(home, "main", batch, first_seq, 5)
    assert flat(log.read(home, segment)) == flat(batch)
    assert (segment.first_seq, segment.last_seq, segment.rows) == (first_seq, first_seq + len(rows) - 1, len(rows))


@settings(max_examples=20, deadline=None)
@given(asked=st.lists(ASKED, min_size=1, max_size=6))
def test_which_model_was_asked_comes_back_too(
    asked: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.getbasetemp() / "asked-property"
    version, acted = np.array(asked, np.int64).T
    influence = Influence(version.astype(np.int32), acted.astype(np.uint8))
    batch = dataclasses.replace(windows(0, len(asked)), influence=influence)
    assert flat(log.read(home, log.write(home, "main", batch, 0, 5))) == flat(batch)


def test_segments_from_before_models_were_noted_merge_with_those_that_do(tmp_path: Path) -> None:
    store = Store.create(tmp_path, SystemClock())
    noted = dataclasses.replace(
        windows(3, 2), influence=Influence(np.array([7, 0], np.int32), np.array([2, 0], np.uint8))
    )
    old = log.write(tmp_path, "main", windows(0, 3), 0, 0)
    assert "served_version" not in log.read_table(tmp_path, old).column_names  # such files are what they were
    for segment in (old, log.write(tmp_path, "main", noted, 3, 0)):
        with store.write() as tx:
            segments.add(tx, segment)
    (merged,) = compaction.compact(store, "log", "main", min_files=2)
    read = log.read(tmp_path, merged).influence
    assert read is not None
    assert (read.version.tolist(), read.acted.tolist()) == ([0, 0, 0, 7, 0], [0, 0, 0, 2, 0])


def test_a_part_of_a_larger_batch_is_written_as_that_part(tmp_path: Path) -> None:
    whole = windows(0, 20)
    part = log.read(tmp_path, log.write(tmp_path, "main", whole.slice(5, 12), 5, 0))
    assert flat(part) == flat(windows(5, 7))


def test_any_arrow_reader_sees_names_types_and_nulls(tmp_path: Path) -> None:
    segment = log.write(tmp_path, "main", batch_of([
        (0, "w1", "acme", 1_000, 2_000, 1, 0.5, "", [(7, 1.5), (9, -2.0)]),
        (1, "w2", "", 3_000, 4_000, 3, float("nan"), "spam", []),
    ]), 40, 0)  # fmt: skip
    table = pa.ipc.open_file(tmp_path / segment.path).read_all()
    assert table.to_pylist()[1]["tenant_id"] is None
    assert [(row["seq"], row["label_value"], row["index"], row["value"]) for row in table.to_pylist()] == [
        (40, 0.5, [7, 9], [1.5, -2.0]),
        (41, None, [], []),
    ]
    types = {field.name: str(field.type) for field in table.schema}
    assert types["window_start"] == "timestamp[ms]"
    assert types["tenant_id"].startswith("dictionary<values=string")
    assert segment.path == "log/main/40-41.arrow"


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Segment]:
    return tmp_path, log.write(tmp_path, "main", windows(0, 5), 0, 0)


def test_a_flipped_bit_in_a_segment_is_refused_and_named(written: tuple[Path, Segment]) -> None:
    home, segment = written
    path = home / segment.path
    good = path.read_bytes()
    for at in range(0, len(good), 17):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        path.write_bytes(bytes(bad))
        with pytest.raises(IntegrityError, match=r"segment log/main/0-4.arrow \(log of main, 0-4\)") as refused:
            log.read(home, segment)
        assert refused.value.code == "UPM-E094"


def test_a_torn_segment_is_refused_at_every_length(written: tuple[Path, Segment]) -> None:
    home, segment = written
    path = home / segment.path
    good = path.read_bytes()
    for length in range(0, len(good), 37):
        path.write_bytes(good[:length])
        with pytest.raises(IntegrityError, match=f"has {length:,} bytes"):
            log.read(home, segment)


def test_a_missing_segment_is_corruption(written: tuple[Path, Segment]) -> None:
    home, segment = written
    (home / segment.path).unlink()
    with pytest.raises(IntegrityError, match="is missing") as missing:
        log.read(home, segment)
    assert missing.value.code == "UPM-E093"


def test_a_file_that_was_left_by_a_dead_commit_is_never_replaced(tmp_path: Path) -> None:
    left = log.write(tmp_path, "main", windows(0, 3), 0, 0)
    other = log.write(tmp_path, "main", windows(100, 3), 0, 0)
    again = log.write(tmp_path, "main", windows(0, 3), 0, 9)
    assert left.path == again.path != other.path
    assert flat(log.read(tmp_path, left)) == flat(windows(0, 3))
    assert flat(log.read(tmp_path, other)) == flat(windows(100, 3))


def test_scanning_starts_inside_a_segment_and_goes_through_all(tmp_path: Path) -> None:
    written = [log.write(tmp_path, "main", windows(first, 4), first, 0) for first in (0, 4, 8)]
    found = list(log.scan(tmp_path, written, 6))
    assert [(first, len(batch)) for first, batch in found] == [(6, 2), (8, 4)]
    assert flat(WindowBatch.concat([batch for _, batch in found])) == flat(windows(6, 6))
    assert list(log.scan(tmp_path, written, 12)) == []


def test_a_hole_between_segments_is_named(tmp_path: Path) -> None:
    written = [log.write(tmp_path, "main", windows(first, 4), first, 0) for first in (0, 8)]
    with pytest.raises(IntegrityError, match="rows 4-7 are missing"):
        list(log.scan(tmp_path, written, 0))


def test_names_come_back_and_the_first_of_a_hash_stays(tmp_path: Path) -> None:
    written = [
        log.write_names(tmp_path, "main", Strings.of(["amount", "ünit"]), np.array([7, 2**32 - 1], np.uint32), 0, 0),
        log.write_names(tmp_path, "main", Strings.of(["clash", "new"]), np.array([7, 9], np.uint32), 2, 0),
    ]
    assert log.read_names(tmp_path, written) == {7: "amount", 2**32 - 1: "ünit", 9: "new"}
    assert [(s.kind, s.first_seq, s.last_seq) for s in written] == [("names", 0, 1), ("names", 2, 3)]


def comparisons(*seqs: int) -> Comparisons:
    n = len(seqs)
    return Comparisons(
        seq=np.array(seqs, np.int64), start_ms=np.arange(n) * 1000, window_id=Strings.of([f"w{s}" for s in seqs]),
        tenant=Strings.of(["", "acme"] * n).slice(0, n), prediction=np.linspace(0, 1, n, dtype=np.float32),
        truth=np.where(np.arange(n) % 2, np.nan, 1.0), score=np.full(n, np.nan, np.float32),
        brier=np.full(n, 0.25, np.float32), base_brier=np.zeros(n, np.float32),
        base_score=np.full(n, 0.5, np.float32),
    )  # fmt: skip


def test_comparisons_come_back_bit_for_bit(tmp_path: Path) -> None:
    table = comparisons(3, 4, 9)
    segment = log.write_comparisons(tmp_path, "main", table, 5)
    assert flat(log.read_comparisons(tmp_path, segment)) == flat(table)
    assert (segment.kind, segment.first_seq, segment.last_seq, segment.rows) == ("comparisons", 3, 9, 3)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none()), min_size=1),
    kind=st.sampled_from(rejects.KINDS),
)
def test_rejects_come_back_as_they_were(
    rows: list[dict[str, Any]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.getbasetemp() / "rejects-property"
    segment = rejects.write(home, "main", kind, rows, first_seq=10, created_at_ms=5)
    assert rejects.read(home, segment) == rows
    assert (segment.kind, segment.first_seq, segment.last_seq) == (kind, 10, 9 + len(rows))
    lines = (home / segment.path).read_bytes().split(b"\n")
    assert len(lines) == len(rows) + 1
    assert json.loads(lines[0].decode("utf-8", "surrogatepass")) == rows[0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / ".upm", SystemClock())


def append(store: Store, first: int, n: int) -> Segment:
    segment = log.write(store.home, "main", windows(first, n), first, 0)
    with store.write() as tx:
        segments.add(tx, segment)
    return segment


def registered(store: Store, kind: str = "log") -> list[Segment]:
    with store.read() as r:
        return segments.list_for(r, kind, "main")


def test_small_segments_are_merged_and_their_files_collected_after_a_while(store: Store) -> None:
    old = [append(store, first, 3) for first in range(0, 30, 3)]
    (new,) = compaction.compact(store, "log", "main", min_files=8)
    assert registered(store) == [new]
    assert flat(log.read(store.home, new)) == flat(windows(0, 30))
    assert all((store.home / segment.path).exists() for segment in old)
    assert compaction.compact(store, "log", "main") == []
    assert compaction.collect(store).put_aside == 0  # they are young again
    assert compaction.collect(store, older_than_ms=-60_000).put_aside == len(old)
    assert not any((store.home / segment.path).exists() for segment in old)
    assert compaction.collect(store, older_than_ms=-60_000).deleted == len(old)
    assert flat(log.read(store.home, new)) == flat(windows(0, 30))


def test_a_reader_whose_segment_was_merged_away_reads_on_in_the_new_one(store: Store) -> None:
    for first in range(0, 30, 3):
        append(store, first, 3)
    following: Iterator[tuple[int, WindowBatch]] = log.follow(store, "main", 4)
    parts = [next(following)]
    compaction.compact(store, "log", "main")
    compaction.collect(store, older_than_ms=-60_000)
    parts += following
    assert [first for first, _ in parts] == [4, 6]
    assert flat(WindowBatch.concat([batch for _, batch in parts])) == flat(windows(4, 26))


def test_following_names_a_file_that_is_really_lost(store: Store) -> None:
    append(store, 0, 3)
    (store.home / append(store, 3, 3).path).unlink()
    with pytest.raises(segmentfiles.SegmentGoneError, match="3-5"):
        list(log.follow(store, "main", 0))


def test_a_merge_gives_way_when_its_segments_are_gone_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in range(0, 30, 3):
        append(store, first, 3)
    before = registered(store)
    write = segmentfiles.write

    def somebody_else_removes_one(*args: Any, **named: Any) -> Segment:
        with store.write() as tx:
            segments.remove(tx, before[:1])
        return write(*args, **named)

    monkeypatch.setattr(segmentfiles, "write", somebody_else_removes_one)
    assert compaction.compact(store, "log", "main") == []
    assert registered(store) == before[1:]


def test_comparisons_and_rejects_are_merged_too(store: Store) -> None:
    made = [log.write_comparisons(store.home, "main", comparisons(10 * n, 10 * n + 3), 0) for n in range(8)]
    dead = [
        rejects.write(store.home, "main", "dead", [{"n": n}], first_seq=n, created_at_ms=0) for n in range(8)
    ]  # fmt: skip
    with store.write() as tx:
        for segment in [*made, *dead]:
            segments.add(tx, segment)
    (one,) = compaction.compact(store, "comparisons", "main")
    (other,) = compaction.compact(store, "dead", "main")
    assert log.read_comparisons(store.home, one).seq.tolist() == [s for n in range(8) for s in (10 * n, 10 * n + 3)]
    assert rejects.read(store.home, other) == [{"n": n} for n in range(8)]


def test_comparisons_from_before_there_was_a_baseline_are_read_and_merged_with_newer_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        whole = log.comparisons_table
        old.setattr(log, "comparisons_table", lambda table: whole(table).drop_columns(["base_score"]))
        made = [log.write_comparisons(store.home, "main", comparisons(n), 0) for n in range(4)]
    assert np.isnan(log.read_comparisons(store.home, made[0]).base_score).all()
    made += [log.write_comparisons(store.home, "main", comparisons(n), 0) for n in range(4, 8)]
    with store.write() as tx:
        for segment in made:
            segments.add(tx, segment)
    (merged,) = compaction.compact(store, "comparisons", "main")
    found = log.read_comparisons(store.home, merged)
    np.testing.assert_array_equal(found.base_score, np.array([np.nan] * 4 + [0.5] * 4, np.float32))
    assert found.seq.tolist() == list(range(8))


sizes = st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=30)


@given(sizes=sizes, max_rows=st.integers(1, 100), min_files=st.integers(1, 6))
def test_a_plan_merges_only_runs_of_neighbours_that_fit(
    sizes: list[tuple[int, bool]], max_rows: int, min_files: int
) -> None:
    found, seq = [], 0
    for rows, hole in sizes:
        seq += 5 * hole
        found.append(Segment(kind="log", owner="m", first_seq=seq, last_seq=seq + rows - 1, rows=rows, path="", size_bytes=0, digest="", created_at_ms=0))  # fmt: skip  # noqa: E501
        seq += rows
    runs = compaction.plan(found, max_rows=max_rows, min_files=min_files)
    planned = [segment for run in runs for segment in run]
    assert planned == [segment for segment in found if segment in planned]
    for run in runs:
        assert len(run) >= max(min_files, 2)
        assert sum(segment.rows for segment in run) <= max_rows
        assert all(b.first_seq == a.last_seq + 1 for a, b in itertools.pairwise(run))


def test_only_orphans_are_collected_and_young_ones_wait(store: Store) -> None:
    kept = append(store, 0, 3)
    orphan = log.write(store.home, "main", windows(3, 3), 3, 0)
    assert compaction.collect(store).put_aside == 0
    assert compaction.collect(store, older_than_ms=-60_000).put_aside == 1
    assert (store.home / kept.path).exists()
    assert not (store.home / orphan.path).exists()
