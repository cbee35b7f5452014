"""What workers decide by themselves is on the record like what people decide, under the worker's name."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.config.load import load
from upm_cli.core.decision import inputs_digest, recompute
from upm_cli.ops import audit
from upm_cli.store import snapshots
from upm_cli.store.session import Store

CONFIG = """\
supervisor: {default_trainers: [{name: main}]}
trainer_worker: {snapshot_interval: 300}
drift_monitor: {window_duration_ms: 600000, sample_size: 200, drift_threshold: 0.05, score: seed}
ingest: {chunk_bytes: 65536, commit_bytes: 131072}
learner: {bits: 10}
"""


@pytest.fixture(scope="module")
def quarantined_project(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> Path:
    """A project whose every window is too far from the truth, as the threshold is next to nothing."""
    folder = tmp_path_factory.mktemp("quarantined") / "project"
    assert main(["init", str(folder), "-q"]) == 0
    (folder / "upm.yaml").write_text(CONFIG)
    source = folder / "events.jsonl"
    source.write_text("".join(json.dumps(event(i)) + "\n" for i in range(1500)))
    assert main(["train", "main", "--source", str(source), "--once", "-q", "-C", str(folder)]) == 0
    return folder


def event(i: int) -> dict[str, Any]:
    """Return window number `i`, a second after the one before; its label is what its features say."""
    x, y = math.sin(i * 1.7), math.cos(i * 2.3)
    start_ms = 1_767_225_600_000 + i * 1000
    times = {"window_start": start_ms, "window_end": start_ms + 1000}
    return {"window_id": f"w{i:06d}", **times, "features": {"x": x, "y": y}, "label": int(x > y)}


@pytest.fixture
def quarantined(tmp_path: Path, quarantined_project: Path, new_shell: Callable[[Path], Any]) -> Any:
    shutil.copytree(quarantined_project, tmp_path / "project")
    return new_shell(tmp_path / "project")


def entries(shell: Any, action: str) -> list[dict[str, Any]]:
    return [entry for entry in audit.read(shell.store) if entry["action"] == action]


def digest_of(folder: Path) -> str:
    return load(folder / "upm.yaml", environ={}).settings.full_digest()


def test_a_quarantine_is_the_drift_monitors_with_everything_it_was_worked_out_from(quarantined: Any) -> None:
    found = entries(quarantined, "drift.quarantine")
    assert found
    for entry in found:
        details = entry["details"]
        assert entry["actor"] == "drift-monitor"
        assert details["config_digest"] == digest_of(quarantined.folder)
        assert details["inputs_digest"] == inputs_digest(details["inputs"])
        assert recompute("drift.quarantine", details["inputs"]) == details["outcome"]
        assert details["outcome"]["verdict"] == "fail"
        assert details["numbers"]["p95"] >= details["numbers"]["threshold"] == 0.05
        assert details["numbers"]["n"] >= details["numbers"]["sample_size"] == 200


def test_a_barred_snapshot_is_named_by_an_entry_of_the_ledger(quarantined: Any) -> None:
    with Store(quarantined.home, SystemClock()).read() as reader:
        barred = {f"main@{row.version}" for row in snapshots.list_for(reader, "main") if row.quarantined}
    named = {name for entry in audit.read(quarantined.store) for name in entry["details"].get("snapshot_ids", ())}
    assert barred
    assert barred == named
    (now,) = quarantined.json("at", "now")["trainers"]
    assert {f"main@{version}" for version in now["quarantined"]} == barred


def test_with_another_threshold_the_recorded_window_would_have_passed(quarantined: Any) -> None:
    inputs = json.loads(json.dumps(entries(quarantined, "drift.quarantine")[0]["details"]["inputs"]))
    inputs["policy"]["drift_threshold"] = 1.0
    assert recompute("drift.quarantine", inputs)["verdict"] == "pass"
    inputs["n"] = inputs["policy"]["sample_size"] - 1
    assert recompute("drift.quarantine", inputs)["verdict"] == "unknown"


def test_every_decision_of_a_project_comes_out_the_same(quarantined: Any) -> None:
    assert quarantined("snapshot", "release", "main", "1", "--reason", "the threshold is a joke").code == 0
    assert quarantined("snapshot", "gc", "--keep", "1", "--keep-days", "0").code == 0
    assert entries(quarantined, "snapshot.gc")
    done = quarantined.json("audit", "verify", "--recompute")
    assert done["decisions"] == done["recomputed"] >= 3


def test_learning_under_other_settings_is_on_the_record(quarantined: Any) -> None:
    assert entries(quarantined, "trainer.config") == []
    more = quarantined.write("more.jsonl", *(event(i) for i in range(1500, 1600)))
    batch = ("--set", "trainer_worker.batch_size=64")
    assert quarantined("train", "main", "--source", more, "--once", "-q", *batch).code == 0
    (entry,) = entries(quarantined, "trainer.config")
    details = entry["details"]
    assert entry["actor"] == "trainer"
    assert len({details["before"], details["after"]}) == 2
    assert details["after"] == quarantined.json("trainer", "show", "main")["config_digest"]
    assert quarantined("train", "main", "--source", more, "--once", "-q", *batch).code == 0
    assert len(entries(quarantined, "trainer.config")) == 1


def test_the_digest_of_all_settings_changes_with_each_of_them(quarantined: Any) -> None:
    file = quarantined.folder / "upm.yaml"
    before = digest_of(quarantined.folder)
    learning = load(file, environ={}).settings.digest()
    for more in ("policy: {min_shadow_hours: 1}\n", "rollout: {automatic: false}\n", "evidence: {margin: 0.02}\n"):
        file.write_text(CONFIG + more)
        assert digest_of(quarantined.folder) != before
        assert load(file, environ={}).settings.digest() == learning  # none of them changes what is learned
    file.write_text("# the same settings\n" + CONFIG)
    assert digest_of(quarantined.folder) == before
