"""Processes that die or crowd: the state always opens, and the ledger tells exactly what was committed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Trainer
from upm_cli.store import ledger, trainers
from upm_cli.store.session import Store

HERE = Path(__file__).parent


def run(script: str, *arguments: object) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def store_with(home: Path, *names: str) -> Store:
    store = Store.create(home, SystemClock())
    with store.write() as tx:
        for name in names:
            trainers.put(tx, Trainer(name=name, stream="main"))
    return store


@pytest.mark.slow
def test_a_hundred_kills_never_hurt_the_state_or_the_ledger(tmp_path: Path) -> None:
    store = store_with(tmp_path / ".upm", "main")
    result = run("killed_commits.py", store.home, 104, 20_261_123)
    assert result["found"] >= result["acknowledged"] >= 104
    assert result["killed_inside"] > 0, "no kill hit a commit: the test tells nothing"
    with store.read() as r:
        assert trainers.get(r, "main").trained == result["found"] == r.meta.ledger.count


@pytest.mark.slow
def test_eight_writers_all_get_their_turn_and_a_reader_never_sees_half_a_commit(tmp_path: Path) -> None:
    store = store_with(tmp_path / ".upm", "left", "right")
    result = run("many_writers.py", store.home, 8, 12)
    assert int(result["reader"]) > 0
    with store.read() as r:
        assert trainers.get(r, "right").trained == 96
        assert ledger.verify(store.home, r.meta.ledger).entries == 96
    actors = [entry["actor"] for entry in ledger.read(store.home)]
    assert sorted(map(actors.count, set(actors))) == [12] * 8
    first_done = min(len(actors) - actors[::-1].index(actor) for actor in set(actors))
    assert min(actors[:first_done].count(actor) for actor in set(actors)) >= 1, "some writers were starved"
