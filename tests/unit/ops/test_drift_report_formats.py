"""HTML and Markdown reports: complete, self-contained, and safe whatever the data says."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from upm_cli.core.drift import DriftPolicy, Rule, Stats
from upm_cli.core.drift_tenants import TenantStats
from upm_cli.core.records import DriftStatus, DriftWindow
from upm_cli.core.verdict import Verdict
from upm_cli.ops.report import Line, Report, evidence, headline, payload
from upm_cli.ops.report_html import html
from upm_cli.ops.report_svg import svg
from upm_cli.ops.report_text import duration, escape, markdown

HOUR = 3_600_000
T0 = 1_799_996_400_000
EVIL = "<script>alert('x')</script>|`*_[a](javascript:b)\x1b[31m\n&\"'"


def make_line(hour: int, level: str, p95: float | None, **more: Any) -> Line:
    verdict = {"pass": "pass", "near": "pass", "fail": "fail", "resolved": "fail", "unknown": "unknown"}[level]
    status = {"fail": DriftStatus.QUARANTINED, "resolved": DriftStatus.RESOLVED, "unknown": DriftStatus.OPEN}
    numbers = {
        "n": 1200,
        "scores": 1200,
        "dropped": 3,
        "mean": p95 and p95 / 2,
        "p95": p95,
        "max": p95 and p95 * 2,
        "exceed": 0.01,
        "exceed_low": 0.005,
        "exceed_high": 0.02,
    }
    window = DriftWindow(
        trainer="main",
        window_id=f"main/{hour}",
        version=1,
        started_at_ms=T0 + hour * HOUR,
        closed_at_ms=T0 + (hour + 1) * HOUR,
        status=status.get(level, DriftStatus.CLOSED),
        verdict=verdict,
        threshold=0.2,
        n=1200,
        mean=p95 and p95 / 2,
        p95=p95,
        max=p95 and p95 * 2,
        metadata={"final": level != "unknown", "rule": "seed", "total": 1203, "late": 2, "seed": numbers},
    )
    return Line(window=replace(window, **more), level=level)


def make_report(*lines: Line, **more: Any) -> Report:
    found = Report(trainer="main", policy=DriftPolicy(), lines=lines, tenants=None, left_out=0, recomputed=False)
    return replace(found, **more)


FULL = make_report(
    make_line(0, "pass", 0.1),
    make_line(1, "near", 0.19),
    make_line(2, "fail", 0.3, recommendation="rollback"),
    make_line(3, "resolved", 0.25),
    make_line(4, "unknown", None),
    left_out=7,
    tenants=(
        TenantStats(tenant=EVIL, rule=Rule.SEED, stats=Stats(n=5, scores=5, dropped=0), verdict=Verdict.UNKNOWN),
        TenantStats(tenant="", rule=Rule.SEED, stats=Stats(n=5, scores=5, dropped=0), verdict=Verdict.UNKNOWN),
    ),
)


class Page(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "rect", "circle", "line", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = Page(html(FULL))
    assert not {"script", "link", "img", "iframe", "object", "a", "base", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "srcset")]
    assert not re.search(r"url\(|@import|https?:", html(FULL))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_every_element_of_the_page_is_closed() -> None:
    page = Page(html(FULL))
    assert page.open == []


def test_names_from_data_are_shown_and_never_become_markup() -> None:
    evil = make_report(*FULL.lines, trainer=EVIL, tenants=FULL.tenants)
    page = Page(html(evil))
    assert "script" not in page.tags
    assert any("<script>alert('x')</script>" in text for text in page.text)


def test_the_plot_is_well_formed_and_tells_every_window() -> None:
    root = ElementTree.fromstring(svg(FULL))
    titles = [title.text or "" for title in root.iter("title")]
    assert [text.partition(": ")[2] for text in titles] == [
        "✓ pass, P95 0.100, n 1,200",
        "! near, P95 0.190, n 1,200",
        "✗ fail, P95 0.300, n 1,200",
        "○ resolved, P95 0.250, n 1,200",
        "? unknown, P95 –, n 1,200",
    ]
    bands = list(root.iter("rect"))
    assert [rect.get("class") for rect in bands] == [f"band {line.level}" for line in FULL.lines]
    lefts = [float(rect.get("x") or "nan") for rect in bands]
    assert lefts == sorted(lefts)
    assert "main" in (root.get("aria-label") or "")


def test_the_curve_of_the_plot_has_the_heights_of_the_values() -> None:
    report = make_report(make_line(0, "pass", 0.05), make_line(1, "pass", 0.1), make_line(2, "pass", 0.2))
    root = ElementTree.fromstring(svg(report))
    path = next(root.iter("path")).get("d") or ""
    steps = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)H", path)]
    limit = float(next(line for line in root.iter("line") if line.get("class") == "limit").get("y1") or "nan")
    floor = float(next(line for line in root.iter("line") if line.get("class") == "axis").get("y1") or "nan")
    assert [(floor - y) / (floor - limit) * 0.2 for y in steps] == pytest.approx([0.05, 0.1, 0.2], abs=2e-3)


def test_the_curve_breaks_where_a_window_is_unknown_or_time_is_missing() -> None:
    report = make_report(
        make_line(0, "pass", 0.1), make_line(1, "unknown", 0.1), make_line(2, "pass", 0.1), make_line(5, "pass", 0.1)
    )
    path = next(ElementTree.fromstring(svg(report)).iter("path")).get("d") or ""
    assert path.count("M") == 3


def test_markdown_tables_keep_their_columns_whatever_names_say() -> None:
    text = markdown(make_report(*FULL.lines, trainer=EVIL, tenants=FULL.tenants))
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)<script", text)
    assert "| ✗ | 2027-01-15 09:00Z | 1,200 | 0.150 | 0.300 | 0.600 | 1.0 % (0.5–2.0) | fail | rollback |" in text


@pytest.mark.parametrize("text", ["a|b", "*x*", "`c`", "<b>", "[l](u)", "#h", "a\nb", "\u202e"])
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    assert escape(text).isprintable()
    assert not re.search(r"(?<!\\)[|*`<\[#]", escape(text))


def test_a_report_without_windows_says_that_nothing_is_known() -> None:
    empty = make_report()
    assert "nothing is known" in headline(empty)
    assert "svg" not in Page(html(empty)).tags
    assert "nothing is known" in markdown(empty)
    assert payload(empty)["windows"] == []


def test_the_headline_names_the_newest_failure_and_never_calls_unknown_good() -> None:
    assert headline(FULL) == "main: 1 window fails with P95 0.300 ≥ 0.2 at 2027-01-15 09:00Z; recommended: rollback"
    assert headline(make_report(make_line(0, "pass", 0.1))) == "main: no failing window, limit 0.2; worst P95 0.100"
    unknown = headline(make_report(make_line(0, "unknown", 0.1, n=120)))
    assert unknown == "main: not judged yet: 120 of 1,000 samples (unknown is not good news)"


def test_the_evidence_adds_the_windows_up() -> None:
    assert evidence(FULL) == {
        "rule": "seed",
        "from": "2027-01-15T07:00:00.000Z",
        "to": "2027-01-15T12:00:00.000Z",
        "windows_before": 7,
        "comparisons": 6015,
        "late": 10,
        "dropped": 15,
        "verdicts": {"pass": 2, "fail": 2, "unknown": 1},
        "near": 1,
        "share_below": 0.5,
        "share_below_needed": 0.95,
        "worst": {"start": "2027-01-15T09:00:00.000Z", "p95": 0.3},
        "last_quarantine": {"start": "2027-01-15T10:00:00.000Z", "p95": 0.25},
        "decides": "both",
        "contests": [],
    }


@pytest.mark.parametrize(
    ("ms", "text"), [(3_600_000, "1 h"), (86_400_000, "1 d"), (90_000, "90 s"), (1500, "1500 ms"), (300_000, "5 min")]
)
def test_lengths_of_time_are_told_in_their_largest_whole_unit(ms: int, text: str) -> None:
    assert duration(ms) == text
