"""A chart for the terminal: P95 over event time as steps, with a dashed line at the limit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

_BARS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))  # braille bits by column, from the bottom up


@dataclass(frozen=True, slots=True)
class Bar:
    """A value over a stretch of time; None where there is no verdict to draw."""

    start_ms: int
    end_ms: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at an instant: one sign on the axis of time."""

    at_ms: int
    sign: str


@dataclass(frozen=True, slots=True)
class _Look:
    """How many dots a cell has, and the characters for what is not a curve."""

    across: int
    up: int
    dash: str
    unknown: str
    axis: str
    corner: str
    floor: str


_BRAILLE = _Look(2, 4, "╌", "?", "┤", "└", "─")
_ASCII = _Look(1, 1, "-", "?", "|", "+", "-")


def chart(
    bars: Sequence[Bar],
    limit: float,
    label: Callable[[int], str],
    *,
    width: int = 80,
    height: int = 10,
    ascii_only: bool = False,
    over: Callable[[str], str] = str,
    marks: Sequence[Mark] = (),
) -> list[str]:
    """Return the chart as `height` + 2 lines of at most `width` characters.

    `label` turns an instant into text for the time axis; `over` dresses the cells at or above the limit (colour), and
    the signs of `marks` on the axis; those outside of it are left out. Where several bars fall into one column, the
    worst is drawn; of several marks the last.
    """
    look = _ASCII if ascii_only else _BRAILLE
    known = [bar.value for bar in bars if bar.value is not None]
    top = round_up(max([limit * 1.25, *known]))
    margin = max(len(number(each)) for each in (top, limit, 0.0)) + 2
    columns = max(8, width - margin - 1)
    levels = _levels(bars, columns * look.across)
    dots = height * look.up
    heights = [None if v is None or v < 0 else min(dots - 1, int(v / top * dots)) for v in levels]
    limit_row = min(height - 1, int(limit / top * height))
    cells = _cells(heights, columns, height, look)
    is_over = [any((v or 0.0) >= limit for v in _part(levels, column, look)) for column in range(columns)]
    lines = []
    for row in range(height - 1, -1, -1):
        texts = [
            _cell(cells[row][column], row == limit_row, row == 0 and _is_unknown(levels, column, look), look)
            for column in range(columns)
        ]
        hot = [row >= limit_row and is_over[column] and cells[row][column] > 0 for column in range(columns)]
        runs = groupby(zip(hot, texts, strict=True), key=lambda each: each[0])
        text = "".join((over if is_hot else str)("".join(cell for _, cell in run)) for is_hot, run in runs)
        lines.append(f"{_tick(row, limit_row, height, top, limit):>{margin - 1}} {look.axis}{text}")
    first, last = label(bars[0].start_ms), label(bars[-1].end_ms)
    lines.append(" " * margin + look.corner + _floor(bars, marks, columns, look, over))
    gap = columns - len(first) - len(last)
    lines.append(" " * (margin + 1) + (first + " " * gap + last if gap > 0 else last))
    return lines


def sparkline(values: Sequence[float | None], limit: float) -> str:
    """Return one bar for each value, the highest for the limit or above; a value that is not known has none."""
    known = [value for value in values if value is not None]
    top = max([*known, limit])
    return "".join(_BARS[min(7, int(8 * value / top))] for value in known) if top > 0 else ""


def round_up(value: float) -> float:
    """Return the next multiple of a twentieth of its power of ten: a short number at the top of an axis."""
    step = 10.0 ** math.floor(math.log10(value)) / 20
    return round(math.ceil(value / step - 1e-9) * step, 12)


def number(value: float) -> str:
    """Return a score with three digits that matter, and at least two after the point below ten."""
    return f"{value:.2f}" if 0.1 <= value < 10 or value == 0 else f"{value:.3g}"


def _levels(bars: Sequence[Bar], columns: int) -> list[float | None]:
    """Return the worst value in each column of dots; None where no bar is, -1 where only unjudged ones are."""
    start, end = bars[0].start_ms, max(bar.end_ms for bar in bars)
    scale = columns / max(1, end - start)
    levels: list[float | None] = [None] * columns
    for bar in bars:
        first = min(columns - 1, int((bar.start_ms - start) * scale))
        stop = max(first + 1, int((bar.end_ms - start) * scale))
        value = -1.0 if bar.value is None else bar.value
        for column in range(first, min(stop, columns)):
            before = levels[column]
            levels[column] = value if before is None else max(before, value)
    return levels


def _floor(bars: Sequence[Bar], marks: Sequence[Mark], columns: int, look: _Look, over: Callable[[str], str]) -> str:
    """Return the axis of time with the marks on it."""
    start, end = bars[0].start_ms, max(bar.end_ms for bar in bars)
    cells = [look.floor] * columns
    for mark in marks:
        if start <= mark.at_ms <= end:
            cells[min(columns - 1, (mark.at_ms - start) * columns // max(1, end - start))] = over(mark.sign)
    return "".join(cells)


def _cells(heights: Sequence[int | None], columns: int, height: int, look: _Look) -> list[list[int]]:
    """Return the dots of each cell as bits: a step at each column, joined to its neighbour by an upright."""
    cells = [[0] * columns for _ in range(height)]
    before: int | None = None
    for column, level in enumerate(heights):
        if level is not None:
            low, high = sorted((level, level if before is None else before))
            inner = range(low, high + 1) if before is not None else (level,)
            for dot in inner:
                bit = _DOTS[column % 2][dot % 4] if look.across == 2 else 1
                cells[dot // look.up][column // look.across] |= bit
        before = level
    return cells


def _part(levels: Sequence[float | None], column: int, look: _Look) -> Sequence[float | None]:
    return levels[column * look.across : (column + 1) * look.across]


def _is_unknown(levels: Sequence[float | None], column: int, look: _Look) -> bool:
    return all(v is not None and v < 0 for v in _part(levels, column, look))


def _cell(bits: int, on_limit: bool, is_unknown: bool, look: _Look) -> str:
    if bits:
        return chr(0x2800 + bits) if look.across == 2 else "*"
    if is_unknown:
        return look.unknown
    return look.dash if on_limit else " "


def _tick(row: int, limit_row: int, height: int, top: float, limit: float) -> str:
    if row == limit_row:
        return number(limit)
    if row == height - 1:
        return number(top)
    return number(0.0) if row == 0 else ""
