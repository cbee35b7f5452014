"""A project with a trainer that really learned, and how to look at the dashboard of it."""

import asyncio
import io
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from textual.pilot import Pilot

from upm_cli import actors
from upm_cli.app import main
from upm_cli.config.load import load
from upm_cli.core.records import Snapshot
from upm_cli.ops import trainers as trainer_ops
from upm_cli.store import activations, ledger, snapshots, trainers
from upm_cli.store.session import Store
from upm_cli.testing import prove
from upm_cli.tui.app import Dashboard
from upm_cli.tui.board import Board, Part
from upm_cli.tui.project import Project
from upm_cli.workers import context, drift_monitor, ingest, lifeline, trainer

EXAMPLE = Path(__file__).parents[2] / "examples/triage.jsonl"
CONFIG = f"""\
supervisor: {{default_trainers: [{{name: main, mode: active}}]}}
trainer_worker: {{snapshot_interval: 100}}
drift_monitor: {{window_duration_ms: 120000, sample_size: 60}}
policy: {{min_shadow_hours: 0, canary_tenants: ["*"], actors: {{ada: admin, {actors.current()}: admin}}}}
"""


class StoppedClock:
    """Time goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.ms = 1_767_225_600_000  # 2026-01-01

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def era(self) -> str:
        return "test"

    def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


class _Ended(lifeline.Upstream):
    def closed(self) -> bool:
        return True


def learn(folder: Path, clock: StoppedClock, windows: bytes, trainer_name: str = "main") -> None:
    """Let the workers of a trainer take in, learn and judge `windows`, one after the other in this process."""
    source = folder / f"windows-{clock.ms}.jsonl"
    source.write_bytes(windows)
    project = context.Project(folder=folder)

    def worker(name: str) -> context.Worker:
        return context.Worker.open(name, project, clock, lifeline.Stop())

    reading, training, judging = (worker(f"{kind}-{trainer_name}") for kind in ("ingest", "trainer", "drift"))
    trainer_ops.ensure(reading.store, clock, reading.settings, trainer_name, actor="test")
    assert ingest.run(reading, trainer_name, [str(source)], "auto", follow=False) == 0
    assert trainer.run(training, trainer_name, _Ended()) == 0
    assert drift_monitor.run(judging, trainer_name, _Ended()) == 0
    for each in (reading, training, judging):
        each.store.close()
    clock.sleep(60)


@dataclass
class Hand:
    """A running dashboard, a hand on its keys and an eye on its screen."""

    app: Dashboard
    pilot: Pilot[None]

    async def settle(self) -> None:
        """Wait until no thread works, everything is drawn, and nothing of that has led to more."""
        for _ in range(100):
            await self.pilot.pause(0.005)
            await self.app.workers.wait_for_complete()
            await self.pilot.pause(0.005)
            if not self.app._is_acting and self.app.is_at_rest:
                return
        raise AssertionError("the dashboard does not come to rest")

    async def sees(self, *texts: str) -> None:
        """Wait until all of `texts` are on the screen."""
        await self._wait_for(lambda: self.text, texts)

    async def hears(self, *texts: str) -> None:
        """Wait until all of `texts` were said in messages."""
        await self._wait_for(lambda: self.said, texts)

    async def _wait_for(self, source: Callable[[], str], texts: tuple[str, ...]) -> None:
        for _ in range(150):
            if all(text in source() for text in texts):
                return
            await self.pilot.pause(0.02)
        missing = [text for text in texts if text not in source()]
        raise AssertionError(f"{missing} not in:\n{source()}")

    async def type(self, text: str) -> None:
        """Type `text`, one key for each character."""
        await self.pilot.press(*("space" if each == " " else each for each in text))
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Press each key, and wait for what comes of it."""
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def look(self) -> None:
        """Let the dashboard look again, as it does each second."""
        self.app.look()
        await self.settle()

    @property
    def text(self) -> str:
        """The text on the screen, dialogs and messages included."""
        width, height = self.app.size
        console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, record=True)
        console.print(self.app.screen._compositor.render_update(full=True, screen_stack=self.app._background_screens))
        return "\n".join(line.rstrip() for line in console.export_text().splitlines()).rstrip() + "\n"

    @property
    def said(self) -> str:
        """What the messages in the corner say."""
        return "\n".join(each.message for each in self.app._notifications)


Steps = Callable[[Hand], Awaitable[None]]


def drive(app: Dashboard, steps: Steps, size: tuple[int, int] = (80, 24)) -> None:
    """Run a dashboard without a terminal, and `steps` once it shows something."""

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            hand = Hand(app, pilot)
            await hand.settle()
            await steps(hand)

    asyncio.run(run())


@dataclass
class Bench:
    """A project of its own, for one test."""

    folder: Path
    clock: StoppedClock
    store: Store
    trainer_name: str = "main"

    def project(self, **more: Any) -> Project:
        settings = load(self.folder / "upm.yaml", overrides=(), environ={}).settings
        return Project(store=self.store, clock=self.clock, settings=settings, actor="ada", folder=self.folder, **more)

    def drive(self, steps: Steps, size: tuple[int, int] = (80, 24), **more: Any) -> None:
        """Run the dashboard of this project, and `steps` with a hand on it."""
        about = {key: more.pop(key) for key in ("commands", "moment", "is_ascii") if key in more}
        drive(Dashboard(self.project(**about), **more), steps, size)

    def live(self) -> dict[str, int]:
        """Return the version that each ring serves."""
        with self.store.read() as reader:
            return {ring.value: each.version for ring, each in activations.live(reader, self.trainer_name).items()}

    def prove(self) -> None:
        """Let the lineage have passed its contest against what serves now."""
        prove(self.store, self.clock, self.trainer_name, first_seq=0, windows=1)

    def cli(self, *words: str) -> None:
        if words[0] == "activate":
            self.prove()
        assert main([*words, "-C", str(self.folder), "-q"], clock=self.clock) == 0

    def rows(self) -> dict[int, Snapshot]:
        with self.store.read() as reader:
            return {row.version: row for row in snapshots.list_for(reader, self.trainer_name)}

    def trainer(self) -> Any:
        with self.store.read() as reader:
            return trainers.get(reader, self.trainer_name)

    def record(self) -> list[tuple[str, str, str, dict[str, Any]]]:
        """Return the ledger: action, subject, actor and details."""
        with self.store.read() as reader:
            entries = ledger.read(self.store.home, reader.meta.ledger)
        return [(entry["action"], entry["subject"], entry["actor"], entry["details"]) for entry in entries]


def train(folder: Path, name: str) -> Path:
    """Make a project whose trainer `name` made snapshots and learned on after the last one."""
    clock = StoppedClock()
    assert main(["init", str(folder), "-q"], clock=clock) == 0
    (folder / "upm.yaml").write_text(CONFIG.replace("main", name))
    lines = EXAMPLE.read_bytes().splitlines(keepends=True)
    for first, last in ((0, 300), (300, 600), (600, 650)):
        learn(folder, clock, b"".join(lines[first:last]), name)
    return folder


@contextmanager
def copied(project: Path, folder: Path, name: str) -> Iterator[Bench]:
    """Work on a copy of a project a day later."""
    shutil.copytree(project, folder)
    clock = StoppedClock()
    clock.sleep(86_400)
    store = Store(folder / ".upm", clock)
    bench = Bench(folder, clock, store, name)
    bench.prove()
    yield bench
    store.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with trainer main. Copy it; don't change it."""
    return train(tmp_path_factory.mktemp("trained"), "main")


@pytest.fixture
def bench(trained: Path, tmp_path: Path) -> Iterator[Bench]:
    with copied(trained, tmp_path / "shop", "main") as bench:
        yield bench


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Bench]:
    """A project without any trainer."""
    folder, clock = tmp_path / "empty", StoppedClock()
    assert main(["init", str(folder), "-q"], clock=clock) == 0
    (folder / "upm.yaml").write_text("supervisor: {default_trainers: []}\n")
    store = Store(folder / ".upm", clock)
    yield Bench(folder, clock, store)
    store.close()


class _Fixed:
    """Reads nothing: answers with the board it was given."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def read(self, wanted: str | None, parts: frozenset[Part]) -> Board:
        return self._board


@pytest.fixture
def show(empty: Bench) -> Callable[..., None]:
    """Run the dashboard on a board instead of a state: show(board, steps, size)."""

    def run(
        board: Board, steps: Steps, size: tuple[int, int] = (80, 24), *, is_ascii: bool = False, **more: Any
    ) -> None:
        empty.clock.ms = 1_767_225_600_000
        project = replace(empty.project(), folder=Path("/srv/shop"), is_ascii=is_ascii)
        drive(Dashboard(project, reader=_Fixed(board), **more), steps, size)

    return run
