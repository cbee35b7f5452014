"""Times as people type them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from upm_cli.commands._times import moment_ms
from upm_cli.errors import UsageError

NOW = datetime(2026, 11, 23, 12, 30, 15, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


@pytest.fixture(autouse=True)
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")  # 5 hours behind UTC in November
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", NOW),
        ("2h", datetime(2026, 11, 23, 10, 30, 15, tzinfo=UTC)),
        ("2h ago", datetime(2026, 11, 23, 10, 30, 15, tzinfo=UTC)),
        (" 90M ", datetime(2026, 11, 23, 11, 0, 15, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 16, 12, 30, 15, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC)),
        ("yesterday 14:00", datetime(2026, 11, 22, 19, 0, tzinfo=UTC)),
        ("today", datetime(2026, 11, 23, 5, 0, tzinfo=UTC)),
        ("today 6:15", datetime(2026, 11, 23, 11, 15, tzinfo=UTC)),
        ("07:30", datetime(2026, 11, 23, 12, 30, tzinfo=UTC)),
        ("2026-11-23T12:00Z", datetime(2026, 11, 23, 12, 0, tzinfo=UTC)),
        ("2026-11-23T07:00", datetime(2026, 11, 23, 12, 0, tzinfo=UTC)),
        ("2026-11-23T13:00+01:00", datetime(2026, 11, 23, 12, 0, tzinfo=UTC)),
        ("100000d", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_it_is_meant(text: str, meant: datetime) -> None:
    assert moment_ms(text, NOW_MS, "TIME") == int(meant.timestamp() * 1000)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "7:99", "2026-13-01", "yesterday2h", "0001-01-01", "@2h"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is no time") as refused:
        moment_ms(text, NOW_MS, "TIME")
    assert refused.value.code == "UPM-E029"


@pytest.mark.parametrize("text", ["2026-11-23T12:31Z", "2100-01-01", "today 07:31", "23:59"])
def test_what_is_yet_to_come_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is yet to come"):
        moment_ms(text, NOW_MS, "TIME")
