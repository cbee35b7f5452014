"""The prediction log as an HTTP agent hands it out: every line once, whatever became of its files."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.agent.server.feedback import read_log

SHIFT = 1 << 24


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / f"predictions-edge-1-{name}").write_bytes(data)
    return folder


def read_all(folder: Path, limit: int = 10, most: int = 1 << 20, after: int = 0) -> tuple[list[bytes], int]:
    """Read until nothing new comes."""
    lines: list[bytes] = []
    while True:
        data, position = read_log(folder, "edge-1", after, limit, most)
        assert position >= after
        if not data:
            return lines, position
        assert data.endswith(b"\n")
        assert len(data.splitlines()) <= limit
        assert len(data) <= most
        lines += data.splitlines()
        after = position


def test_files_are_read_in_order_and_others_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"000002.jsonl": b"c\n", "000001.jsonl": b"a\nb\n", "000003.jsonl.part": b"d\ne"})
    for name in ("predictions-edge-2-000001.jsonl", "predictions-edge-1-1.jsonl", "predictions-edge-1-000009.txt"):
        (tmp_path / name).write_text("x\n")
    assert read_all(tmp_path) == ([b"a", b"b", b"c", b"d"], 3 * SHIFT + 2)
    assert read_all(tmp_path, limit=1)[0] == [b"a", b"b", b"c", b"d"]


def test_a_line_that_is_not_finished_waits_until_it_is(tmp_path: Path) -> None:
    fill(tmp_path, {"000001.jsonl.part": b"a\nhal"})
    lines, position = read_all(tmp_path)
    assert lines == [b"a"]
    (tmp_path / "predictions-edge-1-000001.jsonl.part").rename(tmp_path / "predictions-edge-1-000001.jsonl")
    fill(tmp_path, {"000001.jsonl": b"a\nhalf\n", "000002.jsonl.part": b"b\n"})
    assert read_all(tmp_path, after=position)[0] == [b"half", b"b"]


def test_files_that_are_gone_or_shorter_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"000005.jsonl": b"e\n", "000007.jsonl": b"g\n"})
    assert read_all(tmp_path, after=2 * SHIFT + 100)[0] == [b"e", b"g"]
    assert read_all(tmp_path, after=5 * SHIFT + 100)[0] == [b"g"]
    assert read_all(tmp_path, after=9 * SHIFT) == ([], 9 * SHIFT)
    assert read_log(tmp_path / "none", "edge-1", 7, 10) == (b"", 7)


def test_a_full_file_is_followed_by_the_next(tmp_path: Path) -> None:
    line = b"x" * (1 << 20)
    full = (line[:-1] + b"\n") * 16
    assert len(full) == SHIFT
    fill(tmp_path, {"000001.jsonl": full, "000002.jsonl": b"next\n"})
    data, position = read_log(tmp_path, "edge-1", 0, 16, 32 << 20)
    assert (len(data), position) == (SHIFT, 2 * SHIFT)
    assert read_log(tmp_path, "edge-1", position, 10) == (b"next\n", 2 * SHIFT + 5)


def test_a_line_longer_than_an_answer_comes_all_the_same(tmp_path: Path) -> None:
    fill(tmp_path, {"000001.jsonl": b"a\n" + b"b" * 100 + b"\nc\n"})
    found, after = [], 0
    for _ in range(3):
        data, after = read_log(tmp_path, "edge-1", after, 10, 20)
        found.append(data)
    assert found == [b"a\n", b"b" * 100 + b"\n", b"c\n"]


def test_a_file_that_is_finished_while_it_is_looked_for_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, {"000001.jsonl": b"a\n"})
    before = [(1, tmp_path / "predictions-edge-1-000001.jsonl.part")]
    monkeypatch.setattr("upm_cli.agent.server.feedback._files", lambda folder, agent: before)
    assert read_log(tmp_path, "edge-1", 0, 10) == (b"a\n", SHIFT + 2)
    before[0] = (1, tmp_path / "predictions-edge-1-000004.jsonl.part")
    assert read_log(tmp_path, "edge-1", 0, 10) == (b"", SHIFT)


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.lists(st.binary(min_size=1, max_size=9).filter(lambda line: b"\n" not in line)), max_size=5),
    limit=st.integers(1, 5),
    most=st.integers(1, 40),
)
def test_every_line_comes_once_whatever_is_read_at_a_time(
    files: list[list[bytes]], limit: int, most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    for number, lines in enumerate(files, 1):
        fill(folder, {f"{number:06d}.jsonl": b"".join(line + b"\n" for line in lines)})
    expected = [line for lines in files for line in lines]
    found: list[bytes] = []
    after = 0
    while len(found) < len(expected):
        data, position = read_log(folder, "edge-1", after, limit, most)
        assert position > after
        found += data.split(b"\n")[:-1]
        after = position
    assert found == expected
