"""How old is what an agent knows: event time of the last window a model learned → an agent predicting with it.

    python benchmarks/freshness.py [--seconds 60] [--rate 500] [--json]

Windows are written with the present as their event time, `--rate` a second; `upm train --follow` learns them, and hands
each new snapshot to a directory for shadow agents; an agent follows that directory. Its freshness is looked at every
20 ms. Once with the defaults (windows wait 5 s for others that are late; a snapshot every 1,000), once with small
intervals.
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from upm_cli.agent import Agent

UPM = [sys.executable, "-m", "upm_cli"]
GOALS = {"defaults": 10.0, "small intervals": 2.0}
SETTINGS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "small intervals": (
        "replay_buffer.release_delay_ms=100",
        "trainer_worker.snapshot_interval=100",
        "adapter_sync.poll_ms=50",
    ),
}
POLL_S = {"defaults": 1.0, "small intervals": 0.1}  # of the agent; 1.0 is its default
LOOK_S = 0.02


def write_windows(path: Path, rate: float, begun_s: float, stop: threading.Event) -> None:
    """Append windows whose event time is when they are due, until told to stop."""
    chance = np.random.default_rng(3)
    number = 0
    with path.open("a", buffering=1 << 16) as file:
        while not stop.wait(0.01):
            due = math.floor((time.time() - begun_s) * rate)
            for _ in range(due - number):
                number += 1
                start_ms = round((begun_s + number / rate) * 1000)
                x = chance.normal(size=4)
                window = {
                    "window_id": f"w{number}",
                    "window_start": start_ms,
                    "window_end": start_ms + 1,
                    "features": {f"f{i}": round(float(value), 3) for i, value in enumerate(x)},
                    "label": int(x[0] > x[1]),
                }
                file.write(json.dumps(window) + "\n")
            file.flush()


def upm(project: Path, *words: str) -> None:
    subprocess.run([*UPM, "-C", str(project), "-q", *words], check=True, stdout=subprocess.DEVNULL)


def measure(name: str, rate: float, seconds: float, scratch: Path) -> dict[str, Any]:
    project = scratch / name.replace(" ", "-")
    project.mkdir()
    config = "supervisor: {default_trainers: [{name: main}]}\nlearner: {task: binary}\n"
    (project / "upm.yaml").write_text(config)
    upm(project, "init")
    models = project / "models"
    upm(project, "adapter", "add", "shadows", "--path", str(models), "--shadow")
    source = project / "events.jsonl"
    source.touch()
    stop, begun_s = threading.Event(), time.time()
    writer = threading.Thread(target=write_windows, args=(source, rate, begun_s, stop))
    settings = [part for setting in SETTINGS[name] for part in ("--set", setting)]
    train = [*UPM, "-C", str(project), "-q", *settings, "train", "main", "--source", str(source), "--follow"]
    trainer = subprocess.Popen(train, stdout=subprocess.DEVNULL)
    writer.start()
    try:
        return {
            "settings": name,
            **_look(models, POLL_S[name], rate, begun_s, seconds, scratch / f"{project.name}-seen"),
        }
    finally:
        stop.set()
        writer.join()
        trainer.send_signal(signal.SIGTERM)
        trainer.wait()


def _look(models: Path, poll_s: float, rate: float, begun_s: float, seconds: float, cache: Path) -> dict[str, Any]:
    while not any(models.glob("pointers/*/*.json")):
        time.sleep(0.05)
    looks: list[tuple[float, int]] = []
    with Agent.open(models, cache=cache, poll_s=poll_s) as agent:
        settled_s = time.time() + 10  # processes have started, the first snapshots are made
        while time.time() < settled_s + seconds:
            made = agent.predict({"f0": 1.0, "f1": 0.0})
            if time.time() >= settled_s:
                looks.append((time.time(), made.version))
            time.sleep(LOOK_S)
    learned = _windows(models.parent)
    found = np.array([at_s - (begun_s + learned[version] / rate) for at_s, version in looks])
    return {
        "p50_s": round(float(np.quantile(found, 0.5)), 2),
        "p95_s": round(float(np.quantile(found, 0.95)), 2),
        "max_s": round(float(found.max()), 2),
        "versions": len({version for _, version in looks}),
    }


def _windows(project: Path) -> dict[int, int]:
    """Return how many windows each version has learned; they come in the order of their event time."""
    command = [*UPM, "-C", str(project), "snapshot", "list", "main", "--json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {row["version"]: row["windows"] for row in listed["snapshots"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [measure(name, options.rate, options.seconds, Path(scratch)) for name in SETTINGS]
    if options.json:
        print(json.dumps({"rate": options.rate, "seconds": options.seconds, "rows": rows}))
        return
    for row in rows:
        goal = GOALS[row["settings"]]
        reached = "reached" if row["p95_s"] <= goal else "MISSED"
        print(
            f"{row['settings']:<16} p50 {row['p50_s']:5.2f} s  p95 {row['p95_s']:5.2f} s  max {row['max_s']:5.2f} s  "
            f"{row['versions']} versions   p95 <= {goal:g} s: {reached}"
        )


if __name__ == "__main__":
    main()
