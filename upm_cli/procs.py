"""What the kernel says of a process: when it began, whether it still runs, its memory and its time on the processor.

From /proc, which Linux has; elsewhere nothing is known, and a process number alone is trusted by nobody here.
"""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_GONE: Final = ("Z", "X", "x")
#: The environment of our own processes: one thread for linear algebra. The order of summation is part of the promise
#: that bytes repeat; and OpenBLAS starts its threads, one for each core, whether or not anything is ever multiplied.
#: Arrow comes with an allocator that nobody asked for, and a thread of its own behind it.
ONE_THREAD: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One process as it is now. `started` is in ticks since the boot: with the pid it names one process for good."""

    pid: int
    started: int
    rss_bytes: int
    cpu_s: float  # of all its threads, since it began


def facts(pid: int) -> Facts | None:
    """Return what is known of the process `pid`; None when it is gone (or only waits to be reaped), or not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    words = text.rpartition(")")[2].split()
    if len(words) < 22 or words[0] in _GONE:
        return None
    return Facts(
        pid=pid,
        started=int(words[19]),
        rss_bytes=int(words[21]) * _PAGE_BYTES,
        cpu_s=(int(words[11]) + int(words[12])) / _TICKS_A_SECOND,
    )


def started(pid: int) -> int:
    """Return when the process `pid` began, in ticks since the boot; 0 when that is not known."""
    found = facts(pid)
    return found.started if found else 0


def is_same(pid: int, began: int) -> bool:
    """Say whether `pid` is still the process that began at `began` ticks: numbers are given to others later."""
    return bool(began) and started(pid) == began


def send(pid: int, began: int, number: int) -> bool:
    """Send a signal to the process `pid` that began at `began` ticks; return whether it was there and let us.

    It is held by a descriptor while it is looked at, so that nobody else can get its number in between.
    """
    try:
        handle = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return False
    try:
        if not is_same(pid, began):
            return False
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, number)
            return True
        return False
    finally:
        os.close(handle)
