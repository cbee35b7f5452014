"""Instants as text or integers → Unix milliseconds."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from upm_cli.sources.refusal import Refusal

MIN_MS: Final = -62_135_596_800_000  # 0001-01-01T00:00:00Z
MAX_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
_ISO: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(?:[.,](\d{1,9}))?([Zz]|[+-]\d{2}:?\d{2})?", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def parse_time(value: object, key: str) -> int:
    """Return the instant `value` in Unix milliseconds.

    Text is RFC 3339 or the same without seconds, offset (then UTC) or colon in the offset; digits past the
    millisecond are cut off. Integers are milliseconds. Raises Refusal otherwise.
    """
    if type(value) is int:
        if not MIN_MS <= value <= MAX_MS:
            raise Refusal(f"{key} is not between the years 1 and 9999: {value}")
        return value
    if type(value) is not str:
        raise Refusal(f"{key} is neither ISO 8601 text nor integer milliseconds")
    try:
        return _parse_text(value)
    except ValueError as exc:
        raise Refusal(f"{key} is {exc}: {value[:40]!r}") from exc


@lru_cache(maxsize=1024)  # the end of one window is often the start of the next
def _parse_text(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 time")
    day, minute, second, fraction, zone = match.groups()
    if fraction and not second:
        raise ValueError("not an ISO 8601 time")
    try:
        instant = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{_offset(zone)}")
    except ValueError as exc:
        raise ValueError("no such day or time") from exc
    ms = (instant - _EPOCH) // _MILLISECOND + int((fraction or "0")[:3].ljust(3, "0"))
    if not MIN_MS <= ms <= MAX_MS:
        raise ValueError("not between the years 1 and 9999")
    return ms


def _offset(zone: str | None) -> str:
    return zone if zone and zone not in "Zz" else "+00:00"
