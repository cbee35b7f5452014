"""Telemetry points: recorded while working, aggregated, written now and then as JSON lines."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from upm_cli.core.event import TELEMETRY, Combine, TelemetryType


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`count` measurements of one name in one."""

    name: str
    at_ms: int
    measurements: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1


@dataclass(slots=True)
class _Sum:
    """What has been recorded of one name and metadata."""

    count: int
    values: dict[str, Any]
    metadata: Mapping[str, Any]


class Recorder:
    """Gathers points of one worker. The same name with the same metadata becomes one point until drained.

    `every_ms` is how long points are gathered before they are due; it bounds what a killed worker loses.
    """

    def __init__(self, now_ms: int, *, every_ms: int = 10_000) -> None:
        self._every_ms = every_ms
        self._drained_at_ms = now_ms
        self._sums: dict[tuple[str, str], _Sum] = {}

    def record(
        self, name: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, count: int = 1
    ) -> None:
        """Take `count` measurements of `name`, already combined into one value each.

        Raises ValueError when the name or its measurements are not those of the registry (core/event.py).
        """
        kind = TELEMETRY.get(name)
        expected = [each.name for each in kind.measurements] if kind else []
        if kind is None or set(expected) != measurements.keys():
            raise ValueError(f"{name} measures {', '.join(expected) or 'nothing'}, got {', '.join(measurements)}")
        about = dict(metadata or {})
        key = (name, json.dumps(about, sort_keys=True, default=str))
        known = self._sums.get(key)
        if known is None:
            self._sums[key] = _Sum(count, dict(measurements), about)
        else:
            _combine(kind, known, measurements, count)

    def due(self, now_ms: int) -> bool:
        """Whether there are points and it is time to write them."""
        return bool(self._sums) and not 0 <= now_ms - self._drained_at_ms < self._every_ms

    def drain(self, now_ms: int) -> list[Point]:
        """Return what was gathered as points at `now_ms`, in order of first mention, and start anew."""
        sums, self._sums, self._drained_at_ms = self._sums, {}, now_ms
        return [
            Point(name=name, at_ms=now_ms, measurements=each.values, metadata=each.metadata, count=each.count)
            for (name, _), each in sums.items()
        ]


def _combine(kind: TelemetryType, known: _Sum, measured: Mapping[str, Any], count: int) -> None:
    before, known.count = known.count, known.count + count
    for each in kind.measurements:
        old, new = known.values[each.name], measured[each.name]
        match each.combine:
            case Combine.LAST:
                known.values[each.name] = new
            case Combine.SUM:
                known.values[each.name] = old + new
            case Combine.MIN:
                known.values[each.name] = min(old, new)
            case Combine.MAX:
                known.values[each.name] = max(old, new)
            case Combine.MEAN:
                known.values[each.name] = (old * before + new * count) / known.count


def encode(points: Iterable[Point]) -> bytes:
    """Return `points` as JSON lines."""
    return b"".join(
        json.dumps(
            {
                "name": point.name,
                "at_ms": point.at_ms,
                "count": point.count,
                "measurements": point.measurements,
                "metadata": point.metadata,
            },
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()
        + b"\n"
        for point in points
    )


def decode(data: bytes) -> list[Point]:
    """Return the points in JSON lines; a line that a crash cut short is left out."""
    points = []
    for line in data.split(b"\n"):
        try:
            raw = json.loads(line)
            point = Point(
                name=raw["name"],
                at_ms=int(raw["at_ms"]),
                count=int(raw["count"]),
                measurements=raw["measurements"],
                metadata=raw["metadata"],
            )
        except (ValueError, KeyError, TypeError):
            continue
        points.append(point)
    return points
