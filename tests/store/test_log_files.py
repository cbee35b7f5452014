"""Logs: bounded, put aside in order, followed across that, and never in anybody's way."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from upm_cli.clock import ManualClock
from upm_cli.store import fsio, logfiles
from upm_cli.store.logfiles import Following, Line, LogFile
from upm_cli.workers.logpump import LogPump


@pytest.fixture(autouse=True)
def healthy() -> Iterator[None]:
    yield
    fsio.faults.before = None


def line(n: int, worker: str = "main") -> Line:
    return Line(at=f"2026-11-23T12:00:00.{n:03}Z", worker=worker, level="info", text=f"line {n}")


def fill(home: Path, numbers: range, *, most_bytes: int = 1000, keep: int = 3) -> None:
    file = LogFile(home, "main", most_bytes=most_bytes, keep=keep)
    file.write(line(n) for n in numbers)
    file.close()


def texts(lines: list[Line]) -> list[int]:
    return [int(each.text.removeprefix("line ")) for each in lines]


def test_a_log_is_private_and_bounded_and_its_oldest_lines_go_first(tmp_path: Path) -> None:
    fill(tmp_path, range(200))
    files = sorted(logfiles.folder(tmp_path).iterdir())
    assert [file.name for file in files] == ["main.log", "main.log.1", "main.log.2", "main.log.3"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    kept = texts(logfiles.tail(tmp_path, "main", 1000))
    assert kept == list(range(kept[0], 200))


def test_with_nothing_put_aside_a_full_log_begins_anew(tmp_path: Path) -> None:
    fill(tmp_path, range(100), keep=0)
    assert [file.name for file in logfiles.folder(tmp_path).iterdir()] == ["main.log"]
    assert texts(logfiles.tail(tmp_path, None, 1)) == [99]


@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_a_tail_reaches_into_what_was_put_aside(tmp_path: Path, count: int) -> None:
    fill(tmp_path, range(40), most_bytes=1000)
    assert texts(logfiles.tail(tmp_path, "main", count)) == list(range(40 - count, 40))


def test_a_log_goes_on_where_it_was_when_it_is_opened_again(tmp_path: Path) -> None:
    for start in range(0, 40, 4):
        fill(tmp_path, range(start, start + 4))
    assert texts(logfiles.tail(tmp_path, "main", 40)) == list(range(40))


def test_following_misses_nothing_when_files_are_put_aside_and_new_workers_come(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    following = Following(tmp_path)
    following.skip()
    assert following.poll() == []
    seen: list[int] = []
    for start in range(5, 65, 6):
        fill(tmp_path, range(start, start + 6), most_bytes=1500)
        seen += texts(following.poll())
    assert seen == list(range(5, 65))
    other = LogFile(tmp_path, "other", most_bytes=1000, keep=1)
    other.write([line(70, "other")])
    assert texts(following.poll()) == [70]
    following.close()
    other.close()


def test_a_line_that_is_being_written_is_left_until_it_is_whole(tmp_path: Path) -> None:
    fill(tmp_path, range(1))
    following = Following(tmp_path, "main")
    following.skip()
    whole = line(1).encode()
    with (logfiles.folder(tmp_path) / "main.log").open("ab") as file:
        file.write(whole[:10])
        file.flush()
        assert following.poll() == []
        file.write(whole[10:] + b"not a line\n" + b'{"at": 3}\n')
    assert texts(following.poll()) == [1]
    following.close()


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    file = LogFile(tmp_path, "main", most_bytes=1000, keep=1)
    file.write([line(0)])

    def full(_operation: str, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    fsio.faults.before = full
    file.write([line(1), line(2)])
    fsio.faults.before = None
    file.write([line(3)])
    file.close()
    assert file.lost == 2
    assert texts(logfiles.tail(tmp_path, "main", 10)) == [0, 3]


def test_a_line_of_any_length_and_content_takes_bounded_room(tmp_path: Path) -> None:
    file = LogFile(tmp_path, "main", most_bytes=100_000, keep=0)
    file.write([Line(at="2026-11-23T12:00:00.000Z", worker="main", level="out", text="é\udcff\n" * 50_000)])
    file.close()
    (found,) = logfiles.tail(tmp_path, "main", 5)
    assert len(found.text.encode()) <= logfiles.MAX_LINE_BYTES
    assert found.text.startswith("é\\udcff\né")


def test_what_workers_say_gets_its_time_and_comes_out_whole(tmp_path: Path) -> None:
    echoed: list[Line] = []
    pump = LogPump(tmp_path, ManualClock(1_795_435_200_000), echoed.append, most_bytes=10_000, keep=1)
    first, second = os.pipe(), os.pipe()
    pump.follow("a", first[0])
    pump.follow("b", second[0])
    os.write(first[1], b"one\ntwo\n\nthr")
    os.write(second[1], b"\xff other")
    os.write(first[1], b"ee\n")
    pump.say("ready")
    for _, writing in (first, second):
        os.close(writing)
    pump.close()
    assert [each.text for each in logfiles.tail(tmp_path, "a", 9)] == ["one", "two", "three"]
    assert [(each.text, each.level) for each in logfiles.tail(tmp_path, "b", 9)] == [("\\xff other", "out")]
    (said,) = logfiles.tail(tmp_path, "supervisor", 9)
    assert (said.at, said.text, said.level) == ("2026-11-23T12:00:00.000Z", "ready", "info")
    assert sorted(each.text for each in echoed) == ["\\xff other", "one", "ready", "three", "two"]


def test_a_worker_that_writes_no_newline_is_not_kept_in_memory_for_ever(tmp_path: Path) -> None:
    pump = LogPump(tmp_path, ManualClock(), lambda _line: None, most_bytes=10_000_000, keep=0)
    reading, writing = os.pipe()
    pump.follow("a", reading)
    for _ in range(40):
        os.write(writing, b"x" * 1000)
    os.close(writing)
    pump.close()
    assert sum(len(each.text) for each in logfiles.tail(tmp_path, "a", 99)) <= 40_000
    assert logfiles.tail(tmp_path, "a", 99)
