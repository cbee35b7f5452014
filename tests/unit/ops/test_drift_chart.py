"""The terminal chart says what the numbers say, in the width it was given."""

import pytest

from upm_cli.ops.report_chart import Bar, chart, number, round_up

HOUR = 3_600_000


def bars(*values: float | None) -> list[Bar]:
    return [Bar(i * HOUR, (i + 1) * HOUR, value) for i, value in enumerate(values)]


def label(at_ms: int) -> str:
    return f"{at_ms // HOUR}h"


def test_an_ascii_chart_of_three_windows_looks_like_this() -> None:
    assert chart(bars(0.1, 0.3, None), 0.2, label, width=21, height=6, ascii_only=True) == [
        " 0.30 |    *****     ",
        " 0.20 |----*---------",
        "      |    *         ",
        "      |*****         ",
        "      |              ",
        " 0.00 |         ?????",
        "      +--------------",
        "       0h          3h",
    ]


@pytest.mark.parametrize("width", [24, 40, 80, 120, 160])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_lines_fit_the_width_and_the_limit_has_its_own_dashed_row(width: int, ascii_only: bool) -> None:
    lines = chart(bars(0.1, 0.15, 0.25, None, 0.05), 0.2, label, width=width, height=9, ascii_only=ascii_only)
    assert len(lines) == 11
    assert max(map(len, lines)) <= width
    dash = "-" if ascii_only else "╌"
    assert [line.split()[0] for line in lines[:9] if dash in line] == ["0.20"]
    assert any("?" in line for line in lines)
    if ascii_only:
        assert "".join(lines).isascii()


def curve_rows(lines: list[str], blank: str = " -╌┤|?") -> list[int]:
    """Rows of the plot area, counted from the bottom, in which something is drawn."""
    area = [line.partition("┤")[2] for line in lines[:-2]]
    return [row for row, text in enumerate(reversed(area)) if any(char not in blank for char in text)]


@pytest.mark.parametrize(("value", "row"), [(0.0, 0), (0.1, 4), (0.19, 7), (0.25, 9), (0.249, 9)])
def test_a_flat_curve_lies_in_the_row_of_its_value(value: float, row: int) -> None:
    assert curve_rows(chart(bars(value, value), 0.2, label, width=60, height=10)) == [row]


def test_unknown_windows_draw_no_curve() -> None:
    assert curve_rows(chart(bars(None, None), 0.2, label, width=60, height=10)) == []


def test_one_bad_window_among_thousands_is_still_seen() -> None:
    values = [0.05] * 5000
    values[2500] = 0.9
    lines = chart(bars(*values), 0.2, label, width=60, height=10)
    assert max(curve_rows(lines)) == 9


def test_only_what_reaches_the_limit_is_dressed() -> None:
    lines = chart(bars(0.1, 0.25, 0.1, 0.19), 0.2, label, width=60, height=10, over=lambda text: f"<{text}>")
    plain = chart(bars(0.1, 0.25, 0.1, 0.19), 0.2, label, width=60, height=10)
    assert [line.replace("<", "").replace(">", "") for line in lines] == plain
    dressed = [row for row, line in enumerate(reversed(lines[:-2])) if "<" in line]
    assert dressed
    assert min(dressed) >= 8, "the row of the limit"
    assert chart(bars(0.1, 0.19), 0.2, label, over=lambda text: f"<{text}>") == chart(bars(0.1, 0.19), 0.2, label)


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.25, 0.25), (0.251, 0.255), (0.0123, 0.0125), (1.0, 1.0), (31.25, 31.5), (12_345, 12_500)]
)
def test_the_top_of_an_axis_is_a_short_number_not_below_the_value(value: float, rounded: float) -> None:
    assert round_up(value) == pytest.approx(rounded)


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "0.20"), (0, "0.00"), (0.015, "0.015"), (25, "25"), (31.5, "31.5"), (1.5, "1.50")]
)
def test_numbers_on_an_axis_are_short(value: float, text: str) -> None:
    assert number(value) == text
