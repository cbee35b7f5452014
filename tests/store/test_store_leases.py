"""One process at a time, known by pid and command; and what workers say about themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from upm_cli.errors import BusyError, UsageError
from upm_cli.exit_codes import ExitCode, for_error
from upm_cli.store import lease, runfiles

HOLD = """
import sys
from pathlib import Path
from upm_cli.store import lease
with lease.acquire(Path(sys.argv[1]), "trainer-main", "upm train main"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding_process(home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_pid_and_command(tmp_path: Path) -> None:
    process = holding_process(tmp_path)
    try:
        with pytest.raises(BusyError) as refused:
            lease.acquire(tmp_path, "trainer-main", "me")
        found = lease.holder(tmp_path, "trainer-main")
    finally:
        end(process)
    assert f"trainer-main is already running: pid {process.pid} (upm train main) since 20" in refused.value.message
    assert (refused.value.code, for_error(refused.value)) == ("UPM-E070", ExitCode.BUSY)
    assert refused.value.context["pid"] == process.pid
    assert found is not None
    assert (found.pid, found.command, found.since_ms) == (
        process.pid, "upm train main", refused.value.context["since_ms"],
    )  # fmt: skip


def test_a_killed_process_leaves_no_lease_behind(tmp_path: Path) -> None:
    end(holding_process(tmp_path))
    assert lease.holder(tmp_path, "trainer-main") is None
    with lease.acquire(tmp_path, "trainer-main", "me"):
        found = lease.holder(tmp_path, "trainer-main")
        assert found is not None
        assert (found.pid, found.command) == (os.getpid(), "me")


def test_leases_of_other_names_do_not_meet(tmp_path: Path) -> None:
    with lease.acquire(tmp_path, "trainer-a", "x"), lease.acquire(tmp_path, "trainer-b", "y"):
        assert lease.holder(tmp_path, "trainer-c") is None


def test_a_lease_is_let_go_at_the_end_of_its_block_and_twice_is_harmless(tmp_path: Path) -> None:
    held = lease.acquire(tmp_path, "ingest-main", "x")
    with held, pytest.raises(BusyError):
        lease.acquire(tmp_path, "ingest-main", "y")
    held.release()
    lease.acquire(tmp_path, "ingest-main", "y").release()


def test_looking_at_a_free_lease_does_not_stop_others_from_taking_it(tmp_path: Path) -> None:
    lease.acquire(tmp_path, "ingest-main", "x").release()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    look = (
        "import sys; from pathlib import Path; from upm_cli.store import lease; print('on', flush=True)\n"
        "while True: lease.holder(Path(sys.argv[1]), 'ingest-main')"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", look, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout is not None
    watcher.stdout.readline()
    try:
        for _ in range(200):
            lease.acquire(tmp_path, "ingest-main", "x").release()
    finally:
        end(watcher)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../evil", "a/b", "", "A"):
        with pytest.raises(UsageError):
            lease.acquire(tmp_path, name, "x")
        with pytest.raises(UsageError):
            runfiles.write_status(tmp_path, name, {})


def test_statuses_come_back_by_name_and_unreadable_ones_are_left_out(tmp_path: Path) -> None:
    assert runfiles.read_statuses(tmp_path) == []
    runfiles.write_status(tmp_path, "trainer-main", {"windows": 7, "loss": 0.5})
    runfiles.write_status(tmp_path, "ingest-main", {"lag_s": None})
    runfiles.write_status(tmp_path, "trainer-main", {"windows": 8})
    (tmp_path / "run" / "torn.json").write_bytes(b'{"windows": 1')
    (tmp_path / "run" / "list.json").write_bytes(b"[1]")
    (tmp_path / "run" / "binary.json").write_bytes(b"\xff\xfe")
    assert runfiles.read_statuses(tmp_path) == [
        {"worker": "ingest-main", "lag_s": None},
        {"worker": "trainer-main", "windows": 8},
    ]
    runfiles.remove_status(tmp_path, "trainer-main")
    runfiles.remove_status(tmp_path, "trainer-main")
    assert [status["worker"] for status in runfiles.read_statuses(tmp_path)] == ["ingest-main"]
