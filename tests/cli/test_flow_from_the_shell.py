"""The main flow as a stranger types it: real programs, one after the other, each answer checked against the others."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import SystemClock
from upm_cli.store import ledger, outbox
from upm_cli.store.session import Store

CONFIG = "drift_monitor: {window_duration_ms: 600000, sample_size: 100}\ntrainer_worker: {snapshot_interval: 500}\n"


class Stranger:
    """Types commands in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("UPM_")}

    def types(self, *words: str, code: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "upm_cli", *words, "--json"],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        (line,) = done.stdout.splitlines()
        found: dict[str, Any] = json.loads(line)
        assert found["schema_version"] == 1
        return found


def window(i: int, *, inverted: bool = False) -> dict[str, Any]:
    chance = np.random.default_rng(i)
    urgent, size = chance.random() < 0.5, round(float(chance.exponential()), 3)
    start_ms = 1_767_225_600_000 + i * 1000
    return {
        "window_id": f"mail-{i}",
        "window_start": start_ms,
        "window_end": start_ms + 1000,
        "tenant_id": f"team-{i % 4}",
        "features": {"sender": {"domain": "pager.example" if urgent else "news.example"}, "size": size},
        "label": urgent != inverted,
    }


def write(path: Path, first: int, stop: int, *, inverted: bool = False) -> None:
    path.write_text("".join(json.dumps(window(i, inverted=inverted)) + "\n" for i in range(first, stop)))


@pytest.mark.slow
def test_from_an_empty_folder_to_a_rollback(tmp_path: Path) -> None:
    stranger = Stranger(tmp_path)
    stranger.types("init")
    (tmp_path / "upm.yaml").write_text(CONFIG)
    assert stranger.types("trainer", "add", "triage", "--mode", "shadow")["trainer"] == "triage"

    # feed windows → a snapshot appears
    write(tmp_path / "monday.jsonl", 0, 3000)
    learned = stranger.types("train", "triage", "--source", "monday.jsonl", "--once")
    assert learned["windows"]["trained"] == 3000
    assert learned["metrics"]["accuracy"] > 0.95
    listed = stranger.types("snapshot", "list", "triage")["snapshots"]
    assert [row["version"] for row in listed] == learned["snapshots"]
    assert listed[-1]["windows"] >= 2500
    assert stranger.types("snapshot", "verify", "triage", "--all")

    # the drift comparison is recorded: one for each trained window
    report = stranger.types("drift-report", "triage")
    assert sum(judged["n"] for judged in report["windows"]) == 3000
    assert {judged["verdict"] for judged in report["windows"]} == {"pass"}

    # activate
    newest = learned["snapshots"][-1]
    live = stranger.types("activate", "triage", "latest", "--reason", "a good week")
    assert (live["version"], live["ring"]) == (newest, "shadow")
    asked = json.dumps({"sender": {"domain": "pager.example"}, "size": 1.0})
    answer = stranger.types("predict", asked, "-t", "triage")
    assert answer["version"] == newest
    assert answer["predictions"][0]["prediction"] is True

    # the world changes: yes for no
    write(tmp_path / "tuesday.jsonl", 3000, 4200, inverted=True)
    stranger.types("train", "triage", "--source", "tuesday.jsonl", "--once")
    report = stranger.types("drift-report", "triage")
    bad = [judged for judged in report["windows"] if judged["verdict"] == "fail"]
    assert bad
    assert bad[0]["status"] == "quarantined"
    assert bad[0]["recommendation"] == "rollback"
    assert stranger.types("drift-report", "triage", "--fail-on", "breach", code=6)

    # rollback, to the last known good without being told which
    suspect = [row for row in stranger.types("snapshot", "list", "triage")["snapshots"] if row["version"] > newest]
    assert suspect
    back = stranger.types("rollback", "triage", "--reason", "it answers no for yes", "--yes")
    assert back["to_version"] <= newest
    shown = stranger.types("trainer", "show", "triage")
    assert shown["active"]["shadow"] == back["to_version"]
    assert shown["epoch"] == back["epoch"]
    assert stranger.types("predict", asked, "-t", "triage")["predictions"][0]["prediction"] is True
    again = stranger.types("rollback", "triage", "--reason", "it answers no for yes", "--yes")
    assert again["to_version"] == back["to_version"]

    # everything is on the record
    assert stranger.types("validate")["failed"] == 0
    store = Store(tmp_path / ".upm", SystemClock())
    with store.read() as reader:
        events = outbox.after(reader)
    told = [event.type for event in events]
    assert told.count("ai.upm.snapshot.created") == len(stranger.types("snapshot", "list", "triage")["snapshots"])
    assert "ai.upm.snapshot.activated" in told
    assert "ai.upm.drift.quarantine" in told
    assert told.count("ai.upm.rollback") <= 2
    actions = [entry["action"] for entry in ledger.read(tmp_path / ".upm")]
    assert [action for action in actions if "activate" in action or "rollback" in action]
