"""The drift report as Markdown, and the words that all formats share."""

from collections.abc import Iterator

from upm_cli.core.records import DriftWindow
from upm_cli.ops import report_contests, report_features, report_served
from upm_cli.ops.report import Line, Report, evidence, headline, minute, payload, said_of_served
from upm_cli.ops.report_words import LEVELS, RULES, score, share


def badge(line: Line) -> str:
    """Return the level of a window as symbol and words."""
    return " ".join(LEVELS[line.level])


def ends(window: DriftWindow) -> str:
    """Return when a window ends: the time of day is enough when it lasts less than a day."""
    end = minute(window.closed_at_ms)
    return end[11:] if window.closed_at_ms - window.started_at_ms < 86_400_000 else end


def duration(ms: int) -> str:
    """Return a length of time in its largest whole unit."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= size and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms} ms"


def facts(report: Report) -> list[tuple[str, str]]:
    """Return what the report adds up to, as names and values for people."""
    found = evidence(report)
    policy, verdicts = report.policy, found["verdicts"]
    below = found["share_below"]
    shown = [
        ("limit", f"P95 < {policy.drift_threshold:g}, at least {policy.sample_size:,} samples a window"),
        (
            "window",
            f"{duration(policy.window_duration_ms)} of event time" + (", cut anew" if report.recomputed else ""),
        ),
        ("score", RULES[found["rule"]] if found["rule"] else "–"),
        ("verdicts", f"{verdicts['pass']} pass · {verdicts['fail']} fail · {verdicts['unknown']} unknown"),
        ("below the limit", "–" if below is None else f"{100 * below:.1f} % of judged windows (95 % needed)"),
        ("comparisons", f"{found['comparisons']:,} · late {found['late']:,} · without score {found['dropped']:,}"),
    ]
    if found["last_quarantine"]:
        at, p95 = found["last_quarantine"]["start"], found["last_quarantine"]["p95"]
        shown.append(("last quarantine", f"{at[:16].replace('T', ' ')}Z, P95 {score(p95)}"))
    if found["near"]:
        shown.append(
            ("near", f"{found['near']} passed, but can't be told from a fail (95 % interval of the share ≥ limit)")
        )
    if found["windows_before"]:
        shown.append(("left out", f"{found['windows_before']} older windows"))
    return shown


def markdown(report: Report) -> str:
    """Return the report as Markdown. Text that came from data is escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# Drift of {escape(report.trainer)}"
    yield ""
    yield f"**{escape(headline(report))}**"
    yield ""
    for name, value in facts(report):
        yield f"- {name}: {escape(value)}"
    yield from report_contests.markdown(report.contests, escape)
    yield from report_served.markdown(report.served, said_of_served(report), escape)
    yield ""
    yield "| | window | n | mean | P95 | max | ≥ limit | verdict | recommended |"
    yield "|---|---|---:|---:|---:|---:|---:|---|---|"
    for line, row in zip(report.lines, payload(report)["windows"], strict=True):
        symbol, words = LEVELS[line.level]
        start, w = minute(line.window.started_at_ms), line.window
        yield (
            f"| {symbol} | {start} | {w.n:,} | {score(w.mean)} | {score(w.p95)} | {score(w.max)} "
            f"| {share(row['exceed'])} | {words} | {w.recommendation or ''} |"
        )
    if report.tenants is not None:
        yield ""
        yield "| | tenant | n | mean | P95 | max | verdict | evidence |"
        yield "|---|---|---:|---:|---:|---:|---|---|"
        for each in report.tenants:
            symbol, words = LEVELS[each.verdict.value]
            numbers = " | ".join(map(score, (each.stats.mean, each.stats.p95, each.stats.max)))
            harm = report_contests.tenant_words(report_contests.of_tenant(report.contests, each.tenant))
            yield f"| {symbol} | {escape(each.tenant or '(none)')} | {each.stats.n:,} | {numbers} | {words} | {harm} |"
    if report.features is not None:
        yield ""
        yield from report_features.markdown(report.features, escape)


def escape(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, in one table cell."""
    printable = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#!~" else "&amp;" if char == "&" else char for char in printable)
