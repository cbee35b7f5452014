"""A rollback on record that a restored state does not know, done again in the restore's commit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from upm_cli import ids
from upm_cli.core.activation import RollbackPlan, Target, rollback_targets
from upm_cli.core.changes import Changes, Decision, rollback_changes
from upm_cli.core.past import Entry
from upm_cli.core.records import Activation, Ring, Snapshot, Trainer, TrainerStatus
from upm_cli.core.restoring import trainer_of, version_of
from upm_cli.core.rollouts.withdrawal import withdrawal_changes
from upm_cli.errors import IntegrityError, NotFoundError
from upm_cli.ops import quarantine, rollback
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.decisions import View, write
from upm_cli.ops.redoing import Redoing, bar
from upm_cli.store import activations, snapshots, trainers


def roll_back(redoing: Redoing, entry: Entry) -> str:
    """Leave the version that `entry` left, in every ring that serves it in this state; return what was done.

    The rings go to the version on record, or to the next good one whose bytes are right; where there is none they
    serve nothing. The epoch grows past the one on record, so that agents take it. A rollback bars the version and puts
    the trainer back; the trainer is paused where it would learn what the rollback had skipped. A version that was
    only withdrawn is not barred; its trainer is frozen.
    """
    step = _Step.of(redoing, entry)
    changes = step.back() if step.is_rollback and step.target is not None else step.withdrawal()
    write(redoing.tx, changes)
    said = [step.moved()]
    if step.is_bad:
        quarantine.resolve(redoing.tx, step.name, step.incident_id, redoing.actor)
        rollback.end_overrides(redoing.tx, step.name, step.decision.at_ms)
        said += [step.barred(), *step.stop_learning()]
    else:
        redoing.hold(step.name, f"v{step.bad} was withdrawn by {entry['actor']}")
        said.append(f"{step.name} is frozen until you have looked at its rollout")
    if changes.incident is not None:
        rollback.tell(redoing.tx, changes, step.plan)
    redoing.record(entry, **step.told(changes))
    return "; ".join(filter(None, said))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What is left, where to, and as what it is on record."""

    redoing: Redoing
    entry: Entry
    view: View
    bad: int
    rings: tuple[Ring, ...]
    target: Target | None
    decision: Decision
    incident_id: str

    @classmethod
    def of(cls, redoing: Redoing, entry: Entry) -> "_Step":
        bad = version_of(entry)
        view = _ahead(View.read(redoing.tx, trainer_of(entry)), bad, int(entry["details"].get("epoch") or 0))
        by = f"as {entry['actor']} did at {entry['at'][:19].replace('T', ' ')}Z"
        reason = str(entry["details"].get("reason") or "no reason given")
        return cls(
            redoing=redoing,
            entry=entry,
            view=view,
            bad=bad,
            rings=_rings(view, bad, entry),
            target=_target(redoing, view, bad, entry),
            decision=Decision(
                decision_id=ids.uuid7(redoing.clock),
                actor=redoing.actor,
                reason=f"{reason} ({by}; done again when the state was restored)",
                at_ms=redoing.clock.now_ms(),
            ),
            incident_id=ids.uuid7(redoing.clock),
        )

    @property
    def name(self) -> str:
        return self.view.trainer.name

    @property
    def is_rollback(self) -> bool:
        """Whether it was a rollback, and not only taken out of the rings by its rollout."""
        return bool(self.entry["action"] == "snapshot.rollback")

    @property
    def is_bad(self) -> bool:
        """Whether the version was barred."""
        return self.is_rollback or bool(self.entry["details"].get("quarantined"))

    @property
    def plan(self) -> RollbackPlan:
        targets = () if self.target is None else (self.target,)
        return RollbackPlan(
            from_version=self.bad,
            rings=self.rings,
            targets=targets,
            expected_epoch=self.view.trainer.epoch,
            is_done=False,
        )

    def back(self) -> Changes:
        assert self.target is not None
        view, to = self.view, self.target.version
        changes = rollback_changes(
            self.plan,
            self.target,
            view.trainer,
            view.rows,
            view.live,
            self.decision,
            incident_id=self.incident_id,
            has_checkpoint=rollback.has_checkpoint(self.redoing.home, view.rows[to]),
        )
        served = changes.snapshots if self.rings else tuple(row for row in changes.snapshots if row.version != to)
        return replace(changes, snapshots=served, trainer=_later(changes.trainer, view.trainer))

    def withdrawal(self) -> Changes:
        view, to = self.view, None if self.target is None else self.target.version
        changes = withdrawal_changes(view.trainer, view.rows, view.live, self.rings, to, self.decision)
        return replace(changes, trainer=_later(changes.trainer, view.trainer))

    def moved(self) -> str:
        if not self.rings:
            return f"v{self.bad} serves nowhere in that state"
        where = " and ".join(ring.value for ring in self.rings)
        to = "nothing" if self.target is None else f"v{self.target.version}"
        return f"{where} of {self.name} serves {to}"

    def barred(self) -> str:
        """Bar the version where it was only taken out of the rings; say so."""
        row = next((each for each in _rows(self.redoing, self.name) if each.version == self.bad), None)
        if row is not None:
            bar(self.redoing, row, self.entry)
        return f"v{self.bad} is barred" if row is not None else f"v{self.bad} is not in that state yet"

    def stop_learning(self) -> Iterator[str]:
        """Pause the trainer where it would learn again what the rollback left behind."""
        row = trainers.get(self.redoing.tx, self.name)
        last = self.entry["details"].get("suspect_last_seq")
        if self.target is None or not self.is_rollback:
            why = f"v{self.bad} was left, and there is no good version to put the trainer back to"
        elif self.bad not in self.view.rows or (last is not None and row.log_position <= int(last)):
            upto = "" if last is None else f" up to log row {int(last):,}"
            why = f"a rollback from v{self.bad} had skipped what comes next{upto}; the restored state can't"
        else:
            return
        trainers.put(self.redoing.tx, replace(row, desired="pause", status=TrainerStatus.PAUSED, pause_reason=why))
        yield f"{self.name} is paused: {why}"

    def told(self, changes: Changes) -> dict[str, object]:
        """Return what the record keeps, in the words of the entry that was done again."""
        return {
            "to_version": None if self.target is None else self.target.version,
            "rings": [ring.value for ring in self.rings],
            "epoch": changes.trainer.epoch,
            "decision_id": self.decision.decision_id,
            "incident_id": None if changes.incident is None else self.incident_id,
            "quarantined": self.is_bad,
            "suspect_last_seq": self.entry["details"].get("suspect_last_seq"),
            "trainer": trainers.get(self.redoing.tx, self.name).desired,
        }


def _rows(redoing: Redoing, name: str) -> list[Snapshot]:
    return snapshots.list_for(redoing.tx, name)


def _ahead(view: View, bad: int, epoch: int) -> View:
    """Return `view` with a trainer that is as far as the record: no epoch and no version is given out twice."""
    row = view.trainer
    return replace(view, trainer=replace(row, epoch=max(row.epoch, epoch), last_version=max(row.last_version, bad)))


def _later(row: Trainer, before: Trainer) -> Trainer:
    """Return `row` with a later epoch than all on record, also where no ring moves: agents may be at a later one."""
    return replace(row, epoch=max(row.epoch, before.epoch + 1))


def _rings(view: View, bad: int, entry: Entry) -> tuple[Ring, ...]:
    """Return the rings that serve the bad version, and those that serve what the record went back to already."""
    to, recorded = entry["details"].get("to_version"), entry["details"].get("rings") or ()
    return tuple(
        ring
        for ring, move in view.live.items()
        if move.version == bad or (ring.value in recorded and move.version == to)
    )


def _target(redoing: Redoing, view: View, bad: int, entry: Entry) -> Target | None:
    """Return the first version to go back to that nothing is on record against and whose bytes are right.

    What a rollout withdrew goes where it went, or nowhere.
    """
    name = view.trainer.name
    barred = redoing.barred.get(name, set()) | {bad}
    for target in _targets(view, activations.history(redoing.tx, name), bad, entry):
        row = view.rows.get(target.version)
        is_sound = target.version not in barred and row is not None and not row.quarantined
        if row is not None and is_sound and _is_whole(redoing, row):
            return target
    return None


def _targets(view: View, history: list[Activation], bad: int, entry: Entry) -> Iterator[Target]:
    to = entry["details"].get("to_version")
    if to is not None:
        served = any(a.version == to and a.ring is Ring.GLOBAL and a.percent == 100 for a in history)
        yield Target(version=int(to), because="it is on record", served_all=served)
    if entry["action"] == "snapshot.rollback":
        yield from rollback_targets(view.trainer, list(view.rows.values()), history, Ring.GLOBAL, bad)


def _is_whole(redoing: Redoing, row: Snapshot) -> bool:
    try:
        snapshot_ops.load(redoing.home, row)
    except (IntegrityError, NotFoundError):
        return False
    return True
