"""What a dashboard is made of: rows of panels, and what each panel asks Prometheus."""

from dataclasses import dataclass
from typing import Any, Final

#: What every query is narrowed to: `{AT…}` stands for the exporter chosen, `{OF…}` for the trainer as well.
_SCOPES: Final = {
    "{AT": '{job=~"$job",instance=~"$instance"',
    "{OF": '{job=~"$job",instance=~"$instance",trainer=~"$trainer"',
}
STAT: Final[dict[str, Any]] = {"kind": "stat", "width": 4, "height": 4}
WIDE_STAT: Final[dict[str, Any]] = {"kind": "stat", "width": 6, "height": 4}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str


def ask(expr: str, legend: str) -> Query:
    """Return the query `expr`, in which `{AT` and `{OF` stand for what the variables of the dashboard choose."""
    for short, scope in _SCOPES.items():
        expr = expr.replace(short, scope)
    return Query(expr, legend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. `limits` are (value, colour), growing; the colour below the first is `base`."""

    title: str
    about: str  # what it shows, and what to do about it
    queries: tuple[Query, ...]
    kind: str = "timeseries"  # timeseries | stat | state-timeline
    unit: str = "short"
    base: str = "green"
    limits: tuple[tuple[float, str], ...] = ()
    width: int = 8  # of 24
    height: int = 8
    explain: str = ""  # code of the alert that belongs to it
    lowest: float | None = None
    highest: float | None = None
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]
