"""Rollback: leave a bad version for the last known good one. Never gated, never in need of a worker or the network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.activation import RollbackPlan, Target
from upm_cli.core.changes import Changes, Decision, rollback_changes
from upm_cli.core.decision import DecisionRecord
from upm_cli.core.recorded import first_whole, rollback_outcome
from upm_cli.core.records import Ring, Snapshot
from upm_cli.core.signatures import Signed
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import BusyError, IntegrityError, NotFoundError, StorageError
from upm_cli.ops import quarantine, signatures
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import write
from upm_cli.ops.record import record
from upm_cli.ops.way_back import Seen
from upm_cli.store import blobs, overrides, reserve

if TYPE_CHECKING:
    from upm_cli.store.session import Store, Tx

DISK_FULL: Final = "UPM-E010"
_TRIES: Final = 50  # each time somebody else decided something about the trainer in between


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """Where the rings stand now. `is_done`: they stood there before and nothing changed."""

    trainer: str
    from_version: int
    to_version: int
    rings: tuple[Ring, ...]
    because: str  # why `to_version` counts as good
    epoch: int
    pinned: bool
    incident_id: str | None
    learner: str  # what happened to the trainer: "put back", "paused" or "unchanged"
    is_done: bool
    skipped: tuple[IntegrityError, ...] = ()  # better targets whose bytes are not right
    agents_refuse: Signed | None = None  # why those that ask for signatures don't take `to_version`; None: they do


def rollback(
    store: "Store",
    clock: Clock,
    name: str,
    *,
    to: str | None = None,
    ring: Ring | None = None,
    actor: str,
    reason: str,
    config_digest: str | None = None,
    dry_run: bool = False,
) -> RolledBack:
    """Take `name` back to the last known good version, or to the one the word `to` names.

    The target's bytes are proven first; a damaged target is skipped for the next good one. Then one commit swaps the
    ring (and every other that serves the bad version), raises the epoch, pins the rings, quarantines the bad version,
    puts the trainer back on the good lineage (or pauses it, if the checkpoint is gone) and opens an incident. It is
    worked out again when somebody else decides something meanwhile, and a full disk gives up its reserve: a rollback
    wins. A second one is done already. Signatures have no say in where to go: the last known good version is the best
    one, and signing it takes a second; that agents may ask for that is told. `config_digest` is only for the record;
    None: the settings were not asked.

    Raises RefusedError when there is no way back, IntegrityError when every way is damaged, NotFoundError.
    """
    for _ in range(_TRIES):
        with store.read() as reader:
            seen = Seen.read(reader, name, to, ring)
        if seen.plan.is_done:
            return _done(seen)
        way = _choose(store, clock, seen, actor, reason)
        if dry_run:
            return _result(store, seen, way, way.changes(seen))
        try:
            changes = _commit(store, seen, way, config_digest)
        except StorageError as exc:
            if exc.code != DISK_FULL or not reserve.give_up(store.home):
                raise
            changes = _commit(store, seen, way, config_digest)
        if changes is not None:
            return _result(store, seen, way, changes)
    raise BusyError(
        f"trainer {name} is decided about faster than it can be rolled back; tried {_TRIES} times",
        hint=f"stop what activates it, then run upm rollback {name} again",
        code="UPM-E073",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A target whose bytes are right, and what is fixed about the decision to go there."""

    target: Target
    skipped: Mapping[int, IntegrityError]  # better targets, and what is wrong with their bytes
    has_checkpoint: bool
    decision: Decision
    incident_id: str

    def changes(self, seen: Seen) -> Changes:
        view = seen.view
        return rollback_changes(
            seen.plan,
            self.target,
            view.trainer,
            view.rows,
            view.live,
            self.decision,
            incident_id=self.incident_id,
            has_checkpoint=self.has_checkpoint,
        )


def _choose(store: "Store", clock: Clock, seen: Seen, actor: str, reason: str) -> _Way:
    """Take the first target whose bytes are right; raises IntegrityError when there is none."""
    skipped: dict[int, IntegrityError] = {}
    for target in seen.plan.targets:
        row = seen.view.rows[target.version]
        try:
            snapshot_ops.load(store.home, row)
        except IntegrityError as exc:
            skipped[target.version] = exc
            continue
        return _Way(
            target=target,
            skipped=skipped,
            has_checkpoint=has_checkpoint(store.home, row),
            decision=Decision(decision_id=ids.uuid7(clock), actor=actor, reason=reason, at_ms=clock.now_ms()),
            incident_id=ids.uuid7(clock),
        )
    name = seen.view.trainer.name
    raise IntegrityError(
        f"no version to go back to is whole: {'; '.join(exc.message for exc in skipped.values())}",
        hint=f"restore the file from a backup and run upm rollback {name} again; "
        f"meanwhile upm pause {name} stops the learning",
        code="UPM-E097",
        context={"trainer": name, "versions": [target.version for target in seen.plan.targets]},
    )


def has_checkpoint(home: Path, row: Snapshot) -> bool:
    """Say whether the trainer's state at `row` is there and whole."""
    if row.checkpoint_digest is None:
        return False
    try:
        blobs.get(home, row.checkpoint_digest)
    except (IntegrityError, NotFoundError):
        return False
    return True


def _commit(store: "Store", seen: Seen, way: _Way, config_digest: str | None) -> Changes | None:
    """Write the rollback, or return None if somebody else decided something since it was worked out."""
    with store.write(actor=way.decision.actor) as tx:
        now = Seen.read(tx, seen.view.trainer.name, *seen.asked)
        moved = now.view.trainer.epoch != seen.plan.expected_epoch
        if moved or first_whole(now.plan, way.skipped) != way.target:
            return None
        changes = way.changes(now)
        write(tx, changes)
        quarantine.resolve(tx, changes.trainer.name, way.incident_id, way.decision.actor)
        tell(tx, changes, now.plan)
        ended = end_overrides(tx, changes.trainer.name, way.decision.at_ms)
        details = _details(now.plan, way, changes) | {"overrides_ended": ended}
        record(tx, _record(now, way, changes), config_digest=config_digest, **details)
    return changes


def end_overrides(tx: "Tx", name: str, now_ms: int) -> list[str]:
    """End what was excepted for the trainer, and return the ids: nobody meant it for what comes after a rollback."""
    lasting = [each for each in overrides.list_for(tx, name) if each.expires_at_ms > now_ms]
    for each in lasting:
        overrides.put(tx, replace(each, expires_at_ms=max(each.at_ms, now_ms)))
    return [each.override_id for each in lasting]


def tell(tx: "Tx", changes: Changes, plan: RollbackPlan) -> None:
    """Put the events of a rollback into the outbox."""
    name, incident = changes.trainer.name, changes.incident
    assert incident is not None
    for activation in changes.activations:
        tx.event(
            "ai.upm.rollback",
            f"/trainers/{name}",
            trainer_id=name,
            from_snapshot_id=snapshot_id(name, plan.from_version),
            to_snapshot_id=snapshot_id(name, activation.version),
            reason=incident.reason,
            rolled_back_at=ids.iso(activation.at_ms),
            ring=activation.ring.value,
            epoch=activation.epoch,
            incident_id=incident.incident_id,
        )


def _record(seen: Seen, way: _Way, changes: Changes) -> DecisionRecord:
    return DecisionRecord(
        decision_id=way.decision.decision_id,
        kind="snapshot.rollback",
        subject=snapshot_id(seen.view.trainer.name, seen.plan.from_version),
        inputs=seen.inputs(way.skipped),
        outcome=rollback_outcome(seen.plan, way.skipped),
        numbers={
            "targets": len(seen.plan.targets),
            "damaged": sorted(way.skipped),
            "suspect_from_seq": seen.limits["suspect_from_seq"],
            "epoch": changes.trainer.epoch,
        },
        reason=way.decision.reason,
    )


def _details(plan: RollbackPlan, way: _Way, changes: Changes) -> dict[str, Any]:
    incident = changes.incident
    assert incident is not None
    return {
        "to_version": incident.to_version,
        "because": way.target.because,
        "rings": [ring.value for ring in plan.rings],
        "epoch": changes.trainer.epoch,
        "incident_id": incident.incident_id,
        "suspect_first_seq": incident.suspect_first_seq,
        "suspect_last_seq": incident.suspect_last_seq,
        "trainer": incident.details["trainer"],
    }


def _result(store: "Store", seen: Seen, way: _Way, changes: Changes) -> RolledBack:
    return RolledBack(
        trainer=changes.trainer.name,
        from_version=seen.plan.from_version,
        to_version=way.target.version,
        rings=seen.plan.rings,
        because=way.target.because,
        epoch=changes.trainer.epoch,
        pinned=bool(changes.pins),
        incident_id=way.incident_id,
        learner="put back" if way.has_checkpoint else "paused",
        is_done=False,
        skipped=tuple(way.skipped.values()),
        agents_refuse=signatures.refused_by_agents(store.home, seen.view.rows[way.target.version]),
    )


def _done(seen: Seen) -> RolledBack:
    plan, view = seen.plan, seen.view
    target = plan.targets[0]
    matching = [each for each in seen.incidents if each.to_version == target.version]
    return RolledBack(
        trainer=view.trainer.name,
        from_version=plan.from_version,
        to_version=target.version,
        rings=plan.rings,
        because=target.because,
        epoch=view.trainer.epoch,
        pinned=plan.rings[0] in view.pins,
        incident_id=matching[-1].incident_id if matching else None,
        learner="unchanged",
        is_done=True,
    )
