"""Freeze windows: when nothing may be exposed further. All times are UTC.

2026-12-20..2027-01-05                 from the first day to the end of the last
2026-12-20 18:00..2026-12-27 06:00     from one minute to another
fri 16:00..mon 08:00                   every week
22:00..06:00                           every day
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS
_MONDAY_MS: Final = 4 * DAY_MS  # 1970-01-05 was a Monday
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DATE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ t](\d{1,2}:\d{2})z?)?")
_WEEKLY: Final = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)(?:[a-z]*day)? (\d{1,2}:\d{2})")
_DAILY: Final = re.compile(r"(\d{1,2}:\d{2})")
_EXAMPLES: Final = "write 2026-12-20..2027-01-05, fri 16:00..mon 08:00 or 22:00..06:00 (UTC)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow:
    """One window: once from `start_ms` to `end_ms` (exclusive), or again every `period_ms` since 1970."""

    text: str
    start_ms: int
    end_ms: int
    period_ms: int = 0  # 0: once

    def until(self, now_ms: int) -> int | None:
        """Return when the window that is open at `now_ms` ends; None: it is not open."""
        if self.period_ms == 0:
            return self.end_ms if self.start_ms <= now_ms < self.end_ms else None
        since = (now_ms - self.start_ms) % self.period_ms
        length = self.end_ms - self.start_ms
        return now_ms - since + length if since < length else None


def parse_window(text: str) -> FreezeWindow:
    """Return the freeze window that `text` describes; raises ValueError saying what is wrong with it."""
    words = " ".join(text.lower().split())
    first, dots, last = (part.strip() for part in words.partition(".."))
    if not dots:
        raise ValueError(f"{text!r} has no '..' between its start and its end; {_EXAMPLES}")
    if (begin := _DATE.fullmatch(first)) and (end := _DATE.fullmatch(last)):
        start_ms = _instant(text, begin[1], begin[2])
        end_ms = _instant(text, end[1], end[2]) + (0 if end[2] else DAY_MS)
        if end_ms <= start_ms:
            raise ValueError(f"{text!r} ends before it starts")
        return FreezeWindow(text=text, start_ms=start_ms, end_ms=end_ms)
    if (begin := _WEEKLY.fullmatch(first)) and (end := _WEEKLY.fullmatch(last)):
        return _again(text, _in_week(text, begin), _in_week(text, end), WEEK_MS, _MONDAY_MS)
    if (begin := _DAILY.fullmatch(first)) and (end := _DAILY.fullmatch(last)):
        return _again(text, _minute(text, begin[1]), _minute(text, end[1]), DAY_MS, 0)
    raise ValueError(f"{text!r} is not a freeze window; {_EXAMPLES}")


def _again(text: str, start: int, end: int, period: int, origin: int) -> FreezeWindow:
    length = (end - start) % period
    if length == 0:
        raise ValueError(f"{text!r} starts and ends at the same time")
    return FreezeWindow(text=text, start_ms=origin + start, end_ms=origin + start + length, period_ms=period)


def _in_week(text: str, found: re.Match[str]) -> int:
    return _DAYS.index(found[1]) * DAY_MS + _minute(text, found[2])


def _minute(text: str, clock: str) -> int:
    hours, minutes = map(int, clock.split(":"))
    if minutes > 59 or hours > 24 or (hours == 24 and minutes):
        raise ValueError(f"{clock} in {text!r} is not a time of day (00:00 to 24:00)")
    return (hours * 60 + minutes) * MINUTE_MS


def _instant(text: str, day: str, clock: str | None) -> int:
    try:
        at = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
    except ValueError as exc:
        raise ValueError(f"{day} in {text!r} is not a date: {exc}") from exc
    return int(at.timestamp()) * 1000 + (_minute(text, clock) if clock else 0)


def frozen_until(windows: Iterable[FreezeWindow], now_ms: int) -> int | None:
    """Return when the freeze that is open at `now_ms` ends, through windows that follow on each other.

    None: nothing is frozen. A freeze without an end is said to end a year from now, at the earliest.
    """
    every, at = tuple(windows), now_ms
    while at < now_ms + 366 * DAY_MS:
        ends = [end for window in every if (end := window.until(at)) is not None]
        if not ends:
            break
        at = max(ends)
    return at if at > now_ms else None


def frozen(windows: Iterable[FreezeWindow], now_ms: int) -> str | None:
    """Say which window is open at `now_ms` and until when; None: nothing is frozen."""
    every = tuple(windows)
    until = frozen_until(every, now_ms)
    if until is None:
        return None
    open_now = next(window.text for window in every if window.until(now_ms) is not None)
    end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=until)
    return f"{open_now}, until {end:%Y-%m-%d %H:%M} UTC"
