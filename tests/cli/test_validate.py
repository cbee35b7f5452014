import json
import os
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.core import quantile, scores
from upm_cli.core.records import Mode, Snapshot, Trainer
from upm_cli.core.replay import Released, ReplayBuffer
from upm_cli.core.rollouts import check as rollout_check
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.window import WindowBatch
from upm_cli.ops import known_answers
from upm_cli.ops.project import init_project
from upm_cli.store import blobs, fsio, lease, runfiles, snapshots, trainers
from upm_cli.store.session import Store

NAMES = [
    "feature_flag",
    "configuration",
    "storage_paths",
    "state_tables",
    "migrations",
    "compression",
    "drift_arithmetic",
    "replay_order",
    "worker_health",
    "rollout_machine",
    "permissions",
    "keys",
    "policy",
    "adapters",
    "sources",
    "notifications",
    "backups",
    "security",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    init_project(tmp_path, SystemClock())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def validate(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it and return the exit code and the checks by name; the counts and hints must fit."""
    code = main(["validate", "--json", *argv])
    answer = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in answer["checks"]}
    assert answer["schema_version"] == 1
    assert list(checks) == NAMES
    statuses = [check["status"] for check in checks.values()]
    assert answer["passed"] == statuses.count("pass")
    assert answer["failed"] == statuses.count("fail")
    assert code == (3 if answer["failed"] else 0)
    assert all(check["hint"] for check in checks.values() if check["status"] in ("fail", "warn"))
    return code, checks


def failed(checks: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, check in checks.items() if check["status"] == "fail"]


def test_a_new_project_passes_every_check(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    code, checks = validate(capsys)
    assert code == 0
    assert {name: check["status"] for name, check in checks.items()} == {
        **dict.fromkeys(NAMES, "pass"),
        "keys": "skip",
        **dict.fromkeys(("worker_health", "adapters", "sources", "notifications", "backups"), "skip"),
        "policy": "warn",
    }


def test_validating_changes_nothing(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    def files() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in project.rglob("*") if path.is_file()
        }

    before = files()
    validate(capsys)
    assert files() == before


def test_people_get_one_line_for_each_check_and_a_fix_for_each_failure(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    (project / ".upm/keys").rmdir()
    assert main(["validate", "-o", "table"]) == 3
    out, err = capsys.readouterr()
    assert [name for name in NAMES if name in out] == NAMES
    assert "✗ fail" in out
    assert err.splitlines()[0] == f"storage_paths: upm init {project}"
    assert [line.partition(":")[0] for line in err.splitlines()] == ["storage_paths", "policy"]


def test_an_off_switch_is_a_warning(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TL_FEATURES_UNIFIED_MODEL", "false")
    code, checks = validate(capsys)
    assert (code, checks["feature_flag"]["status"]) == (0, "warn")
    assert "TL_FEATURES_UNIFIED_MODEL" in checks["feature_flag"]["detail"]


def test_a_broken_configuration_is_reported_with_every_problem(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    (project / "upm.yaml").write_text("drift_monitor:\n  drift_threshold: x\n  on_breech: 1\n")
    _, checks = validate(capsys)
    assert failed(checks) == ["configuration"]
    assert checks["feature_flag"]["status"] == "skip"
    assert [problem["code"] for problem in checks["configuration"]["problems"]] == ["UPM-C011", "UPM-C003"]


def test_a_missing_state_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "upm.yaml").write_text("")
    _, checks = validate(capsys, "-C", str(tmp_path))
    assert failed(checks) == ["storage_paths", "state_tables", "migrations"]
    assert checks["state_tables"]["hint"] == f"upm init {tmp_path}"
    assert list(tmp_path.iterdir()) == [tmp_path / "upm.yaml"]


@pytest.mark.parametrize("damage", ["garbage", "cut", "gone", "empty"])
def test_a_damaged_state_is_reported(capsys: pytest.CaptureFixture[str], project: Path, damage: str) -> None:
    state = project / ".upm/state.duckdb"
    whole = state.read_bytes()
    state.unlink()
    if damage != "gone":
        state.write_bytes({"garbage": b"x" * 5000, "cut": whole[: len(whole) // 2], "empty": b""}[damage])
        state.chmod(0o600)
    _, checks = validate(capsys)
    assert failed(checks) == ["state_tables", "migrations"]


def test_a_state_of_a_newer_upm_is_reported_and_left_alone(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    state = project / ".upm/state.duckdb"
    connection = duckdb.connect(str(state))
    connection.execute("UPDATE meta SET schema_version = 999")
    connection.close()
    before = state.read_bytes()
    _, checks = validate(capsys)
    assert failed(checks) == ["state_tables", "migrations"]
    assert "999" in checks["migrations"]["detail"]
    assert "upgrade upm" in checks["migrations"]["hint"]
    assert state.read_bytes() == before


def test_a_missing_table_is_named(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    connection = duckdb.connect(str(project / ".upm/state.duckdb"))
    connection.execute("DROP TABLE pins")
    connection.close()
    _, checks = validate(capsys)
    assert failed(checks) == ["state_tables"]
    assert "pins is missing" in checks["state_tables"]["detail"]


def test_folders_that_can_not_be_written_fail(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(operation: str, path: Path) -> None:
        if path.parent.name == "log" and operation == "write":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(fsio.faults, "before", full)
    _, checks = validate(capsys)
    assert failed(checks) == ["storage_paths"]
    assert "the disk is full" in checks["storage_paths"]["detail"]
    assert list((project / ".upm/log").iterdir()) == []


def test_a_changed_folder_of_snapshots_fails(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / "models").mkdir()
    _, checks = validate(capsys, "--set", "snapshot_manager.base_path=models")
    assert failed(checks) == ["storage_paths"]
    assert checks["storage_paths"]["hint"] == "upm explain UPM-C031"


def test_a_state_that_others_can_read_fails(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    (project / ".upm").chmod(0o755)
    (project / ".upm/state.duckdb").chmod(0o644)
    _, checks = validate(capsys)
    assert failed(checks) == ["permissions"]
    assert checks["permissions"]["hint"] == f"chmod -R go= {project}/.upm"
    assert os.system(checks["permissions"]["hint"]) == 0
    assert failed(validate(capsys)[1]) == []


def test_a_worker_that_says_nothing_any_more_fails(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    home, now = project / ".upm", SystemClock().now_ms()
    runfiles.write_status(home, "trainer-main", {"lease": "trainer-main", "state": "running", "at_ms": now})
    with lease.acquire(home, "trainer-main", "upm train main"):
        assert validate(capsys)[1]["worker_health"]["status"] == "pass"
        runfiles.write_status(
            home, "trainer-main", {"lease": "trainer-main", "state": "running", "at_ms": now - 300_000}
        )
        checks = validate(capsys)[1]
    assert failed(checks) == ["worker_health"]
    assert f"trainer-main (pid {os.getpid()}) has said nothing" in checks["worker_health"]["detail"]
    assert validate(capsys)[1]["worker_health"]["status"] == "pass"


def test_a_worker_that_failed_fails(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    status = {"lease": "drift-main", "state": "failed", "at_ms": SystemClock().now_ms()}
    runfiles.write_status(project / ".upm", "drift-main", status)
    assert failed(validate(capsys)[1]) == ["worker_health"]


def test_wrong_arithmetic_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_answers.drift() == []
    monkeypatch.setattr(scores, "seed_score", lambda prediction, truth: 0.25)
    monkeypatch.setattr(quantile, "p95", lambda values: float(values.max()))
    wrong = known_answers.drift()
    assert "structured: share of mismatched keys is 0.25, must be 0.6666666666666666" in wrong
    assert "P95 of 0..99 is 99.0, must be 95.0" in wrong


def test_wrong_order_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    push = ReplayBuffer.push

    def backwards(buffer: ReplayBuffer, batch: WindowBatch) -> Released:
        released = push(buffer, batch)
        released.batch = released.batch.take(np.arange(len(released.batch))[::-1])
        released.late = WindowBatch.empty()
        return released

    assert known_answers.replay() == []
    monkeypatch.setattr(ReplayBuffer, "push", backwards)
    assert [sentence.partition(" is ")[0] for sentence in known_answers.replay()] == [
        "order in the log",
        "late windows",
    ]


def test_wrong_compression_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_answers.compression() == []
    monkeypatch.setattr(blobs, "get", lambda home, digest: b"other bytes")
    wrong = known_answers.compression()
    assert "zstd gives back other bytes" in wrong
    assert "gzip: a flipped bit goes unnoticed" in wrong


def test_a_registered_file_that_is_missing_or_cut_is_reported(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    home = project / ".upm"
    blob = blobs.put(home, b"weights" * 1000, "gzip")
    snapshot = Snapshot(
        trainer="default",
        version=1,
        mode=Mode.SHADOW,
        digest=blob.digest,
        file_digest=blob.file_digest,
        codec=blob.codec,
        path=blob.path,
        size_bytes=blob.size_bytes,
        raw_bytes=blob.raw_bytes,
    )
    store = Store(home, SystemClock())
    with store.write(actor="test") as tx:
        trainers.put(tx, Trainer(name="default", stream="default"))
        snapshots.put(tx, snapshot)
    store.close()
    assert failed(validate(capsys)[1]) == []
    stored = home / blob.path
    stored.write_bytes(stored.read_bytes()[:-1])
    _, checks = validate(capsys)
    assert failed(checks) == ["state_tables"]
    assert blob.path in checks["state_tables"]["detail"]
    stored.unlink()
    assert failed(validate(capsys)[1]) == ["state_tables"]


def test_a_hole_in_the_rollout_machine_is_printed_step_by_step(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = rollout_check.Report(states=3, steps=9, broken="No step without a pass.", trace=("start", "activate"))
    asked: list[bool] = []

    def check(policy: RolloutPolicy, *, is_quick: bool) -> rollout_check.Report:
        asked.append(is_quick)
        return broken

    monkeypatch.setattr(rollout_check, "check", check)
    _, checks = validate(capsys)
    _, exhaustive = validate(capsys, "--exhaustive")
    assert failed(checks) == failed(exhaustive) == ["rollout_machine"]
    assert checks["rollout_machine"]["detail"] == "rule broken: No step without a pass.\n1. start\n2. activate"
    assert asked == [True, False]
