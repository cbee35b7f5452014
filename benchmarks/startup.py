"""What commands that people and cron lines run all day cost: `upm --help`, `upm status`, `upm rollback`, `upm train`.

    python benchmarks/startup.py [--rounds 7] [--json]

Each command is a process of its own; they take turns, with `python -c pass` and, where it is installed, `mlflow --help`
among them, so that ratios hold on a busy machine. CPU is user + system time. The rollback is of a model of about
1 MB, its bytes verified, in a project with one trainer; the training finds nothing new in its source.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure
import numpy as np

UPM = [sys.executable, "-m", "upm_cli"]
GOALS = {"upm --help": ("cpu_s", 0.250), "upm status": ("cpu_s", 0.400), "upm rollback": ("wall_s", 0.700)}
WINDOWS = 3000
CONFIG = """\
supervisor: {default_trainers: [{name: main}]}
trainer_worker: {snapshot_interval: 1000}
ingest: {chunk_bytes: 65536, commit_bytes: 262144}
policy: {min_shadow_hours: 0}
snapshot_manager: {compression: none}
"""


def make_project(folder: Path) -> None:
    """Train two snapshots of about 1 MB, with names that seldom repeat, and make both live, one after the other."""
    folder.mkdir()
    (folder / "upm.yaml").write_text(CONFIG)
    chance = np.random.default_rng(1)
    with (folder / "events.jsonl").open("w") as file:
        for i in range(WINDOWS):
            names = chance.integers(0, 10**6, 45)
            window = {
                "window_id": f"w{i}",
                "window_start": 1_767_225_600_000 + i * 1000,
                "window_end": 1_767_225_601_000 + i * 1000,
                "features": {f"f{name}": round(float(chance.normal()), 3) for name in names},
                "label": int(chance.random() < 0.5),
            }
            file.write(json.dumps(window) + "\n")
    upm(folder, "init")
    upm(folder, "train", "main", "--source", str(folder / "events.jsonl"), "--once")


def upm(folder: Path, *words: str) -> None:
    subprocess.run([*UPM, "-C", str(folder), "-q", *words], check=True, stdout=subprocess.DEVNULL)


def rollback(folder: Path) -> measure.Run:
    """Go back from the second version to the first, in a copy."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "project"
        shutil.copytree(folder, copy, symlinks=True)
        for version in ("1", "2"):
            upm(copy, "activate", "main", version, "--to-stage", "shadow")
        return measure.run([*UPM, "-C", str(copy), "rollback", "main", "--yes", "--reason", "benchmark"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        make_project(project)
        source = ["--source", str(project / "events.jsonl")]
        size = max(path.stat().st_size for path in (project / ".upm" / "blobs").rglob("*.bin"))
        contenders = {
            "python -c pass": partial(measure.run, [sys.executable, "-c", "pass"]),
            "upm --help": partial(measure.run, [*UPM, "--help"]),
            "upm status": partial(measure.run, [*UPM, "-C", str(project), "status"]),
            "upm rollback": partial(rollback, project),
            "upm train --once": partial(measure.run, [*UPM, "-C", str(project), "train", "main", *source, "--once"]),
        }
        mlflow = shutil.which("mlflow", path=str(Path(sys.executable).parent)) or shutil.which("mlflow")
        if mlflow:
            contenders["mlflow --help"] = partial(measure.run, [mlflow, "--help"])
        measure.take_turns(list(contenders.values()), 1)  # modules are compiled, files are in memory
        runs = dict(zip(contenders, measure.take_turns(list(contenders.values()), options.rounds), strict=True))
    rows = [
        {
            "command": name,
            "cpu_s": round(measure.median(mine, "cpu_s"), 3),
            "wall_s": round(measure.median(mine, "wall_s"), 3),
            "times_python": round(measure.median_ratio(runs["python -c pass"], mine, "cpu_s"), 1),
            "goal": f"{GOALS[name][0]} <= {GOALS[name][1]}" if name in GOALS else None,
            "reached": measure.median(mine, GOALS[name][0]) <= GOALS[name][1] if name in GOALS else None,
        }
        for name, mine in runs.items()
    ]
    if options.json:
        print(json.dumps({"largest_model_bytes": size, "rows": rows}))
        return
    print(f"largest model {size / 1e6:.2f} MB; medians of {options.rounds}")
    for row in rows:
        goal = f"   {row['goal']}: {'reached' if row['reached'] else 'MISSED'}" if row["goal"] else ""
        cpu, wall = row["cpu_s"], row["wall_s"]
        print(f"{row['command']:<16} {cpu:6.3f} s CPU {wall:6.3f} s wall {row['times_python']:6.1f} × python{goal}")
    if not mlflow:
        print("mlflow --help was left out: it is not installed (pip install '.[bench]')")


if __name__ == "__main__":
    main()
