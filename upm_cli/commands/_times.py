"""Instants as people type them."""

import re
from datetime import datetime, time, timedelta
from typing import Final

from upm_cli.commands._context import duration_s
from upm_cli.errors import UsageError

_DAY: Final = re.compile(r"(now|today|yesterday)?\s*(?:(?<!\S)(\d{1,2}:\d{2}))?")

_TIMES: Final = "write 30m, 24h, 7d, or 2026-11-23T12:00Z"


def is_duration(text: str) -> bool:
    """Whether `text` is to be read as a duration ("24h"); otherwise it is an instant ("2026-11-23T12:00Z")."""
    return not (text[:4].isdigit() and "-" in text)


def instant_ms(text: str, option: str) -> int:
    """Return the Unix milliseconds of an ISO 8601 instant; without a zone it is local time. Raises UsageError."""
    try:
        at = datetime.fromisoformat(text)
        return int(at.astimezone().timestamp() * 1000)
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{option} {text!r} is no time", hint=_TIMES, code="UPM-E029") from exc


def since_ms(text: str, now_ms: int) -> int:
    """Return the instant that `--since` means: so long before `now_ms`, or a given one; 1970 at the earliest.

    Raises UsageError.
    """
    if not is_duration(text):
        return max(0, instant_ms(text, "--since"))
    try:
        return max(0, now_ms - int(duration_s(text, "--since") * 1000))
    except UsageError as exc:
        raise UsageError(f"--since {text!r} is no time", hint=_TIMES, code="UPM-E029") from exc


def moment_ms(text: str, now_ms: int, option: str) -> int:
    """Return the instant that `text` means: 2h (ago), now, yesterday (24 hours ago), yesterday 14:00, 14:00, ISO 8601.

    Times of day and instants without a zone are local. Raises UsageError for what is no time, or is yet to come.
    """
    words = text.strip().lower().removesuffix("ago").strip()
    day = _DAY.fullmatch(words) if words else None
    if day is not None:
        found = _of_day(day[1] or "today", day[2], now_ms, option, text)
    elif is_duration(words):
        found = now_ms - int(_ago_s(words, option, text) * 1000)
    else:
        found = instant_ms(text.strip(), option)
    if found > now_ms:
        raise UsageError(f"{option} {text!r} is yet to come", hint="name a time that has passed", code="UPM-E029")
    return max(0, found)


def _ago_s(words: str, option: str, text: str) -> float:
    try:
        return duration_s(words, option)
    except UsageError as exc:
        raise _no_time(option, text) from exc


def _no_time(option: str, text: str) -> UsageError:
    hint = "write 2h (ago), yesterday, 'yesterday 14:00', 14:00 or 2026-11-23T12:00Z"
    return UsageError(f"{option} {text!r} is no time", hint=hint, code="UPM-E029")


def _of_day(day: str, clock: str | None, now_ms: int, option: str, text: str) -> int:
    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    then = now - timedelta(days=1) if day == "yesterday" else now
    if clock is None:
        return int(then.timestamp() * 1000) if day != "today" else instant_ms(str(then.date()), option)
    try:
        at = time.fromisoformat(clock.zfill(5))
    except ValueError as exc:
        raise _no_time(option, text) from exc
    return int(datetime.combine(then.date(), at).astimezone().timestamp() * 1000)
