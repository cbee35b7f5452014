"""What an activation, a rollback or the end of a quarantine writes, row by row. Plans: core/activation.py."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from upm_cli.core.activation import ActivationPlan, RollbackPlan, Target
from upm_cli.core.records import Activation, Incident, Pin, Ring, Snapshot, SnapshotStatus, Trainer
from upm_cli.core.versions import Live


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who decided, why, when, and the id under which it is on the record."""

    decision_id: str
    actor: str
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Rows to write in one commit; only what changed."""

    trainer: Trainer
    snapshots: tuple[Snapshot, ...] = ()
    activations: tuple[Activation, ...] = ()
    pins: tuple[Pin, ...] = ()
    lifted: tuple[Ring, ...] = ()
    incident: Incident | None = None


def activation_changes(
    plan: ActivationPlan, trainer: Trainer, rows: Mapping[int, Snapshot], decision: Decision
) -> Changes:
    """Return what carrying out `plan` writes; `rows` are the trainer's snapshots by version."""
    changed = [replace(rows[plan.version], status=SnapshotStatus.ACTIVATED, activated_at_ms=decision.at_ms)]
    leaving = rows.get(plan.archives or 0)
    if leaving is not None and leaving.status is SnapshotStatus.ACTIVATED:
        changed.append(replace(leaving, status=SnapshotStatus.ARCHIVED))
    activation = Activation(
        trainer=trainer.name,
        ring=plan.ring,
        epoch=plan.epoch,
        version=plan.version,
        previous_version=plan.previous_version,
        percent=plan.percent,
        kind="activate",
        decision_id=decision.decision_id,
        actor=decision.actor,
        reason=decision.reason,
        at_ms=decision.at_ms,
        rest_version=plan.rest_version,
        salt=plan.salt or decision.decision_id,
    )
    return Changes(
        trainer=replace(trainer, epoch=plan.epoch, mode=plan.mode, updated_at_ms=decision.at_ms),
        snapshots=tuple(changed),
        activations=(activation,),
        lifted=(plan.ring,) if plan.lifts_pin else (),
    )


def rollback_changes(
    plan: RollbackPlan,
    target: Target,
    trainer: Trainer,
    rows: Mapping[int, Snapshot],
    live: Live,
    decision: Decision,
    *,
    incident_id: str,
    has_checkpoint: bool,
) -> Changes:
    """Return what going back to `target` writes.

    Every ring that served the bad version serves and is pinned to the good one, each by an epoch of its own; a good
    version that served everybody once does so again, another one serves no more tenants than the bad one did. The
    bad snapshot is quarantined. With `has_checkpoint` the trainer learns on from the good snapshot's checkpoint and
    skips what it had learned since; without, it keeps what it has and is paused. Its fence is raised in either
    case, so that a running worker's next commit is refused and it starts again from here.
    """
    to_version = target.version
    good = rows[to_version]
    changed = [replace(good, status=SnapshotStatus.ACTIVATED, activated_at_ms=decision.at_ms)]
    if bad := rows.get(plan.from_version):
        why = f"rolled back: {decision.reason or 'no reason given'}"
        changed.append(replace(bad, status=SnapshotStatus.ROLLED_BACK, quarantined=True, quarantine_reason=why))
    activations = tuple(
        replace(
            live[ring],
            epoch=plan.expected_epoch + step,
            version=to_version,
            previous_version=plan.from_version,
            percent=100 if ring is Ring.GLOBAL and target.served_all else live[ring].percent,
            rest_version=_sound_rest(live[ring], plan.from_version, target),
            kind="rollback",
            decision_id=decision.decision_id,
            actor=decision.actor,
            reason=decision.reason,
            at_ms=decision.at_ms,
        )
        for step, ring in enumerate(plan.rings, start=1)
    )
    suspect = (good.last_seq + 1, trainer.log_position - 1)
    is_suspect = suspect[0] <= suspect[1]
    incident = Incident(
        incident_id=incident_id,
        trainer=trainer.name,
        from_version=plan.from_version,
        to_version=to_version,
        reason=decision.reason,
        actor=decision.actor,
        at_ms=decision.at_ms,
        suspect_first_seq=suspect[0] if is_suspect else None,
        suspect_last_seq=suspect[1] if is_suspect else None,
        details={
            "decision_id": decision.decision_id,
            "rings": [ring.value for ring in plan.rings],
            "abandoned_checkpoint": trainer.checkpoint_digest,
            "trainer": "put back" if has_checkpoint else "paused",
        },
    )
    pins = tuple(
        Pin(
            trainer=trainer.name,
            ring=ring,
            version=to_version,
            reason=f"rolled back from v{plan.from_version}",
            actor=decision.actor,
            at_ms=decision.at_ms,
        )
        for ring in plan.rings
    )
    back = _put_back(trainer, plan, good, decision) if has_checkpoint else _paused(trainer, to_version)
    return Changes(
        trainer=replace(
            back,
            epoch=plan.expected_epoch + len(plan.rings),
            fence=trainer.fence + 1,
            updated_at_ms=decision.at_ms,
        ),
        snapshots=tuple(changed),
        activations=activations,
        pins=pins,
        incident=incident,
    )


def _sound_rest(activation: Activation, bad: int, target: Target) -> int | None:
    """Return what the tenants outside the share get after a rollback of `activation`."""
    if target.served_all or activation.rest_version in (bad, target.version):
        return None
    return activation.rest_version


def _put_back(trainer: Trainer, plan: RollbackPlan, good: Snapshot, decision: Decision) -> Trainer:
    """Return `trainer` standing on the checkpoint of `good`, with the way there in its lineage."""
    rewind = {
        "at_seq": trainer.log_position,
        "from_version": plan.from_version,
        "to_version": good.version,
        "last_version": trainer.last_version,
        "skipped_from_seq": good.last_seq + 1,
        "skipped_to_seq": trainer.log_position - 1,
        "reason": decision.reason,
        "at_ms": decision.at_ms,
    }
    return replace(
        trainer,
        checkpoint_digest=good.checkpoint_digest,
        weights_sha256=good.manifest.get("weights_sha256"),
        lineage=(*trainer.lineage, rewind),
    )


def _paused(trainer: Trainer, to_version: int) -> Trainer:
    return replace(
        trainer,
        desired="pause",
        pause_reason=f"rolled back to v{to_version}, whose checkpoint is missing or damaged: "
        "the trainer still holds what it learned since",
    )


def released(snapshot: Snapshot, has_served: bool) -> Snapshot:
    """Return `snapshot` out of quarantine; `has_served` says whether it was ever active."""
    status = SnapshotStatus.ARCHIVED if has_served else SnapshotStatus.CREATED
    is_left = snapshot.status is SnapshotStatus.ROLLED_BACK
    return replace(snapshot, quarantined=False, quarantine_reason=None, status=status if is_left else snapshot.status)
