"""Many trainers under one supervisor: what they cost together, how fast they learn, and how far the slowest lags.

    python benchmarks/many_trainers.py --trainers 200 --backlog 1600 --rate 4 --seconds 60

Every trainer has a stream of its own: a file with a backlog, to which `--rate` windows a second are appended later.
`upm up` is run as a user would run it. Printed are
    catch-up   windows learned a second, from the start of `upm up` until every backlog is learned
    live       windows learned a second while they arrive, and the lag of the slowest trainer: its age in seconds, from
               a window's arrival in the file to the commit that has learned it
    memory     the peak of all processes together: resident, and proportional (shared pages counted once)
    same       whether trainers picked at random have the weights of a calm run of their own, `upm train --once`
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from measure import _family, _pss_mib

from upm_cli.clock import SystemClock
from upm_cli.store import trainers
from upm_cli.store.session import Store

PYTHON = [sys.executable, "-m", "upm_cli"]
BATCH = 32
PATIENCE_S = 900.0


@dataclass(slots=True)
class Fleet:
    """The project and what has been written for each of its trainers."""

    folder: Path
    names: list[str]
    features: int
    written: dict[str, int] = field(default_factory=dict)
    arrivals: dict[str, deque[tuple[int, float]]] = field(default_factory=dict)  # (windows up to here, when)

    def write(self, name: str, count: int) -> None:
        """Append `count` windows to the file of a trainer."""
        first = self.written.get(name, 0)
        path = self.folder / "in" / f"{name}.jsonl"
        with path.open("a") as file:
            file.write("".join(_line(name, i, self.features) for i in range(first, first + count)))
        self.written[name] = first + count
        self.arrivals.setdefault(name, deque()).append((first + count, time.monotonic()))

    def lag_s(self, name: str, learned: int) -> float:
        """Return how long ago the oldest window arrived that should be learned by now and is not."""
        waiting = self.arrivals[name]
        due = self.written[name] // BATCH * BATCH  # the rest waits for its batch
        while waiting and (waiting[0][0] <= learned or learned >= due):
            waiting.popleft()
        return time.monotonic() - waiting[0][1] if waiting else 0.0


def _line(name: str, i: int, features: int) -> str:
    chance = np.random.default_rng([int(name[1:]), i])
    x = np.round(chance.normal(size=features), 4)
    start_ms = 1_767_225_600_000 + i * 1000
    window = {
        "window_id": f"{name}-{i}",
        "window_start": start_ms,
        "window_end": start_ms + 1000,
        "tenant_id": f"tenant-{i % 5}",
        "features": {f"f{k}": value for k, value in enumerate(x.tolist())} | {"kind": f"k{i % 7}"},
        "label": int(x[0] - x[1] + 0.3 * x[2] > 0),
    }
    return json.dumps(window) + "\n"


def make(folder: Path, count: int, features: int, workers: int | None) -> Fleet:
    """Make the project."""
    subprocess.run([*PYTHON, "init", str(folder)], check=True, capture_output=True)
    names = [f"t{number:03d}" for number in range(count)]
    listed = "\n".join(f"    - {{name: {name}, sources: [in/{name}.jsonl]}}" for name in names)
    most = "" if workers is None else f"  max_workers: {workers}\n"
    (folder / "upm.yaml").write_text(f"supervisor:\n{most}  stuck_ms: 300000\n  default_trainers:\n{listed}\n")
    (folder / "in").mkdir()
    return Fleet(folder, names, features)


def learned(store: Store) -> dict[str, int]:
    with store.read() as reader:
        return {trainer.name: trainer.trained for trainer in trainers.list_all(reader)}


@dataclass(slots=True)
class Peak:
    """The highest figures seen."""

    rss_mib: float = 0.0
    pss_mib: float = 0.0

    def look(self, pid: int) -> None:
        family = _family(pid)
        self.rss_mib = max(self.rss_mib, sum(map(_rss_mib, family)))
        self.pss_mib = max(self.pss_mib, sum(map(_pss_mib, family)))


def _rss_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and its descendants so far."""
    total = 0.0
    for each in _family(pid):
        try:
            words = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return total


def catch_up(fleet: Fleet, store: Store, pid: int, peak: Peak) -> tuple[float, float]:
    """Wait until every backlog is learned; return the seconds since now, and of processor time in all."""
    began, before = time.monotonic(), cpu_s(pid)
    while time.monotonic() - began < PATIENCE_S:
        done = learned(store)
        peak.look(pid)
        if all(done.get(name, 0) >= fleet.written[name] // BATCH * BATCH for name in fleet.names):
            return time.monotonic() - began, cpu_s(pid) - before
        time.sleep(1.0)
    behind = sorted(fleet.names, key=lambda name: done.get(name, 0))[:5]
    raise SystemExit(f"not caught up in {PATIENCE_S:.0f} s: {[(name, done.get(name, 0)) for name in behind]}")


def live(fleet: Fleet, store: Store, pid: int, peak: Peak, rate: float, seconds: float) -> dict[str, float]:
    """Append windows at `rate` to every file; return what was seen of the lag."""
    began = time.monotonic()
    before, cpu_before = sum(learned(store).values()), cpu_s(pid)
    for name in fleet.names:
        fleet.arrivals[name].clear()
    lags: list[float] = []
    debt = 0.0
    last = began
    while (now := time.monotonic()) - began < seconds:
        debt, last = debt + (now - last) * rate, now
        whole, debt = int(debt), debt - int(debt)
        if whole:
            for name in fleet.names:
                fleet.write(name, whole)
        done = learned(store)
        lags += [max(fleet.lag_s(name, done.get(name, 0)) for name in fleet.names)]
        peak.look(pid)
        time.sleep(max(0.0, 1.0 - (time.monotonic() - now)))
    elapsed = time.monotonic() - began
    after = sum(learned(store).values())
    return {
        "per_s": (after - before) / elapsed,
        "slowest_median_s": float(np.median(lags[len(lags) // 3 :])),
        "slowest_worst_s": max(lags),
        "cores": (cpu_s(pid) - cpu_before) / elapsed,
    }


def same_as_calm(
    fleet: Fleet, store: Store, names: list[str], scratch: Path, settings: Sequence[str] = ()
) -> list[str]:
    """Return those of `names` whose weights differ from a calm run over the same file."""
    with store.read() as reader:
        ours = {name: trainers.get(reader, name).weights_sha256 for name in names}
    different = []
    for name in names:
        folder = scratch / f"calm-{name}"
        subprocess.run([*PYTHON, "init", str(folder)], check=True, capture_output=True)
        source = str(fleet.folder / "in" / f"{name}.jsonl")
        command = [*PYTHON, "-C", str(folder), "train", "--source", source, "--once", "--json", *settings]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        if json.loads(ran.stdout)["weights_sha256"] != ours[name]:
            different.append(name)
    return different


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the supervisor is ended on every way out
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainers", type=int, default=200)
    parser.add_argument("--backlog", type=int, default=1600, help="windows of each trainer to begin with")
    parser.add_argument("--rate", type=float, default=4.0, help="windows a second for each trainer")
    parser.add_argument("--seconds", type=float, default=60.0, help="of arrival")
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--workers", type=int, help="supervisor.max_workers")
    parser.add_argument("--same", type=int, default=5, help="trainers to compare with a calm run")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = options.keep or Path(scratch)
        place.mkdir(exist_ok=True)
        return run(options, place)


def run(options: argparse.Namespace, place: Path) -> int:
    fleet = make(place / "project", options.trainers, options.features, options.workers)
    for name in fleet.names:
        fleet.write(name, options.backlog)
    store, peak = Store(fleet.folder / ".upm", SystemClock()), Peak()
    with (place / "stderr.txt").open("w") as said:
        up = subprocess.Popen([*PYTHON, "-C", str(fleet.folder), "up"], stderr=said, stdin=subprocess.DEVNULL)
        try:
            took_s, used_s = catch_up(fleet, store, up.pid, peak)
            total = options.trainers * options.backlog
            print(
                f"catch-up   {total:,} windows in {took_s:.1f} s: {total / took_s:,.0f} windows/s, "
                f"{total / used_s:,.0f} a second of processor time",
                flush=True,
            )
            seen = live(fleet, store, up.pid, peak, options.rate, options.seconds)
            print(
                f"live       {seen['per_s']:,.0f} windows/s of {options.rate * options.trainers:,.0f}, "
                f"slowest trainer {seen['slowest_median_s']:.1f} s behind (median), {seen['slowest_worst_s']:.1f} s "
                f"(worst), {seen['cores']:.2f} cores"
            )
            for name in fleet.names:
                fleet.write(name, -fleet.written[name] % BATCH)
            settle_s, _ = catch_up(fleet, store, up.pid, peak)
            print(f"settled    everything learned {settle_s:.1f} s after the last window")
            print(f"memory     peak {peak.rss_mib:,.0f} MiB resident, {peak.pss_mib:,.0f} MiB proportional", flush=True)
            idle = cpu_s(up.pid)
            time.sleep(10)
            print(f"idle       {(cpu_s(up.pid) - idle) / 10:.3f} cores")
            began = time.monotonic()
            up.send_signal(signal.SIGTERM)
            code = up.wait(120)
            print(f"stop       exit code {code} after {time.monotonic() - began:.1f} s")
        finally:
            if up.poll() is None:
                up.kill()
                up.wait()
    names = random.Random(1).sample(fleet.names, min(options.same, len(fleet.names)))
    different = same_as_calm(fleet, store, names, place)
    print(f"same       {len(names) - len(different)} of {len(names)} trainers have the weights of a calm run")
    return 1 if different or code != 143 else 0


if __name__ == "__main__":
    sys.exit(main())
