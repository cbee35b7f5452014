"""The summary chart of S13 as one SVG file: mistakes of each rule, and how soon harm is found. Light and dark."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Protocol

import numpy as np

WIDTH, HEIGHT = 960, 500
BARS = (300, 470)  # x of the bars' zero line and of 100 %
PLOT = (600, 920, 110, 410)  # left, right, top, bottom of the curves
TICKS = ((1, "1 h"), (3, "3 h"), (8, "8 h"), (24, "1 d"), (72, "3 d"), (168, "7 d"), (336, "14 d"))
FONTS = """text { font: 13px system-ui, sans-serif; } .title { font-size: 17px; font-weight: 600; }
.head { font-weight: 600; } .soft { font-size: 12px; } .rule { stroke-width: 1; } .curve { fill: none; }
"""
LIGHT = {"ink": "#1c1f24", "soft": "#5b6472", "paper": "#ffffff", "rule": "#d9dee6"}
DARK = {"ink": "#e6e9ee", "soft": "#9aa4b2", "paper": "#14171c", "rule": "#303743"}
LIGHT_CURVES = ("#1f5fbf", "#b3261e", "#8a5a00", "#1c6b3a", "#7b3fa0", "#00707a")
DARK_CURVES = ("#7fb0ff", "#ff8a80", "#f0b64f", "#7fd39a", "#d0a0f0", "#6fd0da")
DASHES = ("none", "7 3", "2 3", "10 3 2 3", "4 2", "1 2 6 2")


class Score(Protocol):
    """The parts of a rule's score that are drawn."""

    @property
    def wrong(self) -> float: ...
    @property
    def missed(self) -> float: ...
    @property
    def delay(self) -> float: ...


def chart(scores: Mapping[str, Score], delays: Mapping[str, Sequence[float]]) -> str:
    """Return the chart: `scores` and, of every harmful shadow, the hours to its rollback (NaN: before).

    Both are by rule, ours first. The curves count only rollbacks after the harm began, out of all harmful shadows.
    """
    return "\n".join(_elements(scores, delays)) + "\n"


def _elements(scores: Mapping[str, Score], delays: Mapping[str, Sequence[float]]) -> Iterator[str]:
    label = "Mistakes of six rules over two thousand simulated shadows, and the time to find harm"
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    yield f"<style>{FONTS}{_colours(LIGHT, LIGHT_CURVES)}"
    yield f"@media (prefers-color-scheme: dark) {{ {_colours(DARK, DARK_CURVES)} }}</style>"
    yield f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>'
    count = len(next(iter(delays.values())))
    yield _text(24, 34, f"{count:,} healthy and {count:,} harmful challengers, 14 days in shadow each", "title")
    yield from _bars(scores)
    yield from _curves(delays)
    yield _text(24, HEIGHT - 14, "Simulated; five kinds of each. Made by benchmarks/judging/s13_shadow.py.", "soft")
    yield "</svg>"


def _bars(scores: Mapping[str, Score]) -> Iterator[str]:
    left, right = BARS
    yield _text(24, 70, "Mistakes", "head")
    yield f'<rect class="wrong" x="110" y="60" width="10" height="10"/>{_text(126, 70, "healthy, rolled back", "soft")}'
    yield f'<rect class="missed" x="270" y="60" width="10" height="10"/>{_text(286, 70, "harmful, promoted", "soft")}'
    for part in (0, 50, 100):
        x = left + (right - left) * part / 100
        yield f'<line class="rule" x1="{x}" y1="92" x2="{x}" y2="430"/>{_text(x, 448, f"{part} %", "soft", "middle")}'
    for at, (name, score) in enumerate(scores.items()):
        y = 100 + 56 * at
        yield _swatch(24, y + 14, at)
        first, _, rest = name.partition(": ")
        if not rest:
            first, _, rest = name.partition(", ")
        yield _text(52, y + 13, first, "head" if at == 0 else "")
        yield _text(52, y + 30, rest, "soft")
        for offset, value, name_of in ((0, score.wrong, "wrong"), (18, score.missed, "missed")):
            width = max(0.0, (right - left) * value)
            yield f'<rect class="{name_of}" x="{left}" y="{y + offset}" width="{width:.1f}" height="14"/>'
            yield _text(left + width + 6, y + offset + 11, f"{100 * value:.1f} %")


def _curves(delays: Mapping[str, Sequence[float]]) -> Iterator[str]:
    left, right, top, bottom = PLOT
    yield _text(left - 44, 70, "Harm found (rolled back once it had begun)", "head")
    for part in (0, 25, 50, 75, 100):
        y = bottom - (bottom - top) * part / 100
        yield f'<line class="rule" x1="{left}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield _text(left - 8, y + 4, f"{part} %", "soft", "end")
    for hour, name in TICKS:
        x = _x(hour)
        yield f'<line class="rule" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}"/>'
        yield _text(x, bottom + 20, name, "soft", "middle")
    yield _text((left + right) / 2, bottom + 38, "time since the harm began, on a logarithmic axis", "soft", "middle")
    for at, (name, values) in reversed(list(enumerate(delays.items()))):
        yield f'<path class="curve c{at}" {_stroke(at)} d="{_steps(values)}"><title>{escape(name)}</title></path>'


def _x(hour: float) -> float:
    left, right = PLOT[:2]
    low, high = np.log(0.25), np.log(336)
    return float(left + (right - left) * (np.log(np.clip(hour, 0.25, 336)) - low) / (high - low))


def _steps(values: Sequence[float]) -> str:
    """Return the path of the share of all `values` that are at most x; NaN and infinity never are."""
    top, bottom = PLOT[2:]
    found = np.sort([value for value in values if np.isfinite(value)])
    grid = np.unique(np.concatenate([np.geomspace(0.25, 336, 400), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]))
    shares = np.searchsorted(found, grid, side="right") / len(values)
    points = [f"{_x(x):.1f} {bottom - (bottom - top) * y:.1f}" for x, y in zip(grid, shares, strict=True)]
    return "M" + "L".join(points)


def _swatch(x: float, y: float, at: int) -> str:
    return f'<path class="curve c{at}" {_stroke(at)} d="M{x} {y}h20"/>'


def _stroke(at: int) -> str:
    """Return the look of rule number `at`: a colour and a dash, so that colour is never needed."""
    return f'stroke-dasharray="{DASHES[at]}" stroke-width="{3.5 if at == 0 else 2}"'


def _colours(page: Mapping[str, str], curves: Sequence[str]) -> str:
    """Return the colours as plain rules, which every viewer knows."""
    rules = [
        f"text {{ fill: {page['ink']}; }} .soft {{ fill: {page['soft']}; }} .paper {{ fill: {page['paper']}; }}",
        f".rule {{ stroke: {page['rule']}; }} .wrong {{ fill: {curves[1]}; }} .missed {{ fill: {curves[2]}; }}",
        *(f".c{at} {{ stroke: {colour}; }}" for at, colour in enumerate(curves)),
    ]
    return " ".join(rules)


def _text(x: float, y: float, text: str, classes: str = "", anchor: str = "start") -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
