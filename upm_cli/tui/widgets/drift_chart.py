"""The drift P95 of a trainer over event time, with its limit as a dashed line and what happened on the axis."""

import re
from typing import Final

from rich.text import Text
from textual.widget import Widget

from upm_cli.ops.report_chart import Mark, chart
from upm_cli.tui.text import BAD, QUIET, WARN, clip, minute
from upm_cli.tui.views import Drift
from upm_cli.tui.widgets.titles import entitle

_ON, _OFF = "\x01", "\x02"  # around what reaches the limit; never in a chart
_SMALLEST: Final = (24, 5)
_SIGNS: Final = {"quarantine": "◆", "rollback": "▼"}
_PARTS: Final = re.compile(r"(\x01[^\x02]*\x02|[╌-]{2,}|[─┤└|+]+)")


class DriftChart(Widget):
    """Draws a `Drift`; says so when there is nothing to draw or no room."""

    def __init__(self, *, id: str, is_ascii: bool = False) -> None:
        super().__init__(id=id)
        self._drift: Drift | None = None
        self._otherwise = ""
        self._is_ascii = is_ascii

    def show(self, drift: Drift, trainer: str | None, otherwise: str) -> None:
        """Draw `drift` of `trainer` from now on, or say `otherwise` where there is nothing to draw."""
        title = Text.assemble(("Drift P95", "bold"), f"  {trainer} · limit {drift.limit:g}")
        if (drift, otherwise) != (self._drift, self._otherwise):
            self._drift, self._otherwise = drift, otherwise
            entitle(self, title, _legend(drift))
            self.refresh()

    def render(self) -> Text:
        drift, (width, height) = self._drift, self.size
        if drift is None or not drift.bars:
            return Text(self._otherwise)
        text = Text.assemble((clip(drift.headline, width), BAD if drift.failing else ""))
        if width < _SMALLEST[0] or height < _SMALLEST[1]:
            return text
        lines = chart(
            drift.bars,
            drift.limit,
            minute,
            width=width,
            height=height - 3,
            ascii_only=self._is_ascii,
            over=lambda part: f"{_ON}{part}{_OFF}",
            marks=[Mark(each.at_ms, _SIGNS[each.kind]) for each in drift.happened],
        )
        for line in lines:
            text.append("\n")
            for part in _PARTS.split(line):
                text.append(part.strip(_ON + _OFF), style=_style(part))
        return text


def _style(part: str) -> str:
    if part.startswith(_ON):
        return "red"
    if part[:1] in ("╌", "-"):
        return f"{WARN} dim"
    return QUIET if part[:1] in ("─", "┤", "└", "|", "+") else ""


def _legend(drift: Drift) -> Text:
    """Return how often each of the signs is on the axis."""
    text = Text()
    for kind, sign in _SIGNS.items():
        count = sum(each.kind == kind for each in drift.happened)
        if count:
            text.append(f"{' ' if text else ''}{sign} ", style="red")
            text.append(f"{count} {kind}{'s' * (count != 1)} ", style=QUIET)
    return text
