"""Activation: make a verified snapshot the one that a ring serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.activation import ActivationPlan, check_epoch, check_percent, plan_activation
from upm_cli.core.changes import Changes, Decision, activation_changes
from upm_cli.core.gates import GATES, Candidate, Gate, GateResult, pass_gates
from upm_cli.core.records import RING_OF_MODE, Activation, Pin, Ring
from upm_cli.core.versions import abandoned, resolve_version, snapshot_id, tainted_by
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View, write
from upm_cli.store import reserve

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """What is live in the ring now. `is_done`: it was before, nothing changed."""

    activation: Activation
    is_done: bool
    lifted_pin: Pin | None
    gates: tuple[GateResult, ...]


def activate(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str = "latest",
    *,
    ring: Ring | None = None,
    percent: int | None = None,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
    gates: Sequence[Gate] = GATES,
) -> Activated:
    """Make the version that `word` names live in `ring` (default: the ring of the trainer's mode).

    The bytes are read back and proven first, then the gates are asked, then one commit swaps the pointer: it fails
    with BusyError when another decision about the trainer was committed since this one was begun. A pin left by a
    rollback is lifted, as a person names the version. Raises NotFoundError, UsageError, IntegrityError when the
    bytes are not right, RefusedError naming the gate.
    """
    with store.read() as reader:
        before = View.read(reader, name)
    where = ring or RING_OF_MODE[before.trainer.mode]
    check_percent(where, percent)
    version = resolve_version(word, name, sorted(before.rows), before.live, where)
    plan = plan_activation(before.trainer, before.live, before.pins, version, where, percent)
    if plan.is_done:
        return _unchanged(before, plan)
    snapshot_ops.load(store.home, before.rows[version])
    passed = pass_gates(_candidate(before, plan, settings), gates)
    decision = Decision(decision_id=ids.uuid7(clock), actor=actor, reason=reason, at_ms=clock.now_ms())
    if dry_run:
        return _result(before, activation_changes(plan, before.trainer, before.rows, decision), passed)
    reserve.keep(store.home)
    with store.write(actor=actor) as tx:
        now = View.read(tx, name)
        again = plan_activation(now.trainer, now.live, now.pins, version, where, percent)
        if again.is_done:
            return _unchanged(now, again)
        check_epoch(plan.expected_epoch, now.trainer, now.live, where)
        passed = pass_gates(_candidate(now, again, settings), gates)
        changes = activation_changes(again, now.trainer, now.rows, decision)
        write(tx, changes)
        _tell(tx, changes.activations[0], passed)
    return _result(now, changes, passed)


def _candidate(view: View, plan: ActivationPlan, settings: "Settings") -> Candidate:
    left = abandoned(view.rows.values(), view.trainer.lineage)
    return Candidate(
        trainer=view.trainer,
        snapshot=view.rows[plan.version],
        ring=plan.ring,
        percent=plan.percent,
        feature_enabled=settings.features.unified_model,
        descends_from_bad=tainted_by(plan.version, view.trainer.lineage, left),
    )


def _unchanged(view: View, plan: ActivationPlan) -> Activated:
    return Activated(activation=view.live[plan.ring], is_done=True, lifted_pin=None, gates=())


def _result(view: View, changes: Changes, gates: tuple[GateResult, ...]) -> Activated:
    lifted = [view.pins[ring] for ring in changes.lifted]
    return Activated(
        activation=changes.activations[0], is_done=False, lifted_pin=lifted[0] if lifted else None, gates=gates
    )


def _tell(tx: "Tx", activation: Activation, gates: Sequence[GateResult]) -> None:
    name, before = activation.trainer, activation.previous_version
    tx.event(
        "ai.upm.snapshot.activated",
        f"/trainers/{name}",
        snapshot_id=snapshot_id(name, activation.version),
        trainer_id=name,
        version=activation.version,
        activated_at=ids.iso(activation.at_ms),
        previous_snapshot_id=snapshot_id(name, before) if before is not None else None,
        ring=activation.ring.value,
        percent=activation.percent,
        epoch=activation.epoch,
    )
    tx.ledger(
        "snapshot.activate",
        snapshot_id(name, activation.version),
        ring=activation.ring.value,
        percent=activation.percent,
        epoch=activation.epoch,
        previous_version=before,
        decision_id=activation.decision_id,
        reason=activation.reason,
        gates={each.gate: dict(each.numbers) for each in gates},
    )
