"""Who acted is who the kernel says: nothing that a caller may set changes it."""

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from upm_cli.app import build
from upm_cli.store import ledger

ME = pwd.getpwuid(os.getuid()).pw_name
NAMES = ("USER", "LOGNAME", "LNAME", "USERNAME", "SUDO_USER", "SUDO_UID", "UID", "EUID", "UPM_ACTOR", "UPM_USER")
SPOOFED = dict.fromkeys(NAMES, "root-of-all")


def run(folder: Path, *words: str, **spoofed: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("UPM_")}
    return subprocess.run(
        [sys.executable, "-m", "upm_cli", "-C", str(folder), *words],
        env={**env, **spoofed},
        capture_output=True,
        text=True,
        check=False,
    )


def last(folder: Path) -> dict[str, Any]:
    return ledger.read(folder / ".upm")[-1]


def test_spoofed_variables_change_nothing_on_the_record(trained: Any, tmp_path: Path) -> None:
    home = tmp_path / "home-of-somebody-else"
    home.mkdir()
    done = run(trained.folder, "snapshot", "pin", "main", "1", HOME=str(home), **SPOOFED)
    assert done.returncode == 0, done.stderr
    assert (last(trained.folder)["action"], last(trained.folder)["actor"]) == ("snapshot.pin", ME)
    done = run(trained.folder, "pause", "main", HOME=str(home), **SPOOFED)
    assert done.returncode == 0, done.stderr
    assert (last(trained.folder)["action"], last(trained.folder)["actor"]) == ("trainer.pause", ME)


def test_spoofed_variables_give_no_role(trained: Any) -> None:
    config = trained.folder / "upm.yaml"
    config.write_text(config.read_text() + "policy: {actors: {root-of-all: admin}, min_shadow_hours: 0}\n")
    for spoofed in ({}, SPOOFED):
        done = run(trained.folder, "activate", "main", "1", "--to-stage", "global", "--json", **spoofed)
        assert done.returncode == 5
        error = json.loads(done.stdout)["error"]
        refusing = [gate for gate in error["context"]["gates"] if not gate["allowed"]]
        assert [gate for gate in refusing if gate.get("role") == "viewer"], refusing
        entry = last(trained.folder)
        assert (entry["action"], entry["actor"]) == ("snapshot.refuse", ME)


def commands(group: Any, path: tuple[str, ...] = ()) -> Any:
    """Yield every command with its words."""
    with typer.Context(group, info_name="upm") as context:
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            yield (*path, name), found
            if hasattr(found, "list_commands"):
                yield from commands(found, (*path, name))


def test_no_option_sets_who_acts_and_only_reading_asks_for_an_actor() -> None:
    options = {
        (words, name)
        for words, found in commands(build())
        for parameter in found.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    assert len(options) > 200
    named = {(words, name) for words, name in options if re.search(r"actor|user|role|^--as$|by-?whom|identity", name)}
    of_systemd = {(("schedule", verb), "--user") for verb in ("install", "remove")}  # whose units, not who acts
    assert named == {(("audit", "list"), "--actor")} | of_systemd


def test_an_option_that_would_set_it_is_no_option(trained: Any) -> None:
    for option in ("--actor", "--user", "--as", "--role"):
        before = last(trained.folder)
        assert trained("snapshot", "pin", "main", "1", option, "root-of-all").code == 2
        assert last(trained.folder) == before


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from upm_cli import actors

    monkeypatch.setattr("os.getuid", lambda: 3_999_999_999)
    assert actors.current() == "uid:3999999999"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_process_that_becomes_another_user_acts_as_that_user() -> None:
    nobody = pwd.getpwnam("nobody")
    code = "import os, sys; from upm_cli import actors; os.setuid(int(sys.argv[1])); print(actors.current())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(nobody.pw_uid)],
        env={**os.environ, **SPOOFED, "HOME": "/root"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "nobody\n"
