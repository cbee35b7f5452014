"""What the metrics are made of, read for all trainers at once in one short look at the state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upm_cli.core.drift_ranges import WindowScores
from upm_cli.core.records import Stream, Trainer
from upm_cli.store import streams, trainers
from upm_cli.store.rows import milliseconds
from upm_cli.store.schema import Meta
from upm_cli.store.unit import Reader

Row = Mapping[str, Any]  # columns by name; instants as the state has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The state as far as metrics are concerned. Mappings are by trainer."""

    meta: Meta
    trainers: Sequence[Trainer]
    streams: Mapping[str, Stream]  # by name
    snapshots: Mapping[str, Row]
    live: Mapping[str, Sequence[Row]]
    drift: Mapping[str, Sequence[WindowScores]]
    newest_drift: Mapping[str, Row]
    evidence: Mapping[str, Sequence[Row]]
    features: Mapping[str, Row]
    rollouts: Mapping[str, Row]
    shadow_s: Mapping[str, float]
    waiting: Mapping[str, Row]  # trainers that have learned all of their log are left out


def read(r: Reader) -> Facts:
    """Return the facts of one consistent state."""
    drift: dict[str, list[WindowScores]] = {}
    for row in r.query("metrics.drift"):
        drift.setdefault(row["trainer"], []).append(_scores(row))
    return Facts(
        meta=r.meta,
        trainers=trainers.list_all(r),
        streams={stream.name: stream for stream in streams.list_all(r)},
        snapshots=_one(r, "metrics.snapshots"),
        live=_several(r, "metrics.live"),
        drift=drift,
        newest_drift=_one(r, "metrics.newest_drift"),
        evidence=_several(r, "metrics.evidence"),
        features=_one(r, "metrics.features"),
        rollouts=_one(r, "metrics.rollouts"),
        shadow_s={row["trainer"]: row["shadow_s"] for row in r.query("metrics.dwells")},
        waiting=_one(r, "metrics.waiting"),
    )


def _one(r: Reader, name: str) -> dict[str, Row]:
    return {row["trainer"]: row for row in r.query(name)}


def _several(r: Reader, name: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in r.query(name):
        found.setdefault(row["trainer"], []).append(row)
    return found


def _scores(row: Row) -> WindowScores:
    return WindowScores(
        end_ms=milliseconds(row["closed_at"]) or 0,
        n=row["n"],
        scores=row["scores"] or row["n"],
        mean=row["mean"],
        p95=row["p95"],
        max=row["max"],
        threshold=row["threshold"],
        exceed=row["exceed"] or 0.0,
    )
