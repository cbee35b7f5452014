"""`upm events dead-letters`: what could not be read is listed with its reason, and can be fed in again."""

import json
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.ops.project import init_project
from upm_cli.store import ledger

T0 = 1_800_000_000_000
CONFIG = "supervisor:\n  default_trainers:\n    - name: main\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    init_project(tmp_path, SystemClock())
    (tmp_path / "upm.yaml").write_text(CONFIG)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], project: Path, *argv: str) -> tuple[int, str, str]:
    code = main(["-C", str(project), *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def window(number: int, **more: Any) -> str:
    at = T0 + 1000 * number
    return json.dumps(
        {"window_id": f"w{number}", "window_start": at, "window_end": at + 1000, "features": {"x": 1.0}, **more}
    )


def ingest(capsys: pytest.CaptureFixture[str], project: Path, name: str, *lines: str) -> None:
    (project / name).write_text("".join(line + "\n" for line in lines))
    code, _, err = run(capsys, project, "-q", "ingest", str(project / name), "--json")
    assert code == 0, err


def letters(capsys: pytest.CaptureFixture[str], project: Path) -> list[dict[str, Any]]:
    code, out, _ = run(capsys, project, "events", "dead-letters", "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)["dead_letters"]
    return found


def test_a_bad_line_is_listed_with_its_place_and_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = window(1, label=1.0)
    ingest(capsys, project, "in.jsonl", good, "not json", window(2, label=1.0))
    (letter,) = letters(capsys, project)
    assert letter["source"].endswith("in.jsonl")
    assert letter["offset"] == len(good) + 1
    assert letter["raw"] == "not json"
    assert letter["reason"]
    code, out, _ = run(capsys, project, "events", "dead-letters", "-o", "table")
    assert code == 0
    assert "not json" in out


def test_no_dead_letters_are_said_to_be_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert letters(capsys, project) == []
    code, out, err = run(capsys, project, "events", "dead-letters", "-o", "table")
    assert (code, out) == (0, "")
    assert "no dead letters" in err
    assert run(capsys, project, "events", "dead-letters", "--retry")[0] == 0


def test_what_is_still_bad_stays_and_the_exit_code_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(capsys, project, "in.jsonl", window(1), "not json")
    before = letters(capsys, project)
    code, out, _ = run(capsys, project, "events", "dead-letters", "--retry", "--dry-run", "--json")
    assert (code, json.loads(out)["left"]) == (0, 1)
    code, out, _ = run(capsys, project, "events", "dead-letters", "--retry", "--json")
    assert code == 8
    assert {key: json.loads(out)[key] for key in ("tried", "ingested", "left")} == {
        "tried": 1,
        "ingested": 0,
        "left": 1,
    }
    assert letters(capsys, project) == before


def test_a_label_that_came_before_its_window_is_fed_in_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(capsys, project, "labels.jsonl", json.dumps({"window_id": "w1", "label": 1.0}))
    assert [letter["kind"] for letter in letters(capsys, project)] == ["label"]
    ingest(capsys, project, "windows.jsonl", window(1))
    code, out, _ = run(capsys, project, "events", "dead-letters", "--retry", "--json")
    assert (code, json.loads(out)["ingested"]) == (0, 1)
    assert letters(capsys, project) == []


def test_windows_that_came_too_late_are_listed_on_their_own(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(capsys, project, "new.jsonl", window(1_000_000))
    ingest(capsys, project, "old.jsonl", window(1, tenant_id="acme"))
    code, out, _ = run(capsys, project, "events", "dead-letters", "--late", "-o", "jsonl")
    (late,) = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert (late["window_id"], late["tenant_id"], late["window_start"]) == ("w1", "acme", T0 + 1000)
    code, out, _ = run(capsys, project, "events", "dead-letters", "--late", "--retry", "-o", "json")
    assert (code, json.loads(out)["ingested"]) == (0, 1)
    assert run(capsys, project, "events", "dead-letters", "--late", "-o", "jsonl")[1] == ""


def test_an_unknown_trainer_is_refused_with_a_guess(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, project, "events", "dead-letters", "mian")
    assert code == 4
    assert "Did you mean 'main'?" in err


def problems(capsys: pytest.CaptureFixture[str], project: Path) -> list[str]:
    code, out, _ = run(capsys, project, "status", "--json")
    assert code == 0
    return [problem["problem"] for problem in json.loads(out)["problems"]]


def acknowledge(capsys: pytest.CaptureFixture[str], project: Path, *more: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, project, "events", "dead-letters", "--acknowledge", *more, "--json")
    return code, json.loads(out)


def test_acknowledged_dead_letters_are_kept_but_no_problem_and_later_ones_are(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest(capsys, project, "in.jsonl", window(1), "not json", "nor this")
    assert problems(capsys, project) == ["2 dead letters"]

    assert run(capsys, project, "events", "dead-letters", "--acknowledge", "--reason", "x")[0] == 2, "nobody to ask"
    assert acknowledge(capsys, project, "--yes")[1]["error"]["code"] == "UPM-E029"
    code, plan = acknowledge(capsys, project, "--dry-run")
    assert (code, plan["acknowledged"], plan["dry_run"]) == (0, 2, True)
    assert problems(capsys, project) == ["2 dead letters"]

    code, done = acknowledge(capsys, project, "--reason", "test data", "--yes")
    assert (code, done["acknowledged"], done["total"]) == (0, 2, 2)
    assert problems(capsys, project) == []
    assert len(letters(capsys, project)) == 2
    assert acknowledge(capsys, project, "--reason", "again")[1]["acknowledged"] == 0, "twice is the same as once"

    (entry,) = [each for each in ledger.read(project / ".upm") if each["action"] == "letters.seen"]
    assert (entry["subject"], entry["details"]["count"], entry["details"]["reason"]) == ("main", 2, "test data")

    ingest(capsys, project, "more.jsonl", window(2), "once more")
    assert problems(capsys, project) == ["1 new dead letter"]
    _, out, _ = run(capsys, project, "trainer", "show", "--json")
    assert json.loads(out)["dead_letters"] == {"total": 3, "unseen": 1}


def test_acknowledging_goes_alone_and_is_harmless_before_anything_was_read(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, project, "events", "dead-letters", "--acknowledge", "--retry")[0] == 2
    assert acknowledge(capsys, project)[1]["acknowledged"] == 0
