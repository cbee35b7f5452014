"""The success rate of adapter sync, and how agents of a directory are counted."""

from dataclasses import replace

import pytest

from upm_cli.core.delivery.agents import FORGOTTEN_MS, SILENT_MS, Word, count
from upm_cli.core.delivery.memo import Agents, remember
from upm_cli.core.delivery.pointer import Place
from upm_cli.core.delivery.rate import HOUR_MS, Tally, counted, hour_of, success_rate
from upm_cli.core.records import Adapter, Mode

NOW = 1_800_000_000_000
ROW = Adapter(adapter_key="edge", tenant_id="", trainer="main", kind="http", location="https://a", mode=Mode.SHADOW)


def test_rates_are_of_the_last_day_in_whole_hours() -> None:
    now = hour_of(NOW) + 60_000
    old = Tally(hour_ms=hour_of(now) - 24 * HOUR_MS, tries=50, tries_ok=0, ended=50, ended_ok=0)
    first = Tally(hour_ms=hour_of(now) - 23 * HOUR_MS, tries=300, tries_ok=200, ended=199, ended_ok=199)
    last = Tally(hour_ms=hour_of(now), tries=1, tries_ok=0, ended=1, ended_ok=0)
    found = success_rate([old, first, last], now)
    assert (found["value"], found["ok"], found["attempts"], found["met"]) == (0.995, 199, 200, True)
    assert found["tries"] == {"value": 200 / 301, "ok": 200, "attempts": 301}
    assert found["since_ms"] == first.hour_ms
    worse = success_rate([first, replace(last, ended=2)], now)
    assert (worse["value"], worse["met"]) == (199 / 201, False)


def test_without_deliveries_there_is_no_rate() -> None:
    found = success_rate([], NOW)
    assert (found["value"], found["met"], found["attempts"], found["tries"]["value"]) == (None, None, 0, None)


@pytest.mark.parametrize(
    ("before", "after", "ok", "expected"),
    [
        (None, None, False, (1, 0, 0, 0)),  # it waits for its next try
        (None, Place(1, 1), True, (1, 1, 1, 1)),
        (None, Place(1, 1), False, (1, 0, 1, 0)),  # given up
        (Place(1, 1), Place(1, 1), True, (1, 1, 0, 0)),  # confirmed after it was given up
        (Place(1, 1), Place(1, 2), True, (1, 1, 1, 1)),  # the next pointer
    ],
)
def test_a_pointer_counts_when_it_first_ends(
    before: Place | None, after: Place | None, ok: bool, expected: tuple[int, ...]
) -> None:
    found = counted(remember(ROW, ended=before), remember(ROW, ended=after), ok=ok, at_ms=NOW)
    assert (found.tries, found.tries_ok, found.ended, found.ended_ok) == expected
    assert found.hour_ms == hour_of(NOW)


def test_agents_are_on_it_behind_or_silent_and_forgotten_in_the_end() -> None:
    words = [
        Word(digest="a", at_ms=NOW),
        Word(digest="a", at_ms=NOW - SILENT_MS + 1),
        Word(digest="b", at_ms=NOW),
        Word(digest="a", at_ms=NOW - SILENT_MS),
        Word(digest="a", at_ms=NOW - FORGOTTEN_MS),
    ]
    assert count(words, "a", NOW) == Agents(on=2, behind=1, stale=1)
    assert count(words, None, NOW) == Agents(on=0, behind=3, stale=1)
    assert count(words[-1:], "a", NOW) is None
    assert count([], "a", NOW) is None
