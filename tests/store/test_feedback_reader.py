"""The ingest worker's reader of agents' logs: what there is, what comes later, and what is left of a trainer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.feedback.names import positions_key
from upm_cli.core.records import Mode, Snapshot, Trainer
from upm_cli.core.replay import ReplayPolicy
from upm_cli.ops import doctor
from upm_cli.ops.ingest import IngestSession
from upm_cli.ops.project import init_project
from upm_cli.ops.trainers import remove
from upm_cli.sources.decoder import Decoder
from upm_cli.store import feedback, segments, snapshots, sources, trainers
from upm_cli.store.session import Store
from upm_cli.testing import MADE_UP_DIGEST, of_agent
from upm_cli.workers.context import Project, Worker
from upm_cli.workers.feedback import FeedbackReader, Told
from upm_cli.workers.lifeline import Stop


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    init_project(tmp_path, SystemClock())
    worker = Worker.open("ingest-main", Project(folder=tmp_path), SystemClock(), Stop())
    row = Snapshot(
        trainer="main", version=3, mode=Mode.SHADOW, digest=MADE_UP_DIGEST, file_digest="0" * 64, codec="none",
        path="blobs/3", size_bytes=1, raw_bytes=1,
    )  # fmt: skip
    with worker.store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", last_version=3))
        snapshots.put(tx, row)
    yield worker
    worker.store.close()


def reader_of(worker: Worker, *specs: str) -> tuple[IngestSession, FeedbackReader]:
    session = IngestSession.open(worker.store, worker.clock, ReplayPolicy(), "main")
    return session, FeedbackReader(worker, session, Decoder(), Told(trainer="main", specs=specs))


def append(path: Path, *events: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write("".join(json.dumps(event) + "\n" for event in events))


def test_a_followed_folder_is_read_on_as_it_grows(worker: Worker, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    session, reader = reader_of(worker, str(folder))
    assert list(reader.poll()) == []
    first, second = of_agent(1), of_agent(2)
    append(folder / "predictions-a-000001.jsonl", first[0])
    append(folder / "predictions-a-000002.jsonl.part", second[0])  # being written: not looked at
    assert sum(reader.poll()) == len(json.dumps(first[0])) + 1
    assert list(reader.poll()) == []
    append(folder / "predictions-a-000001.jsonl", first[1])
    (folder / "predictions-a-000002.jsonl.part").rename(folder / "predictions-a-000002.jsonl")
    list(reader.poll())
    assert (reader.lines_read, reader.lines_committed, reader.ended, reader.weight) == (3, 0, False, 1.0)
    session.commit()
    assert reader.lines_committed == 3
    reader.tidy()
    again = reader_of(worker, str(folder))[1]
    assert list(again.poll()) == []


def test_all_that_is_there_is_read_to_its_end(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    append(path, *of_agent(1))
    path.write_bytes(path.read_bytes()[:-1])  # the last line has no end
    session, reader = reader_of(worker, str(path))
    with path.open("rb") as stdin:
        assert reader.open(stdin) == path.stat().st_size
    assert sum(reader.rounds()) == path.stat().st_size
    session.commit()
    with worker.store.read() as view:
        assert feedback.get(view, "main").compared == 1


def test_doctor_reads_back_what_waits_and_nothing_stays_of_a_trainer_that_is_removed(
    worker: Worker, tmp_path: Path
) -> None:
    path = tmp_path / "told.jsonl"
    append(path, *of_agent(1))
    session, reader = reader_of(worker, str(path))
    list(reader.poll())
    session.commit()
    found = {each.name: each for each in doctor.examine(worker.store.home, worker.clock)}
    assert found["replay_buffers"].detail == "2 read back, all whole"
    assert found["segments"].status == "pass"
    remove(worker.store, "main", actor="me", reason="done")
    with Store(worker.store.home, worker.clock).read() as view:
        assert feedback.get(view, "main").read == 0
        assert sources.list_for(view, positions_key("main")) == []
        assert segments.owners(view, "comparisons") == []
