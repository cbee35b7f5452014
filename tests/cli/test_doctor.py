"""`upm doctor` finds what is damaged and goes back; `upm sql` answers and changes nothing."""

import json
from pathlib import Path

import pytest

from tests.cli.test_demo_json_reference import documented, fields
from upm_cli.app import main

DURABLE = ("state", "ledger", "outbox", "segments", "snapshots", "signatures", "keys", "checkpoints", "replay_buffers")
HOUSE = ("orphans", "segment_files", "reserve")
MACHINE = (*HOUSE, "leftovers", "status_files", "locks", "disk", "clock", "modes", "crashes")


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "project"
    source = tmp_path / "events.jsonl"
    with source.open("w") as file:
        for number in range(120):
            start = 1_767_225_600_000 + number * 1000
            window = {"window_id": f"w{number}", "window_start": start, "window_end": start + 1000, "label": number % 2}
            file.write(json.dumps({**window, "features": {"x": number % 2}}) + "\n")
    assert main(["init", str(folder)]) == 0
    assert main(["-C", str(folder), "train", "--source", str(source), "--once"]) == 0
    assert main(["-C", str(folder), "snapshot"]) == 0
    capsys.readouterr()
    return folder


def doctor(project: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str]]:
    code = main(["-C", str(project), "doctor", "--json", *words])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return code, {finding["name"]: finding["status"] for finding in findings}


def test_a_whole_project_passes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = doctor(project, capsys)
    assert code == 0
    assert found == dict.fromkeys((*DURABLE, *MACHINE), "pass")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("log/default/*.arrow", "segments"), ("comparisons/default/*.arrow", "segments"), ("ledger.jsonl", "ledger")],
)
def test_one_flipped_bit_is_found(project: Path, capsys: pytest.CaptureFixture[str], pattern: str, name: str) -> None:
    path = next((project / ".upm").glob(pattern))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    code, found = doctor(project, capsys)
    assert (code, found[name]) == (9, "fail")


def test_a_missing_checkpoint_is_found(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for blob in (project / ".upm" / "blobs" / "sha256").glob("*/*"):
        blob.unlink()
    code, found = doctor(project, capsys)
    assert (code, found["checkpoints"], found["snapshots"]) == (9, "fail", "fail")


def test_a_damaged_state_is_replaced_by_the_newest_good_one(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = project / ".upm" / "state.duckdb"
    state.write_bytes(b"not a database" * 1000)
    assert main(["-C", str(project), "trainer", "show"]) == 9
    assert "upm doctor --restore" in capsys.readouterr().err
    state.chmod(0o600)
    assert doctor(project, capsys) == (9, {"state": "fail", **dict.fromkeys(MACHINE[len(HOUSE) :], "pass")})
    assert main(["-C", str(project), "doctor", "--restore", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"] is True
    assert doctor(project, capsys)[0] == 0
    assert main(["-C", str(project), "trainer", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"]["trained"] == 120


def damage(project: Path, kept: int) -> None:
    """Cut the live state and the `kept` newest kept ones short."""
    home = project / ".upm"
    for path in (home / "state.duckdb", *sorted((home / "history").glob("*"), reverse=True)[:kept]):
        half = path.read_bytes()[: path.stat().st_size // 2]
        path.unlink()
        path.write_bytes(half)
        path.chmod(0o600)


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_a_dry_run_says_what_a_restore_would_do_and_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-C", str(project), "pause", "default", "--reason", "lunch"]) == 0
    damage(project, 1)
    before = files(project)
    capsys.readouterr()
    assert main(["-C", str(project), "doctor", "--restore", "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert main(["-C", str(project), "doctor", "--restore", "--dry-run", "-o", "table"]) == 0
    said = capsys.readouterr().out
    assert files(project) == before
    newest_good = sorted((project / ".upm/history").glob("*"))[-2]
    assert (planned["restored"], planned["dry_run"], planned["from"]) == (False, True, str(newest_good))
    assert (planned["from_generation"], planned["generation"]) == (int(newest_good.stem), int(newest_good.stem) + 2)
    (action,) = planned["actions"]
    assert (action["action"], action["subject"]) == ("trainer.pause", "default")
    (row,) = planned["trainers"]
    assert (row["trainer"], row["trained"], row["log_position"], row["last_version"]) == ("default", 120, 123, 1)
    assert (row["can_learn_on"], row["paused"]) == (True, "lunch")
    assert (action["fate"], action["done"]) == ("done_again", "default is paused")
    assert f"would go back to {newest_good}" in said
    assert "trainer.pause default" in said
    assert main(["-C", str(project), "doctor", "--restore", "--no-input"]) == 2
    assert "needs confirmation" in capsys.readouterr().err
    assert files(project) == before


def test_the_plan_names_rows_and_snapshots_that_the_kept_state_does_not_know(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = project / ".upm"
    old = {path.name for path in (home / "history").glob("*")}
    start = 1_767_225_600_000 + 500_000
    more = project / "more.jsonl"
    windows = [{"window_id": f"v{n}", "window_start": start + n, "window_end": start + n + 1} for n in range(40)]
    more.write_text("".join(json.dumps({**one, "label": 1, "features": {"x": 1}}) + "\n" for one in windows))
    assert main(["-C", str(project), "train", "--source", str(more), "--once"]) == 0
    assert main(["-C", str(project), "snapshot"]) == 0
    damage(project, sum(path.name not in old for path in (home / "history").glob("*")))
    capsys.readouterr()
    assert main(["-C", str(project), "doctor", "--restore", "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    (log,) = planned["logs"]
    assert (log["stream"], log["first_seq"], log["rows"]) == ("default", 123, 42)  # 40 windows and two marks
    assert planned.pop("schema_version") == 1
    known = documented()["`upm doctor --restore`"]
    assert fields(planned, known) == known
    (shot,) = planned["snapshots"]
    assert (shot["trainer"], shot["version"], shot["windows"]) == ("default", 2, 160)
    assert any("read again" in each for each in planned["afterwards"])


def test_restoring_a_good_state_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / ".upm" / "state.duckdb").read_bytes()
    assert main(["-C", str(project), "doctor", "--restore", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"] is False
    assert (project / ".upm" / "state.duckdb").read_bytes() == before


def test_sql_counts_the_log(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-C", str(project), "sql", "SELECT count(*) AS n FROM log WHERE kind = 0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"n": 120}]


@pytest.mark.parametrize(
    "query", ["DELETE FROM trainers", "SELECT * FROM nowhere", "COPY log TO 'x.csv'", "", "-- nothing"]
)
def test_sql_changes_nothing_and_says_what_is_wrong(
    project: Path, capsys: pytest.CaptureFixture[str], query: str
) -> None:
    before = (project / ".upm" / "state.duckdb").read_bytes()
    assert main(["-C", str(project), "sql", query]) == 2
    assert "error[UPM-E020]" in capsys.readouterr().err
    assert (project / ".upm" / "state.duckdb").read_bytes() == before
