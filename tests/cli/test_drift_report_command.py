"""`upm drift-report` and `upm events` through the front door: what they print, where, and how they end."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.event import EVENTS
from upm_cli.core.records import Trainer
from upm_cli.core.window import Strings
from upm_cli.ops.drift import judging
from upm_cli.ops.project import init_project
from upm_cli.ops.telemetry import flush
from upm_cli.store import log, segments, trainers
from upm_cli.store.session import Store
from upm_cli.store.together import alone
from upm_cli.telemetry.points import Recorder

HOUR = 3_600_000
T0 = 1_799_996_400_000  # 2027-01-15T07:00Z
CLOCK = SystemClock()
GOOD, NEAR, BAD = [0.05] * 100, [0.05] * 96 + [0.3] * 4, [0.05] * 90 + [0.5] * 10
CONFIG = "supervisor:\n  default_trainers:\n    - name: main\ndrift_monitor:\n  sample_size: 100\n"


def make_project(folder: Path, hours: Sequence[Sequence[float]], tenants: Sequence[str] = ("",)) -> Path:
    """Make a project whose trainer `main` compared `hours[i]` in hour i, dealt to `tenants` in turn; judge it."""
    init_project(folder, CLOCK)
    (folder / "upm.yaml").write_text(CONFIG)
    store = Store(folder / ".upm", CLOCK)
    seq = 0
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
        for hour, scores in enumerate(hours):
            if scores:
                segments.add(tx, log.write_comparisons(store.home, "main", make_table(seq, hour, scores, tenants), T0))
            seq += len(scores)
    recorder = Recorder(CLOCK.now_ms())
    alone(store, judging(store, CLOCK, DriftPolicy(sample_size=100), "main", finish=True, recorder=recorder))
    flush(store.home, "drift-main", recorder, CLOCK.now_ms(), force=True)
    return folder


def make_table(seq: int, hour: int, scores: Sequence[float], tenants: Sequence[str]) -> Comparisons:
    n = len(scores)
    nothing = np.full(n, np.nan, np.float32)
    return Comparisons(
        seq=np.arange(seq, seq + n),
        start_ms=T0 + hour * HOUR + np.arange(n),
        window_id=Strings.of(f"w{seq + i}" for i in range(n)),
        tenant=Strings.of(tenants[i % len(tenants)] for i in range(n)),
        prediction=np.zeros(n, np.float32),
        truth=np.zeros(n),
        score=np.array(scores, np.float32),
        brier=nothing,
        base_brier=nothing,
        base_score=nothing,
    )


def run(capsys: pytest.CaptureFixture[str], project: Path, *argv: str) -> tuple[int, str, str]:
    code = main(["-C", str(project), *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def report(capsys: pytest.CaptureFixture[str], project: Path, *argv: str) -> dict[str, Any]:
    code, out, err = run(capsys, project, "-q", "drift-report", *argv, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_json_has_the_fields_of_the_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, make_project(tmp_path, [GOOD, BAD, GOOD]))
    assert {"schema_version", "trainer", "threshold", "windows", "evidence"} <= found.keys()
    assert (found["trainer"], found["threshold"]) == ("main", 0.2)
    contract = ("start", "end", "n", "p95", "max", "verdict", "status", "recommendation")
    assert [[window[key] for key in contract] for window in found["windows"]] == [
        ["2027-01-15T07:00:00.000Z", "2027-01-15T08:00:00.000Z", 100, 0.05, 0.05, "pass", "closed", None],
        ["2027-01-15T08:00:00.000Z", "2027-01-15T09:00:00.000Z", 100, 0.5, 0.5, "fail", "quarantined", "pause"],
        ["2027-01-15T09:00:00.000Z", "2027-01-15T10:00:00.000Z", 100, 0.05, 0.05, "pass", "open", None],
    ]
    assert found["windows"][1]["mean"] == pytest.approx(0.095)
    assert found["windows"][1]["exceed"]["share"] == 0.1


@pytest.mark.parametrize(
    ("hours", "fail_on", "code"),
    [
        ([GOOD, BAD], None, 0),
        ([GOOD, BAD], "breach", 6),
        ([GOOD, BAD], "warn", 6),
        ([GOOD, GOOD], "breach", 0),
        ([GOOD, GOOD], "warn", 0),
        ([GOOD, NEAR], "breach", 0),
        ([GOOD, NEAR], "warn", 6),
        ([GOOD, GOOD[:9]], "warn", 0),
        ([GOOD[:9], GOOD[:9]], "warn", 6),
        ([], "warn", 0),
    ],
)
def test_fail_on_ends_with_six(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hours: list[list[float]], fail_on: str | None, code: int
) -> None:
    project = make_project(tmp_path, hours)
    found, out, err = run(
        capsys, project, "-q", "drift-report", "-o", "json", *(["--fail-on", fail_on] if fail_on else [])
    )
    assert found == code
    assert json.loads(out)["trainer"] == "main", "the report comes on stdout all the same"
    assert err.startswith("warning: main: ") == (code == 6)


def test_since_counts_back_from_the_newest_window_or_takes_an_instant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path, [GOOD] * 6)
    assert len(report(capsys, project)["windows"]) == 6
    last = report(capsys, project, "--since", "2h")
    assert [window["start"][11:16] for window in last["windows"]] == ["11:00", "12:00"]
    assert last["evidence"]["windows_before"] == 4
    assert len(report(capsys, project, "--since", "2027-01-15T10:00Z")["windows"]) == 3


def test_another_window_length_is_cut_anew_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path, [GOOD, BAD, GOOD, GOOD])
    state = (project / ".upm" / "state.duckdb").read_bytes()
    found = report(capsys, project, "--window", "2h")
    assert [(w["n"], w["verdict"], w["start"][11:16]) for w in found["windows"]] == [
        (100, "pass", "06:00"),
        (200, "fail", "08:00"),
        (100, "pass", "10:00"),
    ]
    assert found["recomputed"] is True
    assert (project / ".upm" / "state.duckdb").read_bytes() == state


def test_each_tenant_is_judged_and_the_worst_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path, [[0.05, 0.9, 0.06, 0.05] * 50], ["acme", "bad", "ok", ""])
    found = report(capsys, project, "--by", "tenant", "--set", "drift_monitor.sample_size=50")
    assert [(t["tenant"], t["n"], t["p95"], t["verdict"]) for t in found["tenants"]] == [
        ("bad", 50, 0.9, "fail"),
        ("ok", 50, 0.06, "pass"),
        (None, 50, 0.05, "pass"),
        ("acme", 50, 0.05, "pass"),
    ]
    code, out, _ = run(capsys, project, "drift-report", "--by", "tenant", "-o", "table")
    assert code == 0
    assert "TENANT" in out


@pytest.mark.parametrize(
    ("name", "start"), [("r.html", "<!doctype html>"), ("r.md", "# Drift of main"), ("r.json", "{")]
)
def test_out_writes_the_report_and_leaves_stdout_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, start: str
) -> None:
    project = make_project(tmp_path, [GOOD, BAD])
    target = tmp_path / name
    code, out, err = run(capsys, project, "drift-report", "--out", str(target))
    assert (code, out) == (0, "")
    assert target.name in err
    assert target.read_text().startswith(start)
    assert "0.5" in target.read_text()
    code, out, _ = run(capsys, project, "drift-report", "--format", "json")
    if name == "r.json":
        assert json.loads(out) == json.loads(target.read_text())


@pytest.mark.parametrize(("format_", "start"), [("html", "<!doctype html>"), ("md", "# Drift of main"), ("json", "{")])
def test_a_format_goes_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str, start: str) -> None:
    code, out, _ = run(capsys, make_project(tmp_path, [GOOD]), "drift-report", "--format", format_)
    assert code == 0
    assert out.startswith(start)


def test_a_plot_comes_below_the_table_with_a_dashed_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, make_project(tmp_path, [GOOD, BAD, GOOD]), "drift-report", "--plot")
    assert code == 0
    table, _, plot = out.partition("\n\n")
    assert "✗ fail" in table
    assert "╌╌╌" in plot
    assert "2027-01-15 07:00Z" in plot
    assert max(map(len, out.splitlines())) <= 80
    assert "1 window fails" in err


def test_a_long_table_shows_the_newest_and_every_failing_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path, [BAD] + [GOOD] * 39)
    _, out, err = run(capsys, project, "drift-report", "-o", "table")
    assert out.count("✓ pass") == 30
    assert out.count("✗ fail") == 1
    assert "9 older windows that don't fail are not shown" in err
    _, out, _ = run(capsys, project, "drift-report", "-o", "tsv")
    assert len(out.splitlines()) == 41


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["mian"], 4, "Did you mean 'main'?"),
        (["--by", "hour"], 2, "--by can't be 'hour'"),
        (["--fail-on", "never"], 2, "--fail-on can't be 'never'"),
        (["--format", "pdf"], 2, "--format can't be 'pdf'"),
        (["--out", "report"], 2, "name it .html, .md or .json"),
        (["--since", "yesterday"], 2, "--since"),
        (["--since", "2027-13-01"], 2, "--since"),
        (["--window", "0x"], 2, "--window"),
        (["--window", "0s"], 2, "--window"),
        (["--window", "9999999d"], 2, "--window"),
        (["--plot", "-o", "json"], 2, "--plot"),
    ],
)
def test_a_wrong_word_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, says: str
) -> None:
    found, _, err = run(capsys, make_project(tmp_path, [GOOD]), "drift-report", *argv)
    assert found == code
    assert says in err
    assert "hint: " in err


def test_a_trainer_that_never_ran_has_nothing_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init_project(tmp_path, CLOCK)
    (tmp_path / "upm.yaml").write_text(CONFIG)
    assert report(capsys, tmp_path)["windows"] == []
    code, out, err = run(capsys, tmp_path, "drift-report", "-o", "table")
    assert (code, out) == (0, "")
    assert "no comparisons yet" in err


def test_a_damaged_comparisons_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path, [GOOD])
    (segment,) = (project / ".upm" / "comparisons").rglob("*.*")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    code, _, err = run(capsys, project, "drift-report", "--by", "tenant")
    assert code == 9
    assert segment.name in err


def test_events_are_cloud_events_one_on_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path, [BAD, GOOD])
    code, out, _ = run(capsys, project, "events")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["type"] for event in found] == ["ai.upm.drift.quarantine", "ai.upm.ledger.drift.quarantine"]
    for event in found:
        assert event["specversion"] == "1.0"
        assert event.keys() == {"specversion", "id", "source", "type", "time", "data"}
    assert EVENTS["ai.upm.drift.quarantine"].problems(found[0]["data"]) == []
    assert found[0]["source"] == "/trainers/main"


def test_telemetry_comes_when_a_type_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path, [BAD, GOOD])
    _, out, _ = run(capsys, project, "events", "--type", "upm.drift.score")
    found = [json.loads(line) for line in out.splitlines()]
    assert [event["data"]["measurements"]["drift_p95"] for event in found] == [0.5, 0.05]
    _, out, _ = run(capsys, project, "events", "--type", "upm.*", "--type", "ai.upm.*", "-o", "tsv")
    assert len(out.splitlines()) == 1 + 2 + 1 + 2
    code, _, err = run(capsys, project, "events", "--type", "upm.drift.scores")
    assert code == 2
    assert "did you mean 'upm.drift.score'?" in err


def test_events_before_the_asked_time_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = make_project(tmp_path, [BAD, GOOD])
    assert len(run(capsys, project, "events", "--since", "1h")[1].splitlines()) == 2
    assert len(run(capsys, project, "events", "--since", "99999999d")[1].splitlines()) == 2
    assert run(capsys, project, "events", "--since", "2999-01-01T00:00Z")[1] == ""


@pytest.mark.parametrize("command", ["drift-report", "events"])
def test_help_needs_no_project_and_no_heavy_import(tmp_path: Path, command: str) -> None:
    code = f"""
import sys
from upm_cli.app import main
assert main([{command!r}, "--help"]) == 0
heavy = {{"duckdb", "numpy", "pyarrow", "textual", "pydantic", "rich"}} & sys.modules.keys()
assert not heavy, heavy
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": root}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Example: upm" in done.stdout
