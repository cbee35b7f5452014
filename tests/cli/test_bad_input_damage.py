"""Damaged files of a project: named, refused with the right code, and nothing done on top of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upm_cli.core.records import Snapshot
from upm_cli.store import segments, snapshots, trainers

Shell = Any
ASK = json.dumps({"x": 1.0, "y": -1.0, "kind": "k1"})


def flip(path: Path, place: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.chmod(0o600)
    path.write_bytes(data)


def snapshot(shell: Shell, version: int) -> Snapshot:
    with shell.store.read() as reader:
        return snapshots.get(reader, "main", version)


@pytest.mark.parametrize(
    "command",
    [
        ("snapshot", "verify", "main", "2"),
        ("activate", "main", "2"),
        ("predict", ASK, "-t", "main", "--version", "2"),
    ],
    ids=lambda words: words[0],
)
def test_a_flipped_bit_in_a_snapshot_is_refused_wherever_it_is_used(trained: Shell, command: tuple[str, ...]) -> None:
    path = trained.home / snapshot(trained, 2).path
    flip(path)
    ran = trained(*command)
    assert ran.code == 9, ran
    assert ran.err.startswith("warning: v2: " if command[1] == "verify" else "error[UPM-E09")
    assert path.name in ran.err
    assert "Traceback" not in ran.err
    assert trained.json("trainer", "show", "main")["active"] == {}


def test_the_other_snapshots_still_work(trained: Shell) -> None:
    flip(trained.home / snapshot(trained, 2).path)
    assert trained.json("activate", "main", "1")["version"] == 1
    assert trained.json("predict", ASK, "--version", "1")["predictions"]
    assert trained("snapshot", "verify", "main", "1").code == 0
    assert trained("snapshot", "verify", "main", "--all").code == 9


def test_rollback_goes_past_a_damaged_snapshot_to_the_next_good_one(trained: Shell) -> None:
    for version in "1", "2", "3":
        trained.json("activate", "main", version)
    flip(trained.home / snapshot(trained, 2).path)
    back = trained.json("rollback", "main", "--reason", "worse", "--yes")
    assert (back["from_version"], back["to_version"]) == (3, 1)


@pytest.mark.parametrize("damage", ["flipped", "cut short", "emptied"])
def test_a_damaged_checkpoint_stops_training_until_a_rollback(trained: Shell, damage: str) -> None:
    for version in "1", "2":
        trained.json("activate", "main", version)
    with trained.store.read() as reader:
        digest = trainers.get(reader, "main").checkpoint_digest
    (path,) = (trained.home / "blobs").rglob(f"{digest}*")
    if damage == "flipped":
        flip(path)
    else:
        path.write_bytes(path.read_bytes()[: 20 if damage == "cut short" else 0])
    source = trained.write("more.jsonl", *(trained.event(2000 + i) for i in range(100)))
    ran = trained.refused(9, "UPM-E090", "train", "main", "--source", source, "--once")
    assert path.name in ran.err
    windows = trained.counts()
    assert windows["trained"] == 2000
    assert windows["pending"] in (0, 100), "it waits in the log, or is still to be read"

    trained.json("rollback", "main", "--reason", "damaged checkpoint", "--yes")
    after = trained.json("train", "main", "--source", source, "--once")["windows"]
    assert (after["pending"], after["duplicate"]) == (0, 0)
    assert after["trained"] == 2100


def test_a_damaged_segment_of_the_log_is_named(trained: Shell) -> None:
    with trained.store.read() as reader:
        first = segments.list_for(reader, "log", "main")[0]
    shutil.copy(trained.home / first.path, trained.folder / "kept")
    trained.json("trainer", "add", "again", "--stream", "main")
    flip(trained.home / first.path, 2000)
    ran = trained.refused(9, "UPM-E094", "train", "again", "--once")
    assert Path(first.path).name in ran.err
    assert trained.json("trainer", "show", "again")["log_position"] == 0

    shutil.copy(trained.folder / "kept", trained.home / first.path)
    assert trained.json("train", "again", "--once")["windows"]["trained"] == 2000


READING = [("status",), ("trainer", "show", "main"), ("snapshot", "list", "main"), ("predict", ASK), ("drift-report",)]
WRITING = [("activate", "main", "1"), ("pause", "main", "--reason", "x"), ("trainer", "add", "new"), ("train", "main")]


@pytest.mark.parametrize("command", [*READING, *WRITING], ids=" ".join)
def test_a_state_that_is_not_a_database_is_refused_and_left_alone(trained: Shell, command: tuple[str, ...]) -> None:
    state = trained.home / "state.duckdb"
    state.unlink()  # its bytes are shared with the kept generations
    state.write_bytes(b"this was a database once\n" * 1000)
    ran = trained(*command)
    assert (ran.code, ran.out) == (9, ""), ran
    assert ran.err.startswith("error[UPM-E09")
    assert "state.duckdb" in ran.err
    assert "hint: " in ran.err
    assert "Traceback" not in ran.err
    assert state.read_bytes().startswith(b"this was a database once")


@pytest.mark.parametrize("command", [*READING[:2], *WRITING[:2]], ids=" ".join)
def test_a_state_of_a_newer_upm_is_refused_and_left_alone(
    trained: Shell, command: tuple[str, ...], newer: Callable[[Path], None]
) -> None:
    state = trained.home / "state.duckdb"
    newer(state)
    before = state.read_bytes()
    ran = trained(*command)
    assert (ran.code, ran.out) == (3, ""), ran
    assert ran.err.startswith("error[UPM-E03")
    assert "newer" in ran.err
    assert "Traceback" not in ran.err
    assert state.read_bytes() == before


@pytest.fixture
def newer() -> Callable[[Path], None]:
    import duckdb

    def change(state: Path) -> None:
        shutil.copy(state, state.with_suffix(".changed"))
        with duckdb.connect(str(state.with_suffix(".changed"))) as database:
            database.execute("UPDATE meta SET schema_version = 999")
        state.with_suffix(".changed").replace(state)

    return change


def test_a_missing_state_is_not_taken_for_a_new_project(trained: Shell) -> None:
    (trained.home / "state.duckdb").unlink()
    ran = trained("status")
    assert ran.code != 0
    assert ran.out == ""
    assert ran.err.startswith("error[UPM-E")
    assert "hint: " in ran.err
    assert not (trained.home / "state.duckdb").exists()
