"""Barring the snapshots that a failed drift window casts doubt on, and telling everybody."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.activation import plan_rollback
from upm_cli.core.decision import DecisionRecord
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.drift_decision import (
    extend_inputs,
    extend_outcome,
    quarantine_inputs,
    quarantine_outcome,
    served_inputs,
    served_outcome,
)
from upm_cli.core.drift_record import suspects
from upm_cli.core.feedback.names import served_owner, trainer_of
from upm_cli.core.records import DriftStatus, DriftWindow
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import RefusedError
from upm_cli.ids import iso
from upm_cli.ops.record import record
from upm_cli.store import activations, drift, snapshots, trainers
from upm_cli.store.unit import Tx

UNATTENDED = frozenset({"drift-monitor", "rollout"})  # who rolls back without being asked by a person
LOOK_BACK = 8  # newest windows whose quarantine may still reach snapshots that were committed later


def begin(
    tx: Tx,
    clock: Clock,
    window: DriftWindow,
    passed_seq: int | None,
    *,
    policy: DriftPolicy,
    config_digest: str | None = None,
) -> DriftWindow:
    """Quarantine the failed `window`: bar its snapshots, recommend what to do, send the event, write the ledger.

    `passed_seq` is where the next window that passed begins (None: none has), `policy` what the window was judged by.
    Returns the window as it is recorded.
    Nothing is rolled back or paused here: see ops.protect.
    """
    before = window, snapshots.list_for(tx, window.trainer)
    window = _bar(tx, window, passed_seq)
    target = way_back(tx, window.trainer, window.first_seq)
    window = replace(window, recommendation="pause" if target is None else "rollback")
    drift.put(tx, window)
    barred = [snapshot_id(window.trainer, version) for version in window.metadata["suspects"]]
    _send(tx, clock, window, barred)
    decision = DecisionRecord(
        decision_id=ids.uuid7(clock),
        kind="drift.quarantine",
        subject=window.trainer,
        inputs=quarantine_inputs(before[0], policy, before[1], passed_seq, target),
        outcome=quarantine_outcome(window.verdict, window.metadata["suspects"], target),
        numbers=_numbers(window, policy),
        reason=f"P95 of drift reached the threshold in window {window.window_id}",
    )
    _record(tx, decision, window, config_digest, barred)
    return window


def _numbers(window: DriftWindow, policy: DriftPolicy) -> dict[str, Any]:
    return {"p95": window.p95, "threshold": window.threshold, "n": window.n, "sample_size": policy.sample_size}


def _send(tx: Tx, clock: Clock, window: DriftWindow, barred: list[str], **more: Any) -> None:
    trainer = trainer_of(window.trainer)
    tx.event(
        "ai.upm.drift.quarantine",
        f"/trainers/{trainer}",
        trainer_id=trainer,
        drift_window_id=window.window_id,
        drift_p95=window.p95,
        threshold=window.threshold,
        recommendation=window.recommendation,
        quarantined_at=iso(clock.now_ms()),
        rule=window.metadata["rule"],
        sample_count=window.n,
        snapshot_ids=barred,
        **more,
    )


def _record(
    tx: Tx, decision: DecisionRecord, window: DriftWindow, config_digest: str | None, barred: list[str]
) -> None:
    record(
        tx,
        decision,
        config_digest=config_digest,
        drift_window_id=window.window_id,
        drift_p95=window.p95,
        threshold=window.threshold,
        sample_count=window.n,
        rule=window.metadata["rule"],
        recommendation=window.recommendation,
        first_seq=window.first_seq,
        last_seq=window.last_seq,
        snapshot_ids=barred,
    )


def begin_served(
    tx: Tx, clock: Clock, window: DriftWindow, *, policy: DriftPolicy, config_digest: str | None = None
) -> DriftWindow:
    """Quarantine the version that was served in the failed `window`, unless it is gone; otherwise as `begin`.

    The window is one of what agents served: see ops.served_drift.
    """
    name, version = trainer_of(window.trainer), int(window.version or 0)
    row = next((each for each in snapshots.list_for(tx, name) if each.version == version), None)
    if row is not None and not row.quarantined:
        why = f"served window {window.window_id}: {_passed(window)} at agents"
        snapshots.put(tx, replace(row, quarantined=True, quarantine_reason=why))
    live = activations.live(tx, name).values()
    serves = any(version in (move.version, move.rest_version) for move in live if move.percent)
    target = way_back(tx, name, None) if serves else None
    outcome = served_outcome(window.verdict, [version], target, serves=serves)
    metadata = {**window.metadata, "suspects": [version]}
    told = replace(window, recommendation=outcome["recommendation"], metadata=metadata)
    drift.put(tx, told)
    _send(tx, clock, told, [snapshot_id(name, version)], served_version=version)
    decision = DecisionRecord(
        decision_id=ids.uuid7(clock),
        kind="drift.served",
        subject=name,
        inputs=served_inputs(window, policy, target, serves=serves),
        outcome=outcome,
        numbers=_numbers(told, policy),
        reason=f"what agents served by v{version} reached the threshold in window {window.window_id}",
    )
    _record(tx, decision, told, config_digest, [snapshot_id(name, version)])
    return told


def extend(tx: Tx, clock: Clock, trainer: str, *, config_digest: str | None = None) -> None:
    """Bar snapshots that learned from a quarantined window, but were committed after it was judged."""
    passed_seq = None
    for window in drift.newest(tx, trainer, LOOK_BACK):
        if window.status is DriftStatus.QUARANTINED:
            rows = snapshots.list_for(tx, trainer)
            barred = _bar(tx, window, passed_seq)
            if barred is not window:
                drift.put(tx, barred)
                inputs = extend_inputs(window, rows, passed_seq)
                _record_extension(tx, ids.uuid7(clock), window, barred, inputs, config_digest)
        if window.verdict == "pass":
            passed_seq = window.first_seq


def _record_extension(
    tx: Tx,
    decision_id: str,
    window: DriftWindow,
    barred: DriftWindow,
    inputs: Mapping[str, Any],
    config_digest: str | None,
) -> None:
    named = set(window.metadata.get("suspects", ()))
    decision = DecisionRecord(
        decision_id=decision_id,
        kind="drift.extend",
        subject=window.trainer,
        inputs=inputs,
        outcome=extend_outcome(barred.metadata["suspects"]),
        numbers={"first_seq": window.first_seq, "last_seq": window.last_seq},
        reason=f"committed after window {window.window_id} was judged, and learned from it",
    )
    fresh = [snapshot_id(window.trainer, v) for v in barred.metadata["suspects"] if v not in named]
    record(tx, decision, config_digest=config_digest, drift_window_id=window.window_id, snapshot_ids=fresh)


def resolve(tx: Tx, trainer: str, incident_id: str, actor: str) -> None:
    """Say of the trainer's failed windows that they were dealt with: their range was left behind by a rollback.

    The snapshots they barred stay barred.
    """
    every = [window for owner in (trainer, served_owner(trainer)) for window in drift.list_for(tx, owner)]
    for window in (window for window in every if window.status is DriftStatus.QUARANTINED):
        metadata = {**window.metadata, "incident_id": incident_id, "resolved_by": actor}
        drift.put(tx, replace(window, status=DriftStatus.RESOLVED, metadata=metadata))


def _bar(tx: Tx, window: DriftWindow, passed_seq: int | None) -> DriftWindow:
    """Quarantine the snapshots of `window` that it does not name yet; return it with their versions."""
    named = list(window.metadata.get("suspects", ()))
    fresh = suspects(window, passed_seq, snapshots.list_for(tx, window.trainer))
    if not fresh and "suspects" in window.metadata:
        return window
    why = f"drift window {window.window_id}: {_passed(window)}"
    for snapshot in fresh:
        if not snapshot.quarantined:
            snapshots.put(tx, replace(snapshot, quarantined=True, quarantine_reason=why))
    versions = sorted([*named, *(s.version for s in fresh)])
    return replace(window, metadata={**window.metadata, "suspects": versions})


def _passed(window: DriftWindow) -> str:
    return f"P95 {window.p95:.4g} reached {window.threshold:g}"


def way_back(tx: Tx, name: str, suspect_from_seq: int | None) -> int | None:
    """Return the version that `upm rollback` would go back to, None: none; what came after that log row is in doubt."""
    trainer = trainers.get(tx, name)
    try:
        plan = plan_rollback(
            trainer,
            snapshots.list_for(tx, trainer.name),
            activations.live(tx, trainer.name),
            activations.history(tx, trainer.name),
            suspect_from_seq=suspect_from_seq,
        )
    except RefusedError:
        return None
    return plan.targets[0].version
