"""Workers of `upm train` are copies of the command: they have its modules, and nothing else that was its own."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from upm_cli.workers import forked

Site = Any
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="workers start anew where /proc is missing"
)

#: Starts one worker that ends at once, as there is no project, and prints what became of it.
ALONE = """\
import os, subprocess, sys, threading
from upm_cli.workers import forked
if sys.argv[2] == "threads":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("before", end="")
process = forked.start(["trainer", "main", "--project", sys.argv[1]], stdin=subprocess.DEVNULL)
print(type(process).__name__, process.wait(), process.poll())
"""
#: Starts one worker that waits for its input, kills it, and prints what it was told of that.
KILLED = """\
import subprocess, sys, time
from upm_cli.workers import forked
forked.preload(["trainer"])
process = forked.start(["trainer", "main", "--project", sys.argv[1]], stdin=subprocess.PIPE)
print(process.poll(), flush=True)
sys.stdin.readline()
process.kill()
print(process.wait(), process.poll(), process.terminate())
"""


def python(program: str, *words: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_what_the_command_had_not_written_yet_is_written_once_and_its_code_is_known(tmp_path: Path) -> None:
    with python(ALONE, str(tmp_path), "single") as process:
        out, err = process.communicate(timeout=60)
    assert out == "beforeForked 4 4\n"
    assert err.count("error[UPM-E010]") <= 1
    assert "Traceback" not in err


def test_a_process_with_a_second_thread_starts_python_anew(tmp_path: Path) -> None:
    with python(ALONE, str(tmp_path), "threads") as process:
        out, _ = process.communicate(timeout=60)
    assert out == "beforePopen 4 4\n"


def test_with_a_second_thread_a_copy_is_not_possible() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert not forked.is_possible()
    finally:
        done.set()
        thread.join()


def test_a_killed_copy_is_told_as_minus_the_signal(site: Site) -> None:
    with python(KILLED, str(site.folder)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "None\n"
        assert process.stdin is not None
        process.stdin.write("\n")
        out, _ = process.communicate(timeout=60)
    assert out == f"-{int(signal.SIGKILL)} -{int(signal.SIGKILL)} None\n"


def test_copies_hold_none_of_the_files_of_the_command(site: Site) -> None:
    source = site.write("in.jsonl", 0, 400)
    process = site.start("train", "main", "--source", str(source), "--follow", "-q")
    site.wait_until(lambda: site.counts()["trained"] >= 32)
    held = open_files(process.pid)
    [ours] = [path for path in held if "train-main" in path]
    for name, pid in site.workers(process).items():
        assert ours not in open_files(pid), name
        assert os.getpgid(pid) == pid
    site.end(process, signal.SIGTERM)


def open_files(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    return found


def test_all_that_a_worker_needs_is_loaded_before_it_begins(site: Site) -> None:
    program = """\
import sys
from upm_cli.workers import __main__ as workers, forked
real = workers.main
def main(argv):
    before = set(sys.modules)
    code = real(argv)
    more = {name for name in sys.modules if name not in before and name.startswith(("upm_cli", "duckdb", "pyarrow"))}
    sys.stderr.write(f"{argv[0]} {sorted(more)}\\n")
    return code
workers.main = main
from upm_cli.app import entry_point
sys.argv = ["upm", "-C", sys.argv[1], "train", "main", "--source", sys.argv[2], "--once", "-q"]
entry_point()
"""
    source = site.write("in.jsonl", 0, 700)
    with python(program, str(site.folder), str(source)) as process:
        _, err = process.communicate(timeout=60)
    assert sorted(err.splitlines()) == ["drift []", "ingest []", "trainer []"]
