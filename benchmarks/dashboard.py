"""How fast the dashboard is: first frame, keys while two trainers saturate the cores, and what it costs when idle.

    python benchmarks/dashboard.py [--runs 7] [--keys 150] [--idle-s 20]

It runs `upm tui` as a user does, on a pseudo-terminal of 120x36, and looks at the bytes that come out: the first frame
is there when the line of keys is, a key is answered when the screen it leads to is named. Goals: first frame within
1.0 s of starting the process (idle machine), 95 of 100 keys within 50 ms under load, 3 % of a core when idle.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from upm_cli.sources.synthetic import TriageSpec, lines

SIZE = (120, 36)
START_MS = 1_767_571_200_000
FIRST = date(2026, 1, 5)
SCREENS = {
    "2": "Snapshots",
    "3": "Drift",
    "4": "Rollout",
    "5": "Agents",
    "6": "Events",
    "7": "Workers",
    "1": "Overview",
}
CONFIG = "supervisor: {default_trainers: [{name: alpha, mode: active}, {name: beta, mode: shadow}]}\n"
UPM = [sys.executable, "-m", "upm_cli"]


class Screen:
    """A dashboard on a pseudo-terminal: what it writes, and when."""

    def __init__(self, folder: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.started_s = time.perf_counter()
        self.process = subprocess.Popen(
            [*UPM, "tui", "-C", str(folder)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = b""

    def wait_for(self, text: str, seconds: float = 60) -> float:
        """Return when `text` was written; what came before it is forgotten."""
        wanted, until = text.encode(), time.perf_counter() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, until - time.perf_counter()))
            if not ready:
                raise SystemExit(f"{text!r} did not appear within {seconds:.0f} s")
            self.seen += os.read(self._master, 65_536)
        at_s = time.perf_counter()
        self.seen = self.seen.partition(wanted)[2]
        return at_s

    def drain(self, seconds: float) -> None:
        """Read what comes for `seconds`, and forget it."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            if select.select([self._master], [], [], left)[0]:
                os.read(self._master, 65_536)
        self.seen = b""

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):
            self.drain(0.2)
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def project(folder: Path, days: int) -> None:
    """Make a project of two trainers, and for each some windows and a file of many days of them."""
    subprocess.run([*UPM, "init", str(folder), "-q"], check=True, stdout=subprocess.DEVNULL)
    (folder / "upm.yaml").write_text(CONFIG)
    spec = TriageSpec(messages=28_800, start_ms=START_MS, spacing_ms=3000)
    day = list(lines(spec, np.random.default_rng(1)))
    (folder / "some.jsonl").write_bytes(b"".join(day[:3000]))
    text = b"".join(day)
    for name in ("alpha", "beta"):
        with (folder / f"{name}.jsonl").open("wb") as file:
            for n in range(1, days + 1):
                day_n = (FIRST + timedelta(days=n)).isoformat().encode()
                file.write(text.replace(FIRST.isoformat().encode(), day_n).replace(b'"mail-', b'"mail-%d-' % n))
        learn = [*UPM, "train", name, "--source", str(folder / "some.jsonl"), "-q", "-C", str(folder)]
        subprocess.run(learn, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def training(folder: Path) -> Iterator[None]:
    """Let both trainers learn their days as fast as they can."""
    workers = [
        subprocess.Popen(
            [*UPM, "train", name, "--source", str(folder / f"{name}.jsonl"), "-q", "-C", str(folder), "--follow"],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in ("alpha", "beta")
    ]
    try:
        yield
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def first_frames(folder: Path, runs: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds from the start of the process to the first frame and to the first numbers, and its CPU so far."""
    frames, numbers, cpu = [], [], []
    for _ in range(runs):
        screen = Screen(folder)
        try:
            frames.append(screen.wait_for("Help") - screen.started_s)
            cpu.append(screen.cpu_s())
            numbers.append(screen.wait_for("alpha") - screen.started_s)
        finally:
            screen.close()
    return frames, numbers, cpu


def keys(screen: Screen, count: int) -> list[float]:
    """Return seconds from each key to the frame that answers it; the first round, which makes screens, included."""
    took = []
    sequence = list(SCREENS.items())
    for n in range(count):
        key, name = sequence[n % len(sequence)]
        screen.drain(0.12 + 0.013 * (n % 11))
        before = time.perf_counter()
        screen.press(key)
        took.append(screen.wait_for(name) - before)
    return took


def cursor(screen: Screen, count: int) -> list[float]:
    """Return seconds from a cursor key on the overview to the next bytes."""
    took = []
    for n in range(count):
        screen.drain(0.08 + 0.017 * (n % 9))
        before = time.perf_counter()
        screen.press("j" if n % 2 == 0 else "k")
        screen.wait_for("\x1b[")
        took.append(time.perf_counter() - before)
    return took


def quantiles(values: list[float]) -> str:
    """Return median, 95th percentile and the worst, in milliseconds."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return (
        f"median {1000 * statistics.median(ordered):.0f} ms  p95 {1000 * p95:.0f} ms  worst {1000 * ordered[-1]:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--keys", type=int, default=150)
    parser.add_argument("--idle-s", type=float, default=20.0)
    parser.add_argument("--days", type=int, default=20, help="of windows for each trainer to learn meanwhile")
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "shop"
        project(folder, options.days)
        frames, numbers, cpu = first_frames(folder, options.runs)
        print(f"first frame    {quantiles(frames)}  (goal 1000 ms when idle)")
        print(f"  its CPU      {quantiles(cpu)}")
        print(f"first numbers  {quantiles(numbers)}", flush=True)
        screen = Screen(folder)
        try:
            screen.wait_for("alpha")
            screen.drain(3)
            before, at_s = screen.cpu_s(), time.perf_counter()
            screen.drain(options.idle_s)
            share = (screen.cpu_s() - before) / (time.perf_counter() - at_s)
            print(f"idle           {100 * share:.1f} % of a core  (goal 3 %)", flush=True)
            with training(folder):
                screen.drain(6)
                print(f"load now: {os.getloadavg()[0]:.1f}")
                print(f"screen keys    {quantiles(keys(screen, options.keys))}  (goal p95 50 ms)", flush=True)
                screen.press("1")
                screen.wait_for("Overview")
                print(f"cursor keys    {quantiles(cursor(screen, options.keys))}  (goal p95 50 ms)", flush=True)
        finally:
            screen.close()


if __name__ == "__main__":
    main()
