"""Killed anywhere, any number of times: the same weights, counts, snapshots and ledger as an uninterrupted run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import SystemClock
from upm_cli.store import activations, drift, ledger, segments, snapshots, streams, trainers
from upm_cli.store import log as logs
from upm_cli.store.session import Store

KILLS = 20  # benchmarks/faults.py kills a hundred times
PLACES = ("released", "pending", "duplicate", "late", "dead_letter")
SETTINGS = (
    "ingest.chunk_bytes=16384",
    "ingest.commit_bytes=65536",
    "drift_monitor.sample_size=100",
    "learner.bits=12",
)


def write_input(path: Path, n: int = 9000) -> None:
    """Windows a second apart, shuffled within the release delay; some come twice, late, far too late, or broken."""
    rng = np.random.default_rng(7)
    arrival = np.arange(n) + rng.uniform(0, 4.0, n)
    order = np.argsort(arrival, kind="stable").tolist()
    late = {int(i): 20 for i in rng.choice(n - 500, 60, replace=False)} | {
        int(i): 400 for i in rng.choice(n - 500, 40, replace=False)
    }
    order.sort(key=lambda i: arrival[i] + late.get(i, 0))
    twice = set(rng.choice(n, 200, replace=False).tolist())
    with path.open("w") as file:
        for i in order:
            line = json.dumps(_window(i, rng))
            file.write(line + "\n")
            if i in twice:
                file.write(line + "\n")
            if i % 997 == 0:
                file.write('{"window_id": "broken\n')


def _window(i: int, rng: np.random.Generator) -> dict[str, Any]:
    x = rng.normal(size=3)
    label = int(x[0] - 0.5 * x[1] + rng.normal(scale=0.3) > 0)
    second = 1_767_225_600 + i
    return {
        "window_id": f"w-{i:06d}",
        "window_start": second * 1000,
        "window_end": second * 1000 + 1000,
        "tenant_id": f"t{i % 7}",
        "features": {"a": round(x[0], 4), "b": round(x[1], 4), "c": round(x[2], 4), "kind": f"k{i % 11}"},
        **({} if i % 13 == 0 else {"label": label}),
    }


def upm(project: Path, *words: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return [sys.executable, "-m", "upm_cli", "-C", str(project), *settings, *words]


def new_project(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "upm_cli", "init", str(folder)], check=True, capture_output=True)
    return folder


def outcome(project: Path) -> dict[str, Any]:
    """Everything that has to be the same, without the times at which it happened."""
    store = Store(project / ".upm", SystemClock())
    with store.read() as reader:
        trainer = trainers.get(reader, "default")
        stream = streams.find(reader, "default")
        logged = segments.list_for(reader, "log", "default")
        made = snapshots.list_for(reader, "default")
        judged = drift.list_for(reader, "default")
        live = activations.live(reader, "default")
    assert stream is not None
    rows = [batch for _, batch in logs.scan(store.home, logged, 0)]
    return {
        "weights": trainer.weights_sha256,
        "trained": trainer.trained,
        "unlabelled": trainer.unlabelled,
        "dead": trainer.dead_letter,
        "loss_sum": trainer.loss_sum,
        "position": trainer.log_position,
        "stream": {
            name: getattr(stream, name)
            for name in ("read", "released", "pending", "duplicate", "late", "dead_letter", "late_arrivals", "next_seq")
        },
        "log": [(row.window_id.to_list(), row.kind.tolist()) for row in rows],
        "snapshots": [(s.version, s.digest, s.windows) for s in made],
        "drift": [(w.started_at_ms, w.n, w.p95, w.verdict) for w in judged],
        "live": live,
        "ledger": [(entry["action"], entry["subject"], entry["details"]) for entry in ledger.read(store.home)],
    }


def flatten(result: dict[str, Any]) -> dict[str, Any]:
    """Join the log's segments, whose boundaries may differ, into one list."""
    ids = [name for part, _ in result["log"] for name in part]
    kinds = [kind for _, part in result["log"] for kind in part]
    return {**result, "log": list(zip(ids, kinds, strict=True))}


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    write_input(source)
    train = ("train", "--source", str(source), "--once", "--json")

    calm = new_project(tmp_path / "calm")
    subprocess.run(upm(calm, *train), check=True, capture_output=True)
    expected = flatten(outcome(calm))
    assert expected["trained"] > 8000
    stream = expected["stream"]
    assert stream["read"] == 9000 + 200 + 10 == sum(stream[name] for name in PLACES)
    assert stream["duplicate"] + stream["late"] == 200 + 40  # the second copy of a window too late is too late as well
    assert stream["late_arrivals"] > 30
    assert len(expected["snapshots"]) >= 5

    chance = random.Random(11)
    kills = 0
    for attempt in range(200):
        stormy = new_project(tmp_path / f"stormy-{attempt}")
        kills += _train_with_kills(upm(stormy, *train), chance, KILLS - kills)
        result = flatten(outcome(stormy))
        assert result == expected
        if kills >= KILLS:
            return
    pytest.fail(f"only {kills} kills hit a running tree")


def _train_with_kills(command: list[str], chance: random.Random, most: int) -> int:
    """Start the command again and again, killing its whole tree, until it comes to its end; return the kills."""
    kills = 0
    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0)
        deadline = time.monotonic() + chance.uniform(0.3, 1.3)
        while process.poll() is None and (time.monotonic() < deadline or kills >= min(most, 12)):
            try:
                process.wait(timeout=max(0.005, min(0.05, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                continue
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode() if process.stderr else ""
            process.communicate()
            return kills
        victims = _tree(process.pid)
        if chance.random() < 0.2 and len(victims) > 1:
            victims = [chance.choice(victims[1:])]  # one worker only: the tree starts it again
        for pid in victims:
            _kill(pid)
        kills += 1
        if process.pid in victims:
            process.communicate()
            _wait_gone(victims)
        else:
            process.wait()
            said = process.stderr.read().decode() if process.stderr else ""
            process.communicate()
            assert process.returncode == 0, said
            return kills


def _tree(pid: int) -> list[int]:
    """Return `pid` and its children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    children = [int(child) for child in listed.read_text().split()] if listed.exists() else []
    return [pid, *children]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _wait_gone(pids: list[int]) -> None:
    while any(Path(f"/proc/{pid}/stat").exists() and _is_alive(pid) for pid in pids):
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")
