"""Killed while what agents told is read, again and again: nothing lost, nothing twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import SystemClock
from upm_cli.core.records import Feedback, Mode, Snapshot, Trainer
from upm_cli.core.window import RowKind
from upm_cli.ops import dead_letters, served
from upm_cli.store import feedback, segments, snapshots, streams, trainers
from upm_cli.store import log as logs
from upm_cli.store.session import Store
from upm_cli.testing import MADE_UP_DIGEST, of_agent

KILLS = 3
SETTINGS = ("ingest.chunk_bytes=8192", "ingest.commit_bytes=32768", "feedback.horizon_ms=3900000")


def new_project(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "upm_cli", "init", str(folder)], check=True, capture_output=True)
    (folder / "upm.yaml").write_text("supervisor: {default_trainers: [{name: main}]}\n")
    store = Store(folder / ".upm", SystemClock())
    row = Snapshot(
        trainer="main", version=3, mode=Mode.SHADOW, digest=MADE_UP_DIGEST, file_digest="0" * 64, codec="none",
        path="blobs/3", size_bytes=1, raw_bytes=1,
    )  # fmt: skip
    with store.write() as tx:
        trainers.put(tx, Trainer(name="main", stream="main", last_version=3))
        snapshots.put(tx, row)
    store.close()
    return folder


def write_logs(folder: Path) -> None:
    """Two agents, an hour between a prediction and its outcome, in some disorder; twice, broken, late or bare some."""
    chance = random.Random(5)
    told: list[list[tuple[float, str]]] = [[], []]
    for number in range(700):
        made, outcome = of_agent(number, agent=f"edge-{number % 2}", label=number % 2)
        if number % 11 == 0:
            del outcome["served"]
        delay = 3600 + chance.uniform(0, 40) + (900 if number % 97 == 0 else 0)
        rows = told[number % 2]
        rows += [(number + chance.uniform(0, 3), json.dumps(made)), (number + delay, json.dumps(outcome))]
        if number % 13 == 0:
            rows.append((number + delay + 1, json.dumps(outcome)))
        if number % 101 == 0:
            rows.append((number + 2, '{"broken'))
    folder.mkdir()
    for agent, rows in enumerate(told):
        text = "".join(line + "\n" for _, line in sorted(rows))
        (folder / f"predictions-edge-{agent}-000001.jsonl").write_text(text)


def upm(project: Path, folder: Path) -> list[str]:
    words = [part for setting in SETTINGS for part in ("--set", setting)]
    command = [sys.executable, "-m", "upm_cli", "-C", str(project), *words, "ingest", str(folder), "--kind", "outcomes"]
    return [*command, "--trainer", "main", "--json"]


def outcome_of(project: Path) -> dict[str, Any]:
    """Everything that has to be the same; where commits fell may differ, as the logs are cut where one was killed."""
    store = Store(project / ".upm", SystemClock())
    with store.read() as reader:
        row, stream = feedback.get(reader, "main"), streams.find(reader, "main")
        files = segments.list_for(reader, "log", "main")
    assert stream is not None
    rows = [batch for _, batch in logs.scan(store.home, files, 0)]
    logged = [
        (kind, name, str(label))
        for batch in rows
        for kind, name, label in zip(
            batch.kind.tolist(), batch.window_id.to_list(), batch.label_value.tolist(), strict=True
        )
        if kind < RowKind.END
    ]
    compared = [(part.prediction_id.to_list(), part.table.score.tolist()) for part in served.follow(store, "main")]
    left_out = ("state_digest", "updated_at_ms")
    counts = ("read", "released", "pending", "duplicate", "late", "labels_joined", "labels_orphan")
    return {
        "feedback": {name: getattr(row, name) for name in Feedback.__slots__ if name not in left_out},
        "stream": {name: getattr(stream, name) for name in counts},
        "log": logged,
        "served": [pair for ids, scores in compared for pair in zip(ids, scores, strict=True)],
        "late": [each["prediction_id"] for each in dead_letters.late_windows(store, "main")],
        "dead": sorted((letter.source, letter.offset) for letter in dead_letters.find(store, "main")),
    }


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing_of_what_agents_told(tmp_path: Path) -> None:
    folder, project = tmp_path / "logs", new_project(tmp_path / "calm")
    write_logs(folder)
    stormy = tmp_path / "stormy"
    shutil.copytree(project, stormy)
    subprocess.run(upm(project, folder), check=True, capture_output=True)
    expected = outcome_of(project)
    told = expected["feedback"]
    assert told["read"] == told["predictions"] + told["outcomes"] + told["duplicate"] + told["dead_letter"]
    assert told["outcomes"] == told["compared"] + told["late"] + told["waiting"]
    assert (told["predictions"], told["compared"], told["late"], told["waiting"]) == (700, 695, 4, 1)
    assert told["labelled"] == expected["stream"]["labels_joined"] == 695
    assert expected["stream"]["released"] == 700
    assert len({name for name, _ in expected["served"]}) == len(expected["served"]) == 695

    chance, kills = random.Random(3), 0
    while True:
        process = subprocess.Popen(
            upm(stormy, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0
        )
        if kills < KILLS:
            _wait_for_work(stormy, process, chance.uniform(0.0, 0.15))
        if kills >= KILLS or process.poll() is not None:
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills >= 2
    assert outcome_of(stormy) == expected


def _wait_for_work(project: Path, process: "subprocess.Popen[bytes]", more_s: float) -> None:
    """Wait until the worker has committed something more, and then a little."""
    state = project / ".upm" / "state.duckdb"
    before = state.stat().st_ino
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and state.stat().st_ino == before:
        time.sleep(0.005)
    end = time.monotonic() + more_s
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
