"""`upm train --follow`: growing files, new files, rotation, quiet sources, pipes."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from typing import IO, Any

import pytest

Site = Any


def ids(first: int, stop: int) -> list[str]:
    return [f"w{i:06d}" for i in range(first, stop)]


def test_a_growing_file_is_tailed_and_a_line_is_read_when_it_is_whole(site: Site) -> None:
    source = site.write("in.jsonl", 0, 200)
    process = site.start("train", "main", "--source", str(source), "--follow", "-q")
    site.wait_until(lambda: site.counts()["read"] == 200)
    whole = site.line(200)
    with source.open("a") as file:
        file.write(whole[:30])
        file.flush()
        site.write("other.jsonl", 0, 1)  # nothing to do with it
        file.write(whole[30:])
    site.write("in.jsonl", 201, 300)
    site.wait_until(lambda: site.counts()["read"] == 300)
    assert site.end(process, signal.SIGTERM)[0] == 143
    counts = site.counts()
    assert (counts["dead_letter"], counts["duplicate"]) == (0, 0)


def test_new_files_in_a_folder_are_found(site: Site) -> None:
    folder = site.write("inbox/a.jsonl", 0, 100).parent
    process = site.start("train", "main", "--source", str(folder), "--follow", "-q")
    site.wait_until(lambda: site.counts()["read"] == 100)
    site.write("inbox/b.jsonl", 100, 250)
    site.wait_until(lambda: site.counts()["read"] == 250)
    assert site.end(process, signal.SIGTERM)[0] == 143
    assert site.run("train", "main", "--source", str(folder), "--once", "-q")[0] == 0
    assert site.logged() == ids(0, 250)


def test_a_rotated_file_is_read_to_its_end_and_not_again(site: Site) -> None:
    source = site.write("in.jsonl", 0, 100)
    process = site.start("train", "main", "--source", str(source), "--follow", "-q")
    site.wait_until(lambda: site.counts()["read"] == 100)
    site.write("in.jsonl", 100, 150)
    source.rename(source.with_name("in.jsonl.1"))
    site.write("in.jsonl", 150, 300)
    site.wait_until(lambda: site.counts()["read"] == 300)
    assert site.end(process, signal.SIGTERM)[0] == 143
    assert site.run("train", "main", "--source", str(source), "--once", "-q")[0] == 0
    assert site.counts()["duplicate"] == 0
    assert site.logged() == ids(0, 300)


def test_a_quiet_source_releases_what_waits_after_the_release_delay(site: Site) -> None:
    source = site.write("in.jsonl", 0, 64)
    process = site.start("train", "main", "--source", str(source), "--follow", "-q")
    site.wait_until(lambda: len(site.logged()) == 64 and site.counts()["trained"] == 64, "the last windows came out")
    assert process.poll() is None
    assert site.end(process, signal.SIGTERM)[0] == 143


def test_standard_input_is_learned_to_its_end(site: Site) -> None:
    text = "".join(site.line(i) for i in range(500))
    process = site.start("train", "main", "--source", "-", "--once", "--json", stdin=subprocess.PIPE)
    out, err = process.communicate(text, timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["windows"]["trained"] == 500
    assert site.logged() == ids(0, 500)


def test_a_followed_pipe_ends_the_run_when_it_is_closed(site: Site) -> None:
    process = site.start("train", "main", "--source", "-", "--follow", "--json", stdin=subprocess.PIPE)
    process.stdin.write("".join(site.line(i) for i in range(100)))
    process.stdin.flush()
    site.wait_until(lambda: site.counts()["read"] == 100)
    out, err = process.communicate("".join(site.line(i) for i in range(100, 164)), timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["windows"]["trained"] == 164


def _bytes_in(pipe: IO[str]) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("mode", ["--once", "--follow"])
def test_a_stop_commits_what_came_through_a_pipe_that_stays_open(site: Site, mode: str) -> None:
    process = site.start("train", "main", "--source", "-", mode, "-q", stdin=subprocess.PIPE)
    process.stdin.write("".join(site.line(i) for i in range(100)))
    process.stdin.flush()
    site.wait_until(lambda: _bytes_in(process.stdin) == 0, "the worker took it")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=15) == 143, "it does not wait for the writer"
    assert site.counts()["read"] == 100


def test_windows_can_be_typed_into_a_terminal(site: Site) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # in the child: a session of its own, whose terminal is standard input
        os.chdir(site.folder)
        os.execv(sys.executable, [sys.executable, "-m", "upm_cli", "train", "main", "--source", "-", "--once", "-q"])
    os.write(terminal, "".join(site.line(i) for i in range(3)).encode() + b"\x04")
    ended: list[int] = []

    def has_ended() -> bool:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(done)

    try:
        site.wait_until(has_ended, "the command reads the terminal")
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
    assert ended == [0]
    assert site.logged() == ids(0, 3)
