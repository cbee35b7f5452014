"""Activation: make a verified snapshot the one that a ring serves.

A saga of steps, each with what undoes it: load and verify the bytes, ask for evidence and policy, swap the pointer,
tell the agents. Until the swap nothing is changed; the swap and the event that starts the delivery are one commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core import gates as gate_rules
from upm_cli.core.activation import ActivationPlan, check_epoch, check_percent, plan_activation
from upm_cli.core.changes import Changes, Decision, activation_changes
from upm_cli.core.decision import DecisionRecord
from upm_cli.core.gates import GATES, Candidate, Gate, GateResult, pass_gates
from upm_cli.core.plain import to_plain
from upm_cli.core.records import RING_OF_MODE, Activation, Pin, Ring, TenantRule
from upm_cli.core.rollouts.saga import Saga
from upm_cli.core.versions import resolve_version, snapshot_id
from upm_cli.errors import IntegrityError, RefusedError, UsageError
from upm_cli.ops import admission, overrides, record, tell
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View, write
from upm_cli.store import reserve, tenant_rules

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
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What an admin says to the gates that refuse: go on, for this reason, until then. `for_ms` None: the longest."""

    reason: str
    for_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was asked for, the same for every look at the state."""

    store: "Store"
    clock: Clock
    settings: "Settings"
    word: str
    ring: Ring | None
    percent: int | None
    tenants: tuple[str, ...]
    actor: str
    gates: Sequence[Gate]

    def candidate(self, reader: "Tx", view: View, plan: ActivationPlan) -> Candidate:
        found = admission.candidate(
            reader,
            self.clock,
            self.settings,
            self.store.home,
            view,
            plan,
            actor=self.actor,
            tenants=self.tenants,
        )
        return found if self.gates is GATES else replace(found, others=())


def activate(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str = "latest",
    *,
    ring: Ring | None = None,
    percent: int | None = None,
    tenants: Sequence[str] = (),
    actor: str,
    reason: str = "",
    override: Override | None = None,
    dry_run: bool = False,
    gates: Sequence[Gate] = GATES,
) -> Activated:
    """Make the version that `word` names live in `ring` (default: the ring of the trainer's mode).

    The bytes are read back and proven first, then the gates are asked, then one commit swaps the pointer: it fails
    with BusyError when another decision about the trainer was committed since this one was begun. A pin left by a
    rollback is lifted, as a person names the version. `tenants` get a canary besides its share. With `override` the
    gates that refuse and can be overridden are, on the record. A refusal is on the record too.

    Raises NotFoundError, UsageError, IntegrityError when the bytes are not right, RefusedError naming the gate.
    """
    asked = _Asked(
        store=store,
        clock=clock,
        settings=settings,
        word=word,
        ring=ring,
        percent=percent,
        tenants=tuple(tenants),
        actor=actor,
        gates=gates,
    )
    with store.read() as reader:
        before = View.read(reader, name)
        plan = _plan(asked, before)
        candidate = None if plan.is_done else asked.candidate(reader, before, plan)  # type: ignore[arg-type]
    if candidate is None:
        return _unchanged(before, plan)
    saga = Saga()
    decision = Decision(decision_id=ids.uuid7(clock), actor=actor, reason=reason, at_ms=clock.now_ms())
    try:
        saga = saga.after("load")
        snapshot_ops.load(store.home, before.rows[plan.version])
        saga = saga.after("verify")
        overridden = _override(asked, name, candidate, override, dry_run=dry_run)
        passed = pass_gates(replace(candidate, overridden=candidate.overridden | set(overridden)), gates)
    except (RefusedError, IntegrityError) as exc:
        if not dry_run:
            _refuse(asked, candidate, decision, saga, exc)
        raise
    saga = saga.after("evidence").after("policy")
    if dry_run:
        changes = activation_changes(plan, before.trainer, before.rows, decision)
        return _result(before, changes, passed, overridden)
    reserve.keep(store.home)
    with store.write(actor=actor) as tx:
        now = View.read(tx, name)
        again = _plan(asked, now)
        if again.is_done:
            return _unchanged(now, again)
        check_epoch(plan.expected_epoch, now.trainer, now.live, again.ring)
        candidate = asked.candidate(tx, now, again)
        passed = pass_gates(candidate, gates)
        changes = activation_changes(again, now.trainer, now.rows, decision)
        write(tx, changes)
        _allow(tx, asked, name, decision)
        tell.activated(tx, changes.activations[0])
        saga = saga.after("swap").after("event")
        _record(tx, settings, changes.activations[0], candidate, passed, decision, saga)
    return _result(now, changes, passed, overridden)


def _plan(asked: _Asked, view: View) -> ActivationPlan:
    where = asked.ring or RING_OF_MODE[view.trainer.mode]
    if asked.tenants and where is not Ring.CANARY:
        raise UsageError("--tenant is for a canary", hint="add --to-stage canary", code="UPM-E029")
    check_percent(where, asked.percent)
    version = resolve_version(asked.word, view.trainer.name, sorted(view.rows), view.live, where)
    plan = plan_activation(view.trainer, view.live, view.pins, version, where, asked.percent)
    return replace(plan, is_done=False) if asked.tenants else plan


def _override(
    asked: _Asked, name: str, candidate: Candidate, override: Override | None, *, dry_run: bool
) -> tuple[str, ...]:
    """Except the gates that refuse, if that was asked for; returns them. Raises RefusedError where that can't be."""
    if override is None:
        return ()
    refused = [each for each in gate_rules.ask(candidate, asked.gates) if not each.allowed]
    fit = [each.gate for each in refused if each.gate in gate_rules.OVERRIDABLE]
    if len(fit) < len(refused):
        return ()  # another gate refuses: its own refusal says more
    for gate in fit:
        overrides.grant(
            asked.store,
            asked.clock,
            asked.settings,
            name,
            gate,
            actor=asked.actor,
            reason=override.reason,
            for_ms=override.for_ms,
            dry_run=dry_run,
        )
    if asked.settings.policy.second_approver and fit and not dry_run:
        raise RefusedError(
            f"override of {', '.join(fit)} waits for a second person",
            hint="another admin or approver: upm gate overrides, then upm gate approve ID; then activate again",
            code="UPM-E059",
            context={"gate": fit[0], "gates": fit},
        )
    return tuple(fit)


def _unchanged(view: View, plan: ActivationPlan) -> Activated:
    return Activated(activation=view.live[plan.ring], is_done=True, lifted_pin=None, gates=())


def _result(view: View, changes: Changes, gates: tuple[GateResult, ...], overridden: tuple[str, ...]) -> Activated:
    lifted = [view.pins[ring] for ring in changes.lifted]
    return Activated(
        activation=changes.activations[0],
        is_done=False,
        lifted_pin=lifted[0] if lifted else None,
        gates=gates,
        overridden=overridden,
    )


def _allow(tx: "Tx", asked: _Asked, name: str, decision: Decision) -> None:
    """Let the tenants that were named see what ring canary serves."""
    for tenant in asked.tenants:
        tenant_rules.put(
            tx,
            TenantRule(
                trainer=name,
                tenant_id=tenant,
                rule="allow",
                rollout_id="",
                reason=decision.reason,
                actor=decision.actor,
                at_ms=decision.at_ms,
            ),
        )


def _record(
    tx: "Tx",
    settings: "Settings",
    activation: Activation,
    candidate: Candidate,
    gates: Sequence[GateResult],
    decision: Decision,
    saga: Saga,
) -> None:
    record.record(
        tx,
        DecisionRecord(
            decision_id=decision.decision_id,
            kind="snapshot.activate",
            subject=candidate.name,
            inputs={"candidate": to_plain(candidate)},
            outcome=gate_rules.outcome(gates),
            numbers=_numbers(gates),
            reason=decision.reason,
        ),
        config_digest=settings.full_digest(),
        ring=activation.ring.value,
        percent=activation.percent,
        epoch=activation.epoch,
        previous_version=activation.previous_version,
        gates={each.gate: dict(each.numbers) for each in gates},
        saga=saga.told(),
    )


def _refuse(
    asked: _Asked, candidate: Candidate, decision: Decision, saga: Saga, error: RefusedError | IntegrityError
) -> None:
    """Put a refusal on the record, with how far it went and what undoing it took: nothing."""
    results = gate_rules.ask(candidate, asked.gates)
    bytes_are_right = not isinstance(error, IntegrityError)
    with asked.store.write(actor=asked.actor) as tx:
        record.record(
            tx,
            DecisionRecord(
                decision_id=decision.decision_id,
                kind="snapshot.refuse",
                subject=snapshot_id(candidate.trainer, candidate.version),
                inputs={"candidate": to_plain(candidate), "bytes_are_right": bytes_are_right},
                outcome={**gate_rules.outcome(results), "bytes_are_right": bytes_are_right},
                numbers=_numbers(results),
                reason=decision.reason,
            ),
            config_digest=asked.settings.full_digest(),
            ring=candidate.ring.value,
            percent=candidate.percent,
            error={"code": error.code, "message": error.message},
            saga=saga.told(),
        )


def _numbers(gates: Sequence[GateResult]) -> dict[str, Any]:
    return {each.gate: gate_rules.as_context(each) for each in gates}
