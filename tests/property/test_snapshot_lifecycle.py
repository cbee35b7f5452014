"""Snapshots made, activated, rolled back, released, pinned and deleted in any order: what must hold in between."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from upm_cli.core.activation import plan_activation, plan_rollback, rollback_targets
from upm_cli.core.changes import Changes, Decision, activation_changes, released, rollback_changes
from upm_cli.core.gates import Candidate, lineage_gate, pass_gates, quarantine_gate
from upm_cli.core.records import Activation, Mode, Pin, Ring, Snapshot, SnapshotStatus, Trainer
from upm_cli.core.retention import DAY_MS, RetentionPolicy, plan_retention, protected_versions
from upm_cli.core.versions import abandoned, parent_version, skipped_ranges, tainted_by
from upm_cli.errors import RefusedError

RINGS = st.sampled_from(list(Ring))


class Lifecycle(RuleBasedStateMachine):
    """One trainer; an obvious model remembers who begot whom, and what was ever decided to be bad."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.trainer = Trainer(name="t", stream="s")
        self.rows: dict[int, Snapshot] = {}
        self.history: list[Activation] = []
        self.live: dict[Ring, Activation] = {}
        self.pins: dict[Ring, Pin] = {}
        self.parents: dict[int, int | None] = {}  # the model: never forgets a version
        self.learned: dict[int | None, set[int]] = {}  # the log rows each version knows
        self.bad: set[int] = set()
        self.stands_on: int | None = None

    def write(self, changes: Changes) -> None:
        assert changes.trainer.epoch == self.trainer.epoch + len(changes.activations)
        self.trainer = changes.trainer
        self.rows |= {s.version: s for s in changes.snapshots}
        for activation in changes.activations:
            self.history.append(activation)
            self.live[activation.ring] = activation
        self.pins |= {pin.ring: pin for pin in changes.pins}
        for ring in changes.lifted:
            del self.pins[ring]

    def decision(self) -> Decision:
        return Decision(decision_id=f"d{len(self.history)}", actor="a", reason="r", at_ms=self.now_ms)

    def descends_from_bad(self, version: int | None) -> bool:
        while version is not None:
            if version in self.bad:
                return True
            version = self.parents[version]
        return False

    @rule(windows=st.integers(1, 9), days=st.integers(0, 20))
    def learn_and_snapshot(self, windows: int, days: int) -> None:
        self.now_ms += days * DAY_MS
        version = self.trainer.last_version + 1
        first, last = self.trainer.log_position, self.trainer.log_position + windows - 1
        digest = f"c{version}"
        self.rows[version] = Snapshot(
            trainer="t",
            version=version,
            mode=Mode.SHADOW,
            digest=f"d{version}",
            file_digest=f"f{version}",
            codec="none",
            path=f"p{version}",
            size_bytes=1,
            raw_bytes=1,
            parent=parent_version(version, self.trainer.lineage),
            first_seq=first,
            last_seq=last,
            checkpoint_digest=digest,
            created_at_ms=self.now_ms,
        )
        assert self.rows[version].parent == self.stands_on
        self.parents[version], self.stands_on = self.stands_on, version
        self.learned[version] = {*self.learned.get(self.parents[version], set()), *range(first, last + 1)}
        skipped = skipped_ranges(version, self.trainer.lineage)
        known = set(range(last + 1)) - {seq for low, high in skipped for seq in range(low, high + 1)}
        assert known == self.learned[version]
        self.trainer = replace(self.trainer, last_version=version, log_position=last + 1, checkpoint_digest=digest)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), ring=RINGS, share=st.sampled_from([None, 5, 50]))
    def activate(self, data: st.DataObject, ring: Ring, share: int | None) -> None:
        version = data.draw(st.sampled_from(sorted(self.rows)))
        left = abandoned(self.rows.values(), self.trainer.lineage)
        ancestor = tainted_by(version, self.trainer.lineage, left)
        assert (ancestor is not None) == self.descends_from_bad(version)
        share = None if ring is Ring.SHADOW else share
        plan = plan_activation(self.trainer, self.live, self.pins, version, ring, share)
        candidate = Candidate(
            trainer="t",
            version=version,
            quarantined=self.rows[version].quarantined,
            quarantine_reason=None,
            ring=ring,
            percent=plan.percent,
            feature_enabled=True,
            descends_from_bad=ancestor,
        )
        try:
            pass_gates(candidate, (quarantine_gate, lineage_gate))
        except RefusedError:
            assert self.rows[version].quarantined or ancestor is not None
            return
        same = ring in self.live and self.live[ring].version == version
        assert plan.is_done == (same and share in (None, self.live[ring].percent))
        if not plan.is_done:
            self.write(activation_changes(plan, self.trainer, self.rows, self.decision()))
            assert ring not in self.pins or self.pins[ring].version == version
            if ring is Ring.GLOBAL:
                assert (self.live[ring].rest_version is None) or self.live[ring].percent < 100

    @precondition(lambda self: self.rows)
    @rule(has_checkpoint=st.booleans(), ring=RINGS | st.none(), suspect=st.integers(0, 50) | st.none())
    def roll_back(self, has_checkpoint: bool, ring: Ring | None, suspect: int | None) -> None:
        snapshots = list(self.rows.values())
        try:
            plan = plan_rollback(self.trainer, snapshots, self.live, self.history, ring=ring, suspect_from_seq=suspect)
        except RefusedError:
            return
        if plan.is_done:
            return
        target = plan.targets[0].version
        assert target < plan.from_version
        assert not self.rows[target].quarantined
        assert not self.descends_from_bad(target)
        served_all = {a.version for a in self.history if a.ring is Ring.GLOBAL and a.percent == 100}
        percents = {ring: a.percent for ring, a in self.live.items()}
        changes = rollback_changes(
            plan,
            plan.targets[0],
            self.trainer,
            self.rows,
            self.live,
            self.decision(),
            incident_id="i",
            has_checkpoint=has_checkpoint,
        )
        self.write(changes)
        self.bad.add(plan.from_version)
        if has_checkpoint:
            assert self.trainer.checkpoint_digest == self.rows[target].checkpoint_digest
            self.stands_on = target
        assert plan.from_version not in {a.version for a in self.live.values()}
        for where in plan.rings:
            assert self.live[where].rest_version not in (plan.from_version, target)
            whole = target in served_all and where is Ring.GLOBAL
            assert self.live[where].percent == (100 if whole else percents[where])
        again = plan_rollback(self.trainer, list(self.rows.values()), self.live, self.history, ring=plan.rings[0])
        assert again.is_done

    @precondition(lambda self: self.bad)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.bad)))
        if version in self.rows:
            self.rows[version] = released(self.rows[version], has_served=True)
            self.bad.discard(version)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), pinned=st.booleans())
    def pin(self, data: st.DataObject, pinned: bool) -> None:
        version = data.draw(st.sampled_from(sorted(self.rows)))
        self.rows[version] = replace(self.rows[version], pinned=pinned)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def quarantine_by_drift(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.rows)))
        if self.rows[version].status is not SnapshotStatus.ROLLED_BACK:
            self.rows[version] = replace(self.rows[version], quarantined=True)

    @rule(keep=st.integers(0, 3), days=st.integers(0, 10))
    def collect(self, keep: int, days: int) -> None:
        snapshots = list(self.rows.values())
        targets = {
            ring: rollback_targets(self.trainer, snapshots, self.history, ring, a.version)
            for ring, a in self.live.items()
        }
        protected = protected_versions(self.trainer, snapshots, self.live, self.history, self.pins)
        policy = RetentionPolicy(keep=keep, keep_days=days)
        plan = plan_retention(snapshots, policy, protected, self.now_ms)
        gone = {s.version for s in plan.delete}
        newest = sorted(self.rows, reverse=True)[:keep]
        assert not gone & set(newest)
        assert not any(s.pinned for s in plan.delete)
        assert not gone & {a.version for a in self.live.values()}
        assert not gone & {a.previous_version for a in self.live.values()}
        assert not gone & {pin.version for pin in self.pins.values()}
        assert not gone & {found[0].version for found in targets.values() if found}
        assert all(s.checkpoint_digest != self.trainer.checkpoint_digest for s in plan.delete)
        assert all(self.now_ms - s.created_at_ms > days * DAY_MS for s in plan.delete)
        for version in gone:
            del self.rows[version]

    @invariant()
    def what_is_live_exists(self) -> None:
        assert {a.version for a in self.live.values()} <= self.rows.keys()

    @invariant()
    def nothing_rolled_back_is_live(self) -> None:
        assert not self.bad & {a.version for a in self.live.values()}

    @invariant()
    def epochs_only_grow(self) -> None:
        epochs = [a.epoch for a in self.history]
        assert epochs == sorted(set(epochs))
        assert self.trainer.epoch == (epochs[-1] if epochs else 0)


TestLifecycle = pytest.mark.slow(Lifecycle.TestCase)
TestLifecycle.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
