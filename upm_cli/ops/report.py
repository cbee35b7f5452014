"""The drift report: the windows of a trainer and what they add up to, from the state or anew from the comparisons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy, DriftState
from upm_cli.core.drift_record import record
from upm_cli.core.drift_tenants import TenantStats, by_tenant
from upm_cli.core.features.drift import FeaturePolicy
from upm_cli.core.quantile import p95_rank
from upm_cli.core.records import DriftStatus, DriftWindow, Evidence, FeatureWatch
from upm_cli.ids import iso
from upm_cli.ops import anchors, comparisons, feature_drift, report_contests, report_features, report_served
from upm_cli.ops.anchors import Shown
from upm_cli.ops.evidence import current
from upm_cli.ops.feature_drift import FeatureReport
from upm_cli.ops.influence import NO_INFLUENCE, influence_of
from upm_cli.ops.quarantine import UNATTENDED
from upm_cli.store import drift, feature_watches, trainers
from upm_cli.store.session import Store

NOTICED_MS = 86_400_000  # so long, in event time, what was rolled back without a person counts as a breach
READY_SHARE = 0.95  # of the judged windows must be below the limit before a model leaves shadow


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One window as a report shows it. `level`: pass | near | fail | resolved | unknown.

    `near` passed with scores at the limit, enough that the interval of their share reaches what would have been a
    fail; `resolved` failed and was dealt with.
    """

    window: DriftWindow
    level: str

    @property
    def rule(self) -> str:
        return str(self.window.metadata["rule"])

    @property
    def numbers(self) -> Mapping[str, Any]:
        """The statistics of the rule in charge: exceed share and interval, samples left out."""
        found: Mapping[str, Any] = self.window.metadata[self.rule]
        return found

    @property
    def is_final(self) -> bool:
        return bool(self.window.metadata["final"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the formats show."""

    trainer: str
    policy: DriftPolicy
    lines: tuple[Line, ...]  # oldest first
    tenants: tuple[TenantStats, ...] | None  # worst first; None when not asked for
    left_out: int  # older windows, before `since`
    recomputed: bool  # from the comparisons, not as they were judged at the time
    features: FeatureReport | None = None  # None when not asked for
    contests: tuple[Evidence, ...] = ()  # what the monitor last found: lineage, candidate
    watch: FeatureWatch | None = None  # what it last found of the features
    served: tuple[Line, ...] = ()  # windows of what agents served, oldest first
    serving: frozenset[int] = frozenset()  # versions that some tenant can get now
    influence: Mapping[str, Any] = field(default_factory=lambda: dict(NO_INFLUENCE))  # on what was learned
    anchor: Shown | None = None  # what the hold-out shows; None: nobody looked

    @property
    def failed(self) -> tuple[Evidence, ...]:
        """Contests that failed, if evidence counts (`drift_monitor.rule`)."""
        counts = self.policy.rule != "seed"
        return tuple(row for row in self.contests if counts and row.verdict == "fail")

    @property
    def failing(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.level == "fail")

    @property
    def failing_served(self) -> tuple[Line, ...]:
        return tuple(line for line in self.served if line.level == "fail")

    @property
    def taken_back(self) -> tuple[Line, ...]:
        """Windows of the newest day that failed and were dealt with by a worker: a person is still to hear of it."""
        every = sorted((*self.lines, *self.served), key=lambda line: line.window.closed_at_ms)
        newest_ms = max((line.window.closed_at_ms for line in every), default=0)
        return tuple(
            line
            for line in every
            if line.level == "resolved"
            and line.window.metadata.get("resolved_by") in UNATTENDED
            and line.window.closed_at_ms > newest_ms - NOTICED_MS
        )

    @property
    def doubtful(self) -> tuple[Line, ...]:
        """Windows near the limit, and those that wait for samples longer than one window lasts."""
        every = (*self.lines, *(line for line in self.served if line.window.version in self.serving))
        return tuple(line for line in every if line.level == "near" or _is_starved(line, self.policy))


def _is_starved(line: Line, policy: DriftPolicy) -> bool:
    lasted = line.window.closed_at_ms - line.window.started_at_ms
    return line.level == "unknown" and lasted > policy.window_duration_ms


def build(
    store: Store,
    trainer: str,
    policy: DriftPolicy,
    *,
    since_ms: int | None = None,
    back_ms: int | None = None,
    window_ms: int | None = None,
    tenants: bool = False,
    features: FeaturePolicy | None = None,
    anchor: Shown | None = None,
) -> Report:
    """Return the report of a trainer.

    Windows that end after `since_ms` (event time), or less than `back_ms` before the newest one ended; all of them
    without either. `window_ms` cuts the comparisons anew into windows of that length; `tenants` adds statistics of
    each tenant over the same time; `features` adds those that changed, read from the log; `anchor` is what the hold-out
    shows. A trainer that never ran has an empty report.
    """
    with store.read() as reader:
        windows = drift.list_for(reader, trainer)
        contests = tuple(current(reader, trainer).values())
        watch = feature_watches.find(reader, trainer)
        told, serving = report_served.windows(reader, trainer), report_served.serving(reader, trainer)
        known = trainers.find(reader, trainer)
    if window_ms:
        policy = replace(policy, window_duration_ms=window_ms, quarantine_enabled=False)
        windows = _again(trainer, policy, comparisons.follow(store, trainer))
        told = report_served.again(store, trainer, policy)
    newest_ms = max((window.closed_at_ms for window in (*windows, *told)), default=0)
    after_ms = since_ms if back_ms is None else newest_ms - back_ms
    kept, told = (
        [window for window in each if after_ms is None or window.closed_at_ms > after_ms] for each in (windows, told)
    )
    groups = None
    if tenants:
        first = kept[0].first_seq if kept else 0
        groups = by_tenant(comparisons.follow(store, trainer, first), policy)
    return replace(
        of_windows(trainer, policy, kept),
        tenants=groups,
        left_out=len(windows) - len(kept),
        recomputed=window_ms is not None,
        features=feature_drift.build(store, trainer, features, since_ms=since_ms, back_ms=back_ms)
        if features
        else None,
        contests=contests,
        watch=watch,
        served=tuple(Line(window=window, level=_level(window)) for window in told),
        serving=serving,
        influence=NO_INFLUENCE if known is None else influence_of(known),
        anchor=anchor,
    )


def of_windows(trainer: str, policy: DriftPolicy, windows: Sequence[DriftWindow]) -> Report:
    """Return the report that windows, oldest first, make by themselves."""
    lines = tuple(Line(window=window, level=_level(window)) for window in windows)
    return Report(trainer=trainer, policy=policy, lines=lines, tenants=None, left_out=0, recomputed=False)


def _again(trainer: str, policy: DriftPolicy, tables: Iterator[Comparisons]) -> list[DriftWindow]:
    """Judge all comparisons anew, without any effect."""
    state = DriftState(policy)
    closed = [window for table in tables for window in state.advance(table)]
    still_open = state.open_window()
    each = [(window, True) for window in closed] + ([(still_open, False)] if still_open else [])
    return [
        record(trainer, window, policy, version=None, before=None, final=is_final, judged_now=True)
        for window, is_final in each
    ]


def _level(window: DriftWindow) -> str:
    if window.verdict == "fail":
        return "resolved" if window.status is DriftStatus.RESOLVED else "fail"
    if window.verdict == "pass":
        stats = window.metadata[window.metadata["rule"]]
        needed = (stats["scores"] - p95_rank(stats["scores"])) / stats["scores"]  # a share that fails
        return "near" if stats["exceed"] and stats["exceed_high"] >= needed else "pass"
    return "unknown"


def payload(report: Report) -> dict[str, Any]:
    """Return the JSON object of the report; see docs/reference/drift.md."""
    found: dict[str, Any] = {
        "trainer": report.trainer,
        "threshold": report.policy.drift_threshold,
        "sample_size": report.policy.sample_size,
        "window_duration_ms": report.policy.window_duration_ms,
        "recomputed": report.recomputed,
        "windows": [_window(line) for line in report.lines],
        "evidence": evidence(report),
        "served": {
            **report_served.payload(report.served, [_window(line) for line in report.served], report.serving),
            "influence": dict(report.influence),
            "holdout": None if report.anchor is None else anchors.as_json(report.anchor)["comparison"],
        },
    }
    if report.tenants is not None:
        found["tenants"] = [
            {**_tenant(each), "evidence": report_contests.of_tenant(report.contests, each.tenant)}
            for each in report.tenants
        ]
    if report.features is not None:
        found |= report_features.payload(report.features)
    return found


def _window(line: Line) -> dict[str, Any]:
    window, numbers = line.window, line.numbers
    return {
        "start": iso(window.started_at_ms),
        "end": iso(window.closed_at_ms),
        "n": window.n,
        "mean": window.mean,
        "p95": window.p95,
        "max": window.max,
        "verdict": window.verdict,
        "status": window.status.value,
        "recommendation": window.recommendation,
        "level": line.level,
        "rule": line.rule,
        "exceed": _exceed(numbers),
        "late": window.metadata["late"],
        "dropped": numbers["dropped"],
        "version": window.version,
        "drift_window_id": window.window_id,
        "first_seq": window.first_seq,
        "last_seq": window.last_seq,
        "suspects": window.metadata.get("suspects", []),
        "seed": window.metadata["seed"],
        "regret": window.metadata.get("regret"),
    }


def _tenant(each: TenantStats) -> dict[str, Any]:
    return {
        "tenant": each.tenant or None,
        "n": each.stats.n,
        "mean": each.stats.mean,
        "p95": each.stats.p95,
        "max": each.stats.max,
        "verdict": each.verdict.value,
        "rule": each.rule.value,
        "exceed": _exceed(asdict(each.stats)),
        "dropped": each.stats.dropped,
    }


def _exceed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    low, high = numbers["exceed_low"], numbers["exceed_high"]
    return {"share": numbers["exceed"], "low": low, "high": high, "says": numbers.get("exceed_says")}


def evidence(report: Report) -> dict[str, Any]:
    """Return what the windows of the report add up to, and what the contests found."""
    lines = report.lines
    verdicts = [line.window.verdict for line in lines]
    judged = [line for line in lines if line.window.verdict != "unknown" and line.window.p95 is not None]
    passed = verdicts.count("pass")
    worst = max(judged, key=lambda line: line.window.p95 or 0.0, default=None)
    quarantined = [line for line in lines if line.window.status in (DriftStatus.QUARANTINED, DriftStatus.RESOLVED)]
    return {
        "rule": lines[-1].rule if lines else None,
        "from": iso(lines[0].window.started_at_ms) if lines else None,
        "to": iso(lines[-1].window.closed_at_ms) if lines else None,
        "windows_before": report.left_out,
        "comparisons": sum(line.window.metadata["total"] for line in lines),
        "late": sum(line.window.metadata["late"] for line in lines),
        "dropped": sum(line.numbers["dropped"] for line in lines),
        "verdicts": {word: verdicts.count(word) for word in ("pass", "fail", "unknown")},
        "near": sum(line.level == "near" for line in lines),
        "share_below": passed / len(judged) if judged else None,
        "share_below_needed": READY_SHARE,
        "worst": _place(worst),
        "last_quarantine": _place(quarantined[-1] if quarantined else None),
        "decides": report.policy.rule,
        "contests": report_contests.payload(report.contests),
    }


def _place(line: Line | None) -> dict[str, Any] | None:
    return None if line is None else {"start": iso(line.window.started_at_ms), "p95": line.window.p95}


def headline(report: Report) -> str:
    """Return the report in one sentence."""
    lines: Sequence[Line] = report.lines
    limit = f"{report.policy.drift_threshold:g}"
    if report.failing_served:
        newest = report.failing_served[-1].window
        advice = f"; recommended: {newest.recommendation}" if newest.recommendation else ""
        what = f"P95 {newest.p95:.3f} ≥ {limit} at {minute(newest.started_at_ms)}"
        return f"{report.trainer}: what agents served by v{newest.version} fails with {what}{advice}"
    if report.failed and not report.failing:
        return f"{report.trainer}: {report.failed[0].findings['headline']}"
    if not lines:
        return f"{report.trainer}: no comparisons yet, so nothing is known about drift"
    if report.failing:
        newest, count = report.failing[-1].window, len(report.failing)
        advice = f"; recommended: {newest.recommendation}" if newest.recommendation else ""
        which = "1 window fails" if count == 1 else f"{count} windows fail, the newest"
        return (
            f"{report.trainer}: {which} with P95 {newest.p95:.3f} ≥ {limit} at {minute(newest.started_at_ms)}{advice}"
        )
    if report.taken_back:
        window = report.taken_back[-1].window
        what = f"P95 {window.p95:.3f} ≥ {limit} at {minute(window.started_at_ms)}"
        done = "rolled back" if "incident_id" in window.metadata else f"seen at agents, and v{window.version} barred"
        return f"{report.trainer}: {what} was {done} by {window.metadata['resolved_by']}"
    found = evidence(report)
    if not found["verdicts"]["pass"] and not found["verdicts"]["fail"]:
        return (
            f"{report.trainer}: not judged yet: {lines[-1].window.n:,} of {report.policy.sample_size:,} samples "
            "(unknown is not good news)"
        )
    worst = found["worst"]["p95"] if found["worst"] else None
    shown = f"; worst P95 {worst:.3f}" if worst is not None else ""
    return f"{report.trainer}: no failing window, limit {limit}{shown}"


def said_of_served(report: Report) -> list[str]:
    """Return what there is to say of what agents served, one line each."""
    said = [*report_served.words(report.served, report.serving), report_served.influence_words(report.influence)]
    said += [] if report.anchor is None else [anchors.said(report.anchor)]
    return [line for line in said if line]


def minute(at_ms: int) -> str:
    """Return an instant for people, to the minute, UTC."""
    return iso(at_ms)[:16].replace("T", " ") + "Z"
