"""Logs that tell of the same hours are read as one, in the order of time, wherever each was left."""

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upm_cli.core.records import SourcePosition
from upm_cli.sources.base import Source
from upm_cli.sources.decoder import Decoder
from upm_cli.sources.discover import open_sources
from upm_cli.sources.feedback import FeedbackDecoder
from upm_cli.sources.feedback_merge import Merge, Round
from upm_cli.sources.pipe import PipeSource
from upm_cli.testing import of_agent

STREAM = "main:outcomes"


def write(path: Path, *events: Any) -> Path:
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in events))
    return path


def merge(sources: list[Source], known: dict[str, SourcePosition] | None = None, size: int = 3000) -> Merge:
    return Merge(sources, known or {}, FeedbackDecoder(Decoder()).decode, size, final=True)


def items(due: Round) -> list[str]:
    lines = [due.parts[p].lines[n].item for p, n in due.order]
    return [getattr(item, "prediction_id", "?")[-4:].lstrip("0") or "0" for item in lines]


def sources_in(folder: Path, known: dict[str, SourcePosition]) -> list[Source]:
    return open_sources(str(folder), "jsonl", stream=STREAM, known=list(known.values()))


def test_lines_of_two_agents_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *(of_agent(n)[0] for n in range(0, 40, 2)))
    write(tmp_path / "b.jsonl", *(of_agent(n)[0] for n in range(1, 40, 2)))
    found = [each for due in merge(sources_in(tmp_path, {})).rounds() for each in items(due)]
    assert found == [str(n) for n in range(40)]


def test_a_line_is_as_late_as_the_latest_before_it_in_its_log(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", of_agent(5)[0], of_agent(1)[0], "broken", of_agent(9)[0])
    write(tmp_path / "b.jsonl", of_agent(3)[0], of_agent(7)[0])
    found = [each for due in merge(sources_in(tmp_path, {})).rounds() for each in items(due)]
    assert found == ["3", "5", "1", "?", "7", "9"]


def test_logs_that_follow_each_other_are_not_all_opened_at_once(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"{number}.jsonl", *(of_agent(n)[0] for n in range(10 * number, 10 * number + 10)))
    merging = merge(sources_in(tmp_path, {}), size=100_000)
    most, found = 0, []
    for due in merging.rounds():
        most = max(most, len(merging._lanes))
        found += items(due)
    assert found == [str(n) for n in range(60)]
    assert most <= 2


@given(
    st.lists(st.lists(st.integers(0, 60), max_size=12), min_size=1, max_size=4),
    st.integers(600, 4000),
    st.integers(0, 6),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_logs_each_line_comes_once_also_when_reading_stops_and_goes_on(
    tmp_path: Path, logs: list[list[int]], size: int, stop: int
) -> None:
    folder = tmp_path / str(random.Random(str((logs, size, stop))).random())
    folder.mkdir()
    for number, log in enumerate(logs):
        write(folder / f"{number}.jsonl", *(of_agent(1000 * number + n)[0] | _at(n) for n in log), "")
    known: dict[str, SourcePosition] = {}
    found: list[tuple[int, int]] = []
    for most in (stop, None):
        for count, due in enumerate(merge(sources_in(folder, known), known, size).rounds()):
            if count == most:
                break
            known |= {part.position.key: part.position for part in due.parts if part.position}
            found += [(int(each) // 1000, int(each) % 1000) for each in items(due)]
    assert sorted(found) == sorted((number, n) for number, log in enumerate(logs) for n in log)
    for number, log in enumerate(logs):
        assert [n for which, n in found if which == number] == log  # none overtakes another of its log
    if stop == 0:
        highest = [0] * len(logs)
        times = []
        for which, n in found:
            highest[which] = max(highest[which], n)
            times.append(highest[which])
        assert times == sorted(times)
    else:
        assert all(position.size_bytes == position.offset for position in known.values())


def _at(n: int) -> dict[str, Any]:
    return {"predicted_at": of_agent(n)[0]["predicted_at"]}


def test_packed_logs_are_read_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *(of_agent(n)[0] for n in range(5)))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    found = [each for due in merge(sources_in(tmp_path, {})).rounds() for each in items(due)]
    assert found == ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]


def test_what_was_read_from_a_pipe_and_is_not_due_is_not_lost(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *(of_agent(n)[0] for n in range(3)), *(of_agent(n)[0] for n in range(20, 40)))
    text = "".join(json.dumps(of_agent(n)[0]) + "\n" for n in range(10, 20)).encode()
    pipe: Source = PipeSource(io.BytesIO(text), "-", STREAM)
    merging = merge([*sources_in(tmp_path, {}), pipe], size=3000)
    rounds = merging.rounds()
    first = items(next(rounds))
    rest = items(merging.rest())
    assert first[:3] == ["0", "1", "2"]
    assert [each for each in [*first, *rest] if 10 <= int(each) < 20] == [str(n) for n in range(10, 16)]


def test_nothing_to_read_is_nothing() -> None:
    assert list(merge([]).rounds()) == []
    assert merge([]).rest().order == []


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    sources = sources_in(write(tmp_path / "a.jsonl", of_agent(1)[0]).parent, {})
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(Exception, match="can't read"):
        list(merge(sources).rounds())
