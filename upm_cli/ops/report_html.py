"""The drift report as one HTML file: nothing is loaded, nothing is run, everything from data is escaped."""

from collections.abc import Iterator, Sequence
from html import escape

from upm_cli.core.drift_tenants import TenantStats
from upm_cli.core.records import Evidence
from upm_cli.ops import report_contests, report_features, report_served
from upm_cli.ops.report import Line, Report, headline, minute, payload, said_of_served
from upm_cli.ops.report_svg import svg
from upm_cli.ops.report_text import ends, facts
from upm_cli.ops.report_words import LEVELS, score, share

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1f24; --soft: #5b6472; --paper: #fff; --rule: #d9dee6; --curve: #1f5fbf;
  --fail: #b3261e; --near: #8a5a00; --pass: #1c6b3a; --faint: #eef1f5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --paper: #14171c; --rule: #303743;
  --curve: #7fb0ff; --fail: #ff8a80; --near: #f0b64f; --pass: #7fd39a; --faint: #1d222a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .25rem; }
.headline { font-size: 1.05rem; margin: 0 0 1rem; padding: .6rem .8rem; border-left: 4px solid var(--pass);
  background: var(--faint); }
.headline.fail { border-color: var(--fail); } .headline.unknown { border-color: var(--soft); }
svg { display: block; width: 100%; height: auto; margin: 0 0 1rem; }
.curve { fill: none; stroke: var(--curve); stroke-width: 2; }
.limit { stroke: var(--fail); stroke-width: 1.5; stroke-dasharray: 6 4; } .limit-text { font-weight: 600; }
.axis { stroke: var(--rule); } .tick { fill: var(--soft); font: 12px system-ui, sans-serif; }
.band { fill: var(--ink); opacity: 0; } .band:hover { opacity: .06; }
.band.fail { fill: var(--fail); opacity: .14; } .band.resolved { fill: var(--near); opacity: .10; }
.band.unknown { fill: var(--soft); opacity: .14; }
.mark.fail { fill: var(--fail); } .mark.resolved { fill: var(--near); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0 0 1.25rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin: 0 0 1.25rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } .n { text-align: right; }
td.pass { color: var(--pass); } td.near, td.resolved { color: var(--near); }
td.fail { color: var(--fail); font-weight: 600; } td.unknown { color: var(--soft); }
footer { color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; padding: 0; } }
"""


def html(report: Report) -> str:
    """Return the report as a page that needs nothing else, in light and dark."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    title = escape(f"Drift of {report.trainer}")
    state = (
        "fail"
        if report.failing or report.failed or report.failing_served
        else "pass"
        if any(line.level != "unknown" for line in report.lines)
        else "unknown"
    )
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>{title}</h1>"
    yield f'<p class="headline {state}">{LEVELS[state][0]} {escape(headline(report))}</p>'
    if report.lines:
        yield svg(report)
    yield "<dl>"
    for name, value in facts(report):
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl>"
    if report.contests:
        yield from report_contests.html(report.contests)
    yield from report_served.html(report.served, said_of_served(report))
    if report.lines:
        yield from _windows(report.lines, [row["exceed"] for row in payload(report)["windows"]])
    if report.tenants is not None:
        yield from _tenants(report.tenants, report.contests)
    if report.features is not None:
        yield from report_features.html(report.features)
    yield "<footer>Times are event time, UTC. Unknown: too few samples, which is no pass. Near: passed, but can't be"
    yield "told from a fail. Resolved: failed and was dealt with. “≥ limit” is the share of scores that reach it,"
    yield "with its exact 95 % interval.</footer>"
    yield "</main></body></html>"


def _windows(lines: Sequence[Line], exceeds: Sequence[dict[str, float | None]]) -> Iterator[str]:
    yield '<div class="wide"><table><caption>Windows, newest first</caption><thead><tr><th>verdict</th><th>from</th>'
    yield '<th>to</th><th class="n">n</th><th class="n">mean</th><th class="n">P95</th><th class="n">max</th>'
    yield '<th class="n">≥ limit</th><th>status</th><th>recommended</th></tr></thead><tbody>'
    for line, exceed in reversed(list(zip(lines, exceeds, strict=True))):
        w = line.window
        numbers = "".join(f'<td class="n">{score(value)}</td>' for value in (w.mean, w.p95, w.max))
        yield (
            f"<tr>{_verdict(line.level)}<td>{minute(w.started_at_ms)}</td><td>{ends(w)}</td>"
            f'<td class="n">{w.n:,}</td>{numbers}<td class="n">{share(exceed)}</td><td>{w.status.value}</td>'
            f"<td>{escape(w.recommendation or '')}</td></tr>"
        )
    yield "</tbody></table></div>"


def _tenants(tenants: Sequence[TenantStats], contests: Sequence[Evidence]) -> Iterator[str]:
    yield '<div class="wide"><table><caption>Tenants, worst first</caption><thead><tr><th>verdict</th><th>tenant</th>'
    yield '<th class="n">n</th><th class="n">mean</th><th class="n">P95</th><th class="n">max</th>'
    yield "<th>evidence</th></tr></thead><tbody>"
    for each in tenants:
        stats = each.stats
        numbers = "".join(f'<td class="n">{score(value)}</td>' for value in (stats.mean, stats.p95, stats.max))
        name = escape(each.tenant or "(none)")
        harm = escape(report_contests.tenant_words(report_contests.of_tenant(contests, each.tenant)))
        start = f'<tr>{_verdict(each.verdict.value)}<td>{name}</td><td class="n">{stats.n:,}</td>'
        yield f"{start}{numbers}<td>{harm}</td></tr>"
    yield "</tbody></table></div>"


def _verdict(level: str) -> str:
    return f'<td class="{level}">{" ".join(LEVELS[level])}</td>'
