"""Real processes killed in the middle of a delivery: nobody ever reads half of anything, and the next one finishes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from simulated import World, directory_row

HERE = Path(__file__).parent


def test_a_delivery_killed_anywhere_is_finished_by_the_next_process(world: World, tmp_path: Path) -> None:
    world.learn(2)
    dirs = tmp_path / "dirs"
    world.add(*(directory_row(f"edge-{n}", dirs / f"d{n}") for n in range(12)))
    world.store.close()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "killed_sync.py"), str(world.home), str(dirs), "24", "20261129"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["killed"] >= 12, "hardly any delivery was killed: the test tells nothing"
    assert found["between"] >= 2, "no kill hit the middle of a batch: the test tells nothing"
    assert found["directories"] == 12
