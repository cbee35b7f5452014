"""Kill any worker or the supervisor of `upm up` at random, again and again, and see whether anything is lost.

    python benchmarks/faults.py --kills 100 --trainers 3 --workers 12

Windows keep arriving while processes die by SIGKILL at random moments (some are hung by SIGSTOP first). Printed are how
often each was hit, how long it took until it was at work again (after a hang: until it was found out and replaced), and
what was left behind. At the end every trainer must have the weights, and every log the windows, of a calm run.
Exits with 1 when one has not, when a worker outlived its supervisor by more than two seconds, or when a window was
learned twice.
"""

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from many_trainers import BATCH, PYTHON, Fleet, learned, same_as_calm

from upm_cli.clock import SystemClock
from upm_cli.ops import supervisor as ops
from upm_cli.store import segments, streams, trainers
from upm_cli.store.session import Store

ORPHAN_S = 2.0
PATIENCE_S = 120.0
CONFIG = """\
supervisor:
  max_workers: {workers}
  restart_intensity: 1000
  restart_backoff_ms: 50
  stuck_ms: 5000
  grace_ms: 500
  default_trainers:
{listed}
trainer_worker: {{snapshot_interval: 500}}
learner: {{bits: 12}}
"""


@dataclass(slots=True)
class Tally:
    """What happened to one kind of process."""

    hits: int = 0
    recovered_s: list[float] = field(default_factory=list)


class Storm:
    """One project under fire."""

    def __init__(self, fleet: Fleet, place: Path, chance: random.Random) -> None:
        self.fleet, self.place, self.chance = fleet, place, chance
        self.store = Store(fleet.folder / ".upm", SystemClock())
        self.tallies: dict[str, Tally] = defaultdict(Tally)
        self.orphans: list[str] = []
        self.up: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the supervisor and wait until it says that it is ready."""
        with (self.place / "stderr.txt").open("a") as said:
            self.up = subprocess.Popen(
                [*PYTHON, "-C", str(self.fleet.folder), "up"], stderr=said, stdin=subprocess.DEVNULL
            )
        pid = self.up.pid
        self._wait(
            lambda: (found := ops.report(self.store)) is not None and found.pid == pid and found.state == "running"
        )

    def workers(self) -> dict[str, int]:
        """Return the running worker processes by name."""
        found = ops.report(self.store)
        return {} if found is None else {each.name: each.pid for each in found.workers if each.pid and _runs(each.pid)}

    def kill_a_worker(self, *, hang: bool) -> None:
        """Kill one worker, or hang it until it is found out."""
        name, pid = self.chance.choice(sorted(self.workers().items()))
        os.kill(pid, signal.SIGSTOP if hang else signal.SIGKILL)
        if hang:
            for each in self.fleet.names:
                self.fleet.write(each, BATCH)  # there is work, or it would be idle for all anybody knows
        self._note(f"{name} {'hung' if hang else 'killed'}", lambda: self._is_back(name, pid))

    def kill_the_supervisor(self) -> None:
        """Kill the supervisor, see that nobody outlives it, and start another."""
        assert self.up is not None
        children = self.workers()
        if self.chance.random() < 0.3 and children:
            os.kill(self.chance.choice(list(children.values())), signal.SIGSTOP)
        self.up.kill()
        self.up.wait()
        time.sleep(ORPHAN_S)
        self.orphans += [name for name, pid in children.items() if _runs(pid)]
        self._note("supervisor killed", self._again)

    def _again(self) -> bool:
        self.begin()
        return True

    def _is_back(self, name: str, pid: int) -> bool:
        found = ops.report(self.store)
        return found is not None and any(
            each.name == name and each.state == "running" and each.pid not in (None, pid) for each in found.workers
        )

    def _note(self, what: str, is_well: Callable[[], bool]) -> None:
        began = time.monotonic()
        self._wait(is_well)
        tally = self.tallies[what]
        tally.hits += 1
        tally.recovered_s.append(time.monotonic() - began)

    @staticmethod
    def _wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"no recovery within {PATIENCE_S:.0f} s")
            time.sleep(0.02)

    def settle(self) -> None:
        """Complete the last batches and wait until everything is learned; then end it as one should."""
        assert self.up is not None
        for name in self.fleet.names:
            self.fleet.write(name, -self.fleet.written[name] % BATCH)
        self._wait(lambda: all(learned(self.store).get(name) == self.fleet.written[name] for name in self.fleet.names))
        self.up.send_signal(signal.SIGTERM)
        self.up.wait(60)

    def lost_or_twice(self) -> list[str]:
        """Return the trainers whose counts are not those of each window once."""
        wrong = []
        with self.store.read() as reader:
            for name in self.fleet.names:
                stream, trainer = streams.find(reader, name), trainers.get(reader, name)
                rows = [each.rows for each in segments.list_for(reader, "log", name)]
                assert stream is not None
                expected = self.fleet.written[name]
                if (stream.read, trainer.trained, stream.duplicate) != (expected, expected, 0) or not rows:
                    wrong.append(name)
        return wrong


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def make(place: Path, count: int, workers: int) -> Fleet:
    folder = place / "project"
    subprocess.run([*PYTHON, "init", str(folder)], check=True, capture_output=True)
    names = [f"t{number:03d}" for number in range(count)]
    listed = "\n".join(f"    - {{name: {name}, sources: [in/{name}.jsonl]}}" for name in names)
    (folder / "upm.yaml").write_text(CONFIG.format(workers=workers, listed=listed))
    (folder / "in").mkdir()
    return Fleet(folder, names, features=6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--trainers", type=int, default=3)
    parser.add_argument("--workers", type=int, default=12, help="supervisor.max_workers; fewer than jobs: pools")
    parser.add_argument("--hangs", type=float, default=0.1, help="share of workers that are hung instead")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as scratch:
        return run(options, Path(scratch))


def run(options: argparse.Namespace, place: Path) -> int:
    chance = random.Random(options.seed)
    fleet = make(place, options.trainers, options.workers)
    storm = Storm(fleet, place, chance)
    for name in fleet.names:
        fleet.write(name, 1024)
    storm.begin()
    began = time.monotonic()
    try:
        for _ in range(options.kills):
            for name in fleet.names:
                fleet.write(name, chance.randrange(1, 200))
            time.sleep(chance.uniform(0.0, 1.0))
            if chance.random() < 0.2:
                storm.kill_the_supervisor()
            else:
                storm.kill_a_worker(hang=chance.random() < options.hangs)
        took_s = time.monotonic() - began
        storm.settle()
    finally:
        if storm.up is not None and storm.up.poll() is None:
            storm.up.kill()
            storm.up.wait()
    wrong = storm.lost_or_twice()
    different = same_as_calm(fleet, storm.store, fleet.names, place, ["--set", "learner.bits=12"])
    print(f"{'process':28s} {'hits':>5s} {'back after: median':>19s} {'p95':>7s} {'worst':>7s}")
    for what, tally in sorted(storm.tallies.items()):
        times = sorted(tally.recovered_s)
        p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
        print(f"{what:28s} {tally.hits:5d} {statistics.median(times):17.2f} s {p95:5.2f} s {times[-1]:5.2f} s")
    hits = sum(tally.hits for tally in storm.tallies.values())
    total = sum(fleet.written.values())
    print(f"{hits} hits in {took_s:.0f} s while {total:,} windows arrived for {len(fleet.names)} trainers")
    print(f"orphans older than {ORPHAN_S:g} s: {storm.orphans or 'none'}")
    print(f"windows lost or learned twice: {wrong or 'none'}")
    print(f"trainers with other weights than a calm run: {different or 'none'}")
    return 1 if wrong or different or storm.orphans else 0


if __name__ == "__main__":
    sys.exit(main())
