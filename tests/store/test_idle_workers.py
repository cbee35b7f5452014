"""Workers with nothing to do: they look at the state with one stat, and write no more than a sign of life."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import ManualClock
from upm_cli.config.schema import NotifySettings, Settings, WebhookSettings
from upm_cli.core.records import Trainer
from upm_cli.ops import notify
from upm_cli.store import fsio, runfiles, together, trainers
from upm_cli.store.engine import Engine
from upm_cli.store.session import Store
from upm_cli.telemetry.points import Recorder
from upm_cli.workers import children, notifier
from upm_cli.workers.children import Child
from upm_cli.workers.context import Project, Worker
from upm_cli.workers.job import Job, Turn
from upm_cli.workers.lifeline import Stop
from upm_cli.workers.notifier import NotifyJob
from upm_cli.workers.rollouts import COUNT_EVERY_S, RolloutsJob


@dataclass
class World:
    clock: ManualClock
    store: Store
    settings: Settings
    asked: list[str] = field(default_factory=list)

    def worker(self, name: str) -> Worker:
        project = Project(folder=self.store.home.parent)
        recorder = Recorder(self.clock.now_ms())
        return Worker(name, project, self.settings, self.store, self.clock, Stop(), recorder, random.Random(1))

    def add(self, name: str) -> None:
        with self.store.write(actor="me") as tx:
            trainers.put(tx, Trainer(name=name, stream=name))

    def happens(self) -> None:
        """Commit something that webhooks are told of."""
        with self.store.write(actor="me") as tx:
            tx.event("ai.upm.rollback", "/trainers/main", trainer_id="main", reason="test")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = ManualClock(now_ms=1_764_000_000_000)
    webhook = WebhookSettings(name="ops", url="http://127.0.0.1:9/")
    found = World(clock, Store.create(tmp_path / ".upm", clock), Settings(notify=NotifySettings(webhooks=(webhook,))))
    found.add("main")
    original = Engine.run

    def counted(self: Engine, cursor: Any, name: str, params: dict[str, Any] | None = None) -> Any:
        found.asked.append(name)
        return original(self, cursor, name, params)

    monkeypatch.setattr(Engine, "run", counted)
    yield found
    found.store.close()


def turn(world: World, job: Job) -> Turn:
    return together.alone(world.store, job.turn(finish=False))


def test_the_rollout_ticker_reads_the_state_only_when_it_is_another_one(world: World) -> None:
    job = RolloutsJob(world.worker("rollouts"))
    assert turn(world, job) is Turn.MOVED, "the first look at the trainer"
    assert turn(world, job) is Turn.IDLE
    world.asked.clear()
    for _ in range(50):
        world.clock.advance(0.5)
        assert turn(world, job) is Turn.IDLE
    assert world.asked == []
    world.clock.advance(COUNT_EVERY_S)
    assert turn(world, job) is Turn.MOVED, "its time has come, though nothing was committed meanwhile"


def test_the_rollout_ticker_hears_of_trainers_that_come_and_go(world: World) -> None:
    job = RolloutsJob(world.worker("rollouts"))
    assert [turn(world, job) for _ in range(2)] == [Turn.MOVED, Turn.IDLE]
    world.add("other")
    assert [turn(world, job) for _ in range(2)] == [Turn.MOVED, Turn.IDLE]
    with world.store.write(actor="me") as tx:
        trainers.remove(tx, "other")
    world.clock.advance(COUNT_EVERY_S)
    assert [turn(world, job) for _ in range(2)] == [Turn.MOVED, Turn.IDLE]


def test_the_notifier_reads_the_state_only_when_it_is_another_one_and_keeps_to_pauses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    original = notify.tick

    def refused(*_: object) -> notify.Outcome:
        return notify.Outcome(at_ms=world.clock.now_ms(), error="refused")

    def tick(*given: Any) -> list[notify.Passed]:
        passes.append(world.clock.now_ms())
        return original(*given, refused)

    monkeypatch.setattr(notifier.notify, "tick", tick)
    job = NotifyJob(world.worker("notify"))
    turn(world, job)
    turn(world, job)
    assert len(passes) == 1, "a webhook that is new is told from now on"
    world.asked.clear()
    for _ in range(50):
        world.clock.advance(0.5)
        turn(world, job)
    assert (world.asked, len(passes)) == ([], 1)
    world.happens()
    turn(world, job)
    assert len(passes) == 2, "it was not taken, and waits for its pause"
    turn(world, job)
    assert len(passes) == 2
    world.clock.advance(3600)
    turn(world, job)
    assert len(passes) == 3, "the pause is over, though nothing was committed meanwhile"


def test_a_status_that_says_the_same_is_written_seldom_and_news_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(runfiles, "write_status", lambda _home, _name, status: written.append(status))
    worker = world.worker("ingest-main")
    for _ in range(100):
        worker.tell("following", 5, buffer=0)
        world.clock.advance(0.1)
    assert [status["rate"] for status in written] == [None, 0.0, 0.0], "at once, when nothing comes, and 5 s later"
    written.clear()
    for done in range(6, 16):
        world.clock.advance(0.25)
        worker.tell("reading", done, buffer=0)
    assert [status["done"] for status in written] == list(range(6, 16))
    worker.tell("stopped", 15, force=True, buffer=0)
    assert written[-1]["state"] == "stopped"


class Running:
    """A process that runs."""

    pid = 4711

    def poll(self) -> int | None:
        return None

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def test_the_supervisor_reads_what_adapter_sync_says_when_it_says_something(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, read = world.store.home, [0]
    original = children.runfiles.read_note

    def counted(*given: Any) -> dict[str, Any] | None:
        read[0] += 1
        return original(*given)

    monkeypatch.setattr(runfiles, "read_note", counted)
    child = Child("adapter-sync", ["adapter-sync", "sync"], handle=Running())
    child.read(home)
    assert child.beat == {}
    runfiles.write_status(home, "adapter-sync", {"pid": Running.pid, "at_ms": 1})
    for _ in range(20):
        child.read(home)
    assert (child.beat["at_ms"], read[0]) == (1, 1)
    runfiles.write_status(home, "adapter-sync", {"pid": 1, "at_ms": 2})
    child.read(home)
    assert child.beat == {}, "another process wrote it"
    fsio.remove_quietly(runfiles.path_of(home, "adapter-sync"))
    child.read(home)
    assert child.beat == {}
