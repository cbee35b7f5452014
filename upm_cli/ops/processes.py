"""What processes of this machine use, as the kernel tells it; nothing where there is no /proc."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_UTIME, _STIME, _START, _RSS = 11, 12, 19, 21  # of /proc/PID/stat, counted after the name in brackets


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process has used so far. `started_s` tells it from another one that got the same number later."""

    cpu_s: float
    rss_bytes: int
    started_s: float


def usage(pid: int) -> Usage | None:
    """Return what the process `pid` uses; None: there is none, or nobody can say."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
        ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        fields = text.rpartition(")")[2].split()
        return Usage(
            cpu_s=(int(fields[_UTIME]) + int(fields[_STIME])) / ticks,
            rss_bytes=int(fields[_RSS]) * page,
            started_s=int(fields[_START]) / ticks,
        )
    except (OSError, ValueError, IndexError):
        return None
