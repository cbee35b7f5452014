"""`upm doctor` finds what is damaged and goes back; `upm sql` answers and changes nothing."""

import json
from pathlib import Path

import pytest

from upm_cli.app import main


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
    assert found == dict.fromkeys(
        (
            *("state", "ledger", "segments", "snapshots", "signatures", "keys", "checkpoints", "replay_buffers"),
            "orphans",
        ),
        "pass",
    )


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
    state.unlink()  # history holds hard links: writing in place would damage the newest kept state as well
    state.write_bytes(b"not a database" * 1000)
    assert main(["-C", str(project), "trainer", "show"]) == 9
    assert "upm doctor --restore" in capsys.readouterr().err
    assert doctor(project, capsys) == (9, {"state": "fail"})
    assert main(["-C", str(project), "doctor", "--restore", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"] is True
    assert doctor(project, capsys)[0] == 0
    assert main(["-C", str(project), "trainer", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"]["trained"] == 120


def test_restoring_a_good_state_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / ".upm" / "state.duckdb").read_bytes()
    assert main(["-C", str(project), "doctor", "--restore", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["restored"] is False
    assert (project / ".upm" / "state.duckdb").read_bytes() == before


def test_sql_counts_the_log(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-C", str(project), "sql", "SELECT count(*) AS n FROM log WHERE kind = 0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"n": 120}]


@pytest.mark.parametrize("query", ["DELETE FROM trainers", "SELECT * FROM nowhere", "COPY log TO 'x.csv'"])
def test_sql_changes_nothing_and_says_what_is_wrong(
    project: Path, capsys: pytest.CaptureFixture[str], query: str
) -> None:
    before = (project / ".upm" / "state.duckdb").read_bytes()
    assert main(["-C", str(project), "sql", query]) == 2
    assert "error[UPM-E020]" in capsys.readouterr().err
    assert (project / ".upm" / "state.duckdb").read_bytes() == before
