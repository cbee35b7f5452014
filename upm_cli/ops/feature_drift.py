"""Feature drift of a trainer straight from the log: which features of the newest windows are not as they were.

The reference is what the live version learned from last, or the first part of the log while nothing is live. Everything
after it is looked at once, in order, and nothing is written. A monitor keeps the same fold between its commits:
`reference_rows` and `learn` once, then `FeatureDrift.fold` with every part of the log, `dump` and `load` around it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from upm_cli.core.features.drift import FeatureDrift, FeaturePolicy, Look, Reference, Rows, Span, learn_reference
from upm_cli.core.features.sketch import Sketch
from upm_cli.core.features.tests import Finding, compare
from upm_cli.core.hashing import hash_name
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.records import Ring, Trainer
from upm_cli.store import activations, log, segmentfiles, segments, snapshots, trainers
from upm_cli.store.session import Store

REFERENCE_ROWS: Final = 10_000  # of the log
SHARE: Final = 0.5  # of the budget of false alarms; the rest is for the alarm on misses


class Evidence(Protocol):
    """The settings of the `evidence` section that are used here."""

    @property
    def false_alarms(self) -> str: ...
    @property
    def features(self) -> int: ...


def policy_of(evidence: Evidence, window_duration_ms: int) -> FeaturePolicy:
    """Return the policy that the settings, checked when they were loaded, describe."""
    budget = FalseAlarmBudget.parse(evidence.false_alarms).share(SHARE)
    return FeaturePolicy(max_features=evidence.features, window_duration_ms=window_duration_ms, budget=budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRows:
    """Which log rows the reference is learned from, both ends included, and the version that learned from them."""

    first_seq: int
    last_seq: int
    version: int | None  # none: nothing is live, so it is the beginning of the log


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLine:
    """One feature as a report shows it. `status`: drift | stable | unknown; unknown is no good news."""

    name: str
    status: str
    finding: Finding
    alarm_seq: int | None  # log row at which its detector raised the alarm
    drifted_looks: int  # looks since the reference that found it drifted


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """What the features of the newest windows look like beside the reference."""

    policy: FeaturePolicy
    version: int | None
    reference: Span | None  # None: the log is empty
    reference_windows: int
    current: Span | None  # None: nothing came after the reference
    windows: int  # of the current span
    looks: int  # judged since the reference
    lines: tuple[FeatureLine, ...]  # worst first

    @property
    def needed(self) -> int:
        """Windows that are missing for a verdict."""
        return max(0, self.policy.limits.min_windows - self.windows)

    @property
    def drifting(self) -> tuple[FeatureLine, ...]:
        return tuple(line for line in self.lines if line.status == "drift")


def reference_rows(store: Store, trainer: Trainer) -> ReferenceRows | None:
    """Return where the reference is: the last 10,000 rows before the live version was made, else the first part.

    The first part is 10,000 rows, at most half of the log. None while the log is too short.
    """
    with store.read() as reader:
        newest = segments.last(reader, "log", trainer.stream)
        live = activations.live(reader, trainer.name).get(Ring.GLOBAL)
        champion = snapshots.get(reader, trainer.name, live.version) if live else None
    if newest is None:
        return None
    if champion is not None:
        first = max(0, champion.last_seq + 1 - REFERENCE_ROWS)
        return ReferenceRows(first_seq=first, last_seq=champion.last_seq, version=champion.version)
    rows = min(REFERENCE_ROWS, (newest.last_seq + 1) // 2)
    return ReferenceRows(first_seq=0, last_seq=rows - 1, version=None) if rows else None


def learn(store: Store, trainer: Trainer, rows: ReferenceRows, policy: FeaturePolicy) -> Reference | None:
    """Return what the features look like in those rows of the log; None when there is no window among them."""
    return learn_reference(lambda: _between(store, trainer.stream, rows), policy, hash_name(trainer.name))


def _between(store: Store, stream: str, rows: ReferenceRows) -> Rows:
    for first, batch in log.follow(store, stream, rows.first_seq):
        left = rows.last_seq + 1 - first
        if left > 0:
            yield first, batch if len(batch) <= left else batch.slice(0, left)
        if left <= len(batch):
            return


def build(
    store: Store, name: str, policy: FeaturePolicy, *, since_ms: int | None = None, back_ms: int | None = None
) -> FeatureReport:
    """Return the feature report of a trainer.

    The looks that end after `since_ms` (event time), or less than `back_ms` before the newest one, count together as
    the current windows; without either, the newest look that has enough windows and what came after it. A trainer
    that never ran has an empty report.
    """
    with store.read() as reader:
        trainer = trainers.find(reader, name)
    rows = reference_rows(store, trainer) if trainer else None
    reference = learn(store, trainer, rows, policy) if trainer and rows else None
    if trainer is None or rows is None or reference is None:
        return _empty(policy)
    if back_ms is not None:
        since_ms = _newest_end_ms(store, trainer.stream, policy) - back_ms
    fold, recent = FeatureDrift(reference, policy), _Recent(reference, policy, since_ms)
    for first, batch in log.follow(store, trainer.stream, rows.last_seq + 1):
        for look in fold.fold(first, batch):
            recent.count(look)
            recent.add(look)
    open_look = fold.open_look()
    if open_look is not None:
        recent.add(open_look)
    return _report(store, trainer, rows.version, fold, recent)


def _newest_end_ms(store: Store, stream: str, policy: FeaturePolicy) -> int:
    """Return the end of the newest slot of event time that has a window."""
    length, newest = policy.window_duration_ms, 0
    for _, batch in log.follow(store, stream, 0):
        newest = max(newest, int(batch.start_ms.max(initial=0)))
    return (newest // length + 1) * length


class _Recent:
    """The looks that count together as the current windows, and what the closed ones found."""

    def __init__(self, reference: Reference, policy: FeaturePolicy, since_ms: int | None) -> None:
        self._policy, self._since_ms, self._reference = policy, since_ms, reference
        self._sketch: Sketch | None = None
        self.span: Span | None = None
        self.drifted: dict[int, int] = {}

    def count(self, look: Look) -> None:
        """Remember what a closed look found."""
        for one in look.findings:
            if one.drifted:
                self.drifted[one.feature] = self.drifted.get(one.feature, 0) + 1

    def add(self, look: Look) -> None:
        """Let a look count as current, if it is recent enough."""
        if self._since_ms is not None and look.span.end_ms <= self._since_ms:
            return
        if self._sketch is None or self.span is None or (self._since_ms is None and look.is_judged):
            self._sketch, self.span = self._reference.sketch(self._policy), look.span
        else:
            self.span = replace(self.span, last_seq=look.span.last_seq, end_ms=look.span.end_ms)
        self._sketch.merge(look.sketch)

    @property
    def windows(self) -> int:
        return 0 if self._sketch is None else self._sketch.windows

    def findings(self) -> tuple[Finding, ...]:
        """Test the current windows together, at the significance of one look."""
        if self._sketch is None:
            return ()
        return compare(self._reference.baseline, self._sketch, self._policy.limits, self._policy.significance)


def _report(store: Store, trainer: Trainer, version: int | None, fold: FeatureDrift, recent: _Recent) -> FeatureReport:
    reference, policy = fold.reference, fold.policy
    findings = recent.findings()
    alarms = dict(zip(reference.shape.features.tolist(), fold.alarms.at.tolist(), strict=True))
    names = names_of(store, trainer.stream, {one.feature for one in findings})
    judged = recent.windows >= policy.limits.min_windows
    lines = [_line(one, names, alarms.get(one.feature, -1), recent.drifted, judged=judged) for one in findings]
    return FeatureReport(
        policy=policy,
        version=version,
        reference=reference.span,
        reference_windows=reference.baseline.windows,
        current=recent.span,
        windows=recent.windows,
        looks=fold.looks,
        lines=tuple(sorted(lines, key=_worst_first)),
    )


def _line(
    one: Finding, names: Mapping[int, str], alarm_seq: int, drifted: Mapping[int, int], *, judged: bool
) -> FeatureLine:
    changed = alarm_seq >= 0 or (judged and one.drifted)
    return FeatureLine(
        name=names.get(one.feature, f"#{one.feature:08x}"),
        status="drift" if changed else "stable" if judged else "unknown",
        finding=one,
        alarm_seq=alarm_seq if alarm_seq >= 0 else None,
        drifted_looks=drifted.get(one.feature, 0),
    )


def _worst_first(line: FeatureLine) -> tuple[int, float, str]:
    effect = max(line.finding.psi, line.finding.w1 or 0.0)
    return {"drift": 0, "unknown": 1, "stable": 2}[line.status], -effect, line.name


def names_of(store: Store, stream: str, wanted: set[int]) -> dict[int, str]:
    """Return the names of the `wanted` features, segment by segment, so that a large dictionary is never held."""
    found: dict[int, str] = {}
    position, lost = 0, -1
    while True:
        with store.read() as reader:
            told = segments.list_for(reader, "names", stream, position)
        try:
            for segment in told:
                names = log.read_names(store.home, [segment])
                found = {key: names[key] for key in wanted & names.keys()} | found
                position = segment.last_seq + 1
        except segmentfiles.SegmentGoneError:  # merged meanwhile: look again
            if lost == position:
                raise
            lost = position
        else:
            return found


def _empty(policy: FeaturePolicy) -> FeatureReport:
    return FeatureReport(
        policy=policy,
        version=None,
        reference=None,
        reference_windows=0,
        current=None,
        windows=0,
        looks=0,
        lines=(),
    )
