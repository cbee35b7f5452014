"""Run a command as a process of its own and account for all of it: CPU of every descendant, wall time, peak memory."""

import contextlib
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY_S = 0.1
_UNUSUAL = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run. `cpu_s` is user + system time of the process and all descendants it waited for.

    `largest_mib` is the peak resident set of the largest process (the kernel's figure); `together_mib` is the highest
    sampled sum of the proportional set sizes of all its processes (shared pages counted once).
    """

    cpu_s: float
    wall_s: float
    largest_mib: float
    together_mib: float
    stdout: str
    stderr: str


class CommandError(RuntimeError):
    """The measured command ended with another code than 0."""


def run(command: Sequence[str]) -> Run:
    """Run `command` with no standard input and return what it cost.

    Python may keep compiled modules and buffer its output, as it does for users, whatever this shell says. Raises
    CommandError with the end of the command's standard error.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _UNUSUAL}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        child = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        sampler = _Sampler(child.pid)
        sampler.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - begun
        child.returncode = os.waitstatus_to_exitcode(status)
        sampler.stop()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if child.returncode:
        raise CommandError(f"{' '.join(command)[:200]} ended with {child.returncode}:\n{texts[1][-2000:]}")
    return Run(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024, sampler.peak_mib, *texts)


def take_turns(contenders: Sequence[Callable[[], Run]], rounds: int) -> list[list[Run]]:
    """Run the contenders A B C A B C … for `rounds` rounds; return each one's runs."""
    runs: list[list[Run]] = [[] for _ in contenders]
    for _ in range(rounds):
        for mine, contender in zip(runs, contenders, strict=True):
            mine.append(contender())
    return runs


def median(runs: Iterable[Run], figure: str) -> float:
    return float(statistics.median(getattr(each, figure) for each in runs))


def median_ratio(ours: Sequence[Run], theirs: Sequence[Run], figure: str) -> float:
    """Return the median over the rounds of theirs/ours: above 1, ours is the cheaper one."""
    pairs = zip(ours, theirs, strict=True)
    return float(statistics.median(getattr(b, figure) / getattr(a, figure) for a, b in pairs))


class _Sampler(threading.Thread):
    """Watches the memory of a process and its descendants until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._pid = pid
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(SAMPLE_EVERY_S):
            self.peak_mib = max(self.peak_mib, sum(map(_pss_mib, _family(self._pid))))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _family(pid: int) -> list[int]:
    """Return `pid` and its living descendants."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _pss_mib(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
