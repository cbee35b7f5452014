"""`upm drift-report --by feature` over a real log: what changed, against what, in every format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.core.records import Activation, Mode, Ring, Snapshot, Trainer
from upm_cli.core.window import Csr, RowKind, Strings, WindowBatch
from upm_cli.ops import feature_drift
from upm_cli.ops.project import init_project
from upm_cli.store import activations, log, segments, snapshots, trainers
from upm_cli.store.session import Store

HOUR = 3_600_000
T0 = 1_799_996_400_000  # 2027-01-15T07:00Z
CLOCK = SystemClock()
NAMES = ["load", "zone=a", "zone=b", "<b>odd|name</b>", "fresh"]
HASHES = np.array([50, 40, 30, 20, 10], np.uint32)
EACH = 600


def make_hour(
    rng: np.random.Generator, hour: int, *, n: int = EACH, shift: float = 0.0, fresh: float = 0
) -> WindowBatch:
    """Return `n` windows of one hour; `odd` and `load` are numbers, `zone` is a or b, `fresh` comes at a rate."""
    a = rng.random(n) < 0.5
    always = np.ones(n, bool)
    present = np.stack([always, a, ~a, always, rng.random(n) < fresh], axis=1)
    value = np.stack([rng.normal(shift, size=n), *np.ones((2, n)), rng.random(n), np.ones(n)], axis=1)
    rows = WindowBatch.empty(n)
    rows.start_ms = T0 + hour * HOUR + np.arange(n)
    rows.window_id = Strings.of(f"w{hour}-{i}" for i in range(n))
    index = np.tile(HASHES, (n, 1))[present]
    rows.x = Csr(np.r_[0, present.sum(axis=1).cumsum()].astype(np.int64), index, value[present].astype(np.float32))
    return rows


def make_project(folder: Path, hours: list[WindowBatch], *, live_after: int | None = None) -> Path:
    """Make a project whose log holds `hours`, one segment each; a version is live that learned the first few."""
    init_project(folder, CLOCK)
    (folder / "upm.yaml").write_text("supervisor:\n  default_trainers:\n    - name: main\n")
    store = Store(folder / ".upm", CLOCK)
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
        seq = 0
        for hour, rows in enumerate(hours):
            batch = WindowBatch.concat([rows, WindowBatch.empty(1, RowKind.CUT)])
            segments.add(tx, log.write(store.home, "main", batch, seq, T0))
            seq += len(batch)
            if hour + 1 == live_after:
                snapshots.put(tx, make_snapshot(seq - 1))
                activations.append(tx, make_activation())
        segments.add(tx, log.write_names(store.home, "main", Strings.of(NAMES[:3]), HASHES[:3], 0, T0))
        segments.add(tx, log.write_names(store.home, "main", Strings.of(NAMES[3:]), HASHES[3:], 3, T0))
    return folder


def make_snapshot(last_seq: int) -> Snapshot:
    return Snapshot(
        trainer="main",
        version=1,
        mode=Mode.SHADOW,
        digest="0" * 64,
        file_digest="0" * 64,
        codec="none",
        path="blobs/1",
        size_bytes=1,
        raw_bytes=1,
        first_seq=0,
        last_seq=last_seq,
    )


def make_activation() -> Activation:
    return Activation(
        trainer="main",
        ring=Ring.GLOBAL,
        epoch=1,
        version=1,
        previous_version=None,
        percent=100,
        kind="activate",
        decision_id="d1",
        actor="ann",
        reason="",
        at_ms=T0,
    )


def run(capsys: pytest.CaptureFixture[str], project: Path, *argv: str) -> tuple[int, str, str]:
    code = main(["-C", str(project), "drift-report", "--by", "feature", *argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def report(capsys: pytest.CaptureFixture[str], project: Path, *argv: str) -> dict[str, Any]:
    code, out, err = run(capsys, project, "-q", *argv, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def drifting(found: dict[str, Any]) -> list[str]:
    return [row["feature"] for row in found["features"] if row["status"] == "drift"]


def changed_at_the_end(folder: Path) -> Path:
    """Return a project of nine hours, of which the last two have another load."""
    rng = np.random.default_rng(1)
    return make_project(folder, [make_hour(rng, hour, shift=0.8 * (hour >= 7)) for hour in range(9)])


def test_the_feature_that_changed_comes_first_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, changed_at_the_end(tmp_path))
    assert drifting(found) == ["load"]
    row, about = found["features"][0], found["feature_drift"]
    assert (row["feature"], row["is_new"], row["missing"]) == ("load", False, 0.0)
    assert row["w1"] == pytest.approx(0.8 / 1.349, abs=0.15)
    assert row["psi"] > 0.1
    assert row["p_adjusted"] < 1e-6
    assert row["drifted_looks"] == 1, "the last hour is not over yet"
    assert about["drifting"] == 1
    assert about["reference"] == {
        "first_seq": 0,
        "last_seq": 2703,
        "from": "2027-01-15T07:00:00.000Z",
        "to": "2027-01-15T11:00:00.300Z",
        "windows": 2700,
        "version": None,
    }
    assert (about["current"]["windows"], about["looks"], about["needed"]) == (EACH, 3, 0)
    assert sorted(row["feature"] for row in found["features"]) == sorted(NAMES[:4])


def test_since_says_which_windows_count_as_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = changed_at_the_end(tmp_path)
    two = report(capsys, project, "--since", "2h")["feature_drift"]["current"]
    assert (two["windows"], two["from"][11:16], two["to"][11:16]) == (2 * EACH, "14:00", "16:00")
    assert report(capsys, project, "--since", "2027-01-15T13:00Z")["feature_drift"]["current"]["windows"] == 3 * EACH
    none = report(capsys, project, "--since", "2027-01-16T13:00Z")
    assert none["features"] == []
    assert none["feature_drift"]["needed"] == 500


def test_looks_can_be_of_another_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = report(capsys, changed_at_the_end(tmp_path), "--window", "3h")["feature_drift"]
    assert about["looks"] == 1, "from 11:00, where the reference ends, to 15:00"
    assert about["current"]["from"][11:16] == "15:00"
    assert about["significance"] == pytest.approx(0.25 * 3 / (90 * 24))


def test_what_the_live_version_learned_from_last_is_the_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_drift, "REFERENCE_ROWS", 2 * (EACH + 1))
    rng = np.random.default_rng(2)
    hours = [make_hour(rng, hour, shift=0.8 * (hour >= 4)) for hour in range(8)]
    make_project(tmp_path / "nothing-live", hours)
    make_project(tmp_path / "live", hours, live_after=6)
    assert drifting(report(capsys, tmp_path / "nothing-live")) == ["load"]
    found = report(capsys, tmp_path / "live")
    about = found["feature_drift"]
    assert drifting(found) == []
    assert about["reference"]["version"] == 1
    assert (about["reference"]["first_seq"], about["reference"]["last_seq"]) == (4 * (EACH + 1), 6 * (EACH + 1) - 2)
    assert about["looks"] == 1


def test_a_new_feature_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    project = make_project(tmp_path, [make_hour(rng, hour, fresh=0.3 * (hour == 5)) for hour in range(6)])
    found = report(capsys, project)
    assert drifting(found) == ["fresh"]
    assert found["features"][0]["is_new"]
    assert found["features"][0]["missing"] == pytest.approx(0.7, abs=0.06)


def test_too_few_windows_are_unknown_and_say_how_many_are_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(4)
    project = make_project(tmp_path, [make_hour(rng, hour, n=100, shift=3.0 * (hour >= 4)) for hour in range(8)])
    found = report(capsys, project)
    assert {row["status"] for row in found["features"]} == {"unknown"}
    assert found["feature_drift"]["needed"] == 100
    _, _, err = run(capsys, project, "-o", "table")
    assert "features: not judged yet, 100 more windows needed (unknown is not good news)" in err


def test_a_trainer_without_windows_has_no_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys, make_project(tmp_path, []))
    assert found["features"] == []
    assert found["feature_drift"]["reference"] is None
    code, out, err = run(capsys, tmp_path, "-o", "table")
    assert code == 0
    assert "nothing is known about drift" in err
    assert "no features yet" in out + err
    assert run(capsys, tmp_path, "--format", "md")[0] == 0


def test_drift_of_features_is_a_warning_not_a_breach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = changed_at_the_end(tmp_path)
    assert run(capsys, project, "--fail-on", "breach")[0] == 0
    code, _, err = run(capsys, project, "-q", "--fail-on", "warn")
    assert (code, err) == (6, "warning: main: features: 1 of 4 drift: load\n")


def test_every_format_has_the_features_and_escapes_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = changed_at_the_end(tmp_path)
    _, out, err = run(capsys, project, "-o", "table")
    assert "features: 1 of 4 drift: load" in err
    assert [line.split()[:3] for line in out.splitlines() if "load" in line] == [["!", "drift", "load"]]
    lines = run(capsys, project, "-o", "tsv")[1].splitlines()
    assert lines[0].split("\t")[:3] == ["status", "feature", "psi"]
    assert len(lines) == 5
    page = run(capsys, project, "--format", "html")[1]
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd|name&lt;/b&gt;" in page
    assert "! drift</td><td>load</td>" in page
    text = run(capsys, project, "--format", "md")[1]
    assert "| ! | load |" in text
    assert "\\<b\\>odd\\|name\\</b\\>" in text


def test_a_budget_that_can_not_be_read_is_refused_with_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path, [])
    code, out, err = run(capsys, project, "--set", "evidence.false_alarms=often")
    assert (code, out) == (3, "")
    assert "evidence.false_alarms" in err
    assert "1 per 90d" in err
