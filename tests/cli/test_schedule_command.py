"""`upm schedule show`: every line runs as cron would run it, and the units are what systemd takes."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from upm_cli.ops import schedule

BARE = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LANG": "C"}  # about what cron gives


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed `upm`, called by its absolute path."""
    made = tmp_path / "bin" / "upm"
    made.parent.mkdir()
    root = Path(__file__).parents[2]
    made.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m upm_cli "$@"\n')
    made.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(made)])
    return made


def test_every_line_of_the_crontab_runs_quietly_from_anywhere(trained: Shell, program: Path) -> None:
    more = trained.write("more.jsonl", *(trained.event(2000 + i) for i in range(50)))
    config = trained.folder / "upm.yaml"
    config.write_text(config.read_text().replace("{name: main}", f"{{name: main, sources: ['{more}']}}"))
    text = trained.json("schedule", "show", "cron")["files"]["upm.cron"]
    lines = [line for line in text.splitlines() if not line.startswith(("#", "SHELL"))]
    commands = [re.match(r"((?:\S+ ){5}) *(.*)", line) for line in lines]
    assert len(commands) >= 6
    for match in commands:
        assert match is not None, lines
        command = match[2].replace("\\%", "%")
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd="/", env=BARE, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), command
    assert trained.counts()["trained"] == 2050


def test_two_runs_of_the_same_line_at_once_are_as_good_as_one(trained: Shell, program: Path) -> None:
    config = trained.folder / "upm.yaml"
    config.write_text(config.read_text().replace("{name: main}", "{name: main, sources: [more.jsonl]}"))
    trained.write("more.jsonl", *(trained.event(2000 + i) for i in range(300)))
    text = trained.json("schedule", "show", "cron")["files"]["upm.cron"]
    (line,) = [line for line in text.splitlines() if " train main" in line]
    command = line.split(maxsplit=5)[5]
    both = [subprocess.Popen(["/bin/sh", "-c", command], cwd="/", env=BARE, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate() and process.returncode for process in both] == [0, 0]
    assert trained.json("train", "main", "--once")["windows"]["trained"] == 2300


def test_the_units_say_what_systemd_needs(trained: Shell, program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    trained.json("schedule", "show", "systemd", "--into", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["upm-nightly.service", "upm-nightly.timer", "upm.service"]
    service = configparser.ConfigParser(strict=False, interpolation=None)
    service.optionxform = str  # type: ignore[assignment,method-assign]
    service.read_string((folder / "upm.service").read_text())
    assert service["Service"]["Type"] == "notify"
    assert service["Service"]["ExecStart"] == f"{program} -C {trained.folder} up"
    assert service["Service"]["ReadWritePaths"] == str(trained.folder)
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", *map(str, folder.iterdir())],
            env={**os.environ, **BARE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Unknown" not in done.stderr, done.stderr


def test_the_examples_are_what_it_prints_for_a_project_in_srv() -> None:
    site = schedule.Site(
        program="/usr/local/bin/upm",
        project=Path("/srv/upm"),
        trainers=("main",),
        user="upm",
        delivers=True,
        tells=True,
    )
    made = {"upm.cron": schedule.crontab(site), **schedule.units(site)}
    folder = Path(__file__).parents[2] / "examples" / "schedule"
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


def test_in_a_pipe_it_is_the_text_itself_unless_a_format_is_asked_for(trained: Shell, program: Path) -> None:
    for kind, named in (("cron", "upm.cron"), ("systemd", "upm.service")):
        text = trained("schedule", "show", kind).out
        assert trained.json("schedule", "show", kind)["files"][named].strip() in text
    assert text.startswith("# /etc/systemd/system/upm.service\n[Unit]\n")
    assert trained("schedule", "show", "cron", "-o", "tsv").out.startswith("key\tvalue\n")


def test_another_kind_is_refused_with_those_there_are(trained: Shell) -> None:
    ran = trained.refused(2, "UPM-E029", "schedule", "show", "at")
    assert "cron, systemd" in ran.err
