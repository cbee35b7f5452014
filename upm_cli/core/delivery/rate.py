"""The success rate of adapter sync, and how it is counted.

Two rates, over the same window of hours:

- **deliveries** (the service level, at least 99.5 %): each pointer counts once, when it first ends. It succeeded when
  its place confirmed it, it failed when its tries were used up or the place refused it for good. A pointer that was
  replaced before it ended does not count, nor does a second ending (given up, then confirmed after all).
- **tries**: each single try counts; it succeeded when the place confirmed the pointer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from upm_cli.core.records import Adapter
from upm_cli.ids import iso

SLO: Final = 0.995
HOUR_MS: Final = 3_600_000
WINDOW_MS: Final = 24 * HOUR_MS
KEPT_MS: Final = 30 * 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What ended within one hour."""

    hour_ms: int  # its beginning
    tries: int = 0
    tries_ok: int = 0
    ended: int = 0
    ended_ok: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            hour_ms=min(self.hour_ms, other.hour_ms),
            tries=self.tries + other.tries,
            tries_ok=self.tries_ok + other.tries_ok,
            ended=self.ended + other.ended,
            ended_ok=self.ended_ok + other.ended_ok,
        )


def hour_of(at_ms: int) -> int:
    """Return the beginning of the hour of `at_ms`."""
    return at_ms - at_ms % HOUR_MS


def counted(before: Adapter, after: Adapter, *, ok: bool, at_ms: int) -> Tally:
    """Return what one try counts for, which took `before` to `after`."""
    ended = after.metadata.get("ended") != before.metadata.get("ended")
    return Tally(hour_ms=hour_of(at_ms), tries=1, tries_ok=int(ok), ended=int(ended), ended_ok=int(ended and ok))


def success_rate(tallies: Iterable[Tally], now_ms: int) -> dict[str, Any]:
    """Return the rates of the last 24 hours (whole hours, the running one included) as plain values."""
    since_ms = hour_of(now_ms) - WINDOW_MS + HOUR_MS
    total = sum((each for each in tallies if each.hour_ms >= since_ms), Tally(hour_ms=since_ms))
    return {
        "value": _share(total.ended_ok, total.ended),
        "ok": total.ended_ok,
        "attempts": total.ended,
        "slo": SLO,
        "met": None if not total.ended else total.ended_ok >= SLO * total.ended,
        "since_ms": since_ms,
        "since": iso(since_ms),
        "tries": {"value": _share(total.tries_ok, total.tries), "ok": total.tries_ok, "attempts": total.tries},
    }


def _share(ok: int, of: int) -> float | None:
    return ok / of if of else None
