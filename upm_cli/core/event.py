"""What upm tells the world, as a registry: events (facts, sent once) and telemetry (measurements, aggregated).

Names and fields are a contract; docs/reference/events.md is made from this table by `core.event_docs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Combine(StrEnum):
    """How several measurements of one kind become one when points are aggregated."""

    LAST = "last"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class EventType:
    """A fact that is told once, in the commit that made it true. `fields` are always there; `more` may be."""

    type: str
    sender: str
    receiver: str
    doc: str
    fields: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)
    carried_as: str = "outbox"  # outbox | input | comparisons

    def problems(self, data: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with `data` as the data of such an event; empty when nothing is."""
        missing = [f"{self.type}: no field {name!r}" for name in self.fields if name not in data]
        unknown = [
            f"{self.type}: unknown field {name!r}" for name in data if name not in self.fields and name not in self.more
        ]
        return missing + unknown


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value of a telemetry name."""

    name: str
    unit: str
    combine: Combine


@dataclass(frozen=True, slots=True)
class TelemetryType:
    """A measured name: `measurements` come with each point."""

    name: str
    doc: str
    measurements: tuple[Measurement, ...]


_IDS: Final = {"trainer_id": "name of the trainer"}

EVENTS: Final[Mapping[str, EventType]] = {
    event.type: event
    for event in (
        EventType(
            "system.feature_window.created",
            "source",
            "ingest worker",
            "A feature window was closed upstream and can be learned from.",
            {
                "window_id": "unique in its stream",
                "window_start": "event time, ISO 8601 or Unix milliseconds",
                "window_end": "event time, exclusive",
                "features": "map of name to number, boolean, string, list or object",
            },
            {"tenant_id": "whose window it is", "label": "ground truth, when it is known", "labels": "same as label"},
            "input",
        ),
        EventType(
            "system.feature_window.labelled",
            "source",
            "ingest worker",
            "The ground truth of an earlier window became known.",
            {"window_id": "the window it belongs to", "label": "number, boolean, class name or map of numbers"},
            {"tenant_id": "whose window it is", "labels": "same as label"},
            "input",
        ),
        EventType(
            "ai.upm.prediction",
            "agent",
            "ingest worker",
            "An agent answered about a window.",
            {
                "prediction_id": "unique, a UUID of version 7",
                "window_id": "the window it is about",
                "trainer": "whose model answered",
                "version": "number of the snapshot",
                "digest": "sha256 of its canonical bytes",
                "epoch": "of the activation that the agent had",
                "agent": "name of the agent",
                "predicted_at": "ISO 8601, UTC",
                "window_start": "event time of the window",
                "window_end": "event time, exclusive",
                "prediction": "map: the answer, as `upm predict` prints it",
            },
            {"tenant_id": "whose window it is", "features": "of the window: it is learned from then"},
            "input",
        ),
        EventType(
            "ai.upm.outcome",
            "agent",
            "ingest worker",
            "What came of a prediction became known.",
            {
                "prediction_id": "the prediction it belongs to",
                "label": "ground truth: number, boolean, class name or map of numbers",
                "observed_at": "ISO 8601, UTC",
                "agent": "name of the agent",
            },
            {
                "acted": "whether the prediction had an influence on what happened; absent: it had",
                "served": "map: the prediction without type and features, if the agent still knew",
            },
            "input",
        ),
        EventType(
            "ai.upm.snapshot.created",
            "trainer",
            "anyone",
            "A snapshot was made.",
            {
                "snapshot_id": "<trainer>@<version>",
                **_IDS,
                "version": "number, grows by one within a trainer",
                "created_at": "ISO 8601, UTC",
                "metadata": "map: digest, size, log range, metrics",
            },
        ),
        EventType(
            "ai.upm.snapshot.activated",
            "snapshot manager",
            "adapter sync",
            "A snapshot became the one to use in a ring.",
            {
                "snapshot_id": "<trainer>@<version>",
                **_IDS,
                "version": "number",
                "activated_at": "ISO 8601, UTC",
                "previous_snapshot_id": "what it replaced, or null",
            },
            {"ring": "shadow, canary or global", "percent": "share of tenants", "epoch": "number, grows"},
        ),
        EventType(
            "ai.upm.shadow_delta",
            "trainer",
            "drift monitor",
            "One prediction was compared with its ground truth. Bulk: a row of the comparisons files, not the outbox; "
            "`upm events --type ai.upm.shadow_delta` reads them, `upm sql` has the view shadow_delta.",
            {
                **_IDS,
                "prediction_id": "log position and window id",
                "shadow_prediction": "what the model said before it learned from the window: the value, or the "
                "probability (of 1; of the true class); null for maps, of which only the score is kept",
                "ground_truth": "what was true, as the label was written",
                "drift_score": "seed score, null when it could not be made",
                "timestamp": "event time of the window",
            },
            {
                "served": "only for what an agent answered, whose shadow_prediction is null: map of prediction, "
                "window_id, tenant_id, version, digest, epoch, agent, acted and observed_at; prediction_id is the "
                "agent's, and the source ends in /served"
            },
            carried_as="comparisons",
        ),
        EventType(
            "ai.upm.drift.quarantine",
            "drift monitor",
            "anyone",
            "A drift window or a contest failed and quarantine is enabled.",
            {
                **_IDS,
                "drift_window_id": "<trainer>/<log position of its first comparison>; rule evidence: the newest",
                "drift_p95": "P95 of that window by the rule in charge, or null",
                "threshold": "its limit",
                "recommendation": "rollback, or pause when there is nothing to go back to; null where nobody is served",
                "quarantined_at": "ISO 8601, UTC",
            },
            {
                "rule": "seed, regret or evidence",
                "sample_count": "comparisons judged",
                "snapshot_ids": "snapshots that it casts doubt on and that are barred now",
                "served_version": "of a window of what agents served: the version they served",
                "contest_id": "rule evidence: the contest that failed",
                "excess": "rule evidence: map of the mean excess loss, its bounds, and the other measures",
            },
        ),
        EventType(
            "ai.upm.evidence.verdict",
            "drift monitor",
            "anyone",
            "A contest between a challenger and a champion has another verdict than before.",
            {
                **_IDS,
                "contest_id": "<lineage or candidate>/<champion or baseline>/<challenger or lineage>/<first seq>",
                "verdict": "pass, fail or unknown",
                "excess_mean": "mean loss of the challenger minus that of the champion, or null",
                "excess_low": "lower bound, good at all times; where labels are missing, at its worst",
                "excess_high": "upper bound of the same kind",
                "threshold": "mean excess loss that still counts as not worse",
                "sample_count": "windows with a loss of both",
                "judged_at": "ISO 8601, UTC",
            },
            {"reasons": "what stands between it and a pass"},
        ),
        EventType(
            "ai.upm.feature.drift",
            "drift monitor",
            "anyone",
            "Other features drift now than before: windows are not like those the live version learned from.",
            {
                **_IDS,
                "features": "names of those that drift now, worst first; empty when the drift is over",
                "window_start": "event time at which the newest look begins, or null",
                "p": "smallest p-value among them, adjusted for all features; null when none drifts",
                "effect": "PSI or Wasserstein distance of the worst, whichever is larger; null when none drifts",
            },
            {
                "before": "names of those that drifted before",
                "version": "live version that the reference belongs to, or null",
                "sample_count": "windows of the newest look",
            },
        ),
        EventType(
            "ai.upm.rollout.changed",
            "rollout",
            "anyone",
            "A rollout moved, paused, turned back or ended.",
            {
                **_IDS,
                "rollout_id": "its id, also what tenants are drawn with",
                "change": "activate, rollback, hold_tenant, pause, abort or promote",
                "phase": "progressing, paused, promoted, aborted or degraded",
                "stage": "number of the stage, 0 is shadow",
                "percent": "share of tenants",
                "version": "the candidate, null before shadow is left",
                "champion": "what it replaces, or null",
                "cause": "operator, harm, quarantine, unknown, overtaken or watched; empty while it goes on",
                "reason": "in words; of hold_tenant the tenant",
                "at": "ISO 8601, UTC",
            },
        ),
        EventType(
            "ai.upm.worker.fatal",
            "supervisor",
            "anyone",
            "A worker was given up after it had failed too often.",
            {
                "worker": "name of the worker, such as trainer-main",
                "reason": "why, in words",
                "restarts": "how often it was started again before",
                "at": "ISO 8601, UTC",
            },
            {"trainer_id": "trainer it worked for", "exit_code": "its last exit code"},
        ),
        EventType(
            "ai.upm.rollback",
            "snapshot manager",
            "anyone",
            "A ring was put back on an earlier snapshot.",
            {
                **_IDS,
                "from_snapshot_id": "what was in use, or null",
                "to_snapshot_id": "what is in use now",
                "reason": "why",
                "rolled_back_at": "ISO 8601, UTC",
            },
            {"ring": "shadow, canary or global", "epoch": "number, grows", "incident_id": "the record to follow up"},
        ),
    )
}


def _type(name: str, doc: str, *measurements: tuple[str, str, Combine]) -> TelemetryType:
    return TelemetryType(name, doc, tuple(Measurement(*each) for each in measurements))


TELEMETRY: Final[Mapping[str, TelemetryType]] = {
    kind.name: kind
    for kind in (
        _type(
            "upm.trainer.update",
            "The trainer learned from windows and committed.",
            ("loss", "loss per window, before learning", Combine.MEAN),
            ("duration_ms", "milliseconds", Combine.SUM),
            ("window_count", "windows", Combine.SUM),
        ),
        _type(
            "upm.trainer.snapshot",
            "The trainer made a snapshot.",
            ("snapshot_id", "id", Combine.LAST),
            ("version", "number", Combine.LAST),
            ("size_bytes", "bytes, compressed", Combine.LAST),
        ),
        _type(
            "upm.replay_buffer.add",
            "Windows entered the replay buffer.",
            ("window_id", "id of the last one", Combine.LAST),
            ("buffer_size", "windows in the buffer after it", Combine.LAST),
        ),
        _type(
            "upm.replay_buffer.release",
            "Windows were released into the event log.",
            ("count", "windows", Combine.SUM),
            ("sequence_start", "log position of the first", Combine.MIN),
            ("sequence_end", "log position of the last", Combine.MAX),
        ),
        _type(
            "upm.replay_buffer.duplicate",
            "Windows were dropped as their id had been seen.",
            ("window_id", "id of the last one", Combine.LAST),
        ),
        _type(
            "upm.replay_buffer.late_arrival",
            "Windows came after their place was released and were appended.",
            ("window_id", "id of the last one", Combine.LAST),
            ("delay_ms", "milliseconds behind the watermark, the longest", Combine.MAX),
        ),
        _type(
            "upm.drift.score",
            "A drift window was judged.",
            ("drift_p95", "score", Combine.LAST),
            ("drift_mean", "score", Combine.LAST),
            ("drift_max", "score", Combine.LAST),
            ("sample_count", "comparisons", Combine.LAST),
        ),
        _type(
            "upm.evidence.verdict",
            "A contest has another verdict than before.",
            ("excess_mean", "loss", Combine.LAST),
            ("excess_low", "loss", Combine.LAST),
            ("excess_high", "loss", Combine.LAST),
            ("sample_count", "windows", Combine.LAST),
        ),
        _type(
            "upm.drift.quarantine",
            "A drift window or a contest failed and quarantine is enabled.",
            ("trainer_id", "id", Combine.LAST),
            ("drift_p95", "score", Combine.LAST),
            ("threshold", "score", Combine.LAST),
        ),
        _type(
            "upm.adapter.sync.start",
            "A snapshot is about to be sent to adapters.",
            ("snapshot_id", "id", Combine.LAST),
            ("adapter_count", "adapters", Combine.SUM),
        ),
        _type(
            "upm.adapter.sync.success",
            "An adapter confirmed a snapshot.",
            ("adapter_id", "id", Combine.LAST),
            ("snapshot_id", "id", Combine.LAST),
            ("duration_ms", "milliseconds", Combine.SUM),
        ),
        _type(
            "upm.adapter.sync.failure",
            "An adapter could not take a snapshot.",
            ("adapter_id", "id", Combine.LAST),
            ("snapshot_id", "id", Combine.LAST),
            ("reason", "text", Combine.LAST),
            ("retry_count", "tries so far", Combine.MAX),
        ),
    )
}
