"""Contests with their intervals, drawn: where the mean excess loss lies, and what is allowed."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from upm_cli.ops.report_contests import SYMBOLS
from upm_cli.tui.text import BAD, GOOD, NONE, QUIET, WARN, clip, plain, signed
from upm_cli.tui.views import Contest

STYLES: Final = {"pass": GOOD, "fail": BAD, "unknown": WARN}
_FIXED: Final = 30  # columns that a line takes besides the drawing and the numbers


def lines(contests: Sequence[Contest], width: int, *, is_short: bool) -> list[Text]:
    """Return two lines for each contest: its verdict and its interval on a scale that all share, then why.

    `is_short`: only the first of them.
    """
    if not contests:
        return []
    low, high = scale(contests)
    longest = max(_numbers(each).cell_len for each in contests)
    across = max(12, min(70, width - _FIXED - longest))
    found = []
    for each in contests:
        found.append(_line(each, low, high, across, width))
        if is_short:
            continue
        why = "; ".join(each.reasons) or each.headline.partition("|")[2].strip()
        found.append(Text(clip(f"            {plain(why)}", width), style=QUIET))
    return found


def scale(contests: Sequence[Contest]) -> tuple[float, float]:
    """Return the least and the greatest number that is drawn: 0, every limit and every end of an interval."""
    known = [0.0]
    for each in contests:
        known += [value for value in (each.low, each.high, each.value, each.limit) if value is not None]
    low, high = min(known), max(known)
    margin = (high - low or 1.0) * 0.05
    return low - margin, high + margin


def _line(each: Contest, low: float, high: float, across: int, width: int) -> Text:
    style = STYLES.get(each.verdict, "")
    text = Text.assemble(
        (f"{SYMBOLS.get(each.verdict, '?')} {each.verdict:<8}", style),
        f" {_who(each):<17} ",
        _drawn(each, low, high, across, style),
        " ",
        _numbers(each),
    )
    text.truncate(width, overflow="ellipsis")
    return text


def _numbers(each: Contest) -> Text:
    interval = f"[{signed(each.low)}, {signed(each.high)}]"
    return Text.assemble(f"{signed(each.value)} ", (f"{interval} ≤ {each.limit:g}  n {each.windows:,}", QUIET))


def _who(each: Contest) -> str:
    kind, champion, challenger = [*each.contest_id.split("/"), "", "", ""][:3]
    against = f"v{champion}" if champion.isdecimal() else champion
    return f"v{challenger} vs {against}" if challenger.isdecimal() else f"{kind} vs {against}"


def _drawn(each: Contest, low: float, high: float, across: int, style: str) -> Text:
    """Return the interval on the scale: ends, value, 0 as a thin line and the limit as a dashed one."""

    def at(value: float) -> int:
        return max(0, min(across - 1, int((value - low) / (high - low) * across)))

    cells = [" "] * across
    if each.low is not None and each.high is not None:
        for column in range(at(each.low), at(each.high) + 1):
            cells[column] = "─"
        cells[at(each.low)], cells[at(each.high)] = "├", "┤"
    text_of = {at(0.0): ("│", QUIET), at(each.limit): ("┊", WARN)}
    if each.value is not None:
        text_of[at(each.value)] = ("●", style)
    text = Text()
    for column, cell in enumerate(cells):
        sign, look = text_of.get(column, (cell, style))
        text.append(sign if column in text_of else cell, style=look)
    return text if each.value is not None or each.low is not None else Text(f"{NONE:^{across}}", style=QUIET)
