"""Sums over telemetry points, for counters that go on when the files that the points were in are dropped."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.points import Point

Key = tuple[str, str, tuple[tuple[str, str], ...]]  # metric, suffix, labels
Parts = Iterator[Sample]


class Totals:
    """What all points taken so far add up to."""

    def __init__(self, known: Iterable[Any] = ()) -> None:
        self._sums: dict[Key, float] = {}
        for family, suffix, labels, value in known:
            self._add(Sample(family, value, labels, suffix))

    def take(self, points: Iterable[Point]) -> None:
        """Add points; those of other names, and those that are not as the registry says, count for nothing."""
        for point in points:
            part = _PARTS.get(point.name)
            if part is not None:
                try:
                    samples = list(part(point))
                except (KeyError, TypeError, ValueError):
                    continue
                for sample in samples:
                    self._add(sample)

    def samples(self) -> Iterator[Sample]:
        for (family, suffix, labels), value in self._sums.items():
            yield Sample(family, value, dict(labels), suffix)

    def start(self, family: str, labels: Mapping[str, str], suffix: str = "") -> None:
        """Let a counter be there before anything was counted, so that the first time is seen as an increase."""
        self._add(Sample(family, 0.0, labels, suffix))

    def to_json(self) -> list[Any]:
        """Return what the constructor takes."""
        return [[family, suffix, dict(labels), value] for (family, suffix, labels), value in self._sums.items()]

    def _add(self, sample: Sample) -> None:
        key = (str(sample.family), str(sample.suffix), tuple(sample.labels.items()))
        self._sums[key] = self._sums.get(key, 0.0) + float(sample.value)


def _update(point: Point) -> Parts:
    about = {"trainer": str(point.metadata["trainer_id"])}
    family = "upm_trainer_commit_duration_seconds"
    yield Sample(family, point.measurements["duration_ms"] / 1000, about, "_sum")
    yield Sample(family, point.count, about, "_count")


def _score(point: Point) -> Parts:
    about = {"trainer": str(point.metadata["trainer_id"]), "verdict": str(point.metadata["verdict"])}
    yield Sample("upm_drift_windows_judged_total", point.count, about)


def _success(point: Point) -> Parts:
    about = {"trainer": _trainer(point)}
    yield Sample("upm_adapter_sync_successes_total", point.count, about)
    yield Sample("upm_adapter_sync_duration_seconds", point.measurements["duration_ms"] / 1000, about, "_sum")
    yield Sample("upm_adapter_sync_duration_seconds", point.count, about, "_count")


def _failure(point: Point) -> Parts:
    """`retry_count` is how many tries there were so far, this one included: the first is no retry.

    Of a point that is made of several it is the largest.
    """
    about = {"trainer": _trainer(point)}
    yield Sample("upm_adapter_sync_failures_total", point.count, about)
    retries = max(0, min(point.count, point.measurements["retry_count"] - 1))
    yield Sample("upm_adapter_sync_retries_total", retries, about)


def _trainer(point: Point) -> str:
    """Return the trainer of a sync: named, or that of the snapshot (`main@42`)."""
    return str(point.metadata.get("trainer_id") or str(point.measurements["snapshot_id"]).partition("@")[0])


_PARTS: Final[Mapping[str, Callable[[Point], Parts]]] = {
    "upm.trainer.update": _update,
    "upm.drift.score": _score,
    "upm.adapter.sync.success": _success,
    "upm.adapter.sync.failure": _failure,
}
