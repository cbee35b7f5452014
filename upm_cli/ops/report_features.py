"""The features in a drift report: as JSON, in words, and as rows for Markdown and HTML."""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from upm_cli.core.features.drift import Span
from upm_cli.core.features.gate import in_words, names
from upm_cli.core.records import FeatureWatch
from upm_cli.ids import iso
from upm_cli.ops.feature_drift import FeatureLine, FeatureReport

#: A symbol and a word for each status, so that colour is never needed.
STATUSES = {"drift": ("!", "drift"), "stable": ("✓", "stable"), "unknown": ("?", "unknown")}
_CLASSES = {"drift": "near", "stable": "pass", "unknown": "unknown"}  # of the page's styles: drift is a warning
_SHOWN = 50  # rows of a page; JSON has all


def watched(watch: FeatureWatch | None) -> str:
    """Return in one sentence which features drift now, as the drift monitor last found; empty when none does."""
    if watch is None or watch.verdict == "unknown" or not watch.drifting or watch.look_start_ms is None:
        return ""
    found = names(watch)
    effect = f"worst effect {watch.drifting[0]['effect']:.2f}"
    return (
        f"features drift since the reference: {in_words(found)}, {effect}, in the look at {watch.windows:,} windows "
        f"from {iso(watch.look_start_ms)[:16].replace('T', ' ')} on; see --by feature"
    )


def payload(report: FeatureReport) -> dict[str, Any]:
    """Return the JSON fields of the features; see docs/reference/drift.md."""
    return {"features": [_row(line) for line in report.lines], "feature_drift": _about(report)}


def _about(report: FeatureReport) -> dict[str, Any]:
    policy = report.policy
    return {
        "drifting": len(report.drifting),
        "reference": None
        if report.reference is None
        else {**_span(report.reference), "windows": report.reference_windows, "version": report.version},
        "current": None if report.current is None else {**_span(report.current), "windows": report.windows},
        "looks": report.looks,
        "needed": report.needed,
        "false_alarms": str(policy.budget),
        "significance": policy.significance,
        "limits": {"psi": policy.limits.psi, "w1": policy.limits.w1, "min_windows": policy.limits.min_windows},
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "first_seq": span.first_seq,
        "last_seq": span.last_seq,
        "from": iso(span.start_ms),
        "to": iso(span.end_ms),
    }


def _row(line: FeatureLine) -> dict[str, Any]:
    found = line.finding
    return {
        "feature": line.name,
        "status": line.status,
        "psi": found.psi,
        "w1": found.w1,
        "ks": found.ks,
        "p": found.p,
        "p_adjusted": found.p_adjusted,
        "missing_before": 1 - found.reference_present,
        "missing": 1 - found.present,
        "is_new": found.is_new,
        "alarm_seq": line.alarm_seq,
        "drifted_looks": line.drifted_looks,
        "hash": f"{found.feature:08x}",
    }


def headline(report: FeatureReport) -> str:
    """Return the features in one sentence."""
    if report.reference is None:
        return "features: no windows yet, so nothing is known about drift"
    if report.drifting:
        names = ", ".join(line.name for line in report.drifting[:3])
        more = f" and {len(report.drifting) - 3} more" if len(report.drifting) > 3 else ""
        return f"features: {len(report.drifting)} of {len(report.lines)} drift: {names}{more}"
    if report.needed:
        return f"features: not judged yet, {report.needed:,} more windows needed (unknown is not good news)"
    return f"features: none of {len(report.lines)} drifts"


def facts(report: FeatureReport) -> list[tuple[str, str]]:
    """Return what the features were compared with, as names and values for people."""
    if report.reference is None:
        return []
    policy = report.policy
    which = "the newest that learned into" if report.version is not None else "the first of the log"
    version = f" v{report.version}, which is live" if report.version is not None else ""
    shown = [
        ("reference", f"{report.reference_windows:,} windows, {which}{version}; {_times(report.reference)}"),
        ("now", "–" if report.current is None else f"{report.windows:,} windows; {_times(report.current)}"),
        (
            "drifts when",
            f"PSI ≥ {policy.limits.psi:g} or W1 ≥ {policy.limits.w1:g} IQR, and p ≤ {policy.significance:.2g} "
            f"adjusted for all features, or so often that its detector alarms ({policy.budget} false alarms)",
        ),
    ]
    if report.needed:
        shown.append(("needed", f"{report.needed:,} more windows for a verdict"))
    return shown


def _times(span: Span) -> str:
    start, end = (iso(ms)[:16].replace("T", " ") + "Z" for ms in (span.start_ms, span.end_ms))
    return f"{start} to {end}"


def number(value: float | None) -> str:
    """Return a distance with three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def chance(p: float) -> str:
    """Return a p-value with two digits."""
    return "<1e-16" if p < 1e-16 else f"{p:.2g}"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"


def _cells(line: FeatureLine) -> tuple[str, ...]:
    found = line.finding
    missing = "new" if found.is_new else percent(1 - found.reference_present)
    numbers = (number(found.psi), number(found.w1), number(found.ks), chance(found.p_adjusted))
    return (*numbers, missing, percent(1 - found.present))


TITLES = ("PSI", "W1/IQR", "KS", "p adjusted", "missing before", "missing now")


def markdown(report: FeatureReport, escaped: Callable[[str], str]) -> Iterator[str]:
    """Yield lines of Markdown; `escaped` makes text that came from data safe in it."""
    yield f"**{escaped(headline(report))}**"
    yield ""
    for name, value in facts(report):
        yield f"- {name}: {escaped(value)}"
    yield ""
    yield f"| | feature | {' | '.join(TITLES)} | status |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---|"
    for line in report.lines[:_SHOWN]:
        symbol, words = STATUSES[line.status]
        yield f"| {symbol} | {escaped(line.name)} | {' | '.join(_cells(line))} | {words} |"
    if len(report.lines) > _SHOWN:
        yield ""
        yield f"{len(report.lines) - _SHOWN} more features, none worse, are in the JSON."


def html(report: FeatureReport) -> Iterator[str]:
    """Yield lines of HTML in the style of the report's page; everything from data is escaped."""
    state = "unknown" if report.drifting or report.needed else "pass"
    yield f'<p class="headline {state}">{escape(headline(report))}</p><dl>'
    for name, value in facts(report):
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    heads = "".join(f'<th class="n">{title}</th>' for title in TITLES)
    yield '</dl><div class="wide"><table><caption>Features, worst first</caption><thead><tr><th>status</th>'
    yield f"<th>feature</th>{heads}</tr></thead><tbody>"
    for line in report.lines[:_SHOWN]:
        cells = "".join(f'<td class="n">{escape(cell)}</td>' for cell in _cells(line))
        badge = f'<td class="{_CLASSES[line.status]}">{" ".join(STATUSES[line.status])}</td>'
        yield f"<tr>{badge}<td>{escape(line.name)}</td>{cells}</tr>"
    yield "</tbody></table></div>"
    if len(report.lines) > _SHOWN:
        yield f"<p>{len(report.lines) - _SHOWN} more features, none worse, are in the JSON.</p>"
