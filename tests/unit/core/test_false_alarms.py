"""The budget of false alarms: what people write, and what it leaves for each look."""

import pytest

from upm_cli.core.judging.false_alarms import FalseAlarmBudget

HOUR, DAY = 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("text", "alarms", "per_ms", "shown"),
    [
        ("1 per 90d", 1.0, 90 * DAY, "1 per 90d"),
        (" 2 per 1w ", 2.0, 7 * DAY, "2 per 1w"),
        ("0.5 PER 12 h", 0.5, 12 * HOUR, "0.5 per 12h"),
        ("3 per 90m", 3.0, 1.5 * HOUR, "3 per 90m"),
        ("1 per 14d", 1.0, 14 * DAY, "1 per 2w"),
    ],
)
def test_a_budget_is_read_and_written_back(text: str, alarms: float, per_ms: float, shown: str) -> None:
    budget = FalseAlarmBudget.parse(text)
    assert (budget.alarms, budget.per_ms, str(budget)) == (alarms, per_ms, shown)
    assert FalseAlarmBudget.parse(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "1", "one per 90d", "1 per d", "-1 per 90d", "1/90d", "1 per 90y", "1e3 per 9d"])
def test_what_is_no_budget_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write it like '1 per 90d'"):
        FalseAlarmBudget.parse(text)


@pytest.mark.parametrize("text", ["0 per 90d", "1 per 0d", "1 per 59m"])
def test_a_budget_of_nothing_or_in_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="above 0 and a time of at least 1h"):
        FalseAlarmBudget.parse(text)


def test_the_looks_of_the_whole_time_spend_the_budget_exactly() -> None:
    budget = FalseAlarmBudget.parse("1 per 90d")
    assert budget.per_look(HOUR) * 90 * 24 == pytest.approx(1)
    assert budget.looks(HOUR) == pytest.approx(90 * 24)
    half = budget.share(0.5)
    assert half.per_look(HOUR) * 90 * 24 == pytest.approx(0.5)
    assert half.looks(HOUR) == pytest.approx(2 * 90 * 24)


def test_a_generous_budget_still_tests_at_five_percent() -> None:
    budget = FalseAlarmBudget.parse("100 per 1h")
    assert budget.per_look(HOUR) == 0.05
    assert budget.looks(HOUR) == 1
    for part in (0.0, -1.0, 1.5):
        with pytest.raises(ValueError, match="above 0 and is at most 1"):
            budget.share(part)
