"""Taking a candidate out of the rings without blaming it: what served before serves again, nothing is quarantined."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from upm_cli.core.changes import Changes, Decision
from upm_cli.core.records import Activation, Ring, Snapshot, SnapshotStatus, Trainer
from upm_cli.core.versions import Live


def withdrawal_changes(
    trainer: Trainer,
    rows: Mapping[int, Snapshot],
    live: Live,
    rings: Sequence[Ring],
    to: int | None,
    decision: Decision,
) -> Changes:
    """Return what taking the version in `rings` out of them writes, each by an epoch of its own.

    `to` serves everybody in ring global again; None: nothing did before, and nothing does then. Ring canary has no
    tenants any more. Nobody is exposed who was not, no trainer is moved, and the snapshot may be tried again.
    """
    moves = [
        _move(live[ring], trainer.epoch + step, to, decision)
        for step, ring in enumerate(rings, start=1)
        if ring in live
    ]
    left = {live[ring].version for ring in rings if ring in live}
    archived = [
        replace(rows[version], status=SnapshotStatus.ARCHIVED)
        for version in sorted(left)
        if version in rows and rows[version].status is SnapshotStatus.ACTIVATED
    ]
    moved = replace(trainer, epoch=trainer.epoch + len(moves), updated_at_ms=decision.at_ms)
    return Changes(trainer=moved, snapshots=tuple(archived), activations=tuple(moves))


def _move(activation: Activation, epoch: int, to: int | None, decision: Decision) -> Activation:
    everybody = activation.ring is Ring.GLOBAL and to is not None
    return replace(
        activation,
        epoch=epoch,
        version=to if to is not None else activation.version,
        previous_version=activation.version,
        percent=100 if everybody else 0,
        rest_version=None,
        kind="rollback",
        decision_id=decision.decision_id,
        actor=decision.actor,
        reason=decision.reason,
        at_ms=decision.at_ms,
    )
