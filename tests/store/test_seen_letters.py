"""Acknowledged dead letters: what comes later is never hidden, whatever happened to the counts meanwhile."""

from dataclasses import replace
from pathlib import Path

import pytest

from upm_cli.clock import ManualClock
from upm_cli.core.records import Feedback, Mode, Stream, Trainer
from upm_cli.store import feedback, seen, streams, trainers
from upm_cli.store.session import Store

STREAM = Stream(name="main", read=100, dead_letter=100)
TRAINER = Trainer(name="main", stream="main", mode=Mode.SHADOW, dead_letter=20)
TOLD = Feedback(trainer="main", dead_letter=5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / ".upm", ManualClock())
    with made.write() as tx:
        streams.put(tx, STREAM)
        trainers.put(tx, TRAINER)
        feedback.put(tx, TOLD)
        assert seen.of(tx, "main", "main").left(STREAM, TRAINER, TOLD) == 125
        seen.acknowledge(tx, STREAM, TRAINER, TOLD)
    return made


def left(store: Store, stream: Stream = STREAM, trainer: Trainer = TRAINER, told: Feedback = TOLD) -> int:
    with store.read() as reader:
        return seen.of(reader, "main", "main").left(stream, trainer, told)


def test_only_what_came_since_is_left(store: Store) -> None:
    assert left(store) == 0
    assert left(store, replace(STREAM, dead_letter=103), replace(TRAINER, dead_letter=21)) == 4


def test_after_a_retry_those_that_come_are_not_hidden_by_those_that_went(store: Store) -> None:
    grown = replace(STREAM, dead_letter=110)
    retried = replace(STREAM, dead_letter=50)
    with store.write() as tx:
        seen.stream_changed(tx, STREAM, grown)
        seen.stream_changed(tx, grown, retried)
        seen.feedback_changed(tx, TOLD, replace(TOLD, dead_letter=1))
    assert left(store, retried, told=replace(TOLD, dead_letter=1)) == 10, "it may be the ten that nobody saw"
    assert left(store, replace(retried, dead_letter=53), told=replace(TOLD, dead_letter=4)) == 16


def test_a_trainer_that_went_back_tells_of_what_it_refuses_again(store: Store) -> None:
    back = replace(TRAINER, dead_letter=8)
    with store.write() as tx:
        seen.trainer_changed(tx, TRAINER, back)
    assert left(store, trainer=back) == 0
    assert left(store, trainer=TRAINER) == 12


def test_a_removed_trainer_leaves_nothing_seen_but_its_stream(store: Store) -> None:
    with store.write() as tx:
        seen.forget(tx, "main")
    assert left(store) == 25
