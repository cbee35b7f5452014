"""Making the parts of a board of what the ops return."""

from collections.abc import Sequence

from upm_cli.core.past import Entry
from upm_cli.core.records import Evidence
from upm_cli.ids import iso
from upm_cli.ops import report
from upm_cli.ops.drift_marks import Happened
from upm_cli.ops.report_chart import Bar
from upm_cli.ops.report_features import watched
from upm_cli.tui.views import Contest, Drift


def drift_of(found: report.Report, happened: Sequence[Happened] = (), contests: Sequence[Contest] = ()) -> Drift:
    """Return what is drawn of a report: windows without a verdict have no value."""
    bars = tuple(
        Bar(line.window.started_at_ms, line.window.closed_at_ms, None if line.level == "unknown" else line.window.p95)
        for line in found.lines
        if line.level == "unknown" or line.window.p95 is not None
    )
    said = report.headline(found).removeprefix(f"{found.trainer}: ")
    return Drift(
        bars=bars,
        limit=found.policy.drift_threshold,
        headline=said,
        failing=bool(found.failing),
        happened=tuple(happened),
        lines=found.lines,
        contests=tuple(contests) or tuple(contest_of(row) for row in found.contests),
        features=watched(found.watch),
        sample_size=found.policy.sample_size,
    )


def contest_of(row: Evidence) -> Contest:
    """Return a contest as the monitor last found it."""
    gate = row.findings["gate"]
    return Contest(
        kind=row.kind,
        contest_id=row.contest_id,
        verdict=row.verdict,
        windows=row.windows,
        value=gate["value"],
        low=gate["low"],
        high=gate["high"],
        limit=gate["threshold"],
        headline=row.findings["headline"],
        reasons=tuple(row.findings["reasons"]),
        needed=gate["needed"],
        judged_at=iso(row.updated_at_ms),
    )


def contests_of(entries: Sequence[Entry], name: str) -> tuple[Contest, ...]:
    """Return the contests of `name` as the ledger last told of each kind."""
    told = [e for e in entries if e["action"] == "evidence.verdict" and e["subject"].partition("@")[0] == name]
    newest = {str(entry["details"]["contest_id"]).partition("/")[0]: entry for entry in told}
    return tuple(_told(kind, entry) for kind, entry in newest.items())


def _told(kind: str, entry: Entry) -> Contest:
    details = entry["details"]
    numbers, outcome = details["numbers"], details["outcome"]
    return Contest(
        kind=kind,
        contest_id=str(details["contest_id"]),
        verdict=str(outcome["verdict"]),
        windows=int(numbers["windows"]),
        value=numbers.get("value"),
        low=numbers.get("low"),
        high=numbers.get("high"),
        limit=float(numbers.get("threshold") or 0.0),
        headline=str(details.get("reason") or ""),
        reasons=tuple(outcome.get("reasons") or ()),
        judged_at=str(entry["at"]),
    )
