"""Drift in strips: for each of the newest windows, how each tenant and each feature did in it.

A window that is closed never changes, so what was found of it is kept; only the open one is read again. Of a long
window the first rows count, so that a look stays short however busy the stream is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.drift_tenants import by_tenant
from upm_cli.core.features.drift import FeaturePolicy, Reference, windows_of
from upm_cli.core.features.tests import Finding, compare
from upm_cli.core.records import DriftWindow, Trainer
from upm_cli.ops import comparisons, feature_drift
from upm_cli.store import log, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Store

ROWS: Final = 8000  # of each window that are looked at
WINDOWS: Final = 48  # the newest, that a strip shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One tenant or feature. `values` by window, oldest first; at `limit` or above it drifts, None: nothing to say."""

    name: str
    values: tuple[float | None, ...]
    limit: float
    n: int  # windows of the newest value
    total: int  # of all

    @property
    def newest(self) -> float | None:
        return next((value for value in reversed(self.values) if value is not None), None)

    @property
    def drifts(self) -> bool:
        """Whether the newest value is at the limit."""
        return self.newest is not None and self.newest >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """The strips of one trainer over its newest windows, worst first. `note` says why there are none."""

    trainer: str
    starts_ms: tuple[int, ...]
    tenants: tuple[Strip, ...] = ()
    features: tuple[Strip, ...] = ()
    note: str = ""


Reading = Iterator[Strips]
Values = Mapping[str, tuple[float | None, int]]  # name → value, samples


@dataclass(slots=True)
class Memory:
    """What was found of closed windows, so that it is found once; and the reference of the features."""

    tenants: dict[tuple[str, int], Values] = field(default_factory=dict)
    features: dict[tuple[str, int], Values] = field(default_factory=dict)
    reference: tuple[object, Reference | None] | None = None


def read(
    store: "Store",
    name: str,
    windows: Sequence[DriftWindow],
    drift: DriftPolicy,
    features: FeaturePolicy,
    memory: Memory,
    goes_on: Callable[[], bool] = lambda: True,
) -> Reading:
    """Yield the strips over the newest of `windows` (oldest first): first those of tenants, then with the features.

    It ends early when `goes_on` says no. Raises UpmError as reading comparisons and the log does.
    """
    shown = list(windows[-WINDOWS:])
    starts = tuple(window.started_at_ms for window in shown)
    found = [_of_tenants(store, name, window, drift, memory) for window in shown if goes_on()]
    if not goes_on():
        return
    tenants = _strips(found, drift.drift_threshold)
    yield Strips(trainer=name, starts_ms=starts, tenants=tenants)
    with store.read() as reader:
        trainer = trainers.find(reader, name)
    reference = None if trainer is None else _reference(store, trainer, features, memory)
    if trainer is None or reference is None:
        note = "the log is too short for a reference of the features"
        yield Strips(trainer=name, starts_ms=starts, tenants=tenants, note=note)
        return
    found = [_of_features(store, trainer, window, reference, features, memory) for window in shown if goes_on()]
    if goes_on():
        note = "" if any(found) else f"{features.limits.min_windows:,} windows in one drift window make a verdict"
        yield Strips(trainer=name, starts_ms=starts, tenants=tenants, features=_strips(found, 1.0), note=note)


def _strips(found: Sequence[Values], limit: float) -> tuple[Strip, ...]:
    names = dict.fromkeys(name for values in found for name in values)
    strips = []
    for name in names:
        each = [values.get(name, (None, 0)) for values in found]
        said = [n for value, n in each if value is not None]
        values = tuple(value for value, _ in each)
        strips.append(Strip(name=name, values=values, limit=limit, n=said[-1] if said else 0, total=sum(said)))
    return tuple(sorted(strips, key=_worst_first))


def _worst_first(strip: Strip) -> tuple[bool, float, str]:
    highest = max((value for value in strip.values if value is not None), default=0.0)
    return not strip.drifts, -highest, strip.name


def _of_tenants(store: "Store", name: str, window: DriftWindow, policy: DriftPolicy, memory: Memory) -> Values:
    key = (window.window_id, window.last_seq)
    if key not in memory.tenants:
        stats = by_tenant(_compared(store, name, window), policy)
        memory.tenants[key] = {each.tenant or "(none)": (each.stats.p95, each.stats.n) for each in stats}
    return memory.tenants[key]


def _compared(store: "Store", name: str, window: DriftWindow) -> Iterator[Comparisons]:
    left = ROWS
    for table in comparisons.follow(store, name, window.first_seq):
        stop = min(int(table.seq.searchsorted(window.last_seq, side="right")), left)
        if stop:
            yield table.slice(0, stop)
        left -= stop
        if stop < len(table) or not left:
            return


def _reference(store: "Store", trainer: Trainer, policy: FeaturePolicy, memory: Memory) -> Reference | None:
    rows = feature_drift.reference_rows(store, trainer)
    key = (trainer.name, rows if rows is None or rows.version is not None else rows.first_seq)
    if memory.reference is None or memory.reference[0] != key:
        found = None if rows is None else feature_drift.learn(store, trainer, rows, policy)
        memory.features.clear()
        memory.reference = (key, found)
    return memory.reference[1]


def _of_features(
    store: "Store",
    trainer: Trainer,
    window: DriftWindow,
    reference: Reference,
    policy: FeaturePolicy,
    memory: Memory,
) -> Values:
    key = (window.window_id, window.last_seq)
    if key not in memory.features:
        sketch, left = reference.sketch(policy), ROWS
        for first, batch in log.follow(store, trainer.stream, window.first_seq):
            rows = min(len(batch), left, window.last_seq + 1 - first)
            if rows <= 0:
                break
            for seq, part in windows_of([(first, batch.slice(0, rows))]):
                sketch.add(part.x, seq)
            left -= rows
        enough = sketch.windows >= policy.limits.min_windows
        found = compare(reference.baseline, sketch, policy.limits, policy.significance) if enough else ()
        names = feature_drift.names_of(store, trainer.stream, {one.feature for one in found}) if found else {}
        memory.features[key] = {
            names.get(one.feature, f"#{one.feature:08x}"): (_effect(one, policy), sketch.windows) for one in found
        }
    return memory.features[key]


def _effect(one: Finding, policy: FeaturePolicy) -> float:
    """Return how far a feature is from its reference, in limits; it counts as drift only where the test says so too."""
    limits = policy.limits
    effect = max(one.psi / limits.psi, (one.w1 or 0.0) / limits.w1)
    return effect if one.drifted else min(effect, 0.99)
