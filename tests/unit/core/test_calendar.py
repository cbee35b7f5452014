from datetime import UTC, datetime

import pytest

from upm_cli.core.rollouts.calendar import frozen, frozen_until, parse_window


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "inside", "outside", "end"),
    [
        ("2026-12-20..2027-01-05", "2027-01-05 23:59:59", "2027-01-06 00:00", "2027-01-06 00:00"),
        ("2026-12-20..2027-01-05", "2026-12-20 00:00", "2026-12-19 23:59:59", "2027-01-06 00:00"),
        ("2026-12-20 18:00..2026-12-27 06:00", "2026-12-27 05:59", "2026-12-27 06:00", "2026-12-27 06:00"),
        ("2026-12-20T18:00Z..2026-12-27", "2026-12-27 23:00", "2026-12-20 17:59", "2026-12-28 00:00"),
        ("fri 16:00..mon 08:00", "2026-11-28 12:00", "2026-11-30 08:00", "2026-11-30 08:00"),  # a Saturday
        ("Friday 16:00 .. Monday 8:00", "2026-11-27 16:00", "2026-11-27 15:59", "2026-11-30 08:00"),
        ("22:00..06:00", "2026-11-23 23:00", "2026-11-23 06:00", "2026-11-24 06:00"),
        ("22:00..06:00", "2026-11-23 05:59", "2026-11-23 21:59", "2026-11-23 06:00"),
        ("mon 00:00..mon 24:00", "2026-11-23 23:59", "2026-11-24 00:00", "2026-11-24 00:00"),
    ],
)
def test_a_window_is_open_from_its_start_to_its_end(window: str, inside: str, outside: str, end: str) -> None:
    parsed = parse_window(window)
    assert frozen_until([parsed], ms(inside)) == ms(end)
    assert frozen_until([parsed], ms(outside)) is None


def test_weekly_windows_hold_before_1970_and_in_every_week() -> None:
    weekend = parse_window("sat 00:00..sun 24:00")
    for day in range(3, 40):
        at = day * 86_400_000 - 40 * 86_400_000
        is_weekend = datetime.fromtimestamp(at / 1000, UTC).weekday() >= 5
        assert (frozen_until([weekend], at) is not None) == is_weekend


def test_windows_that_follow_on_each_other_are_one_freeze() -> None:
    windows = [
        parse_window(text) for text in ("2026-12-24..2026-12-26", "2026-12-20..2026-12-24", "fri 16:00..mon 08:00")
    ]
    assert frozen_until(windows, ms("2026-12-21 12:00")) == ms("2026-12-28 08:00")


def test_a_freeze_that_never_ends_is_told_to_end_far_away() -> None:
    windows = [parse_window("00:00..12:00"), parse_window("12:00..24:00")]
    now = ms("2026-11-23 10:00")
    until = frozen_until(windows, now)
    assert until is not None
    assert until - now >= 366 * 86_400_000


def test_a_freeze_says_which_window_and_until_when() -> None:
    windows = [parse_window("fri 16:00..mon 08:00")]
    assert frozen(windows, ms("2026-11-28 12:00")) == "fri 16:00..mon 08:00, until 2026-11-30 08:00 UTC"
    assert frozen(windows, ms("2026-11-25 12:00")) is None
    assert frozen([], 0) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("christmas", "has no '..'"),
        ("2026-12-20..friday", "is not a freeze window"),
        ("2027-01-05..2026-12-20", "ends before it starts"),
        ("2026-02-30..2026-03-02", "is not a date"),
        ("2026-02-20 25:00..2026-03-02", "is not a time of day"),
        ("22:00..22:00", "starts and ends at the same time"),
        ("fri 16:61..mon 08:00", "is not a time of day"),
        ("monkey 16:00..mon 08:00", "is not a freeze window"),
    ],
)
def test_what_is_no_window_is_said_so(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_window(text)
