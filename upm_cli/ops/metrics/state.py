"""The metrics that the state tells of. What the state does not know has no sample: a zero would be a lie."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upm_cli.core.drift_ranges import pooled, within
from upm_cli.core.records import Stream, Trainer
from upm_cli.ops.status import configured, state_of, window_counts
from upm_cli.store.metrics import Facts
from upm_cli.store.rows import milliseconds
from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.metrics.families import FATES, PHASES, RANGES, STATES, VERDICTS

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The facts of one collection, and what lies beside the state: what workers say, and the time."""

    facts: Facts
    settings: "Settings"
    trained: frozenset[str]  # trainers that somebody trains now
    buffers: Mapping[str, int]  # windows in the replay buffers of running ingest workers, by stream
    now_ms: int


def samples(look: Look) -> Iterator[Sample]:
    """Yield everything that the state tells."""
    known = {trainer.name: trainer for trainer in (*configured(look.settings), *look.facts.trainers)}
    states = {name: _state_of(look, trainer) for name, trainer in known.items()}
    for (mode, state), count in Counter((str(known[name].mode), state) for name, state in states.items()).items():
        yield Sample("upm_trainers", count, {"mode": mode, "state": state})
    for name, trainer in known.items():
        about = {"trainer": name}
        stream = look.facts.streams.get(trainer.stream) or Stream(name=trainer.stream)
        yield Sample("upm_trainer_info", 1, {**about, "mode": str(trainer.mode), "stream": trainer.stream})
        yield from _one_of("upm_trainer_state", states[name], STATES, about, "state")
        yield from _learning(trainer, stream, about)
        yield from _lag(look, trainer, stream, about)
        yield from _snapshots(look, trainer, about)
        yield from _drift(look, name, about)
        yield from _evidence(look.facts, name, about)
        yield from _release(look.facts, trainer, about)
    for stream in look.facts.streams.values():
        yield from _stream(stream, look.buffers.get(stream.name, stream.pending))
    yield Sample("upm_evidence_max_age_seconds", look.settings.rollout.max_evidence_age_ms / 1000)
    yield Sample("upm_replay_buffer_limit_windows", look.settings.replay_buffer.max_buffer_size)
    yield Sample("upm_ledger_entries_total", look.facts.meta.ledger.count)
    yield Sample("upm_state_generation", look.facts.meta.generation)


def _state_of(look: Look, trainer: Trainer) -> str:
    newest = look.facts.snapshots.get(trainer.name)
    drift = look.facts.newest_drift.get(trainer.name)
    return state_of(
        trainer,
        live=[row["version"] for row in look.facts.live.get(trainer.name, ())],
        barred=(newest and newest["barred_versions"]) or (),
        newest=newest["version"] if newest else None,
        is_breached=bool(drift and drift["is_breached"]),
        is_training=trainer.name in look.trained,
    )


def _one_of(family: str, value: str, values: tuple[str, ...], about: Mapping[str, str], label: str) -> Iterator[Sample]:
    """Yield a state set: 1 for the value that holds, 0 for the others."""
    for each in values:
        yield Sample(family, int(each == value), {**about, label: each})


def _learning(trainer: Trainer, stream: Stream, about: Mapping[str, str]) -> Iterator[Sample]:
    counts = window_counts(trainer, stream)
    yield Sample("upm_windows_read_total", counts["read"], about)
    yield Sample("upm_windows_pending", counts["pending"], about)
    for fate in FATES:
        yield Sample("upm_windows_total", counts[fate], {**about, "fate": fate})
    yield Sample("upm_training_loss", trainer.loss_sum, about, "_sum")
    yield Sample("upm_training_loss", trainer.trained, about, "_count")
    if trainer.last_loss is not None:
        yield Sample("upm_training_loss_last", trainer.last_loss, about)
    yield Sample("upm_snapshots_made_total", trainer.last_version, about)


def _lag(look: Look, trainer: Trainer, stream: Stream, about: Mapping[str, str]) -> Iterator[Sample]:
    rows = max(0, stream.next_seq - trainer.log_position)
    yield Sample("upm_trainer_lag_rows", rows, about)
    segment = look.facts.waiting.get(trainer.name)
    if not rows:
        yield Sample("upm_trainer_lag_seconds", 0, about)
    elif segment is not None:
        yield Sample("upm_trainer_lag_seconds", _age_s(look, _logged_ms(segment, look.now_ms)), about)


def _logged_ms(segment: Mapping[str, Any], now_ms: int) -> int:
    """Return when the first row that is not learned was written: exactly, if its segment begins with it.

    Else that row is taken to have come at its share of the time until the next segment: segments are merged.
    """
    begin_ms = milliseconds(segment["created_at"]) or 0
    end_ms = milliseconds(segment["next_at"]) or now_ms
    rows = segment["last_seq"] + 1 - segment["first_seq"]
    share: float = max(0, segment["log_position"] - segment["first_seq"]) / rows
    return begin_ms + round(share * max(0, end_ms - begin_ms))


def _snapshots(look: Look, trainer: Trainer, about: Mapping[str, str]) -> Iterator[Sample]:
    row = look.facts.snapshots.get(trainer.name)
    yield Sample("upm_snapshots", row["kept"] if row else 0, about)
    yield Sample("upm_snapshots_quarantined", row["barred"] if row else 0, about)
    if row is None:
        return
    made_ms, moded = milliseconds(row["created_at"]) or 0, {**about, "mode": str(trainer.mode)}
    yield Sample("upm_snapshot_created_timestamp_seconds", made_ms / 1000, moded)
    yield Sample("upm_snapshot_freshness_seconds", _age_s(look, made_ms), moded)
    yield Sample("upm_snapshot_version", row["version"], about)
    yield Sample("upm_snapshot_size_bytes", row["size_bytes"], about)


def _drift(look: Look, name: str, about: Mapping[str, str]) -> Iterator[Sample]:
    windows = look.facts.drift.get(name, ())
    for word, range_ms in RANGES.items():
        found = pooled(within(windows, range_ms))
        if found is not None:
            ranged = {**about, "range": word}
            yield Sample("upm_drift_p95", found.p95, ranged)
            yield Sample("upm_drift_mean", found.mean, ranged)
            yield Sample("upm_drift_max", found.max, ranged)
            yield Sample("upm_drift_samples", found.n, ranged)
    limit = windows[-1].threshold if windows else look.settings.drift_monitor.drift_threshold
    yield Sample("upm_drift_threshold", limit, about)
    newest = look.facts.newest_drift.get(name)
    if newest is not None:
        yield from _one_of("upm_drift_verdict", newest["verdict"], VERDICTS, about, "verdict")
        yield _instant("upm_drift_window_end_timestamp_seconds", milliseconds(newest["closed_at"]) or 0, about)


def _evidence(facts: Facts, name: str, about: Mapping[str, str]) -> Iterator[Sample]:
    for row in facts.evidence.get(name, ()):
        contest = {**about, "contest": row["kind"]}
        yield from _one_of("upm_evidence_verdict", row["verdict"], VERDICTS, contest, "verdict")
        yield Sample("upm_evidence_windows", row["windows"], contest)
        if row["windows"]:
            yield _instant("upm_evidence_judged_timestamp_seconds", row["judged_at_ms"], contest)
    features = facts.features.get(name)
    if features is None:
        return
    yield from _one_of("upm_feature_drift_verdict", features["verdict"], VERDICTS, about, "verdict")
    yield Sample("upm_features_drifting", features["drifting"], about)
    if features["looked_at"] is not None:
        looked_ms = milliseconds(features["looked_at"]) or 0
        yield _instant("upm_features_judged_timestamp_seconds", looked_ms, about)


def _release(facts: Facts, trainer: Trainer, about: Mapping[str, str]) -> Iterator[Sample]:
    yield Sample("upm_trainer_epoch", trainer.epoch, about)
    for row in facts.live.get(trainer.name, ()):
        ring = {**about, "ring": row["ring"]}
        yield Sample("upm_active_version", row["version"], ring)
        yield Sample("upm_active_tenants_ratio", row["percent"] / 100, ring)
    if trainer.name in facts.shadow_s:
        yield Sample("upm_shadow_seconds", facts.shadow_s[trainer.name], about)
    rollout = facts.rollouts.get(trainer.name)
    yield Sample("upm_rollouts_total", rollout["number"] if rollout else 0, about)
    if rollout is not None:
        yield from _rollout(rollout, about)


def _rollout(row: Mapping[str, Any], about: Mapping[str, str]) -> Iterator[Sample]:
    yield from _one_of("upm_rollout_phase", row["phase"], PHASES, about, "phase")
    yield Sample("upm_rollout_stage", row["stage"], about)
    yield Sample("upm_rollout_tenants_ratio", (row["percent"] or 0) / 100, about)
    if row["version"] is not None:
        yield Sample("upm_rollout_candidate_version", row["version"], about)


def _stream(stream: Stream, buffered: int) -> Iterator[Sample]:
    about = {"stream": stream.name}
    yield Sample("upm_replay_buffer_windows", buffered, about)
    yield Sample("upm_replay_buffer_late_arrivals_total", stream.late_arrivals, about)
    yield Sample("upm_replay_buffer_early_releases_total", stream.early, about)
    yield Sample("upm_stream_gaps_total", stream.gaps, about)
    for fate, count in (("joined", stream.labels_joined), ("orphan", stream.labels_orphan)):
        yield Sample("upm_stream_labels_total", count, {**about, "fate": fate})
    if stream.watermark_ms is not None:
        yield _instant("upm_stream_watermark_timestamp_seconds", stream.watermark_ms, about)


def _age_s(look: Look, at_ms: int) -> float:
    return max(0, look.now_ms - at_ms) / 1000


def _instant(family: str, at_ms: int, about: Mapping[str, str]) -> Sample:
    return Sample(family, at_ms / 1000, about)
