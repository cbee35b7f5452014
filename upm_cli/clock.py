"""Where time comes from. Nothing else in upm reads a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Time as a value that is handed in, so that fourteen days can pass in a test."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z (wall clock, may jump)."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""
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

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
