"""docs/reference/metrics.md, made from the tables by .ci/write_reference.py, so that it can't be wrong."""

from collections.abc import Iterator

from upm_cli.telemetry.metrics.cardinality import CAPS, OTHER
from upm_cli.telemetry.metrics.documents import ROWS
from upm_cli.telemetry.metrics.families import Family
from upm_cli.telemetry.metrics.rows_overview import SEED
from upm_cli.telemetry.metrics.rules import ALERTS, RECORDINGS
from upm_cli.telemetry.metrics.table import SECTIONS

_INTRODUCTION = f"""\
# Metrics, dashboard and alerts

This page is made from the tables in `upm_cli/telemetry/metrics`; a test compares them.
How to set it all up: [metrics](../howto/metrics.md).

## What holds for all metrics

- Names, labels and units are a contract. Units are seconds, bytes and ratios (0 to 1); instants are Unix seconds
  (`_timestamp_seconds`), so that how old something is comes out right however late it is asked.
- **What is not known has no sample**, never a zero. A counter of what never happened to a known trainer is 0.
- A *state set* has one sample for each value of its last label: 1 for the one that holds, 0 for the others.
- Numbers of the state, the ledger and telemetry go on when the exporter is started again. Telemetry is kept for 30
  days; its sums are kept beyond that in `.upm/telemetry/totals.json`, and begin with the first collection.
- No tenant, window, agent or adapter is a label. At most {CAPS["trainer"]} trainers, {CAPS["stream"]} streams and
  {CAPS["worker"]} workers are named, in the order of the alphabet; `{OTHER}` stands for all further ones: their sum,
  largest or smallest, as the column *rest* says, or nothing.
- `upm_drift_…{{range="1h"}}` and `24h` are event time, counted back from the end of the newest judged window. Over a
  day the P95 is worked out from what is kept of each window: it lies between the smallest and the largest P95 of them,
  and is exactly right about whether it reaches the limit.
- Windows are counted as in `upm trainer show`: a stream that feeds two trainers counts for both.
"""


def markdown() -> str:
    """Return the reference page of metrics, dashboard and alerts."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "## Metrics"
    for title, section in SECTIONS.items():
        yield from (
            "",
            f"### {title}",
            "",
            "| metric | kind | labels | from | rest | what it is |",
            "|---|---|---|---|---|---|",
        )
        yield from map(_row, section)
    yield from ("", "## Dashboard UPM-001", "", f"Row “{SEED.title}” has the six panels it is named for.", "")
    yield from ("| row | panel | what it shows | alert |", "|---|---|---|---|")
    for row in ROWS:
        for panel in row.panels:
            yield f"| {row.title} | {panel.title} | {panel.about} | {panel.explain} |"
    yield from ("", "## Alerts", "", "`upm explain CODE` says what an alert means, what to look at and what to do.", "")
    yield from ("| alert | code | severity | after | when |", "|---|---|---|---|---|")
    for group in ALERTS.values():
        for alert in group:
            yield f"| {alert.name} | {alert.code} | {alert.severity} | {alert.lasts} | {_code(alert.expr)} |"
    yield from ("", "Recorded for them:", "", "| name | expression |", "|---|---|")
    yield from (f"| `{each.name}` | {_code(each.expr)} |" for each in RECORDINGS)


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    rest = family.fold.value if {"trainer", "stream", "worker"} & set(family.labels) else ""
    return f"| `{family.name}` | {family.kind} | {labels} | {family.origin} | {rest} | {family.doc} |"


def _code(expr: str) -> str:
    return "`" + expr.replace("|", "\\|") + "`"
