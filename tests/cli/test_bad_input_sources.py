"""Sources that are not what they should be: one clear line or a dead letter with its reason, and nothing lost."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Shell = Any


def good_run(shell: Shell, windows: int = 200) -> None:
    """A later run with good input must work as if nothing had been."""
    source = shell.write("good.jsonl", *(shell.event(i) for i in range(windows)))
    before = shell.counts()["trained"]
    shell.json("train", "main", "--source", source, "--once")
    assert shell.counts()["trained"] == before + windows


@pytest.mark.parametrize("command", [("train", "main", "--once", "--source"), ("ingest", "--trainer", "main")])
@pytest.mark.parametrize("kind", ["missing", "empty folder", "glob of nothing", "loop of links"])
def test_a_source_that_is_not_there_is_named(fresh: Shell, command: tuple[str, ...], kind: str) -> None:
    path = fresh.folder / "source"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "loop of links":
        path.symlink_to(path)
    elif kind == "glob of nothing":
        path = fresh.folder / "*.nothing"
    ran = fresh.refused(4, "UPM-E045", *command, str(path))
    assert str(path) in ran.err
    assert "hint: " in ran.err
    assert fresh.counts()["read"] == 0


def test_after_a_missing_file_a_good_run_works(fresh: Shell) -> None:
    fresh.refused(4, "UPM-E045", "train", "main", "--source", str(fresh.folder / "gone.jsonl"))
    good_run(fresh)


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("noise.jsonl", bytes(range(256)) * 20, "UPM-E035", "binary"),
        ("utf16.jsonl", '{"window_id": "a"}\n'.encode("utf-16"), "UPM-E035", "UTF-16"),
        ("noise.parquet", b"PAR1 but nothing else", "UPM-E035", "Parquet"),
        ("table.csv", b"name,size\nmail,3\n", "UPM-E035", "window_id, window_start, window_end"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08\x00\x00", "UPM-E036", "decompressed"),
    ],
)
def test_a_file_of_another_kind_is_refused_whole_and_the_run_says_so(
    fresh: Shell, name: str, content: bytes, error: str, told: str
) -> None:
    (fresh.folder / name).write_bytes(content)
    ran = fresh.refused(3, error, "train", "main", "--source", str(fresh.folder / name), "--once")
    assert told in ran.err
    assert name in ran.err
    assert fresh.counts() == dict.fromkeys(fresh.counts(), 0)
    if name == "noise.jsonl":
        good_run(fresh)


def test_a_format_that_nobody_knows_is_a_mistake_of_the_call(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", fresh.event(0))
    ran = fresh.refused(2, "UPM-E029", "train", "main", "--source", source, "--format", "xml")
    assert "jsonl" in ran.err


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_an_empty_file_is_a_run_with_nothing_to_do(fresh: Shell, content: str) -> None:
    (fresh.folder / "empty.jsonl").write_text(content)
    result = fresh.json("train", "main", "--source", str(fresh.folder / "empty.jsonl"), "--once")
    assert (result["windows"]["read"], result["snapshots"]) == (0, [])
    good_run(fresh)


def broken(i: int, **changes: Any) -> str:
    start_ms = 1_767_225_600_000 + i * 1000
    window = {"window_id": f"b{i}", "window_start": start_ms, "window_end": start_ms + 1, "features": {"x": 1}}
    return json.dumps({key: value for key, value in (window | changes).items() if value != "absent"})


BROKEN = {
    "not JSON": '{"window_id": "b", ',
    "not an object": "[1, 2, 3]",
    "a lonely number": "17",
    "without an id": broken(0, window_id="absent"),
    "an id that is a list": broken(1, window_id=["a"]),
    "without a time": broken(2, window_start="absent"),
    "a time nobody can read": broken(3, window_start="yesterday"),
    "an end before its start": broken(4, window_end=5),
    "features that are a list": broken(5, features=[1, 2]),
    "without features": broken(6, features="absent"),
    "NaN": broken(7, features={"x": float("nan")}),
    "infinity": broken(8, features={"x": float("inf")}),
    "a number beyond all bounds": broken(9).replace('"x": 1', '"x": 1e999'),
    "a label that is a list": broken(10, label=[1]),
    "a label that is NaN": broken(11, label=float("nan")),
    "not UTF-8": broken(12).replace("b12", "b\udcff"),
    "the same key twice": broken(13).replace("{", '{"window_id": "c13", ', 1),
}


def test_broken_lines_become_dead_letters_and_the_others_are_learned(fresh: Shell) -> None:
    path = fresh.folder / "in.jsonl"
    good = [json.dumps(fresh.event(i)) for i in range(100)]
    mixed = [line for pair in zip(BROKEN.values(), good, strict=False) for line in pair] + good[len(BROKEN) :]
    path.write_text("\n".join(mixed) + "\n", errors="surrogateescape")
    result = fresh.json("train", "main", "--source", str(path), "--once")
    windows = result["windows"]
    assert (windows["read"], windows["trained"], windows["dead_letter"]) == (100 + len(BROKEN), 100, len(BROKEN))

    letters = fresh.json("events", "dead-letters")["dead_letters"]
    assert len(letters) == len(BROKEN)
    raw = [line.encode(errors="surrogateescape") for line in mixed]
    starts = [sum(len(line) + 1 for line in raw[:i]) for i in range(len(raw))]
    expected = {starts[mixed.index(line)]: line for line in BROKEN.values()}
    for letter in letters:
        assert letter["reason"]
        assert letter["source"] == str(path)
        assert letter["offset"] in expected
    assert {letter["offset"] for letter in letters} == set(expected)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_each_broken_line_has_a_reason_of_its_own(fresh: Shell, name: str) -> None:
    path = fresh.folder / "in.jsonl"
    path.write_text(BROKEN[name] + "\n", errors="surrogateescape")
    ran = fresh("ingest", "--check", str(path), "--json")
    assert ran.code == 3
    (reject,) = json.loads(ran.out)["rejects"]
    assert len(reject["reason"]) > 5
    assert "Traceback" not in ran.err
    assert not (fresh.home / "crash").exists()


def test_a_file_that_is_cut_off_in_its_last_line_keeps_the_lines_before(fresh: Shell) -> None:
    source = Path(fresh.write("in.jsonl", *(fresh.event(i) for i in range(100))))
    source.write_bytes(source.read_bytes()[:-20])
    windows = fresh.json("train", "main", "--source", str(source), "--once")["windows"]
    assert (windows["trained"], windows["dead_letter"]) == (99, 1)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_file_whose_name_is_not_utf_8_is_read_and_followed_like_any_other(fresh: Shell, ending: str) -> None:
    path = fresh.folder / os.fsdecode(b"caf\xe9" + ending.encode())
    events = [fresh.event(i) for i in range(100)]
    if ending == ".jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in events) + "{broken\n")
    else:
        rows = [{key: one[key] for key in one if key != "features"} | one["features"] for one in events]
        with path.open("wb") as file:
            pq.write_table(pa.Table.from_pylist(rows), file)
    for _ in range(2):
        windows = fresh.json("train", "main", "--source", str(path), "--once")["windows"]
    assert (windows["trained"], windows["duplicate"]) == (100, 0), "and not read twice"
    for letter in fresh.json("events", "dead-letters")["dead_letters"]:
        assert letter["source"].endswith("caf\\xe9.jsonl")


def test_labels_of_another_kind_are_dead_letters_that_are_listed(trained: Shell) -> None:
    events = [trained.event(2000 + i, label) for i, label in enumerate(["spam", 7, {"size": 1}, 1, 0])]
    windows = trained.json("train", "main", "--source", trained.write("more.jsonl", *events), "--once")["windows"]
    assert (windows["trained"], windows["dead_letter"]) == (2002, 3)
    letters = trained.json("events", "dead-letters")["dead_letters"]
    assert [letter["window_id"] for letter in letters] == ["w002000", "w002001", "w002002"]
    assert all("label" in letter["reason"] for letter in letters)


def test_a_huge_value_is_refused_by_the_learner_and_does_not_harm_it(trained: Shell) -> None:
    events = [trained.event(2000 + i) for i in range(64)]
    events[5]["features"]["x"] = 1e31
    windows = trained.json("train", "main", "--source", trained.write("more.jsonl", *events), "--once")["windows"]
    assert (windows["trained"], windows["dead_letter"]) == (2063, 1)
    (answer,) = trained.json("predict", json.dumps({"x": 2.0, "y": -2.0}), "--version", "latest")["predictions"]
    assert 0 <= answer["probability"] <= 1


def test_a_source_nobody_may_read_is_named(fresh: Shell, as_user: Any) -> None:
    source = Path(fresh.write("in.jsonl", fresh.event(0)))
    source.chmod(0)
    code, out, err = as_user(fresh.folder, "train", "main", "--source", str(source), "--once")
    assert (code, out) == (1, "")
    assert err.startswith("error[UPM-E01")
    assert str(source) in err
    assert "permission" in err.lower()
    assert "Traceback" not in err
    source.chmod(0o600)
    assert fresh.json("train", "main", "--source", os.fspath(source), "--once")["windows"]["read"] == 1
