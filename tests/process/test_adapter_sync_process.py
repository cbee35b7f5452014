"""Adapter sync as real processes: beside the training, alone, and one taking over from another that was killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.delivery import envelope, pointer
from upm_cli.ops import made_up
from upm_cli.store import runfiles, trainers
from upm_cli.store.session import Store

Site = Any


def serve(site: Site, version: int) -> None:
    store = Store(site.home, SystemClock())
    made_up.serve(store, SystemClock(), "main", version)
    store.close()


def newest(site: Site) -> int:
    store = Store(site.home, SystemClock())
    with store.read() as reader:
        found = trainers.find(reader, "main")
    store.close()
    return 0 if found is None else found.last_version


def served(models: Path) -> int | None:
    path = models / "pointers" / "main" / "_.json"
    if not path.exists():
        return None
    return pointer.decode(envelope.decode(path.read_bytes(), pointer.PAYLOAD_TYPE).payload).version


@pytest.mark.slow
def test_training_hands_out_what_goes_live_meanwhile(site: Site, tmp_path: Path) -> None:
    models = tmp_path / "models"
    site.write("inbox/a.jsonl", 0, 1200)
    assert site.run("adapter", "add", "edge", "--path", str(models))[0] == 0
    training = site.start("train", "main", "--source", str(site.folder / "inbox"), "--follow")
    site.wait_until(lambda: newest(site) >= 1, "a snapshot")
    assert "adapter-sync" in site.workers(training)
    serve(site, 1)
    site.wait_until(lambda: served(models) == 1, "the first version in the directory")
    os.kill(site.workers(training)["adapter-sync"], signal.SIGKILL)
    site.write("inbox/b.jsonl", 1200, 2400)
    site.wait_until(lambda: newest(site) >= 2, "another snapshot: training went on")
    serve(site, 2)
    site.wait_until(lambda: served(models) == 2, "the second version, from a worker that was started again")
    code, _, err = site.end(training, signal.SIGTERM)
    assert code == 143, err


def start(site: Site) -> "subprocess.Popen[bytes]":
    words = ["adapter-sync", "sync", "--project", str(site.folder)]
    return subprocess.Popen([sys.executable, "-m", "upm_cli.workers", *words])


@pytest.fixture
def workers() -> Iterator[list["subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def pid_of_worker(site: Site) -> int | None:
    found = [each for each in runfiles.read_statuses(site.home) if each["worker"] == "adapter-sync"]
    return int(found[0]["pid"]) if found else None


@pytest.mark.slow
def test_another_worker_takes_over_when_the_first_is_killed(
    site: Site, tmp_path: Path, workers: list["subprocess.Popen[bytes]"]
) -> None:
    models = tmp_path / "models"
    store = Store(site.home, SystemClock())
    from upm_cli.config.schema import Settings

    for _ in range(2):
        made_up.learn(store, SystemClock(), Settings(), "main")
    store.close()
    assert site.run("adapter", "add", "edge", "--path", str(models))[0] == 0
    workers.append(start(site))
    site.wait_until(lambda: pid_of_worker(site) == workers[0].pid, "the first worker")
    workers.append(start(site))
    serve(site, 1)
    site.wait_until(lambda: served(models) == 1, "the first version in the directory")
    workers[0].kill()
    workers[0].wait()
    serve(site, 2)
    site.wait_until(lambda: served(models) == 2, "the second version, from the second worker")
    site.wait_until(lambda: pid_of_worker(site) == workers[1].pid, "word of the second worker")
    workers[1].send_signal(signal.SIGTERM)
    assert workers[1].wait(30) == 143
