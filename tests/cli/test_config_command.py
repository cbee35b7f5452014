import json
from pathlib import Path

import jsonschema
import pytest

from upm_cli.app import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "upm.yaml").write_text("drift_monitor:\n  drift_threshold: 0.3\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(list(argv))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_show_tells_where_each_value_came_from(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPM_DRIFT_MONITOR__SAMPLE_SIZE", "50")
    _, out, _ = run(capsys, "config", "show", "--json", "--set", "drift_monitor.score=seed", "drift_monitor")
    rows = {
        row["key"].partition(".")[2]: (row["value"], row["origin"], row["where"]) for row in json.loads(out)["settings"]
    }
    assert rows == {
        "window_duration_ms": (3_600_000, "default", "default"),
        "drift_threshold": (0.3, "file", "upm.yaml:2"),
        "sample_size": (50, "env", "UPM_DRIFT_MONITOR__SAMPLE_SIZE"),
        "quarantine_enabled": (True, "default", "default"),
        "score": ("seed", "flag", "--set drift_monitor.score"),
        "rule": ("both", "default", "default"),
    }


def test_show_in_a_pipe_has_the_origin_only_when_asked(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    assert run(capsys, "config", "show", "learner.bits")[1] == "key\tvalue\nlearner.bits\t18\n"
    _, out, _ = run(capsys, "config", "show", "learner.bits", "--origin")
    assert out == "key\tvalue\torigin\twhere\nlearner.bits\t18\tdefault\tdefault\n"


def test_get_prints_the_bare_value(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    assert run(capsys, "config", "get", "drift_monitor.drift_threshold") == (0, "0.3\n", "")
    assert run(capsys, "config", "get", "snapshot_manager.compression") == (0, "zstd\n", "")
    assert run(capsys, "config", "get", "policy.canary_tenants") == (0, "[]\n", "")


@pytest.mark.parametrize("verb", ["get", "show"])
def test_an_unknown_setting_is_not_found(capsys: pytest.CaptureFixture[str], project: Path, verb: str) -> None:
    code, _, err = run(capsys, "config", verb, "drift_monitor.drift_treshold")
    assert code == 4
    assert "did you mean 'drift_monitor.drift_threshold'?" in err


def test_a_broken_configuration_ends_with_3_and_all_problems(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / "upm.yaml").write_text("drift_monitor:\n  drift_threshold: 0.2x\n  on_breech: 1\n")
    code, out, err = run(capsys, "config", "show", "--json")
    assert code == 3
    told = json.loads(out)["error"]["context"]["problems"]
    assert [(problem["code"], problem["line"], problem["column"]) for problem in told] == [
        ("UPM-C011", 2, 20),
        ("UPM-C003", 3, 3),
    ]
    assert "upm.yaml:2:20  error[UPM-C011]" in err
    assert "                       ^^^^" in err


def test_outside_a_project_the_defaults_are_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "config", "get", "drift_monitor.drift_threshold")
    assert (code, out) == (0, "0.2\n")
    assert "no project here" in err


def test_the_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    code, out, _ = run(capsys, "config", "schema")
    assert code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


def test_path_prints_the_file_in_force(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / "other.yaml").write_text("")
    assert run(capsys, "config", "path")[1] == f"{project}/upm.yaml\n"
    assert run(capsys, "config", "path", "--config", "other.yaml")[1] == "other.yaml\n"
