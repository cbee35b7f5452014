"""Prediction logs come from agents once, whole, and from nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest
from simulated import World, agent_row, directory_row

from upm_cli import actors
from upm_cli.adapters.base import Deadline, DeliveryError, Failure
from upm_cli.adapters.kinds import Kinds
from upm_cli.errors import BusyError, InvalidError
from upm_cli.ops import sync_collect
from upm_cli.store import lease

LINE = b'{"type":"ai.upm.prediction"}\n'


def collect(world: World, key: str | None = None, kinds: Any = None) -> list[sync_collect.Collected]:
    return sync_collect.collect(
        world.store,
        world.clock,
        world.settings,
        key,
        actor=actors.current(),
        kinds=kinds or Kinds(world.clock),
    )


def files(world: World, key: str = "edge") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (world.home / "feedback" / key).iterdir()}


def test_finished_logs_of_a_directory_are_copied_once(world: World, tmp_path: Path) -> None:
    world.add(directory_row("edge", tmp_path / "models"), directory_row("edge", tmp_path / "models", "acme"))
    assert [each.files for each in collect(world)] == [0]
    logs = tmp_path / "models" / "feedback" / "site" / "a"
    logs.mkdir(parents=True)
    (logs / "predictions-a-000001.jsonl").write_bytes(LINE)
    (logs / "predictions-a-000002.jsonl.part").write_bytes(LINE)
    (logs / "notes.jsonl").write_bytes(b"x")
    (logs.parent.parent / "predictions-b-000001.jsonl").write_bytes(LINE * 2)
    (logs / "predictions-c-000001.jsonl").symlink_to(world.home / "state.duckdb")
    (done,) = collect(world)
    assert (done.files, done.size_bytes, done.error) == (2, len(LINE) * 3, None)
    expected = {"site~a~predictions-a-000001.jsonl": LINE, "predictions-b-000001.jsonl": LINE * 2}
    assert files(world) == expected
    (logs / "predictions-a-000002.jsonl.part").rename(logs / "predictions-a-000002.jsonl")
    assert [each.files for each in collect(world)] == [1]
    assert [each.files for each in collect(world)] == [0]
    assert len(files(world)) == 3
    assert sync_collect.ingest_words(done) == [
        "ingest",
        "--kind",
        "outcomes",
        str(world.home / "feedback" / "edge"),
        "--trainer",
        "main",
    ]


def test_a_name_that_is_used_again_does_not_replace_what_was_collected(world: World, tmp_path: Path) -> None:
    world.add(directory_row("edge", tmp_path / "models"))
    logs = tmp_path / "models" / "feedback"
    logs.mkdir(parents=True)
    path = logs / "predictions-a-000001.jsonl"
    path.write_bytes(LINE)
    collect(world)
    path.unlink()
    assert [each.files for each in collect(world)] == [0]
    path.write_bytes(LINE * 3)  # another agent of that name began anew
    assert [each.files for each in collect(world)] == [1]
    assert sorted(files(world).values()) == [LINE, LINE * 3]


def test_a_copy_that_was_cut_short_before_it_counted_is_made_again(world: World, tmp_path: Path) -> None:
    world.add(directory_row("edge", tmp_path / "models"))
    logs = tmp_path / "models" / "feedback"
    logs.mkdir(parents=True)
    (logs / "predictions-a-000001.jsonl").write_bytes(LINE)
    collect(world)
    (world.home / "feedback" / "edge.json").unlink()  # killed before the note of it was written
    assert [each.files for each in collect(world)] == [1]
    assert files(world) == {"predictions-a-000001.jsonl": LINE}


def test_a_file_that_is_too_large_and_a_place_that_is_gone_are_told(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(directory_row("edge", tmp_path / "models"), directory_row("gone", tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    logs = tmp_path / "models" / "feedback"
    logs.mkdir(parents=True)
    (logs / "predictions-a-000001.jsonl").write_bytes(LINE * 10)
    monkeypatch.setattr(sync_collect, "MOST_BYTES", 100)
    big, gone = collect(world)
    assert (big.files, big.error is not None, gone.error is not None) == (0, True, True)
    assert gone.error is not None
    assert gone.error.failure is Failure.UNREACHABLE
    assert files(world) == {}
    shown = sync_collect.as_json(gone)
    assert (shown["error"]["failure"], shown["next"]) == ("unreachable", None)


class Agents:
    """HTTP agents with a log; `pages` is what they answer."""

    def __init__(self, log: list[bytes]) -> None:
        self.log = log
        self.asked: list[int] = []
        self.broken = 0

    def open_adapter(self, row: Any, settings: Any, clock: Any) -> "Agents":
        return self

    def group(self, row: Any) -> None:
        return None

    def feedback(self, after: int, limit: int, deadline: Deadline) -> tuple[bytes, int]:
        self.asked.append(after)
        if self.broken and len(self.asked) >= self.broken:
            raise DeliveryError(Failure.TIMEOUT, "no answer")
        lines = self.log[after : after + 2]
        return b"".join(lines), after + len(lines)


def test_the_log_of_an_agent_is_fetched_from_where_it_was_left(world: World) -> None:
    world.add(agent_row("edge"))
    agents = Agents([b"%d\n" % n for n in range(5)])
    agents.broken = 3
    (cut,) = collect(world, kinds=agents)
    assert (cut.files, cut.error is not None) == (2, True)
    agents.broken = 0
    (rest,) = collect(world, "edge", kinds=agents)
    assert (rest.files, agents.asked) == (1, [0, 2, 4, 4, 5])
    assert b"".join(data for _, data in sorted(files(world).items())) == b"0\n1\n2\n3\n4\n"
    agents.log.append(b"5\n")
    assert collect(world, kinds=agents)[0].size_bytes == 2
    assert json.loads((world.home / "feedback" / "edge.json").read_bytes())["after"] == 6


def test_an_agent_that_makes_no_headway_is_not_asked_for_ever(world: World) -> None:
    world.add(agent_row("edge"))

    class Stuck(Agents):
        def feedback(self, after: int, limit: int, deadline: Deadline) -> tuple[bytes, int]:
            return b"again\n", after

    (done,) = collect(world, kinds=Stuck([]))
    assert done.error is not None
    assert (done.files, done.error.failure) == (0, Failure.GARBLED)


def test_kinds_that_have_no_log_say_so(world: World) -> None:
    world.add(agent_row("edge"))
    (done,) = collect(world, kinds=world.network)
    assert done.error is not None
    assert "nothing to collect" in done.error.message


def test_one_collects_at_a_time_and_never_from_an_unknown_position(world: World, tmp_path: Path) -> None:
    world.add(directory_row("edge", tmp_path / "models"))
    with lease.acquire(world.home, "collect", "test"), pytest.raises(BusyError):
        collect(world)
    collect(world)
    (world.home / "feedback" / "edge.json").write_text("{")
    with pytest.raises(InvalidError, match="can't be read"):
        collect(world)
