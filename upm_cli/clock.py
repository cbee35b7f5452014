"""Where time comes from. Nothing else in upm reads a clock."""

import os
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Time as a value that is handed in, so that fourteen days can pass in a test."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z (wall clock, may jump)."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""
        ...

    def era(self) -> str:
        """Return the boot that `monotonic_s` belongs to: seconds of different eras can't be compared."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def era(self) -> str:
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:  # not Linux: every process is an era of its own, so that less time counts, never more
            return f"process-{os.getpid()}"

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that stands still until it is moved: for rehearsals and tests."""

    def __init__(self, now_ms: int = 0, monotonic_s: float = 0.0, era: str = "manual") -> None:
        self._now_ms, self._monotonic_s, self._era = now_ms, monotonic_s, era

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def era(self) -> str:
        return self._era

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, on both clocks."""
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or a time server does; no time passes."""
        self._now_ms += round(seconds * 1000)

    def reboot(self, down_s: float = 0.0) -> None:
        """Let the machine be off for `down_s` and start a new era."""
        self._now_ms += round(down_s * 1000)
        self._monotonic_s, self._era = 0.0, f"{self._era}'"
