"""What the shell is told when it asks how a word goes on: right, quick, and silent whatever the folder is like."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from upm_cli.app import build
from upm_cli.commands import _completing
from upm_cli.commands._completing import words_of
from upm_cli.commands._reference import walk
from upm_cli.core.gate_guide import GUIDES
from upm_cli.core.records import Ring
from upm_cli.ops import names

Shell = Any
#: Metavars of what is not a name: files, numbers, times, addresses, free text.
FREE = {
    *(
        "",
        "A,B",
        "DAYS",
        "DIR",
        "DIR|URL",
        "DUR",
        "DUR|TIME",
        "FILE",
        "HOST",
        "HOST|NETWORK",
        "N",
        "NAME",
        "NAME=VALUE",
    ),
    *("PATH", "PATTERN", "PORT", "QUERY", "RATE", "SOURCE...", "STATE", "TEXT", "TIME", "TIME|DUR", "URL", "USER"),
    *("WINDOWS", "N|ID", "ID"),
}


def complete(folder: Path, line: str) -> list[str]:
    """Ask as bash does; nothing may be said on stderr."""
    env = {**os.environ, "_UPM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-m", "upm_cli"], cwd=folder, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("upm rollba", ["rollback"]),
        ("upm rollback m", ["main"]),
        ("upm activate main ", ["latest", "active", "previous", "4", "3", "2", "1"]),
        ("upm activate main --to-stage s", ["shadow"]),
        ("upm config show drift_m", None),
        ("upm audit show ", []),
    ],
)
def test_names_of_the_project_complete(trained: Shell, line: str, words: list[str] | None) -> None:
    assert trained("status").code == 0  # any command that opens the state keeps its names
    found = complete(trained.folder, line)
    assert (found if words is not None else found[:2]) == (
        ["drift_monitor", "drift_monitor.window_duration_ms"] if words is None else words
    )


@pytest.mark.parametrize("line", ["upm rollback ", "upm -C /nowhere activate ", "upm adapter show x", "upm nonsense "])
def test_outside_of_a_project_there_are_no_words_and_no_complaints(tmp_path: Path, line: str) -> None:
    assert complete(tmp_path, line) == []


def words(typed: list[str], incomplete: str = "", *, at: Path) -> list[str]:
    """Return what completes after `typed`, in this process."""
    from typer._completion_classes import BashComplete

    with mock.patch.dict(os.environ, {"_UPM_COMPLETE": "complete_bash"}):
        found = BashComplete(build(), {}, "upm", "_UPM_COMPLETE").get_completions(["-C", str(at), *typed], incomplete)
    return [item.value for item in found]


def test_every_kind_of_name_completes(trained: Shell, tmp_path: Path) -> None:
    config = "notify: {webhooks: [{name: ops, url: 'https://hooks.example/x'}]}\npolicy: {canary_tenants: [acme]}\n"
    with (trained.folder / "upm.yaml").open("a") as file:
        file.write(config)
    assert trained("adapter", "add", "edge", "--path", str(tmp_path / "place"), "--tenant", "umbrella").code == 0
    assert trained("tenant", "deny", "initech", "main", "--yes").code == 0
    assert trained("adapter", "list").code == 0
    at = trained.folder
    assert words(["trainer", "show"], at=at) == ["main"]
    assert words(["tenant", "route"], at=at) == ["acme", "initech", "umbrella"]
    assert words(["adapter", "show"], at=at) == ["edge"]
    assert words(["sync", "verify"], at=at) == ["edge"]
    assert words(["notify", "test"], at=at) == ["ops"]
    assert words(["gate", "explain"], "ev", at=at) == ["evidence"]
    assert words(["explain"], "UPM-E070", at=at) == ["UPM-E070"]
    assert words(["explain"], "quar", at=at) == ["quarantine"]
    assert words(["events", "--type"], "upm.drift.", at=at) != []
    assert words(["audit", "list", "--type"], "doctor", at=at) == ["doctor.fix"]
    assert words(["quarantine", "release"], "main@3", at=at) == ["main@3"]
    assert words(["help"], "ru", at=at) == ["runbook"]
    assert words(["help"], "rollb", at=at) == ["rollback"]
    assert words(["help", "runbook"], "full", at=at) == ["full-disk"]
    assert words(["help", "config"], "s", at=at) == ["show", "schema", "snapshot_manager", "supervisor"]
    assert words(["help", "snapshot"], "ver", at=at) == ["verify"]
    assert words(["--set"], "drift_monitor.sample", at=at) == ["drift_monitor.sample_size="]


def test_keys_complete_that_are_not_revoked(trained: Shell) -> None:
    at = trained.folder
    assert words(["keys", "revoke"], at=at) == []
    first = trained.json("keys", "init")["keyid"]
    trained.json("keys", "rotate", "--yes", "--reason", "a year is over")
    second = next(key["keyid"] for key in trained.json("keys", "list")["keys"] if key["state"] == "signing")
    assert words(["keys", "revoke"], at=at) == [first, second]
    assert words(["keys", "rotate", "--from"], second[:4], at=at) == [second]
    trained.json("keys", "revoke", first, "--yes", "--reason", "the tape was lost")
    assert words(["keys", "revoke"], at=at) == [second]


def test_a_project_in_which_nothing_ran_completes_from_its_configuration(fresh: Shell) -> None:
    (fresh.home / names.FILE).unlink(missing_ok=True)
    assert words(["trainer", "show"], at=fresh.folder) == ["main"]
    (fresh.folder / "upm.yaml").write_text("supervisor: [")
    assert words(["trainer", "show"], at=fresh.folder) == []


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"trainers": 7}'])
def test_a_damaged_file_of_names_is_no_error(trained: Shell, content: str) -> None:
    (trained.home / names.FILE).write_text(content)
    assert words(["activate", "main"], at=trained.folder) in ([], list(_completing.VERSION_WORDS))
    assert trained("status").code == 0
    assert words(["activate", "main"], "3", at=trained.folder) == ["3"]


def test_the_file_is_written_only_when_something_changed(trained: Shell) -> None:
    path = trained.home / names.FILE
    assert trained("status").code == 0
    before = path.stat().st_ino
    assert trained("status").code == 0
    assert path.stat().st_ino == before
    assert trained("trainer", "add", "second").code == 0
    assert json.loads(path.read_text())["trainers"] == {"main": [4, 3, 2, 1], "second": []}


def test_every_parameter_is_a_name_that_completes_or_known_to_be_none() -> None:
    root = build()
    for path, command, _ in walk(root, typer.Context(root, info_name="upm")):
        for param in command.params:
            metavar = str(param.metavar or "").strip("[]")
            assert words_of(param, path.removeprefix("upm ")) is not None or metavar in FREE, (path, param.name)


def test_the_words_are_those_that_the_commands_take() -> None:
    assert tuple(Ring) == _completing.STAGES
    assert list(_completing._gates(None)) == [guide.gate for guide in GUIDES]


def test_neither_duckdb_nor_numpy_is_imported_and_it_is_quick(trained: Shell) -> None:
    assert trained("status").code == 0
    program = (
        "import sys, os\nfrom upm_cli.app import main\ntry:\n main([])\nexcept SystemExit: pass\n"
        "print(sorted({'duckdb', 'numpy', 'textual', 'pydantic'} & set(sys.modules)))"
    )
    env = {**os.environ, "_UPM_COMPLETE": "complete_bash", "COMP_WORDS": "upm activate main ", "COMP_CWORD": "3"}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    spent = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=trained.folder, env=env, capture_output=True, text=True
        )
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        assert (done.stdout.splitlines()[-1], done.stderr) == ("[]", "")
    assert min(spent) <= 0.25  # seconds of processor time: the wall clock belongs to whoever else works here
