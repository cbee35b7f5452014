"""The common fixed-width forms of an instant → Unix milliseconds, many at a time."""

from functools import cache
from typing import Final

import numpy as np

from upm_cli.core.hashing import IntArray, U64Array
from upm_cli.core.window import I64Array
from upm_cli.sources.block import Block, BoolArray

FORMS: Final = {
    len(form): form
    for form in (
        b"dddd-dd-ddTdd:dd:dd",
        b"dddd-dd-ddTdd:dd:ddZ",
        b"dddd-dd-ddTdd:dd:dd.dddZ",
        b"dddd-dd-ddTdd:dd:dd+00:00",
        b"dddd-dd-ddTdd:dd:dd.ddddddZ",
        b"dddd-dd-ddTdd:dd:dd.ddd+00:00",
        b"dddd-dd-ddTdd:dd:dd.dddddd+00:00",
    )
}
_WIDTH: Final = 32
_NIBBLES: Final = np.uint64(0xF0F0F0F0F0F0F0F0)
_DAYS_IN_MONTH: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 243, np.int64)
_DAYS_BEFORE_MONTH: Final = np.cumsum(_DAYS_IN_MONTH) - _DAYS_IN_MONTH
_YEARS: Final = np.arange(10_000)
_IS_LEAP: Final = ((_YEARS % 4 == 0) & (_YEARS % 100 != 0) | (_YEARS % 400 == 0)).astype(np.int64)
_DAYS_BEFORE_YEAR: Final = np.cumsum(365 + _IS_LEAP) - (365 + _IS_LEAP) - 719_528  # days from 1970-01-01


def parse_instants(block: Block, start: IntArray, end: IntArray) -> tuple[I64Array, BoolArray]:
    """Read the instants in the text from `start` to `end`, both (n,); return milliseconds and which are good.

    Only the forms above are taken, and only days and times that exist; anything else is left to the strict decoder.
    """
    length = end - start
    first = int(length[0]) if length.size else 0
    if first in FORMS and (length == first).all():
        return _parse_form(block, start, first)
    ms, good = np.zeros(start.size, np.int64), np.zeros(start.size, bool)
    for size in FORMS:
        rows = np.flatnonzero(length == size)
        if rows.size:
            ms[rows], good[rows] = _parse_form(block, start[rows], size)
    return ms, good


def _parse_form(block: Block, start: IntArray, size: int) -> tuple[I64Array, BoolArray]:
    pattern, limit = _compile(size)
    words = block.loads(_WIDTH)[start].view(np.uint64).reshape(-1, 4)[:, : pattern.size]
    x = words ^ pattern  # digits become their value, all other bytes zero
    if size % 8:
        x[:, -1] &= np.uint64((1 << 8 * (size % 8)) - 1)
    wrong = x + limit
    wrong |= x
    wrong &= _NIBBLES
    good: BoolArray = np.logical_not(wrong.any(axis=1)) if wrong.any() else np.ones(start.size, bool)
    pairs = x[:, :3] * np.uint64(10)
    pairs += x[:, :3] >> np.uint64(8)  # two digits at every byte that begins a pair
    days = _days(pairs[:, 0], pairs[:, 1] & np.uint64(0xFF), good)
    clock, rest = pairs[:, 1], pairs[:, 2]
    hour, minute, second = _byte(clock, 3), _byte(clock, 6), _byte(rest, 1)
    good &= (hour < 24) & (minute < 60) & (second < 60)
    hour *= 3_600_000
    minute *= 60_000
    second *= 1000
    ms = hour
    ms += minute
    ms += second
    ms += days * 86_400_000
    if b"." in FORMS[size]:
        ms += _byte(rest, 4) * 10 + _byte(x[:, 2], 6)
    return ms, good


def _days(date: U64Array, day: U64Array, good: BoolArray) -> I64Array:
    """Return days since 1970 of "YYYY-MM-" in `date` and the day of the month; worked out once if all are the same."""
    if (date == date[0]).all() and (day == day[0]).all():
        alike = np.ones(1, bool)
        days = _days_of_each(date[:1], day[:1], alike)
        good &= alike
        return days
    return _days_of_each(date, day, good)


def _days_of_each(date: U64Array, day_bits: U64Array, good: BoolArray) -> I64Array:
    year = np.minimum(_byte(date, 0) * 100 + _byte(date, 2), 9999)
    month, day = _byte(date, 5), day_bits.view(np.int64)
    leap = _IS_LEAP.take(year)
    good &= (day >= 1) & (day <= _DAYS_IN_MONTH.take(month) + leap * (month == 2)) & (year >= 1)
    days: I64Array = _DAYS_BEFORE_YEAR.take(year) + _DAYS_BEFORE_MONTH.take(month) + leap * (month > 2) + day - 1
    return days


def _byte(words: U64Array, at: int) -> I64Array:
    bits = words >> np.uint64(8 * at)
    bits &= np.uint64(0xFF)
    return bits.view(np.int64)


@cache
def _compile(size: int) -> tuple[U64Array, U64Array]:
    """Return per word what to xor with, and what lifts a byte that is no digit, or not the fixed one, to 16."""
    form = FORMS[size]
    padded = form + bytes(-size % 8)
    pattern = np.frombuffer(padded.replace(b"d", b"0"), np.uint64)
    limit = np.frombuffer(bytes(6 if byte == ord("d") else 15 for byte in padded), np.uint64)
    return pattern, limit
