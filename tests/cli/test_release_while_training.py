"""Snapshots, activation and rollback on a trainer whose workers are running."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def write_windows(path: Path, first: int, count: int) -> None:
    chance = random.Random(first)
    with path.open("a") as file:
        for i in range(first, first + count):
            start = 1_800_000_000_000 + i * 1000
            a, b = chance.random(), chance.gauss(0, 1)
            window = {"window_id": f"w{i}", "window_start": start, "window_end": start + 1000}
            label = int(a + 0.3 * b + chance.gauss(0, 0.3) > 0.5)
            file.write(json.dumps({**window, "features": {"a": a, "b": b}, "label": label}) + "\n")


class Running:
    """A project in which `upm train --follow` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.upm("init", str(folder))
        (folder / "in.jsonl").touch()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "upm_cli", "train", "default", "--source", "in.jsonl", "--follow"],
            cwd=folder,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def publish(self, word: str) -> dict[str, Any]:
        """Make a version live for everybody, as an admin who can't wait for the evidence."""
        stage = ("--to-stage", "global", "--override", "--reason", "drill", "--expires", "1h")
        return self.upm("activate", "default", word, *stage)

    def upm(self, *words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "upm_cli", *words, "--json"]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def trainer(self) -> dict[str, Any]:
        return self.upm("trainer", "show", "default")

    def wait_until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "training ended"
            shown = self.trainer()
            if holds(shown):
                return shown
        raise AssertionError(f"waited for 60 s: {self.trainer()}")

    def learn(self, first: int, count: int) -> dict[str, Any]:
        """Add windows and wait until all but the last short batch are learned."""
        write_windows(self.folder / "in.jsonl", first, count)
        return self.wait_until(lambda shown: shown["windows"]["trained"] > first + count - 64)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    project = Running(tmp_path)
    yield project
    if project.process.poll() is None:
        project.process.send_signal(signal.SIGTERM)
        project.process.wait(timeout=60)


def test_a_rollback_beside_running_workers_puts_them_on_the_good_lineage(running: Running) -> None:
    running.learn(0, 2000)
    good = running.upm("snapshot")["version"]
    running.publish(str(good))
    running.learn(2000, 2000)
    bad = running.upm("snapshot")["version"]
    running.publish(str(bad))
    running.learn(4000, 2000)
    done = running.upm("rollback", "default", "--yes", "--reason", "drill")
    assert (done["from_version"], done["to_version"], done["learner"]) == (bad, good, "put back")
    after = running.learn(6000, 2000)
    (rewind,) = after["lineage"]
    assert (rewind["to_version"], after["active"], after["epoch"]) == (good, {"global": good}, 3)
    fresh = running.upm("snapshot", "show", "latest")
    assert fresh["version"] > rewind["last_version"]
    assert fresh["manifest"]["log"]["skipped"] == [[rewind["skipped_from_seq"], rewind["skipped_to_seq"]]]
    first_after = running.upm("snapshot", "show", str(rewind["last_version"] + 1))
    assert (first_after["parent"], first_after["first_seq"]) == (good, rewind["at_seq"])
    assert running.upm("snapshot", "verify", "--all")["failed"] == 0
    assert running.publish("latest")["previous_version"] == good
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=60) == 143
    windows = running.trainer()["windows"]
    assert windows["read"] == 8000 == sum(count for name, count in windows.items() if name != "read")
