"""Backups taken while trainers commit and tidy up, and backups and restores that are killed at any moment."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.process.conftest import line
from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.config.schema import Settings
from upm_cli.ops import backup, backup_check, backup_list, backup_restore, doctor
from upm_cli.ops.backup import Made
from upm_cli.ops.project import init_project
from upm_cli.store import blobs, collect, held, snapshots, trainers
from upm_cli.store.session import Store

ROOT: Final = Path(__file__).resolve().parents[2]
WINDOWS: Final = 6_000
CONFIG: Final = """\
supervisor: {default_trainers: [{name: main}]}
trainer_worker: {snapshot_interval: 500}
replay_buffer: {release_delay_ms: 1000}
ingest: {chunk_bytes: 8192, commit_bytes: 16384}
learner: {bits: 10, task: binary}
"""
#: Runs `upm`, and kills itself just before the given number of a kind of operation on the disk.
KILLED: Final = """
import os, signal, sys
from upm_cli.app import main
from upm_cli.store import fsio
left = int(sys.argv[1])
def before(operation, path):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
fsio.faults.before = before
code = main(sys.argv[2:])
print(left)
sys.exit(code)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    init_project(tmp_path / "project", SystemClock())
    (tmp_path / "project/upm.yaml").write_text(CONFIG)
    (tmp_path / "kept").mkdir()
    return tmp_path / "project"


def run(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "upm_cli", *words, "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def learn(project: Path, source: Path) -> dict[str, Any]:
    return run("train", "main", "--source", str(source), "--once", "-C", str(project))


def take(project: Path, folder: Path, keep: int | None = None) -> Made:
    store = Store(project / ".upm", SystemClock())
    try:
        return backup.create(
            store, SystemClock(), Settings(), project / "upm.yaml", folder=folder, keep=keep, actor="tester"
        )
    finally:
        store.close()


def killed(at: int, *words: str) -> tuple[int, int]:
    """Run `upm` and kill it before its operation number `at`; return its code and how far it was from that."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(at), *words, "-q"]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, int(done.stdout.split()[-1]) if done.returncode == 0 else 0


def moments(*words: str) -> list[int]:
    """Return operations to be killed before: some of all that a run has, and those at its end one by one."""
    many = 1_000_000
    code, left = killed(many, *words)
    assert code == 0
    count = many - left
    return sorted({*range(1, count, max(1, count // 3)), *range(max(1, count - 4), count + 1)})


def all_bytes(folder: Path) -> int:
    """Return what a folder takes, each file once, however many names it has; kept states come to ten by themselves."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "history")
    found = {(at.st_ino, at.st_size) for path in files if (at := path.lstat())}
    return sum(size for _, size in found)


def test_backups_taken_while_a_trainer_commits_are_whole_and_go_on_as_it_did(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    source.write_text("".join(line(i) for i in range(WINDOWS)))
    command = [sys.executable, "-m", "upm_cli", "train", "main", "--source", str(source), "--once"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    taken = []
    with subprocess.Popen([*command, "-C", str(project), "--json"], env=env, stdout=subprocess.PIPE) as training:
        while training.poll() is None:
            taken.append(take(project, tmp_path / "kept"))
        assert training.stdout is not None
        done = json.loads(training.stdout.read())
    assert done["windows"]["trained"] == WINDOWS
    for each in taken:
        assert backup_check.verify(each.file, SystemClock()).about == each.about
    on_the_way = [each for each in taken if 0 < sum(row.trained for row in each.about.trainers) < WINDOWS]
    assert on_the_way, "no backup was taken while it learned"
    for number, each in enumerate(on_the_way[:: max(1, len(on_the_way) // 2)]):
        again = tmp_path / f"again-{number}"
        backup_restore.restore(each.file, again, SystemClock(), {}, actor="tester")
        went_on = learn(again, source)
        assert went_on["weights_sha256"] == done["weights_sha256"]
        assert (went_on["windows"], went_on["log"]) == (done["windows"], done["log"])
        assert not doctor.is_damaged(doctor.examine(again / ".upm", SystemClock()))


def test_what_is_removed_while_a_backup_reads_is_in_it_all_the_same(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    source.write_text("".join(line(i) for i in range(3000)))
    learn(project, source)
    home = project / ".upm"
    store = Store(home, SystemClock())
    with store.read() as reader:
        digest = trainers.get(reader, "main").checkpoint_digest
        version = snapshots.list_for(reader, "main")[0]
    assert digest is not None
    with held.hold(home, SystemClock(), command="", lock_timeout_s=1) as found:
        collect.discard(home, digest, SystemClock().now_ms())
        with store.write() as tx:
            snapshots.remove(tx, "main", version.version)
        collect.discard(home, version.digest, SystemClock().now_ms())
        assert blobs.files(home, digest) == blobs.files(home, version.digest) == []
        assert all(each.where.exists() for each in found.files)
        with found.read() as reader:  # the state is the one it was
            assert snapshots.list_for(reader, "main")[0] == version
    assert held.leftovers(home) == []
    store.close()


def test_a_killed_backup_leaves_nothing_that_looks_like_one_and_no_bytes(project: Path, tmp_path: Path) -> None:
    source, kept = tmp_path / "events.jsonl", tmp_path / "kept"
    source.write_text("".join(line(i) for i in range(1500)))
    learn(project, source)
    words = ("backup", "create", "--folder", str(kept), "--keep", "1", "-C", str(project))
    died = 0
    for at in moments(*words):
        take(project, kept, keep=1)
        before = all_bytes(project / ".upm") + all_bytes(kept)
        code, _ = killed(at, *words)
        died += code == -signal.SIGKILL
        for each in backup_list.listed(kept):  # the one before, and perhaps the one that was just ready
            assert backup_check.verify(each.file, SystemClock()).about.project == "project"
        assert backup_list.listed(kept)
        take(project, kept, keep=1)
        assert [path.suffix for path in kept.iterdir()] == [".upmbackup"]
        assert held.leftovers(project / ".upm") == []
        assert not doctor.is_damaged(doctor.examine(project / ".upm", SystemClock()))
        after = all_bytes(project / ".upm") + all_bytes(kept)
        assert after < before + 200_000  # some ledger entries more, but no left-over file
    assert died > 5


def test_doctor_clears_away_what_a_killed_backup_held(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    source.write_text("".join(line(i) for i in range(1500)))
    learn(project, source)
    words = ("backup", "create", "--folder", str(tmp_path / "kept"), "-C", str(project))
    for at in moments(*words):
        if killed(at, *words)[0] == -signal.SIGKILL and len(held.leftovers(project / ".upm")) > 5:
            break
    else:
        pytest.fail("no kill left anything behind")
    fixed = run("doctor", "--fix", "-C", str(project))["fixed"]
    assert len([each for each in fixed if "/held/" in each["path"]]) > 5
    assert held.leftovers(project / ".upm") == []


def test_a_killed_restore_leaves_no_project_or_a_whole_one(project: Path, tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    source.write_text("".join(line(i) for i in range(1500)))
    done = learn(project, source)
    file = take(project, tmp_path / "kept").file
    died = 0
    for number, at in enumerate(moments("backup", "restore", str(file), str(tmp_path / "measured"))):
        target = tmp_path / f"again-{number}"
        words = ("backup", "restore", str(file), str(target))
        died += killed(at, *words)[0] == -signal.SIGKILL
        if not (target / "upm.yaml").exists():
            if (target / ".upm").exists():  # between its two last renames
                continue
            assert main([*words, "-q"]) == 0
        store = Store(target / ".upm", SystemClock())
        with store.read() as reader:
            assert trainers.get(reader, "main").weights_sha256 == done["weights_sha256"]
        store.close()
        assert not doctor.is_damaged(doctor.examine(target / ".upm", SystemClock()))
    assert died > 5
