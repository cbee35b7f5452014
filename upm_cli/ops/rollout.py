"""Rollouts: look, decide, carry out. What is decided is core/rollout.py; here it is read, written and recorded.

A look reads one state, decides, and writes the rollout, the rings and the record in one commit. A way back is written
first (the rollout ends) and then gone by `ops.rollback`, which never waits for a rollout; if the process dies between
the two, the next look goes it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from upm_cli import ids
from upm_cli.clock import Clock
from upm_cli.core.activation import plan_activation
from upm_cli.core.changes import Decision as Signature
from upm_cli.core.changes import activation_changes
from upm_cli.core.decision import DecisionRecord
from upm_cli.core.gates import as_context
from upm_cli.core.plain import to_plain
from upm_cli.core.records import RolloutRow
from upm_cli.core.rollout import decide, inputs_json, outcome_json
from upm_cli.core.rollouts.decisions import (
    Abort,
    Activate,
    Decision,
    Hold,
    HoldTenant,
    Pause,
    Promote,
    Rollback,
    Step,
)
from upm_cli.core.rollouts.state import Observation, RolloutState, new_rollout
from upm_cli.core.versions import resolve_version
from upm_cli.errors import BusyError, NotFoundError, RefusedError
from upm_cli.ops import authority, dwell, record
from upm_cli.ops.decisions import View, write
from upm_cli.ops.retreat import retreat
from upm_cli.ops.rollout_view import Seen, observe
from upm_cli.ops.tell import activated
from upm_cli.store import reserve, rollouts

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store, Tx

ACTOR: Final = "rollout"  # of what nobody asked for
_TRIES: Final = 20
_TIMES: Final = ("held_ms", "unknown_ms", "last", "updated_at_ms")
_KEEP_MS: Final = 60_000  # how long the time of a stage may go uncounted on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one look did. `seen` is what it was decided from, `step` the outcome; None: there is no rollout."""

    trainer: str
    state: RolloutState | None
    step: Step
    observation: Observation | None
    decision_id: str | None  # of what went on the record; None: nothing new
    version_before: int | None = None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return self.step.decisions

    @property
    def hold(self) -> Hold | None:
        return self.step.hold


def tick(
    store: "Store", clock: Clock, settings: "Settings", name: str, *, actor: str = ACTOR, dry_run: bool = False
) -> Looked | None:
    """Look at the rollout of `name` once; None when it has none. Safe to call at any time, from anywhere.

    `actor` is the person who asks for the look, who must be allowed to; the drift monitor looks as nobody. Raises
    RefusedError, NotFoundError for an unknown trainer, BusyError when somebody else decides all the time.
    """
    if actor != ACTOR:
        authority.require(settings, store.home, actor, "rollout.tick")
    if not dry_run:
        dwell.pass_time(store, clock, settings, name)
    with store.read() as reader:
        row = rollouts.newest(reader, name)
    if row is None or (row.ended_at_ms is not None and not row.state.get("is_undoing")):
        return None
    return _act(store, clock, settings, name, "advance", {}, actor=actor, dry_run=dry_run)


def start(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str | None = None,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Looked:
    """Begin a rollout of `name` in shadow. `word` names the version to expose; None: the newest when it leaves shadow.

    One that is under way already stays as it is. Raises RefusedError when the actor may not, NotFoundError.
    """
    dwell.pass_time(store, clock, settings, name)
    version = _version(store, name, word)
    for _ in range(_TRIES):
        with store.read() as reader:
            seen = Seen.read(reader, settings, name)
            if seen.state is not None and not seen.state.has_ended:
                _same_version(seen.state, version)
                return Looked(
                    trainer=name, state=seen.state, step=Step(state=seen.state), observation=None, decision_id=None
                )
            fresh = new_rollout(ids.uuid7(clock), name, at_ms=clock.now_ms(), version=version)
            observation = observe(store, reader, clock, settings, seen, fresh)
            authority.require(settings, store.home, actor, "rollout.start")
        arguments = {"actor": actor, "reason": reason}
        inputs = inputs_json(fresh, observation, seen.policy, "start", arguments)
        step = decide("start", fresh, observation, seen.policy, arguments)
        if dry_run:
            return Looked(trainer=name, state=step.state, step=step, observation=observation, decision_id=None)
        done = _commit(store, clock, settings, seen, observation, inputs, step, "start", actor, reason)
        if done is not None:
            return done
    raise _too_busy(name)


def ask(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    verb: str,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Looked:
    """Do what a person asks for: promote, pause, resume or abort. Raises RefusedError naming the gate."""
    return _act(store, clock, settings, name, verb, {"actor": actor, "reason": reason}, actor=actor, dry_run=dry_run)


def retry(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    word: str | None = None,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Looked:
    """Begin a new rollout after one that ended. Raises RefusedError while there is one, or nothing to retry."""
    version = _version(store, name, word)
    arguments: dict[str, Any] = {"actor": actor, "reason": reason, "rollout_id": ids.uuid7(clock), "version": version}
    return _act(store, clock, settings, name, "retry", arguments, actor=actor, dry_run=dry_run)


def _act(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    name: str,
    verb: str,
    arguments: Mapping[str, Any],
    *,
    actor: str,
    dry_run: bool,
) -> Looked:
    """Decide `verb` from one state and commit it, anew when somebody else decided something meanwhile."""
    for _ in range(_TRIES):
        with store.read() as reader:
            seen = Seen.read(reader, settings, name)
            if seen.state is None:
                raise NotFoundError(f"trainer {name} has no rollout", hint=f"upm rollout start {name}", code="UPM-E047")
            if verb != "advance":
                authority.require(settings, store.home, actor, f"rollout.{verb}")
            observation = observe(store, reader, clock, settings, seen, seen.state)
        inputs = inputs_json(seen.state, observation, seen.policy, verb, arguments)
        step = decide(verb, seen.state, observation, seen.policy, arguments)
        is_idle = verb == "advance" and not step.is_news and not _has_to_be_kept(seen.row, step, clock)
        if dry_run or is_idle:
            return Looked(trainer=name, state=step.state, step=step, observation=observation, decision_id=None)
        done = _commit(
            store, clock, settings, seen, observation, inputs, step, verb, actor, str(arguments.get("reason", ""))
        )
        if done is not None:
            return done
    raise _too_busy(name)


def _commit(
    store: "Store",
    clock: Clock,
    settings: "Settings",
    seen: Seen,
    observation: Observation,
    inputs: Mapping[str, Any],
    step: Step,
    verb: str,
    actor: str,
    reason: str,
) -> Looked | None:
    """Write the step and carry it out; None when the state has moved since it was read."""
    name = seen.view.trainer.name
    decision_id = ids.uuid7(clock)
    is_news = verb != "advance" or step.is_news
    if any(isinstance(each, Activate) for each in step.decisions):
        reserve.keep(store.home)
    with store.write(actor=actor) as tx:
        now = View.read(tx, name)
        newest = rollouts.newest(tx, name)
        if now.trainer.epoch != observation.epoch or _moved(newest, seen.row):
            return None
        state = step.state
        for each in step.decisions:
            if isinstance(each, Activate):
                _activate(tx, clock, now, state, each, decision_id, actor, reason)
        rollouts.put(tx, _row(seen.row, newest, state, step, clock.now_ms(), actor, reason, verb))
        if is_news:
            _record(tx, settings, decision_id, name, verb, inputs, step, reason)
            _tell(tx, name, state, step)
    for each in step.decisions:
        if isinstance(each, Rollback):
            retreat(store, clock, name, each, state, actor=actor, config_digest=settings.full_digest())
    return Looked(
        trainer=name,
        state=state,
        step=step,
        observation=observation,
        decision_id=decision_id if is_news else None,
        version_before=None if seen.state is None else seen.state.version,
    )


def _has_to_be_kept(row: RolloutRow | None, step: Step, clock: Clock) -> bool:
    """Say whether a look that decided nothing is worth a commit: time is kept each minute, all else at once."""
    if row is None or any(isinstance(each, Rollback) for each in step.decisions):
        return True
    before, now = dict(row.state), to_plain(step.state)
    is_old = abs(clock.now_ms() - row.updated_at_ms) >= _KEEP_MS
    is_new_boot = before["last"] is None or before["last"]["era"] != clock.era()
    return is_old or is_new_boot or any(before[name] != now[name] for name in now if name not in _TIMES)


def _moved(now: RolloutRow | None, before: RolloutRow | None) -> bool:
    """Say whether the newest rollout is another one, or was looked at in between."""
    if now is None or before is None:
        return now is not before
    return (now.rollout_id, now.state) != (before.rollout_id, before.state)


def _activate(
    tx: "Tx",
    clock: Clock,
    view: View,
    state: RolloutState,
    move: Activate,
    decision_id: str,
    actor: str,
    reason: str,
) -> None:
    """Swap the pointer of a ring as the rollout decided."""
    plan = plan_activation(
        view.trainer, view.live, view.pins, move.version, move.ring, move.percent, salt=state.rollout_id
    )
    why = reason or move.reason or f"rollout stage {move.stage}: {move.ring} {move.percent} %"
    signature = Signature(decision_id=decision_id, actor=actor, reason=why, at_ms=clock.now_ms())
    changes = activation_changes(plan, view.trainer, view.rows, signature)
    write(tx, changes)
    activated(tx, changes.activations[0])


def _row(
    before: RolloutRow | None,
    newest: RolloutRow | None,
    state: RolloutState,
    step: Step,
    now_ms: int,
    actor: str,
    reason: str,
    verb: str,
) -> RolloutRow:
    is_new = before is None or before.rollout_id != state.rollout_id
    number = 1 if newest is None else newest.number + 1 if is_new else newest.number
    return RolloutRow(
        rollout_id=state.rollout_id,
        trainer=state.trainer,
        number=number,
        phase=state.phase.value,
        version=state.version,
        champion=state.champion,
        stage=state.stage,
        state=to_plain(state),
        actor=actor if before is None or is_new else before.actor,
        reason=reason if before is None or is_new else before.reason,
        started_at_ms=now_ms if before is None or is_new else before.started_at_ms,
        updated_at_ms=now_ms,
        ended_at_ms=now_ms if state.has_ended else None,
    )


def _record(
    tx: "Tx",
    settings: "Settings",
    decision_id: str,
    name: str,
    verb: str,
    inputs: Mapping[str, Any],
    step: Step,
    reason: str,
) -> None:
    gates = [gate for each in step.decisions for gate in getattr(each, "gates", ())]
    record.record(
        tx,
        DecisionRecord(
            decision_id=decision_id,
            kind=f"rollout.{verb}",
            subject=name,
            inputs=inputs,
            outcome=outcome_json(step),
            numbers={gate.gate: as_context(gate) for gate in gates},
            reason=reason or step.state.reason,
        ),
        config_digest=settings.full_digest(),
        rollout_id=step.state.rollout_id,
        phase=step.state.phase.value,
        stage=step.state.stage,
        percent=step.state.percent,
        version=step.state.version,
    )


def _tell(tx: "Tx", name: str, state: RolloutState, step: Step) -> None:
    """Send one event for each decision that others may want to know of."""
    for each in step.decisions:
        if isinstance(each, Activate | Abort | Pause | Promote | HoldTenant | Rollback):
            tx.event(
                "ai.upm.rollout.changed",
                f"/trainers/{name}",
                trainer_id=name,
                rollout_id=state.rollout_id,
                change=each.kind,
                phase=state.phase.value,
                stage=state.stage,
                percent=state.percent,
                version=state.version,
                champion=state.champion,
                cause=state.cause,
                reason=getattr(each, "reason", "") or getattr(each, "tenant", ""),
                at=ids.iso(state.updated_at_ms),
            )


def _version(store: "Store", name: str, word: str | None) -> int | None:
    if word is None:
        return None
    with store.read() as reader:
        view = View.read(reader, name)
    return resolve_version(word, name, sorted(view.rows), view.live)


def _same_version(state: RolloutState, version: int | None) -> None:
    """Refuse to begin a rollout of another version while one is under way."""
    if version is None or version in (state.version, state.asked_version):
        return
    raise RefusedError(
        f"gate rollout: a rollout of {state.trainer} is under way (stage {state.stage}, {state.phase})",
        hint=f"upm rollout abort {state.trainer} first, or wait until it is done",
        code="UPM-E058",
        context={"gate": "rollout", "rollout_id": state.rollout_id, "phase": state.phase.value},
    )


def _too_busy(name: str) -> BusyError:
    return BusyError(
        f"the rollout of {name} is decided about faster than it can be looked at; tried {_TRIES} times",
        hint="nothing was changed; run the same command again",
        code="UPM-E073",
    )
