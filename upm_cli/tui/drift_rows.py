"""Drift windows and strips as rows of lists."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.text import Text

from upm_cli.ops.report_words import LEVELS, share
from upm_cli.tui.text import BAD, GOOD, NONE, QUIET, WARN, bars, clip, minute, plain, right, score, short
from upm_cli.tui.views import Drift
from upm_cli.tui.widgets.listing import Row
from upm_cli.tui.widgets.rows import Column

if TYPE_CHECKING:
    from upm_cli.ops.report import Line
    from upm_cli.ops.strips import Strip

WINDOWS: Final = (
    Column("level", "Verdict"),
    Column("start", "Window"),
    Column("p95", "P95", is_number=True),
    Column("n", "n", is_number=True, rank=1),
    Column("mean", "Mean", is_number=True, rank=5),
    Column("max", "Max", is_number=True, rank=6),
    Column("share", "At the limit", rank=4),
    Column("version", "Model", rank=2),
    Column("advice", "Recommended", rank=3),
)
STRIPS: Final = (
    Column("name", "Name"),
    Column("strip", "Windows"),
    Column("newest", "Now", is_number=True),
    Column("n", "n", is_number=True, rank=1),
)
_BESIDES: Final = 25  # columns of a strip's row that are neither its name nor the strip
_STYLES: Final = {"fail": BAD, "near": WARN, "resolved": WARN, "pass": GOOD, "unknown": QUIET}
_ORDER: Final = {"fail": 0, "near": 1, "resolved": 2, "unknown": 3, "pass": 3}


def window_rows(drift: Drift) -> dict[str, Row]:
    """Return the windows: those that fail first, the newest of each kind first."""
    lines = sorted(drift.lines, key=lambda line: (_ORDER[line.level], -line.window.started_at_ms))
    return {line.window.window_id: _window(line) for line in lines}


def _window(line: "Line") -> Row:
    window, style = line.window, _STYLES[line.level]
    numbers = line.numbers
    exceed = {"share": numbers["exceed"], "low": numbers["exceed_low"], "high": numbers["exceed_high"]}
    return Row(
        cells={
            "level": Text(" ".join(LEVELS[line.level]), style=style),
            "start": Text(minute(window.started_at_ms)[5:]),
            "p95": Text(score(window.p95), style=style if line.level != "pass" else "", justify="right"),
            "n": right(f"{window.n:,}"),
            "mean": right(score(window.mean)),
            "max": right(score(window.max)),
            "share": Text(share(exceed), style=QUIET),
            "version": Text(NONE if window.version is None else f"v{window.version:04d}"),
            "advice": Text(window.recommendation or ""),
        },
        values={
            "level": _ORDER[line.level],
            "start": window.started_at_ms,
            "p95": window.p95,
            "n": window.n,
            "mean": window.mean,
            "max": window.max,
            "version": window.version,
        },
        fields={"verdict": line.level, "status": window.status.value, "window": window.window_id},
    )


def strip_rows(strips: "Sequence[Strip]", width: int) -> dict[str, Row]:
    """Return strips, worst first, as many windows of each as `width` columns leave room for."""
    longest = max((len(strip.name) for strip in strips), default=0)
    name_width = max(4, min(longest, 40, width * 2 // 5))
    room = max(8, width - name_width - (_BESIDES if width > 44 else _BESIDES - 7))
    return {strip.name: _strip(strip, name_width, room) for strip in strips}


def _strip(strip: "Strip", name_width: int, room: int) -> Row:
    style = BAD if strip.drifts else ""
    newest = strip.newest
    sign = "✗ " if strip.drifts else ""
    return Row(
        cells={
            "name": Text(clip(plain(strip.name), name_width), style=style),
            "strip": bars(strip.values[-room:], strip.limit),
            "newest": Text(NONE if newest is None else f"{sign}{_effect(newest, strip)}", style=style, justify="right"),
            "n": right(short(strip.n)),
        },
        values={"name": strip.name, "newest": newest, "n": strip.n},
        fields={"name": strip.name, "drifts": "yes" if strip.drifts else "no"},
        more=plain(strip.name),
    )


def _effect(value: float, strip: "Strip") -> str:
    return score(value) if strip.limit != 1.0 or value < 100 else f"{value:.0f}"
