"""What an agent costs: importing it, predicting, swapping models, a large model, and a thousand agents at once.

    python benchmarks/agent.py [--quick]

Everything runs in a temporary folder on this machine; the figures are medians of several rounds.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from upm_cli.agent import Agent
from upm_cli.core.delivery.pointer import Place
from upm_cli.testing import Publisher, key_of, trust_file

ROOT = Path(__file__).resolve().parents[1]
FEATURES = {**{f"n{number}": number * 0.37 for number in range(17)}, "a": "x", "b": "y", "c": "zz"}
MESSAGE = json.loads((ROOT / "examples/triage.jsonl").read_text().splitlines()[0])["features"]
MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "version": 1,
    "labels": {"task": "binary", "names": [], "classes": [], "max_classes": 1000, "truth": "number"},
}
LARGE = """
import sys, time
from pathlib import Path
from upm_cli.agent import Agent
def highest():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
small = highest()
begun = time.perf_counter()
agent = Agent.open(sys.argv[1], cache=sys.argv[1], poll_s=0)
took = time.perf_counter() - begun
assert agent.predict({"hour": 9}).version == 1
print(took, highest() - small)
"""


def model(weights: int, bits: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays and manifest of a model with so many weights."""
    chance = np.random.default_rng(seed)
    slots = np.append(np.sort(chance.choice(1 << bits, weights, replace=False)), 1 << bits).astype(np.uint32)
    shape = {"kind": "linear", "format": 1, "task": "binary", "link": "logistic", "bits": bits, "outputs": 1}
    arrays = {"slots": slots, "weights": chance.standard_normal((slots.size, 1), np.float32)}
    return arrays, {**MANIFEST, "model": shape}


def each_us(call: Callable[[], object], calls: int) -> list[float]:
    """Return how long each of so many calls took, in microseconds."""
    found = []
    for _ in range(calls):
        begun = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - begun) / 1000)
    return found


def importing() -> None:
    script = "import time; a = time.process_time(); import upm_cli.agent; print((time.process_time() - a) * 1000)"
    command = [sys.executable, "-c", script]
    with tempfile.TemporaryDirectory() as compiled:  # as users have it: compiled by the first of them
        environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        runs = [float(subprocess.run(command, capture_output=True, check=True, env=environ).stdout) for _ in range(6)]
    print(f"import                          {statistics.median(runs):8.0f} ms of CPU")


def predicting(folder: Path, calls: int) -> None:
    publisher = Publisher(folder / "models")
    publisher.publish(*model(5000, 18))
    for words, more in (("", {}), (", logged", {"log_dir": folder / "log"})):
        with Agent.open(folder / "models", cache=folder / "state", poll_s=0, **more) as agent:
            for what, features in (("20 features", FEATURES), ("a nested message", MESSAGE)):
                agent.predict(features)
                times = sorted(each_us(lambda features=features: agent.predict(features), calls))
                told = f"{times[calls // 2]:8.1f} µs median, {times[calls * 99 // 100]:.1f} µs 99 %"
                print(f"predict {what + words:24s}{told}")
            windows = [FEATURES] * 2000
            rates = []
            for _ in range(5):
                begun = time.perf_counter()
                agent.predict_many(windows)
                rates.append(len(windows) / (time.perf_counter() - begun))
                agent.flush()
            print(f"predict_many{words:20s}{statistics.median(rates):8,.0f} windows/s")
            if more:
                print(f"  lines logged and dropped      {agent.health().logged:8,d}, {agent.health().dropped:,}")


def swapping(folder: Path, swaps: int) -> None:
    """Time from the moment the pointer is seen to the swap, and until all of it is kept."""
    seed = key_of("bench")
    trust = trust_file(folder / "trust.json", seed)
    publisher = Publisher(folder / "models", seeds=(seed,))
    pointers = [publisher.prepare(*model(500_000, 22, number), version=number + 1) for number in range(swaps + 2)]
    publisher.put_pointer(pointers[0])
    with Agent.open(folder / "models", cache=folder / "state", trust=trust, poll_s=0) as agent:
        served: list[float] = []
        serve = agent._follower._serve

        def noted(*args: Any) -> None:
            serve(*args)
            served.append(time.perf_counter())

        agent._follower._serve = noted  # type: ignore[method-assign]
        for what, targets in (
            ("a new model of 4 MB", pointers[1:-1]),
            ("the one before", [pointers[-3], pointers[-2]] * 10),
        ):
            to_swap, whole = [], []
            for target in targets:
                publisher.serial += 1
                publisher.put_pointer(replace(target, place=Place(publisher.serial, publisher.serial)))
                begun = time.perf_counter()
                assert agent.refresh()
                whole.append((time.perf_counter() - begun) * 1000)
                to_swap.append((served[-1] - begun) * 1000)
            worst = max(to_swap)
            print(
                f"swap to {what:24s}{statistics.median(to_swap):8.1f} ms median, {worst:.1f} ms worst; "
                f"{statistics.median(whole):.1f} ms until it is kept"
            )


def large(folder: Path, mebibytes: int) -> None:
    weights = mebibytes * (1 << 20) // 8
    bits = max(20, (weights * 2).bit_length())
    pointer = Publisher(folder / "models").publish(*model(weights, bits))
    command = [sys.executable, "-c", LARGE, str(folder / "models")]
    took, grown_kib = map(float, subprocess.run(command, capture_output=True, check=True).stdout.split())
    size, table = pointer.model.raw_bytes >> 20, (1 << bits) >> 18
    print(
        f"a model of {size} MiB{took:24.1f} s to open, {grown_kib / 1024:.0f} MiB at most (table {table}, file {size})"
    )


def crowd(folder: Path, agents: int) -> None:
    """How long until every one of so many agents, each with its thread, has seen a rollback."""
    publisher = Publisher(folder / "models")
    good = publisher.publish(*model(5000, 18, 1), version=1)
    publisher.publish(*model(5000, 18, 2), version=2)
    chance = random.Random(1)
    opened = []
    begun = time.perf_counter()
    for number in range(agents):
        opened.append(
            Agent.open(
                folder / "models",
                cache=folder / "state",
                name=f"edge-{number}",
                poll_s=1.0,
                chance=random.Random(chance.random()),
            )
        )
    took = time.perf_counter() - begun
    before, cpu = time.perf_counter(), time.process_time()
    threading.Event().wait(5)
    idle = (time.process_time() - cpu) / (time.perf_counter() - before)
    publisher.put_pointer(replace(good, place=Place(9, 9), kind="rollback"))
    begun, cpu = time.perf_counter(), time.process_time()
    seen: list[float] = []
    waiting = opened
    while waiting:
        still = [agent for agent in waiting if agent._follower.served.pointer.place.epoch != 9]  # as cheap as can be
        seen += [time.perf_counter() - begun] * (len(waiting) - len(still))
        waiting = still
        threading.Event().wait(0.02)
    seen.sort()
    cpu = time.process_time() - cpu
    rest = f"following takes {idle:.0%} of a processor, {_rss():.0f} MiB"
    print(f"{agents} agents opened              {took:8.1f} s; {rest}")
    middle, most = seen[agents // 2], seen[agents * 99 // 100]
    rest = f"{most:.2f} s 99 %, {seen[-1]:.2f} s all; {cpu:.1f} s of CPU"
    print(f"{agents} agents after a rollback    {middle:8.2f} s median, {rest}")
    for agent in opened:
        agent.close()


def _rss() -> float:
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    quick = parser.parse_args().quick
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} processors, load {load:.1f}, Python {sys.version.split()[0]}, NumPy {np.__version__}")
    importing()
    for part, size in (
        (predicting, 2_000 if quick else 20_000),
        (swapping, 4 if quick else 20),
        (large, 50 if quick else 400),
        (crowd, 100 if quick else 1000),
    ):
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder), size)


if __name__ == "__main__":
    main()
