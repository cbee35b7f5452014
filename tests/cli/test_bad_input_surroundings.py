"""Calls and surroundings that are not as they should be: one clear line, the right exit code, nothing changed."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Shell = Any
ASK = json.dumps({"x": 1.0, "y": -1.0, "kind": "k1"})
NAMING = [
    ("train", "mian"),
    ("trainer", "show", "mian"),
    ("trainer", "remove", "mian", "--yes", "--reason", "x"),
    ("pause", "mian"),
    ("resume", "mian"),
    ("snapshot", "list", "mian"),
    ("snapshot", "verify", "mian"),
    ("activate", "mian", "1"),
    ("rollback", "mian", "--yes", "--reason", "x"),
    ("drift-report", "mian"),
    ("predict", ASK, "-t", "mian"),
    ("ingest", "in.jsonl", "--trainer", "mian"),
]


def process(folder: Path, *words: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "upm_cli", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def state_of(shell: Shell) -> bytes:
    content: bytes = (shell.home / "state.duckdb").read_bytes()
    return content


@pytest.mark.parametrize("command", NAMING, ids=lambda words: " ".join(words[:2]))
def test_an_unknown_trainer_is_not_found_and_the_nearest_is_named(trained: Shell, command: tuple[str, ...]) -> None:
    before = state_of(trained)
    ran = trained.refused(4, "UPM-E040", *command)
    assert "no trainer 'mian'" in ran.err
    assert "'main'" in ran.err
    assert state_of(trained) == before


@pytest.mark.parametrize(
    "command",
    [("activate", "main", "99"), ("snapshot", "show", "main", "99"), ("predict", ASK, "--version", "99")],
    ids=lambda words: words[0],
)
def test_an_unknown_version_is_not_found(trained: Shell, command: tuple[str, ...]) -> None:
    ran = trained.refused(4, "UPM-E044", *command)
    assert "99" in ran.err


def test_a_reason_that_is_not_utf8_is_refused_before_anything_is_done(trained: Shell) -> None:
    before = state_of(trained)
    for words in (("pause", "main"), ("keys", "init")):
        trained.refused(2, "UPM-E029", *words, "--reason", os.fsdecode(b"\xff"))
    assert state_of(trained) == before
    assert not list((trained.home / "keys").iterdir())


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        (("trainer", "remove", "main", "--reason", "x"), "--yes"),
        (("rollback", "main", "--reason", "x"), "--yes"),
        (("train", "main", "--once", "--follow"), "--once"),
        (("train", "main", "--bogus"), "--bogus"),
        (("train", "main", "--mode", "loud"), "shadow"),
        (("train", "main", "--batch", "many"), "--batch"),
        (("rollback",), "TRAINER"),
        (("status", "-o", "xml"), "xml"),
        (("trian",), "train"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else words,
)
def test_a_call_that_is_wrong_ends_with_2_and_says_what_is_missing(
    trained: Shell, command: tuple[str, ...], needs: str
) -> None:
    for version in "1", "2":
        trained.json("activate", "main", version)
    before = state_of(trained)
    ran = trained(*command)
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.startswith("error[UPM-E02")
    assert needs in ran.err
    assert state_of(trained) == before


@pytest.mark.parametrize("option", [("--lr", "-1"), ("--batch", "0"), ("--snapshot-every", "-5"), ("--lr", "nan")])
def test_settings_beyond_their_bounds_are_refused_before_anything_runs(trained: Shell, option: tuple[str, str]) -> None:
    ran = trained("train", "main", *option)
    assert (ran.code, ran.out) == (3, ""), ran
    assert ran.err.startswith("error[UPM-E030]")
    assert not list((trained.home / "run").glob("*.pid"))
    assert trained.counts()["trained"] == 2000


def test_a_broken_configuration_tells_every_problem_with_its_line(trained: Shell) -> None:
    (trained.folder / "upm.yaml").write_text("trainer_worker: {batch_sise: 3}\nreplay_buffer: {max_buffer_size: -1}\n")
    for command in ("status",), ("train", "main"), ("predict", ASK):
        ran = trained(*command)
        assert (ran.code, ran.out) == (3, ""), ran
        assert ran.err.startswith("error[UPM-E030]: 2 problems")
        assert "upm.yaml:1:" in ran.err
        assert "batch_size" in ran.err
        assert "upm.yaml:2:" in ran.err


def test_a_rollback_needs_no_configuration(trained: Shell) -> None:
    for version in "1", "2":
        trained.json("activate", "main", version)
    (trained.folder / "upm.yaml").write_text("{ broken")
    assert trained.json("rollback", "main", "--reason", "x", "--yes")["to_version"] == 1


def test_without_a_project_every_command_says_how_to_make_one(
    tmp_path: Path, new_shell: Callable[[Path], Shell]
) -> None:
    shell = new_shell(tmp_path)
    for command in ("status",), ("train",), ("trainer", "list"), ("validate",), ("drift-report",), ("predict", ASK):
        ran = shell.refused(4, "UPM-E048", *command)
        assert "upm init" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_an_answer_nobody_reads_to_its_end_is_no_error(trained: Shell) -> None:
    environ = {**os.environ, "PYTHONUNBUFFERED": ""}
    for words in (("snapshot", "list", "main"), ("events",), ("trainer", "show", "main", "--json")):
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        reader.wait()
        done = subprocess.run(
            [sys.executable, "-m", "upm_cli", "-C", str(trained.folder), *words],
            stdout=reader.stdin,
            stderr=subprocess.PIPE,
            env=environ,
            text=True,
            check=False,
        )
        assert reader.stdin is not None
        reader.stdin.close()
        assert (done.returncode, done.stderr) == (0, ""), words


def test_closed_streams_are_no_error(trained: Shell) -> None:
    command = f'exec "{sys.executable}" -m upm_cli -C "{trained.folder}" trainer show main'
    for closed in ("<&- >&-", ">&- 2>&-", "<&- 2>&-"):
        done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), closed


def test_a_bare_environment_is_enough(trained: Shell, tmp_path: Path) -> None:
    source = tmp_path / "ünïcode.jsonl"
    source.write_text(json.dumps(trained.event(2000, tenant_id="tënant")) + "\n{broken ü\n")
    environ = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    trained_now = process(
        trained.folder, "train", "main", "--source", str(source), "--once", "--json", "-q", env=environ
    )
    assert (trained_now.returncode, trained_now.stderr) == (0, "")
    assert json.loads(trained_now.stdout)["windows"]["dead_letter"] == 1
    for words in (("status",), ("events", "dead-letters"), ("snapshot", "list", "main"), ("drift-report", "main")):
        done = process(trained.folder, *words, env=environ)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def read_only(trained: Shell) -> Iterator[Shell]:
    """A project that nobody may write to."""
    folders = [trained.folder, *(path for path in trained.folder.rglob("*") if path.is_dir())]
    files = [path for path in trained.folder.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o400)
    for path in folders:
        path.chmod(0o500)
    yield trained
    for path in folders:
        path.chmod(0o700)


def test_a_project_that_can_not_be_written_to_can_be_read(read_only: Shell, as_user: Any) -> None:
    for words in (
        ("status",),
        ("trainer", "show", "main"),
        ("snapshot", "list", "main"),
        ("snapshot", "verify", "main", "--all"),
        ("predict", ASK),
        ("drift-report", "main"),
        ("events",),
    ):
        code, out, err = as_user(read_only.folder, *words, "--json")
        assert code == 0, (words, err)
        assert json.loads(out)["schema_version"] == 1


def test_a_project_that_can_not_be_written_to_refuses_changes_and_names_the_file(
    read_only: Shell, as_user: Any, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(read_only.event(2000)) + "\n")
    for words in (
        ("train", "main", "--source", str(source)),
        ("ingest", str(source)),
        ("activate", "main", "1"),
        ("pause", "main"),
        ("trainer", "add", "new"),
    ):
        code, out, err = as_user(read_only.folder, *words)
        assert (code, out) == (1, ""), (words, err)
        first = err.splitlines()[0]
        assert first.startswith("error[UPM-E01"), (words, err)
        assert ".upm" in first
        assert "Traceback" not in err
        assert "internal error" not in err


def test_a_folder_where_no_project_can_be_made_is_named(tmp_path: Path, as_user: Any) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = as_user(tmp_path, "init", str(locked / "project"))
    assert (done[0], done[1]) == (1, "")
    assert done[2].startswith("error[UPM-E01")
    assert str(locked / "project") in done[2]


def test_a_full_disk_stops_the_run_and_room_lets_it_go_on(
    mount_disk: Callable[[int], Path], trained: Shell, new_shell: Callable[[Path], Shell], tmp_path: Path
) -> None:
    small_disk = mount_disk(16)
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(trained.event(i)) + "\n" for i in range(2000, 4000)))
    shutil.copytree(trained.folder, small_disk / "project")
    shell = new_shell(small_disk / "project")
    filler = small_disk / "filler"
    _fill(filler)
    ran = shell("train", "main", "--source", str(source), "--once")
    assert (ran.code, ran.out) == (1, ""), ran
    assert ran.err.startswith("error[UPM-E01"), ran.err
    assert "full" in ran.err or "space" in ran.err
    assert "Traceback" not in ran.err
    filler.unlink()
    after = shell.json("train", "main", "--source", str(source), "--once")["windows"]
    assert (after["read"], after["trained"], after["duplicate"]) == (4000, 4000, 0)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_files_that_may_not_grow_stop_the_run_and_a_later_one_goes_on(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in range(2000)))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = process(fresh.folder, "train", "main", "--source", source, "--once", preexec_fn=limit, env=unmeasured)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error[UPM-E01")
    assert "Traceback" not in done.stderr
    after = fresh.json("train", "main", "--source", source, "--once")["windows"]
    assert (after["read"], after["trained"], after["duplicate"]) == (2000, 2000, 0)


def test_an_unset_flag_keeps_everything_from_training(trained: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPM_FEATURES_UNIFIED_MODEL", "0")
    ran = trained.refused(5, "UPM-E054", "train", "main")
    assert "features.unified_model" in ran.err
