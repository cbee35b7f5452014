"""The worker: it delivers until its upstream has ended or it is stopped, stands by for another one, waits for disks."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated import World, directory_row

from upm_cli.adapters.base import DeliveryError, Failure
from upm_cli.core.records import AdapterStatus
from upm_cli.ops.sync_lease import take_lease
from upm_cli.store import fsio, runfiles, telemetry
from upm_cli.workers import adapter_sync
from upm_cli.workers.context import Project, Worker
from upm_cli.workers.lifeline import Stop


class Upstream:
    """A standard input that ends after it was looked at some times; `then` is done at each look."""

    def __init__(self, looks: int, then: Any = lambda left: None) -> None:
        self.left, self.then = looks, then

    def closed(self) -> bool:
        self.left -= 1
        self.then(self.left)
        return self.left < 0


@pytest.fixture
def worker(world: World) -> Worker:
    project = Project(folder=world.home.parent)
    return Worker("adapter-sync", project, world.settings, world.store, world.clock, Stop(), world.recorder)


@pytest.fixture(autouse=True)
def healthy() -> Iterator[None]:
    yield
    fsio.faults.before = None


def status(world: World) -> dict[str, Any]:
    (found,) = runfiles.read_statuses(world.home)
    return found


def test_it_delivers_what_goes_live_meanwhile_and_ends_after_its_upstream(
    world: World, worker: Worker, tmp_path: Path
) -> None:
    world.learn(2)
    world.serve(1)
    world.add(directory_row("edge", tmp_path / "edge"))
    upstream = Upstream(5, lambda left: world.serve(2) if left == 2 else None)
    assert adapter_sync.run(worker, upstream) == 0  # type: ignore[arg-type]
    assert world.row("edge").acked_version == 2
    told = status(world)
    assert (told["state"], told["adapters"], told["by_status"]["synced"]) == ("stopped", 1, 1)
    assert (told["worker"], told["lease"]) == ("adapter-sync", "adapter-sync")
    assert [path.name[11:] for path in telemetry.files(world.home)] == ["adapter-sync.jsonl"]


def test_after_the_upstream_it_does_not_wait_for_ever_for_those_who_do_not_answer(
    world: World, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.serve(world.learn())
    world.add(directory_row("edge", tmp_path / "edge"))

    def busy(*_: Any) -> Any:
        raise DeliveryError(Failure.BUSY, "later", retry_after_s=3000)

    monkeypatch.setattr("upm_cli.ops.sync_send.delivery_of", busy)
    before_s = world.clock.monotonic_s()
    assert adapter_sync.run(worker, Upstream(0)) == 0  # type: ignore[arg-type]
    assert adapter_sync.DRAIN_S <= world.clock.monotonic_s() - before_s < adapter_sync.DRAIN_S + 5
    assert world.row("edge").status is AdapterStatus.PENDING


def test_a_signal_ends_it_with_the_code_that_shells_expect(world: World, worker: Worker, tmp_path: Path) -> None:
    world.serve(world.learn())
    world.add(directory_row("edge", tmp_path / "edge"))
    looks = Upstream(10**6, lambda left: worker.stop._receive(signal.SIGTERM, None) if left < 10**6 - 3 else None)
    assert adapter_sync.run(worker, looks) == 143  # type: ignore[arg-type]
    assert world.row("edge").status is AdapterStatus.SYNCED
    assert adapter_sync.run(worker) == 143


def test_a_second_one_stands_by_and_takes_over_or_goes_home(world: World, worker: Worker, tmp_path: Path) -> None:
    world.serve(world.learn())
    world.add(directory_row("edge", tmp_path / "edge"))
    held = take_lease(world.store, "the first")
    assert adapter_sync.run(worker, Upstream(3)) == 0  # type: ignore[arg-type]
    assert world.row("edge").status is AdapterStatus.PENDING
    upstream = Upstream(3, lambda left: held.release() if left == 1 else None)
    assert adapter_sync.run(worker, upstream) == 0  # type: ignore[arg-type]
    assert world.row("edge").status is AdapterStatus.SYNCED


def test_a_disk_that_is_full_for_a_while_is_waited_for(world: World, worker: Worker, tmp_path: Path) -> None:
    world.serve(world.learn())
    world.add(directory_row("edge", tmp_path / "edge"))
    told = []

    def full(operation: str, path: Path) -> None:
        if path.name.startswith("state.duckdb"):
            raise OSError(28, "No space left on device", str(path))

    def look(left: int) -> None:
        told.append(status(world)["state"])
        fsio.faults.before = full if left > 3 else None

    fsio.faults.before = full
    assert adapter_sync.run(worker, Upstream(6, look)) == 0  # type: ignore[arg-type]
    assert told[0] == "waiting for the state"
    assert world.row("edge").status is AdapterStatus.SYNCED
