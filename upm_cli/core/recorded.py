"""Decisions about versions in the form they are recorded in: inputs, outcome, and the way from one to the other.

For each kind `<kind>_inputs` writes down what the deciding function looks at, and `recompute_<kind>` asks that same
function again. What an operator's word alone decides (pin, pause, add …) has no function and nothing to recompute.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from upm_cli.core.activation import RollbackPlan, Target, plan_rollback
from upm_cli.core.changes import released
from upm_cli.core.plain import to_plain
from upm_cli.core.records import Activation, Ring, Snapshot, Trainer
from upm_cli.core.retention import RetentionPolicy, plan_retention
from upm_cli.core.sketches import (
    live_of,
    move_sketches,
    sketched_moves,
    sketched_snapshots,
    sketched_trainer,
    snapshot_sketches,
    trainer_sketch,
)


def rollback_inputs(
    trainer: Trainer,
    snapshots: Sequence[Snapshot],
    history: Sequence[Activation],
    *,
    to: int | None,
    ring: Ring | None,
    suspect_from_seq: int | None,
    damaged: Collection[int],
) -> dict[str, Any]:
    """Write down what a rollback is worked out from; `damaged` are the versions whose bytes turned out wrong."""
    return {
        "trainer": trainer_sketch(trainer),
        "snapshots": snapshot_sketches(snapshots),
        "history": move_sketches(history),
        "to": to,
        "ring": None if ring is None else ring.value,
        "suspect_from_seq": suspect_from_seq,
        "damaged": sorted(damaged),
    }


def recompute_rollback(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome of a rollback from its recorded inputs."""
    trainer = sketched_trainer(inputs["trainer"])
    history = sketched_moves(trainer.name, inputs["history"])
    plan = plan_rollback(
        trainer,
        sketched_snapshots(trainer.name, inputs["snapshots"]),
        live_of(history),
        history,
        to=inputs["to"],
        ring=None if inputs["ring"] is None else Ring(inputs["ring"]),
        suspect_from_seq=inputs["suspect_from_seq"],
    )
    return rollback_outcome(plan, inputs["damaged"])


def rollback_outcome(plan: RollbackPlan, damaged: Collection[int]) -> dict[str, Any]:
    """Return where a rollback goes: the first target whose bytes are right."""
    target = first_whole(plan, damaged)
    return {
        "from_version": plan.from_version,
        "to_version": None if target is None else target.version,
        "rings": [ring.value for ring in plan.rings],
        "epoch": plan.expected_epoch + (0 if plan.is_done else len(plan.rings)),
        "targets": [target.version for target in plan.targets],
    }


def first_whole(plan: RollbackPlan, damaged: Collection[int]) -> Target | None:
    """Return the best target of `plan` that is not among the `damaged` versions, or None."""
    return next((target for target in plan.targets if target.version not in damaged), None)


def release_inputs(snapshot: Snapshot) -> dict[str, Any]:
    """Write down what lifting a quarantine looks at."""
    (sketch,) = snapshot_sketches([snapshot])
    return {"snapshot": sketch, "has_served": snapshot.activated_at_ms is not None}


def recompute_release(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a snapshot stands after its quarantine was lifted."""
    (snapshot,) = sketched_snapshots("", [inputs["snapshot"]])
    return release_outcome(released(snapshot, has_served=inputs["has_served"]))


def release_outcome(snapshot: Snapshot) -> dict[str, Any]:
    """Return what is recorded of a released snapshot."""
    return {"version": snapshot.version, "status": snapshot.status.value, "quarantined": snapshot.quarantined}


def gc_inputs(
    snapshots: Sequence[Snapshot], policy: RetentionPolicy, protected: Mapping[int, str], now_ms: int
) -> dict[str, Any]:
    """Write down what a collection of old snapshots looks at; `protected` says why some must stay."""
    return {
        "snapshots": snapshot_sketches(snapshots),
        "policy": to_plain(policy),
        "protected": to_plain(protected),
        "now_ms": now_ms,
    }


def recompute_gc(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions that a collection deletes."""
    plan = plan_retention(
        sketched_snapshots("", inputs["snapshots"]),
        RetentionPolicy(**inputs["policy"]),
        {int(version): why for version, why in inputs["protected"].items()},
        inputs["now_ms"],
    )
    return gc_outcome(plan.delete)


def gc_outcome(deleted: Sequence[Snapshot]) -> dict[str, Any]:
    """Return what is recorded of a collection."""
    return {"deleted": [snapshot.version for snapshot in deleted]}
