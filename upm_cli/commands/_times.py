"""Instants as people type them."""

from datetime import datetime

from upm_cli.commands._context import duration_s
from upm_cli.errors import UsageError


def is_duration(text: str) -> bool:
    """Whether `text` is to be read as a duration ("24h"); otherwise it is an instant ("2026-11-23T12:00Z")."""
    return not (text[:4].isdigit() and "-" in text)


def instant_ms(text: str, option: str) -> int:
    """Return the Unix milliseconds of an ISO 8601 instant; without a zone it is local time. Raises UsageError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UsageError(
            f"{option} {text!r} is no time", hint="write 24h, 7d, or 2026-11-23T12:00Z", code="UPM-E029"
        ) from exc
    return int(at.astimezone().timestamp() * 1000)


def since_ms(text: str, now_ms: int) -> int:
    """Return the instant that `--since` means: so long before `now_ms`, or a given one; 1970 at the earliest.

    Raises UsageError.
    """
    if not is_duration(text):
        return max(0, instant_ms(text, "--since"))
    return max(0, now_ms - int(duration_s(text, "--since") * 1000))
