"""Swapping models under eight threads that predict all the time: nothing torn, nothing missing."""

import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.delivery.pointer import Place

Site = Any
THREADS = 8
SWAPS = 200
ASK = {"sender": {"domain": "pager.example", "reputation": 0.97, "known": True}, "subject": ["outage"], "hour": 3}


@pytest.fixture
def many_turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let threads take turns far more often than they usually do, and let nobody wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_turns")
def test_every_prediction_under_two_hundred_swaps_is_of_exactly_one_published_model(site: Site) -> None:
    publisher = site.publisher()
    answers = {}
    for number in range(8):  # what each model answers, by agents that never swap
        site.publish(publisher, number)
        agent = site.open(cache=site.folder / f"state-{number}")
        answers[number + 1] = dict(agent.predict(ASK).decoded)
    assert len({str(answer) for answer in answers.values()}) == 8, "no two models agree"
    agent = site.open(clock=SystemClock(), log_dir=site.folder / "log")
    made: list[list[Any]] = [[] for _ in range(THREADS)]
    stop, failures = threading.Event(), []

    def ask(mine: list[Any]) -> None:
        try:
            while not stop.wait(0.002):  # so that whoever swaps has a turn as well
                mine.append(agent.predict(ASK) if len(mine) % 3 else agent.predict_many([ASK])[0])
        except BaseException as exc:
            failures.append(exc)
            raise

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    models = [pointer for pointer, _ in publisher.sent]
    swaps = 0
    for swap in range(SWAPS):
        pointer = replace(models[swap % 8], place=Place(100 + swap, 0))
        publisher.put_pointer(pointer)
        swaps += agent.refresh()
        assert agent.serving.digest == pointer.digest
    stop.set()
    for thread in threads:
        thread.join()
    predictions = [prediction for mine in made for prediction in mine]
    assert (failures, swaps) == ([], SWAPS)
    assert all(dict(each.decoded) == answers[each.version] for each in predictions), "none is torn"
    for mine in made:
        epochs = [each.epoch for each in mine]
        assert epochs == sorted(epochs), "no thread ever sees an older one again"
    assert len({each.version for each in predictions}) == 8
    assert agent.health().predictions == len(predictions)
    agent.close()
    logged = sum(path.read_bytes().count(b"\n") for path in (site.folder / "log").iterdir())
    assert logged + agent.health().dropped == len(predictions), "none is missing"
    assert len({each.id for each in predictions}) == len(predictions)
