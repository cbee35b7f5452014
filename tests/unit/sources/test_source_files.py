"""Files, folders, pipes: what is read from where, through growth, rotation and damage."""

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from upm_cli.core.records import SourcePosition
from upm_cli.core.window import LabelKind
from upm_cli.errors import InvalidError, NotFoundError, StorageError, UsageError
from upm_cli.sources.base import MAX_LINE_BYTES, Chunk, Decoded
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import format_of, open_sources, rotation_order
from upm_cli.sources.follow import Follow

MAX = 1 << 20


def line(name: str, **features: Any) -> str:
    window = {"window_id": name, "window_start": 1000, "window_end": 2000, "features": features or {"a": 1}}
    return json.dumps(window) + "\n"


def read_all(spec: Path | str, known: list[SourcePosition] | None = None, **options: Any) -> list[Chunk]:
    positions = {position.key: position for position in known or []}
    sources = open_sources(str(spec), known=known or [], **options)
    return [chunk for source in sources for chunk in source.chunks(positions.get(source.key), MAX)]


def ids(chunks: list[Chunk]) -> list[str]:
    decoder = Decoder()
    return [name for chunk in chunks for name in decoder.decode(chunk).batch.window_id.to_list()]


def decoded(chunks: list[Chunk]) -> Decoded:
    (chunk,) = chunks
    return Decoder().decode(chunk)


def last_positions(chunks: list[Chunk]) -> list[SourcePosition]:
    return list({chunk.position.key: chunk.position for chunk in chunks}.values())


def test_a_file_is_read_whole_and_not_again(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a") + line("b"))
    chunks = read_all(path)
    assert ids(chunks) == ["a", "b"]
    assert read_all(path, last_positions(chunks)) == []


def test_what_was_appended_is_read_next(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a"))
    chunks = read_all(path)
    path.write_text(line("a") + line("b") * 200)
    more = read_all(path, last_positions(chunks))
    assert [chunk.position.key for chunk in more] == [chunks[0].position.key]
    assert ids(more) == ["b"] * 200


def test_an_unfinished_line_waits_when_following_and_is_read_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a") + line("b")[:-1])
    (source,) = open_sources(str(path))
    assert ids(list(source.chunks(None, MAX, final=False))) == ["a"]
    assert ids(list(source.chunks(None, MAX, final=True))) == ["a", "b"]


def test_a_renamed_file_goes_on_under_its_new_name_before_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "app.jsonl"
    path.write_text(line("a"))
    known = last_positions(read_all(path))
    with path.open("a") as file:
        file.write(line("b"))
    path.rename(tmp_path / "app.jsonl.1")
    path.write_text(line("c"))
    for spec in (path, tmp_path, tmp_path / "app.jsonl*"):
        chunks = read_all(spec, known)
        assert ids(chunks) == ["b", "c"]
        assert chunks[0].position.key == known[0].key != chunks[1].position.key


def test_a_truncated_file_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a") + line("b"))
    known = last_positions(read_all(path))
    path.write_text(line("a"))
    chunks = read_all(path, known)
    assert ids(chunks) == ["a"]
    assert chunks[0].position.key != known[0].key


def test_a_file_with_another_beginning_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a"))
    known = last_positions(read_all(path))
    path.write_text(line("b") + line("c"))
    assert ids(read_all(path, known)) == ["b", "c"]


def test_offsets_of_rejects_are_places_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a") + "oops\n" + "\n" + line("b") + "again\r\n")
    text = path.read_bytes()
    result = decoded(read_all(path))
    assert [(text.index(r.raw), r.raw) for r in result.rejects] == [(r.offset, r.raw) for r in result.rejects]
    assert [r.raw for r in result.rejects] == [b"oops", b"again"]
    assert result.lines == 4


def test_windows_line_ends_and_a_byte_order_mark_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + (line("a") + line("b")).replace("\n", "\r\n").encode())
    assert ids(read_all(path)) == ["a", "b"]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_packed_files_are_unpacked_and_resumed(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(pack("".join(line(f"w{n}") for n in range(1000)).encode()))
    (source,) = open_sources(str(path))
    chunks = list(source.chunks(None, 10_000))
    assert ids(chunks) == [f"w{n}" for n in range(1000)]
    assert ids(list(source.chunks(chunks[2].position, 10_000))) == ids(chunks[3:])


def test_a_damaged_packed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(b"x" * 100_000)[:60])
    with pytest.raises(InvalidError, match=r"in\.jsonl\.gz can't be decompressed"):
        read_all(path)


def test_a_line_longer_than_the_limit_is_one_reject_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a") + "x" * (3 * MAX_LINE_BYTES) + "\n" + line("b"))
    chunks = read_all(path)
    rejects = [reject for chunk in chunks for reject in Decoder().decode(chunk).rejects]
    assert ids(chunks) == ["a", "b"]
    assert [(r.offset, "longer than" in r.reason) for r in rejects] == [(len(line("a")), True)]
    assert sum(len(chunk.data) for chunk in chunks) < 2 * MAX_LINE_BYTES
    assert chunks[-1].position.offset == path.stat().st_size


def test_a_line_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a") + line("long", **{f"f{n}": n for n in range(1000)}) + line("b"))
    (source,) = open_sources(str(path))
    assert ids(list(source.chunks(None, 300))) == ["a", "long", "b"]


def test_a_folder_is_its_data_files_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "a.jsonl.1", "a.jsonl.2", ".hidden.jsonl", "notes.txt", "c.ndjson"):
        (tmp_path / name).write_text(line(name))
    (tmp_path / "sub.jsonl").mkdir()
    (tmp_path / "sub.jsonl").rmdir()
    assert ids(read_all(tmp_path)) == ["a.jsonl.2", "a.jsonl.1", "a.jsonl", "b.jsonl", "c.ndjson"]


def test_a_glob_takes_what_it_matches(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("one.log", "x/two.log", "three.txt"):
        (tmp_path / name).write_text(line(name))
    assert ids(read_all(tmp_path / "**/*.log")) == ["one.log", "x/two.log"]


def test_dated_rotation_sorts_before_the_current_file() -> None:
    names = ["app.jsonl", "app.jsonl-20260102", "app.jsonl-20260101.gz", "app.jsonl.10", "app.jsonl.9"]
    ordered = sorted(map(Path, names), key=rotation_order)
    assert [path.name for path in ordered[:2]] == ["app.jsonl.10", "app.jsonl.9"]
    assert ordered[-1].name == "app.jsonl"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jsonl", "jsonl"), ("a.json.gz", "jsonl"), ("a.csv.1", "csv"), ("a.parquet", "parquet"), ("a.txt", None)],
)
def test_the_format_is_told_by_the_name(name: str, expected: str | None) -> None:
    assert format_of(name) == expected


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        open_sources(str(tmp_path / "missing.jsonl"))
    with pytest.raises(NotFoundError, match="holds no file"):
        open_sources(str(tmp_path))
    assert open_sources(str(tmp_path / "missing.jsonl"), missing_ok=True) == []
    with pytest.raises(UsageError, match="'xml' is not a format"):
        open_sources("-", "xml")


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "image.jsonl").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(InvalidError, match="is binary"):
        open_sources(str(tmp_path / "image.jsonl"))
    (tmp_path / "a.parquet").write_text(line("a"))
    with pytest.raises(InvalidError, match="not a Parquet file"):
        open_sources(str(tmp_path / "a.parquet"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a"))
    path.chmod(0)
    with pytest.raises(StorageError, match=r"can't read .*in\.jsonl: Permission denied"):
        open_sources(str(path))


def test_a_folder_given_as_an_open_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(line("a"))
    (source,) = open_sources(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        list(source.chunks(None, MAX))


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    for name in ("in.jsonl", "in.csv"):
        (tmp_path / name).touch()
        assert read_all(tmp_path / name) == []


def csv_of(path: Path, text: str) -> Decoded:
    path.write_text(text)
    return decoded(read_all(path))


def test_csv_cells_are_read_as_the_json_they_look_like(tmp_path: Path) -> None:
    header = "window_id,window_start,window_end,tenant_id,label,age,zip,city,vip,gone\n"
    row = '7,2026-01-01T00:00:00Z,1767225601000,acme,spam,41.5,01234,"Bonn, DE",true,\n'
    result = csv_of(tmp_path / "in.csv", header + row)
    batch = result.batch
    assert (batch.window_id[0], batch.tenant[0], batch.label_text[0]) == ("7", "acme", "spam")
    assert (batch.start_ms[0], batch.end_ms[0]) == (1767225600000, 1767225601000)
    names = dict(zip(result.name_hashes.tolist(), result.names.to_list(), strict=True))
    values = {names[i]: v for i, v in zip(batch.x.index.tolist(), batch.x.value.tolist(), strict=True)}
    assert values == {"age": 41.5, "zip=01234": 1.0, "city=Bonn, DE": 1.0, "vip": 1.0}


def test_csv_labels_may_be_numbers_booleans_or_maps(tmp_path: Path) -> None:
    rows = ["a,0,1,0.5,1", "b,0,1,true,1", 'c,0,1,"{""x"":1}",1', "d,0,1,,1"]
    batch = csv_of(tmp_path / "in.csv", "window_id,window_start,window_end,label,f\n" + "\n".join(rows) + "\n").batch
    assert batch.label_kind.tolist() == [LabelKind.NUMBER, LabelKind.BOOL, LabelKind.MAP, LabelKind.NONE]


def test_csv_rows_that_do_not_fit_are_rejected_with_their_offset(tmp_path: Path) -> None:
    header = "window_id,window_start,window_end,f\n"
    result = csv_of(tmp_path / "in.csv", header + 'a,0,1,2\nb,0,1\nc,0,1,nan\nd,0,1,"x\ne,0,1,3\n')
    assert result.batch.window_id.to_list() == ["a", "e"]
    reasons = [
        "the line has 3 cells, the header 4",
        "a cell is not a finite number: nan",
        "not CSV: unexpected end of data",
    ]
    assert [reject.reason for reject in result.rejects] == reasons
    assert result.rejects[0].offset == len(header) + len("a,0,1,2\n")


def test_csv_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("window_id,window_start,window_end,f\na,0,1,2\n")
    chunks = read_all(path)
    with path.open("a") as file:
        file.write("b,0,1,2\n")
    assert ids(read_all(path, last_positions(chunks))) == ["b"]


@pytest.mark.parametrize("header", ["window_id,f", "window_id,window_start,window_end,f,f", '"broken'])
def test_a_csv_header_that_names_no_windows_is_told(tmp_path: Path, header: str) -> None:
    with pytest.raises(InvalidError, match="header"):
        csv_of(tmp_path / "in.csv", header + "\n1,2,3\n")


def test_parquet_with_a_column_for_each_feature(tmp_path: Path) -> None:
    instants = pa.array(np.array(["2026-01-01T00:00:00", "2026-01-01T00:00:01"], "datetime64[us]"))
    columns = {"window_id": ["a", "b"], "window_start": instants, "window_end": instants, "label": [True, None]}
    pq.write_table(pa.table({**columns, "x": [1.5, None], "y": ["de", "fr"]}), tmp_path / "in.parquet")
    batch = decoded(read_all(tmp_path / "in.parquet")).batch
    assert batch.start_ms.tolist() == [1767225600000, 1767225601000]
    assert batch.label_kind.tolist() == [LabelKind.BOOL, LabelKind.NONE]
    assert batch.x.indptr.tolist() == [0, 2, 3]


@pytest.mark.parametrize("kind", ["struct", "map"])
def test_parquet_with_nested_features(tmp_path: Path, kind: str) -> None:
    rows: list[Any] = [{"a": 1.0, "b": 2.0}, {"a": None, "b": 3.0}]
    fields = [("a", pa.float64()), ("b", pa.float64())]
    data = (
        pa.array(rows, pa.struct(fields))
        if kind == "struct"
        else pa.array([[("a", 1.0), ("a", 4.0)], [("b", 3.0)]], pa.map_(pa.string(), pa.float64()))
    )
    table = pa.table({"window_id": [1, 2], "window_start": [0, 1], "window_end": [1, 2], "features": data})
    pq.write_table(table, tmp_path / "in.parquet")
    batch = decoded(read_all(tmp_path / "in.parquet")).batch
    assert batch.window_id.to_list() == ["1", "2"]
    assert batch.x.value.tolist() == ([1.0, 2.0, 3.0] if kind == "struct" else [1.0, 4.0, 3.0])


def test_parquet_is_resumed_by_row_and_rejects_keep_the_row(tmp_path: Path) -> None:
    count = 1000
    columns = {"window_id": [f"w{n}" for n in range(count)], "window_start": range(count), "window_end": range(count)}
    numbers = [float("nan") if n == 700 else float(n) for n in range(count)]
    pq.write_table(pa.table({**columns, "x": pa.array(numbers)}), tmp_path / "in.parquet", row_group_size=300)
    (source,) = open_sources(str(tmp_path / "in.parquet"))
    chunks = list(source.chunks(None, 4000))
    assert len(chunks) > 5
    assert ids(chunks) == [f"w{n}" for n in range(count) if n != 700]
    assert ids(list(source.chunks(chunks[1].position, 4000))) == ids(chunks[2:])
    rejects = [reject for chunk in chunks for reject in Decoder().decode(chunk).rejects]
    assert [(r.offset, json.loads(r.raw)["window_id"]) for r in rejects] == [(700, "w700")]
    assert chunks[-1].position.done


def test_parquet_without_the_needed_columns_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "in.parquet")
    with pytest.raises(InvalidError, match="no column window_id, window_start, window_end"):
        read_all(tmp_path / "in.parquet")
    (tmp_path / "half.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(InvalidError, match="not a whole Parquet file"):
        read_all(tmp_path / "half.parquet")


def test_standard_input_is_read_to_its_end() -> None:
    chunks = read_all("-", stdin=io.BytesIO((line("a") + line("b")[:-1]).encode()))
    assert ids(chunks) == ["a", "b"]


def test_csv_through_a_pipe_keeps_its_header() -> None:
    text = "window_id,window_start,window_end,f\n" + "".join(f"w{n},0,1,{n}\n" for n in range(100))
    (source,) = open_sources("-", "csv", stdin=io.BytesIO(text.encode()))
    chunks = list(source.chunks(None, 200))
    assert len(chunks) > 3
    assert ids(chunks) == [f"w{n}" for n in range(100)]


def test_following_a_pipe_gives_what_came_and_ends_with_it() -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as stdin:
        check_following_a_pipe(Follow(["-"], stdin=stdin), sending)


def check_following_a_pipe(follow: Follow, sending: int) -> None:
    assert list(follow.poll([], MAX)) == []
    os.write(sending, (line("a") + line("b")[:20]).encode())
    assert ids(list(follow.poll([], MAX))) == ["a"]
    os.write(sending, line("b")[20:-1].encode())
    os.close(sending)
    assert not follow.ended
    assert ids(list(follow.poll([], MAX))) == ["b"]
    assert follow.ended


def test_following_a_folder_sees_new_files_growth_and_rotation(tmp_path: Path) -> None:
    follow, known = Follow([str(tmp_path)], stream="s"), list[SourcePosition]()

    def poll() -> list[str]:
        chunks = list(follow.poll(known, MAX))
        latest = {position.key: position for position in (*known, *(chunk.position for chunk in chunks))}
        known[:] = latest.values()
        return ids(chunks)

    path = tmp_path / "app.jsonl"
    assert poll() == []
    path.write_text(line("a") + line("b")[:5])
    assert poll() == ["a"]
    with path.open("a") as file:
        file.write(line("b")[5:])
    (tmp_path / "other.jsonl").write_text(line("x"))
    assert poll() == ["b", "x"]
    with path.open("a") as file:
        file.write(line("c"))
    path.rename(tmp_path / "app.jsonl.1")
    path.write_text(line("d"))
    assert poll() == ["c", "d"]
    assert poll() == []
    assert not follow.ended
    assert {position.stream for position in known} == {"s"}


def test_a_file_that_takes_the_name_of_another_is_not_read_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "app.jsonl"
    path.write_text(line("a"))
    follow, chunks = Follow([str(path)]), list[Chunk]()
    polled = follow.poll([], len(line("a")))
    (source,) = open_sources(str(path))
    path.rename(tmp_path / "app.jsonl.1")
    path.write_text(line("b") * 3)
    with pytest.raises(StorageError, match="moved just now"):
        list(source.chunks(None, MAX))
    chunks.extend(polled)
    assert ids(chunks) == ["b"] * 3


def test_following_waits_for_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    follow = Follow([str(tmp_path / "later.jsonl")])
    assert list(follow.poll([], MAX)) == []
    (tmp_path / "later.jsonl").write_text(line("a"))
    assert ids(list(follow.poll([], MAX))) == ["a"]
