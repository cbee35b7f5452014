"""The way back of a rollout: a bad candidate is rolled back, one that was only given up is taken out of the rings."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.changes import Decision
from upm_cli.core.records import Ring
from upm_cli.core.rollouts.decisions import Rollback
from upm_cli.core.rollouts.state import RolloutState
from upm_cli.core.rollouts.withdrawal import withdrawal_changes
from upm_cli.core.versions import snapshot_id
from upm_cli.errors import IntegrityError, RefusedError
from upm_cli.ops.decisions import View, write
from upm_cli.ops.rollback import rollback
from upm_cli.store import snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Store, Tx

NO_WAY_BACK: Final = ("UPM-E056", "UPM-E057", "UPM-E097")


def retreat(
    store: "Store",
    clock: Clock,
    name: str,
    move: Rollback,
    state: RolloutState,
    *,
    actor: str,
    config_digest: str | None = None,
) -> None:
    """Go the way back that a rollout decided. Nothing happens where the candidate serves no more.

    A bad candidate goes by `ops.rollback`, which pins, quarantines and puts the trainer back; where there is nothing
    sound to go to, it is taken out of the rings, quarantined, and the trainer paused.
    """
    if not move.is_bad:
        _withdraw(store, clock, name, move, state, actor, is_bad=False)
        return
    for to in (None if move.to is None else f"v{move.to}", None):
        with store.read() as reader:
            serving = _serving(View.read(reader, name), move)
        if not serving:
            return
        try:
            rollback(
                store,
                clock,
                name,
                to=to,
                ring=serving[0],
                actor=actor,
                reason=move.reason,
                config_digest=config_digest,
            )
        except (RefusedError, IntegrityError) as exc:
            if exc.code not in NO_WAY_BACK:
                raise
    _withdraw(store, clock, name, move, state, actor, is_bad=True)


def _serving(view: View, move: Rollback) -> list[Ring]:
    """Return the rings that still serve what is to be left, the narrowest first."""
    return [
        ring for ring in (Ring.CANARY, Ring.GLOBAL) if ring in view.live and view.live[ring].version == move.version
    ]


def _withdraw(
    store: "Store", clock: Clock, name: str, move: Rollback, state: RolloutState, actor: str, *, is_bad: bool
) -> None:
    signature = Decision(decision_id=ids.uuid7(clock), actor=actor, reason=move.reason, at_ms=clock.now_ms())
    with store.write(actor=actor) as tx:
        view = View.read(tx, name)
        rings = _serving(view, move)
        if not rings:
            return
        back = view.rows.get(move.to or 0)
        to = None if back is None or back.quarantined else back.version
        changes = withdrawal_changes(view.trainer, view.rows, view.live, rings, to, signature)
        write(tx, changes)
        if is_bad:
            _bar(tx, name, move)
        for moved in changes.activations:
            tx.event(
                "ai.upm.rollback",
                f"/trainers/{name}",
                trainer_id=name,
                from_snapshot_id=snapshot_id(name, move.version),
                to_snapshot_id=None if to is None else snapshot_id(name, to),
                reason=move.reason,
                rolled_back_at=ids.iso(moved.at_ms),
                ring=moved.ring.value,
                epoch=moved.epoch,
            )
        tx.ledger(
            "rollout.withdraw",
            snapshot_id(name, move.version),
            to_version=to,
            rings=[ring.value for ring in rings],
            epoch=changes.trainer.epoch,
            rollout_id=state.rollout_id,
            cause=move.cause,
            decision_id=signature.decision_id,
            quarantined=is_bad,
            reason=move.reason,
        )


def _bar(tx: "Tx", name: str, move: Rollback) -> None:
    """Quarantine what did harm and stop its trainer: there is no good state to put it back to."""
    row = snapshots.get(tx, name, move.version)
    snapshots.put(tx, replace(row, quarantined=True, quarantine_reason=f"taken out of the rings: {move.reason}"))
    trainer = trainers.get(tx, name)
    why = f"v{move.version} did harm, and there is no sound version to go back to"
    trainers.put(tx, replace(trainer, desired="pause", pause_reason=why))
