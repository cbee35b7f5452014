"""Measures handing models to agents; each figure comes from a process of its own.

    python benchmarks/delivery.py                 # all of it; some minutes, and 10 GB of disk for `memory`
    python benchmarks/delivery.py rollback plan slow agents
    python benchmarks/delivery.py memory --adapters 10

rollback  1,000 directories: from the decision in the state to all confirmed, by a process that is warm (a worker) and
          by one that has just started (`upm rollback`); the goal is 1 s
plan      working out what 1,000 adapters are to have, when nothing changes and when everything does
slow      40 simulated agents that take 50 ms each, with and without one that takes 2 s: how much longer the others take
agents    1,000 simulated agents behind a network that drops, corrupts, repeats and reorders: all converge
memory    a model of 100 MB to 100 directories: peak resident memory, and how fast
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=[[], *MEASURES], default=list(MEASURES))
    parser.add_argument("--adapters", type=int, default=0, help="instead of 1,000 (memory: 100)")
    parser.add_argument("--here", action="store_true", help="measure in this process (used by the benchmark itself)")
    options = parser.parse_args()
    for what in options.what:
        if options.here:
            folder = Path(tempfile.mkdtemp(prefix="upm-delivery-", dir=os.environ.get("TMPDIR")))
            try:
                print(json.dumps({what: MEASURES[what](folder, options.adapters)}))
            finally:
                shutil.rmtree(folder)
            continue
        command = [sys.executable, __file__, what, "--here", "--adapters", str(options.adapters)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "sync")])}
        subprocess.run(command, env=environment, check=True)


class Fleet:
    """A project with a trainer whose learning is made up, and directories."""

    def __init__(self, folder: Path, count: int) -> None:
        from simulated import World, directory_row

        from upm_cli.clock import SystemClock

        self.world = World(folder / "project" / ".upm", clock=SystemClock())  # type: ignore[arg-type]
        self.clock = self.world.clock
        self.world.learn(2)
        self.world.add(*(directory_row(f"edge-{n:04d}", folder / "dirs" / f"d{n:04d}") for n in range(count)))

    def syncer(self) -> Any:
        from upm_cli.adapters.kinds import Kinds
        from upm_cli.ops.crew import Crew

        return self.world.syncer(kinds=Kinds(self.clock), crew=Crew(16))

    def settle(self, syncer: Any) -> None:
        while not syncer.is_settled():
            syncer.step(0.05)


def rollback(folder: Path, count: int) -> dict[str, Any]:
    from upm_cli.ops import sync_run
    from upm_cli.ops.rollback import rollback as go_back

    count = count or 1000
    fleet = Fleet(folder, count)
    world, warm, cold, cpu = fleet.world, [], [], []
    syncer = fleet.syncer()
    world.serve(1)
    fleet.settle(syncer)
    for _ in range(ROUNDS):
        version = world.learn()
        world.serve(version)
        fleet.settle(syncer)
        go_back(world.store, fleet.clock, "main", actor="bench", reason="bench")
        begun, used = time.perf_counter(), time.process_time()
        fleet.settle(syncer)
        warm.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
        assert world.statuses() == {"synced": count}
    for _ in range(3):
        version = world.learn()
        world.serve(version)
        fleet.settle(syncer)
        go_back(world.store, fleet.clock, "main", actor="bench", reason="bench")
        begun = time.perf_counter()
        ran = sync_run.run_pass(world.store, fleet.clock, world.settings, command="bench")
        cold.append(time.perf_counter() - begun)
        assert ran.confirmed == count
        syncer.close()
        syncer = fleet.syncer()
    return {
        "adapters": count,
        "warm_s": spread(warm),
        "warm_cpu_s": spread(cpu),
        "cold_s": spread(cold),
        "fsync_ms": round(fsync_ms(folder), 2),
    }


def plan(folder: Path, count: int) -> dict[str, Any]:
    from upm_cli.ops.sync_plan import make_plan
    from upm_cli.ops.sync_signing import Signing

    count = count or 1000
    fleet = Fleet(folder, count)
    world = fleet.world
    world.serve(1)
    changing, still = [], []
    for round_ in range(ROUNDS):
        world.serve(2 - round_ % 2)
        changing.append(timed(lambda: make_plan(world.store, fleet.clock, world.settings, Signing())))
        still.append(timed(lambda: make_plan(world.store, fleet.clock, world.settings, Signing())))
    return {"adapters": count, "everything_changes_s": spread(changing), "nothing_changes_s": spread(still)}


def slow(folder: Path, count: int) -> dict[str, Any]:
    from upm_cli.core.records import AdapterStatus
    from upm_cli.ops.crew import Crew

    count = count or 40
    found = {}
    for name, delay_s in (("without_s", 0.05), ("with_s", 2.0)):
        times = []
        for round_ in range(5):
            fleet = Fleet(folder / f"{name}-{round_}", 0)
            world = fleet.world
            world.add_agents(count)
            world.serve(1)
            carry = world.network.carry

            def carry_slowly(
                agent: Any, raw: bytes, model: bytes, delay_s: float = delay_s, carry: Any = carry
            ) -> None:
                time.sleep(delay_s if agent.name == "edge-0000" else 0.05)
                carry(agent, raw, model)

            world.network.carry = carry_slowly  # type: ignore[method-assign]
            syncer = world.syncer(crew=Crew(16))
            begun = time.perf_counter()
            while sum(row.status is AdapterStatus.SYNCED for row in syncer.rows) < count - 1:
                syncer.step(0.05)
            times.append(time.perf_counter() - begun)
            fleet.settle(syncer)
        found[name] = spread(times)
    longer = found["with_s"]["median"] / found["without_s"]["median"] - 1
    return {"adapters": count, **found, "others_take_longer_percent": round(100 * longer, 1)}


def agents(folder: Path, count: int) -> dict[str, Any]:
    from simulated import World
    from test_convergence import converge_through_trouble

    count = count or 1000
    times = []
    for seed in (1, 2, 3):
        world = World(folder / f"{seed}" / ".upm")
        times.append(timed(lambda world=world, seed=seed: converge_through_trouble(world, count, seed)))
    return {"agents": count, "seeds": 3, "all_converged": True, "s": spread(times)}


def memory(folder: Path, count: int) -> dict[str, Any]:
    from upm_cli.core.records import Snapshot
    from upm_cli.ops import sync_run
    from upm_cli.store import blobs, snapshots

    count, size = count or 100, 100 << 20
    fleet = Fleet(folder, count)
    world = fleet.world
    chance = random.Random(1)
    stored = subprocess.run(  # made by another process, so that ours is not large by it
        [sys.executable, "-c", MAKE_BLOB, str(world.home), str(size), str(chance.randrange(1 << 30))],
        check=True,
        capture_output=True,
        text=True,
    )
    blob = blobs.Blob(**json.loads(stored.stdout))
    with world.store.write() as tx:
        row: Snapshot = snapshots.get(tx, "main", 2)
        fields = ("digest", "file_digest", "path", "codec", "size_bytes", "raw_bytes")
        snapshots.put(tx, replace(row, **{name: getattr(blob, name) for name in fields}))
    world.serve(1)
    sync_run.run_pass(world.store, fleet.clock, world.settings, command="bench")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    world.serve(2)
    begun, used = time.perf_counter(), time.process_time()
    ran = sync_run.run_pass(world.store, fleet.clock, world.settings, command="bench")
    elapsed = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "adapters": count,
        "model_mb": size >> 20,
        "confirmed": ran.confirmed,
        "tries": sum(row.attempts for row in ran.rows),
        "peak_mib_before": round(before, 1),
        "peak_mib_after": round(after, 1),
        "s": round(elapsed, 1),
        "cpu_s": round(time.process_time() - used, 1),
        "mb_per_s": round(count * (size >> 20) / elapsed),
    }


MAKE_BLOB = """
import dataclasses, json, random, sys
from pathlib import Path
from upm_cli.store import blobs
data = random.Random(int(sys.argv[3])).randbytes(int(sys.argv[2]))
print(json.dumps(dataclasses.asdict(blobs.put(Path(sys.argv[1]), data, "none"))))
"""


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def spread(times: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 3), "least": round(min(times), 3), "most": round(max(times), 3)}


def fsync_ms(folder: Path) -> float:
    """Return what making one small file durable costs here, for comparison."""
    times = []
    for n in range(20):
        with (folder / f"probe-{n}").open("wb") as file:
            file.write(b"x" * 1000)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


MEASURES: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "rollback": rollback,
    "plan": plan,
    "slow": slow,
    "agents": agents,
    "memory": memory,
}

if __name__ == "__main__":
    main()
