"""`upm snapshot`, `upm activate` and `upm rollback` through the front door: stdout, stderr, exit codes."""

import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.config.schema import Settings
from upm_cli.core.records import Snapshot, Trainer
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.store import blobs, incidents, ledger, snapshots, trainers
from upm_cli.store.session import Store
from upm_cli.testing import prove


@dataclass
class Project:
    """A project with one trainer whose learning is made up, and a way to run commands in it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    proves: bool = True  # what is activated has passed its contest

    @property
    def home(self) -> Path:
        return self.folder / ".upm"

    def prove(self) -> None:
        """Let every trainer's lineage have passed against what serves now."""
        store = self.store
        with store.read() as reader:
            names = [trainer.name for trainer in trainers.list_all(reader)]
        for name in names:
            prove(store, SystemClock(), name, first_seq=0, windows=1)
        store.close()

    @property
    def store(self) -> Store:
        return Store(self.home, SystemClock())

    def learn(self, windows: int = 100, name: str = "main") -> None:
        store = self.store
        with store.read() as reader:
            trainer = trainers.find(reader, name) or Trainer(name=name, stream=name)
        end = trainer.log_position + windows
        checkpoint = blobs.put(self.home, f"{name} at {end} of {trainer.checkpoint_digest}".encode())
        prepared = snapshot_ops.prepare(
            self.home,
            SystemClock(),
            Settings(),
            trainer,
            {"weights": np.arange(64, dtype=np.float32) + end},
            {"log": {"first_seq": 0, "last_seq": end - 1}, "windows": end, "metrics": {"loss": 0.25}},
            checkpoint_digest=checkpoint.digest,
        )
        with store.write() as tx:
            row, moved = snapshot_ops.register(tx, self.home, trainer, prepared)
            trainers.put(tx, replace(moved, log_position=end, checkpoint_digest=row.checkpoint_digest))
        store.close()

    def run(self, *words: str) -> tuple[int, str, str]:
        if words[0] == "activate" and self.proves:
            self.prove()
        code = main([*words, "-C", str(self.folder)])
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *words: str) -> dict[str, Any]:
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        assert found["schema_version"] == 1
        return found

    def error(self, *words: str) -> tuple[int, dict[str, Any]]:
        code, out, err = self.run(*words, "--json")
        error: dict[str, Any] = json.loads(out)["error"]
        assert error["detail"] in err
        return code, error

    def rows(self, name: str = "main") -> dict[int, Snapshot]:
        with self.store.read() as reader:
            return {row.version: row for row in snapshots.list_for(reader, name)}


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal: nobody can be asked
    assert main(["init", str(tmp_path)]) == 0
    (tmp_path / "upm.yaml").write_text(
        "supervisor: {default_trainers: [{name: main}]}\npolicy: {min_shadow_hours: 0, canary_tenants: ['*']}\n"
    )
    capsys.readouterr()
    return Project(tmp_path, capsys)


@pytest.fixture
def live(project: Project) -> Project:
    """v1 and v2 were live for everybody in turn; v3 was learned since."""
    for version in ("1", "2"):
        project.learn()
        assert project.run("activate", "main", version, "--to-stage", "global")[0] == 0
    project.learn()
    return project


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_snapshot_list_has_the_promised_fields(live: Project) -> None:
    rows = live.json("snapshot", "list", "main")["snapshots"]
    promised = "version status mode digest codec size_bytes raw_bytes windows parent created_at activated_at metrics"
    assert all(set(promised.split()) <= row.keys() for row in rows)
    assert [(row["version"], row["status"], row["parent"]) for row in rows] == [
        (1, "archived", None),
        (2, "activated", 1),
        (3, "created", 2),
    ]


def test_snapshot_list_of_a_trainer_without_any_says_where_they_come_from(project: Project) -> None:
    code, out, err = project.run("snapshot", "list", "-o", "table")
    assert (code, out) == (0, "")
    assert "upm snapshot create main" in err


@pytest.mark.parametrize("words", [["main", "active"], ["active"], ["v2"], ["main", "0002"]])
def test_snapshot_show_takes_any_word_and_the_only_trainer(live: Project, words: list[str]) -> None:
    shown = live.json("snapshot", "show", *words)
    assert (shown["trainer"], shown["version"], shown["manifest"]["version"]) == ("main", 2, 2)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["snapshot", "show", "main", "9"], 4, "UPM-E044"),
        (["snapshot", "show", "main", "best"], 2, "UPM-E029"),
        (["snapshot", "show", "mian", "1"], 4, "UPM-E040"),
        (["activate", "main", "9"], 4, "UPM-E044"),
        (["activate", "main", "--to-stage", "prod"], 2, "UPM-E029"),
        (["activate", "main", "--to-stage", "canary", "--percent", "0"], 2, "UPM-E029"),
        (["rollback", "mian", "--yes"], 4, "UPM-E040"),
        (["rollback", "main", "--to", "9", "--yes"], 4, "UPM-E044"),
        (["rollback", "main", "--to", "3", "--yes"], 5, "UPM-E057"),
        (["rollback", "main", "--ring", "canary", "--yes"], 5, "UPM-E055"),
        (["snapshot", "release", "main", "1"], 2, "UPM-E029"),
    ],
)
def test_what_can_not_be_done_has_its_exit_code(live: Project, words: list[str], code: int, error: str) -> None:
    found, said = live.error(*words)
    assert (found, said["code"]) == (code, error)


def test_verify_ends_with_9_and_names_the_file_and_what_differs(live: Project) -> None:
    assert live.run("snapshot", "verify", "main", "--all")[0] == 0
    path = live.rows()[2].path
    damage(live.home / path)
    code, out, err = live.run("snapshot", "verify", "--all", "--json")
    assert code == 9
    assert [row["ok"] for row in json.loads(out)["verified"]] == [True, False, True]
    assert path in err
    assert live.run("snapshot", "verify", "main", "1")[0] == 0


def test_a_damaged_snapshot_is_not_activated(live: Project) -> None:
    damage(live.home / live.rows()[3].path)
    code, error = live.error("activate", "main")
    assert code == 9
    assert live.rows()[3].path in error["detail"]


def test_activate_answers_with_the_promised_fields_and_twice_is_done(live: Project) -> None:
    done = live.json("activate", "main", "v3", "--reason", "better")
    assert {key: done[key] for key in ("trainer", "version", "previous_version", "ring", "percent", "epoch")} == {
        "trainer": "main",
        "version": 3,
        "previous_version": 2,
        "ring": "global",
        "percent": 100,
        "epoch": 3,
    }
    assert re.fullmatch(r"[0-9a-f-]{36}", done["decision_id"])
    again = live.json("activate", "main", "v3")
    assert (again["changed"], again["decision_id"], again["epoch"]) == (False, done["decision_id"], 3)
    code, out, _ = live.run("activate", "main", "v3", "-o", "table")
    assert (code, "already active" in out) == (0, True)


def test_activate_guesses_the_only_trainer_and_the_latest_version_in_its_own_stage(project: Project) -> None:
    project.learn()
    done = project.json("activate")
    assert (done["trainer"], done["version"], done["ring"], done["percent"]) == ("main", 1, "shadow", 0)


def test_a_refusal_names_the_gate_and_ends_with_5(project: Project) -> None:
    project.learn()
    code, error = project.error("activate", "--to-stage", "global", "--set", "features.unified_model=false")
    assert (code, error["code"]) == (5, "UPM-E051")
    assert error["detail"] == "gate feature: features.unified_model is off"
    assert "--to-stage shadow" in error["hint"]


def test_rollback_answers_with_the_promised_fields_and_twice_is_done(live: Project) -> None:
    done = live.json("rollback", "main", "--reason", "users complain", "--yes")
    assert {key: done[key] for key in ("trainer", "from_version", "to_version", "epoch", "pinned")} == {
        "trainer": "main",
        "from_version": 2,
        "to_version": 1,
        "epoch": 3,
        "pinned": True,
    }
    assert done["elapsed_ms"] > 0
    again = live.json("rollback", "main")
    assert (again["changed"], again["incident_id"], again["epoch"]) == (False, done["incident_id"], 3)
    with live.store.read() as reader:
        (incident,) = incidents.list_for(reader, "main")
    assert (incident.incident_id, incident.reason) == (done["incident_id"], "users complain")
    assert incident.actor == ledger.read(live.home)[-1]["actor"] != ""


def test_rollback_without_a_terminal_needs_yes(live: Project) -> None:
    code, error = live.error("rollback", "main")
    assert code == 2
    assert "from v2 back to v1 in global" in error["detail"]
    assert "--yes" in error["hint"]
    assert live.json("snapshot", "show", "active")["version"] == 2


def test_rollback_asks_on_a_terminal(live: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("upm_cli.commands._context.Context.may_ask", property(lambda self: True))
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert live.run("rollback", "main")[0] == 2
    assert live.json("snapshot", "show", "active")["version"] == 2
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    code, out, err = live.run("rollback", "main", "-o", "table")
    assert code == 0
    assert "[y/N]" in err
    assert "took main from v2 back to v1 in global" in out


def test_dry_runs_change_nothing(live: Project) -> None:
    live.prove()
    live.proves = False
    token = live.store.token()
    assert live.json("rollback", "main", "--dry-run")["to_version"] == 1
    assert live.json("activate", "main", "3", "--dry-run")["version"] == 3
    assert live.json("snapshot", "gc", "--keep", "0", "--keep-days", "0", "--dry-run")["dry_run"] is True
    assert live.json("snapshot", "pin", "main", "3", "--dry-run")["changed"] is False
    assert live.json("snapshot", "create", "main", "--dry-run")["version"] == 3
    assert live.store.token() == token


def test_rollback_says_on_stderr_which_better_version_it_skipped(live: Project) -> None:
    live.json("activate", "main", "3")
    path = live.rows()[2].path
    damage(live.home / path)
    code, out, err = live.run("rollback", "main", "--yes", "--json")
    assert (code, json.loads(out)["to_version"]) == (0, 1)
    assert f"skipped a better version: {path}" in err


def test_rollback_with_every_target_damaged_ends_with_9(live: Project) -> None:
    damage(live.home / live.rows()[1].path)
    code, error = live.error("rollback", "main", "--yes")
    assert (code, error["code"]) == (9, "UPM-E097")


def test_rollback_with_nothing_live_ends_with_5(project: Project) -> None:
    project.learn()
    code, error = project.error("rollback", "main", "--yes")
    assert (code, error["code"]) == (5, "UPM-E055")


def test_activating_by_hand_lifts_the_pin_of_a_rollback_and_says_so(live: Project) -> None:
    live.json("rollback", "main", "--yes")
    code, _, err = live.run("activate", "main", "2")
    assert code == 5
    live.json("snapshot", "release", "main", "2", "--reason", "wrong alarm")
    code, _, err = live.run("activate", "main", "2")
    assert code == 0
    assert "lifted the pin of global on v1: rolled back from v2" in err


def test_rollback_works_with_a_broken_configuration(live: Project) -> None:
    (live.folder / "upm.yaml").write_text("features: [unclosed\nno_such_key: 1\n")
    assert live.json("rollback", "main", "--yes")["to_version"] == 1


def test_rollback_needs_its_trainer_named(live: Project) -> None:
    assert live.run("rollback", "--yes")[0] == 2


def test_taking_a_snapshot_of_nothing_new_returns_the_one_there_is(live: Project) -> None:
    for words in (["snapshot"], ["snapshot", "--trainer", "main"], ["snapshot", "create", "main"]):
        found = live.json(*words)
        assert (found["created"], found["version"]) == (False, 3)
    assert len(live.rows()) == 3


def test_taking_a_snapshot_before_anything_was_learned_ends_with_4(project: Project) -> None:
    store = project.store
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main"))
    code, error = project.error("snapshot", "create", "main")
    assert (code, error["code"]) == (4, "UPM-E045")


def test_pin_and_unpin_show_in_the_list(live: Project) -> None:
    assert live.json("snapshot", "pin", "main", "1")["changed"] is True
    assert live.json("snapshot", "list")["snapshots"][0]["flags"] == ["pinned"]
    assert live.json("snapshot", "pin", "main", "1")["changed"] is False
    assert live.json("snapshot", "unpin", "main", "1")["changed"] is True


def test_gc_says_why_versions_stay(live: Project) -> None:
    live.json("snapshot", "pin", "main", "1")
    live.learn()
    code, out, _ = live.run("snapshot", "gc", "--keep", "0", "--keep-days", "0", "-o", "table")
    assert code == 0
    assert "deleted 1 snapshots" in out
    assert "v1 stays: pinned" in out
    assert set(live.rows()) == {1, 2, 4}
    assert live.run("snapshot", "verify", "--all")[0] == 0


def test_export_writes_what_others_can_read(live: Project, tmp_path: Path) -> None:
    done = live.json("snapshot", "export", "active", "--to", str(tmp_path / "out"))
    assert safetensors.numpy.load_file(done["model"])["weights"][0] == 200.0
    assert json.loads(Path(done["manifest"]).read_text())["manifest"]["version"] == 2


@pytest.mark.parametrize("words", [["snapshot", "list"], ["snapshot", "show"], ["snapshot", "verify"], ["activate"]])
def test_outside_a_project_everything_ends_with_4(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 4
    assert "upm init" in capsys.readouterr().err


HELPED = (["snapshot"], ["snapshot", "gc"], ["activate"], ["rollback"])


@pytest.mark.parametrize("words", HELPED)
def test_help_has_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    assert "Example: upm" in capsys.readouterr().out
