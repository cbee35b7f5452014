"""The drift P95 of a trainer over event time, with its limit as a dashed line."""

from typing import Final

from rich.text import Text
from textual.widget import Widget

from upm_cli.ops.report import minute
from upm_cli.ops.report_chart import chart
from upm_cli.tui.board import Drift
from upm_cli.tui.text import BAD, clip

_ON, _OFF = "\x01", "\x02"  # around what reaches the limit; never in a chart
_SMALLEST: Final = (24, 5)


class DriftChart(Widget):
    """Draws a `Drift`; says so when there is nothing to draw or no room."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._drift: Drift | None = None
        self._otherwise = ""

    def show(self, drift: Drift, trainer: str | None, otherwise: str) -> None:
        """Draw `drift` of `trainer` from now on, or say `otherwise` where there is nothing to draw."""
        self.border_title = f"Drift P95 — {trainer} · limit {drift.limit:g}"
        if (drift, otherwise) != (self._drift, self._otherwise):
            self._drift, self._otherwise = drift, otherwise
            self.refresh()

    def render(self) -> Text:
        drift, (width, height) = self._drift, self.size
        if drift is None or not drift.bars:
            return Text(self._otherwise)
        text = Text.assemble((clip(drift.headline, width), BAD if drift.failing else ""))
        if width < _SMALLEST[0] or height < _SMALLEST[1]:
            return text
        lines = chart(
            drift.bars, drift.limit, minute, width=width, height=height - 3, over=lambda part: f"{_ON}{part}{_OFF}"
        )
        for line in lines:
            text.append("\n")
            for n, run in enumerate(line.replace(_OFF, _ON).split(_ON)):
                text.append(run, style="red" if n % 2 else "")
        return text
