"""The plot of the HTML report: P95 over event time as inline SVG, styled by the page's CSS variables."""

from collections.abc import Iterator
from html import escape

from upm_cli.ops.report import Line, Report, minute
from upm_cli.ops.report_chart import number, round_up
from upm_cli.ops.report_text import badge
from upm_cli.ops.report_words import score

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 34


def svg(report: Report) -> str:
    """Return an `<svg>` element; each window has a title that a pointer or a screen reader finds."""
    return "\n".join(_Plot(report).elements())


class _Plot:
    def __init__(self, report: Report) -> None:
        self.lines = report.lines
        self.limit = report.policy.drift_threshold
        self.trainer = report.trainer
        self.start = report.lines[0].window.started_at_ms
        self.end = max(line.window.closed_at_ms for line in report.lines)
        judged = [line.window.p95 for line in report.lines if line.window.p95 is not None]
        self.top = round_up(max([self.limit * 1.25, *judged]))

    def x(self, at_ms: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at_ms - self.start) / max(1, self.end - self.start)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, self.top) / self.top

    def elements(self) -> Iterator[str]:
        label = escape(f"P95 drift of {self.trainer} over time, limit {self.limit:g}")
        yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        yield from self._axes()
        for line in self.lines:
            yield from self._window(line)
        yield f'<path class="curve" d="{self._path()}"/>'
        yield from self._limit()
        yield "</svg>"

    def _axes(self) -> Iterator[str]:
        floor = self.y(0)
        for value in (0.0, self.top):
            yield _text(LEFT - 8, self.y(value) + 4, number(value), "end")
        yield f'<line class="axis" x1="{LEFT}" y1="{floor:.1f}" x2="{WIDTH - RIGHT}" y2="{floor:.1f}"/>'
        ticks = 4
        for i in range(ticks + 1):
            at = self.start + (self.end - self.start) * i // ticks
            anchor = "start" if i == 0 else "end" if i == ticks else "middle"
            yield _text(self.x(at), HEIGHT - 12, minute(at), anchor)

    def _limit(self) -> Iterator[str]:
        y = self.y(self.limit)
        yield f'<line class="limit" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        yield _text(LEFT - 8, y + 4, number(self.limit), "end", "tick limit-text")

    def _window(self, line: Line) -> Iterator[str]:
        """A band over the whole height that tells about the window, and a mark where it failed."""
        w = line.window
        left, right = self.x(w.started_at_ms), self.x(w.closed_at_ms)
        told = f"{minute(w.started_at_ms)}: {badge(line)}, P95 {score(w.p95)}, n {w.n:,}"
        yield f'<rect class="band {line.level}" x="{left:.1f}" y="{TOP}" width="{max(1.0, right - left):.1f}" '
        yield f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(told)}</title></rect>'
        if line.level in ("fail", "resolved") and w.p95 is not None:
            yield f'<circle class="mark {line.level}" cx="{(left + right) / 2:.1f}" cy="{self.y(w.p95):.1f}" r="4"/>'

    def _path(self) -> str:
        """Steps through the judged windows, with a break where one is unknown or time is missing."""
        parts: list[str] = []
        until = None
        for line in self.lines:
            w = line.window
            if w.p95 is None or line.level == "unknown":
                until = None
                continue
            left, right, y = self.x(w.started_at_ms), self.x(w.closed_at_ms), self.y(w.p95)
            parts.append(f"{'L' if until == w.started_at_ms else 'M'}{left:.1f} {y:.1f}H{right:.1f}")
            until = w.closed_at_ms
        return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, classes: str = "tick") -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
