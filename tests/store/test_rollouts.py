"""Rollouts over a real store: the whole way, and every way it can go wrong."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import ManualClock, SystemClock
from upm_cli.config.schema import PolicySettings, RolloutSettings, Settings
from upm_cli.core.decision import recompute
from upm_cli.core.event import EVENTS
from upm_cli.core.records import Activation, DriftStatus, DriftWindow, Evidence, Ring, RolloutRow, Trainer
from upm_cli.core.rollouts.decisions import Activate, Hold, Rollback
from upm_cli.errors import IntegrityError, RefusedError
from upm_cli.ops import overrides, rollout
from upm_cli.ops import snapshots as snapshot_ops
from upm_cli.ops.activate import activate
from upm_cli.ops.rollback import rollback
from upm_cli.ops.rollout import Looked
from upm_cli.store import (
    activations,
    blobs,
    drift,
    evidence,
    ledger,
    outbox,
    pins,
    rollouts,
    snapshots,
    trainers,
)
from upm_cli.store.session import Store
from upm_cli.testing import open_policy, prove

HOUR_S = 3600
DAY_S = 24 * HOUR_S
POLICY = PolicySettings(
    canary_tenants=("*",), min_shadow_hours=24, actors={"ada": "admin", "vic": "viewer", "ola": "operator"}
)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk keeps through a power cut is tested elsewhere; here weeks have to pass."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass
class World:
    """A trainer with two snapshots, and hours that passed their judgement."""

    folder: Path
    settings: Settings = field(default_factory=lambda: replace(Settings(), policy=POLICY))
    name: str = "main"

    def __post_init__(self) -> None:
        self.clock = ManualClock(1_800_000_000_000)
        self.store = Store.create(self.folder / ".upm", self.clock)
        with self.store.write() as tx:
            trainers.put(tx, Trainer(name=self.name, stream=self.name))
            drift.put(tx, window("main/0", "pass"))
        self.learn()
        self.learn()

    def learn(self, windows: int = 100) -> int:
        with self.store.read() as reader:
            trainer = trainers.get(reader, self.name)
        end = trainer.log_position + windows
        checkpoint = blobs.put(self.store.home, f"checkpoint at {end}".encode())
        fields = {"log": {"first_seq": 0, "last_seq": end - 1}, "windows": end, "metrics": {}}
        weights = {"weights": np.arange(4, dtype=np.float32) + end}
        prepared = snapshot_ops.prepare(
            self.store.home, self.clock, self.settings, trainer, weights, fields, checkpoint_digest=checkpoint.digest
        )
        with self.store.write() as tx:
            moved = replace(trainers.get(tx, self.name), log_position=end, checkpoint_digest=checkpoint.digest)
            row, moved = snapshot_ops.register(tx, self.store.home, moved, prepared)
            trainers.put(tx, moved)
        return row.version

    def start(self, word: str | None = None, actor: str = "ada") -> Looked:
        self.judge()
        return rollout.start(self.store, self.clock, self.settings, self.name, word, actor=actor, reason="try it")

    def ask(self, verb: str, actor: str = "ada") -> Looked:
        return rollout.ask(self.store, self.clock, self.settings, self.name, verb, actor=actor, reason="because")

    def tick(self) -> Looked | None:
        return rollout.tick(self.store, self.clock, self.settings, self.name)

    @property
    def row(self) -> RolloutRow:
        with self.store.read() as reader:
            found = rollouts.newest(reader, self.name)
        assert found is not None
        return found

    @property
    def live(self) -> dict[str, tuple[int, int]]:
        """(version, percent) by ring."""
        with self.store.read() as reader:
            return {ring.value: (a.version, a.percent) for ring, a in activations.live(reader, self.name).items()}

    def history(self) -> list[Activation]:
        with self.store.read() as reader:
            return activations.history(reader, self.name)

    def judge(self, verdict: str = "pass", **more: Any) -> Evidence | None:
        """Let the drift monitor have judged new windows of the stage that the rollout is in."""
        with self.store.read() as reader:
            row = rollouts.newest(reader, self.name)
        stage, version = (row.stage, row.version) if row is not None and row.ended_at_ms is None else (0, None)
        prove(self.store, self.clock, self.name)
        if version is None:
            return prove(self.store, self.clock, self.name, verdict=verdict, **more) if verdict != "pass" else None
        return prove(self.store, self.clock, self.name, version, stage=stage, verdict=verdict, **more)

    def go(self, until: Callable[["World"], bool], verdict: str = "pass", days: int = 60, **more: Any) -> None:
        """Let hours pass, judging and looking every twelve, until something holds."""
        for _ in range(days * 2):
            if until(self):
                return
            self.clock.advance(12 * HOUR_S)
            self.judge(verdict, **more)
            self.tick()
        raise AssertionError(f"never came to it: {self.row}")

    def to_stage(self, stage: int, **more: Any) -> None:
        self.go(lambda world: world.row.stage >= stage, **more)

    def actions(self) -> list[str]:
        return [entry["action"] for entry in ledger.read(self.store.home)]


def window(window_id: str, verdict: str, status: DriftStatus = DriftStatus.CLOSED) -> DriftWindow:
    return DriftWindow(
        trainer="main",
        window_id=window_id,
        version=1,
        started_at_ms=0,
        closed_at_ms=1,
        status=status,
        verdict=verdict,
        threshold=0.2,
        n=1000,
        mean=0.0,
        p95=0.1,
        max=0.2,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def serve(world: World, word: str, ring: Ring = Ring.GLOBAL) -> None:
    """Give a version to tenants, outside of any rollout; in ring global it is the champion."""
    prove(world.store, world.clock, "main", first_seq=0, windows=1)
    activate(
        world.store,
        world.clock,
        open_policy(world.settings, "ada"),
        "main",
        word,
        ring=ring,
        actor="ada",
    )


def test_fourteen_days_and_the_whole_ramp_pass_on_a_manual_clock(world: World) -> None:
    world.settings = replace(world.settings, policy=replace(POLICY, min_shadow_hours=336))
    world.start()
    days: dict[int, float] = {}

    def done(world: World) -> bool:
        days.setdefault(world.row.stage, (world.clock.now_ms() - 1_800_000_000_000) / 86_400_000)
        return world.row.phase == "promoted"

    world.go(done)
    assert days[1] == 14
    assert [(a.ring.value, a.percent) for a in world.history()] == [
        ("canary", 1),
        ("canary", 5),
        ("canary", 10),
        ("canary", 25),
        ("global", 50),
        ("global", 75),
        ("global", 100),
    ]
    assert {a.salt for a in world.history()} == {world.row.rollout_id}
    assert {a.version for a in world.history()} == {2}
    assert world.live == {"canary": (2, 25), "global": (2, 100)}
    with world.store.read() as reader:
        events = outbox.after(reader)
    assert [problem for event in events for problem in EVENTS[event.type].problems(event.data)] == []
    assert [event.data["change"] for event in events if event.type == "ai.upm.rollout.changed"] == [
        *["activate"] * 7,
        "promote",
    ]


def test_every_decision_of_a_rollout_recomputes_to_what_is_on_the_record(world: World) -> None:
    world.start()
    world.to_stage(3)
    world.ask("pause")
    world.ask("resume")
    world.judge("fail")
    world.tick()
    decided = [
        e for e in ledger.read(world.store.home) if e["action"].startswith("rollout.") and "inputs" in e["details"]
    ]
    assert {e["action"] for e in decided} == {"rollout.start", "rollout.advance", "rollout.pause", "rollout.resume"}
    for entry in decided:
        assert recompute(entry["action"], entry["details"]["inputs"]) == entry["details"]["outcome"], entry["n"]


def test_harm_takes_the_candidate_back_at_once_and_bars_it(world: World) -> None:
    serve(world, "1")
    world.start("2")
    world.to_stage(3)
    assert world.live == {"global": (1, 100), "canary": (2, 10)}
    world.judge("fail")
    looked = world.tick()
    assert looked is not None
    assert [type(each) for each in looked.decisions] == [Rollback]
    assert (world.row.phase, world.row.state["cause"]) == ("degraded", "harm")
    assert world.live == {"global": (1, 100), "canary": (1, 10)}
    with world.store.read() as reader:
        assert snapshots.get(reader, "main", 2).quarantined
        assert pins.live(reader, "main")[Ring.CANARY].version == 1
        assert len(trainers.get(reader, "main").lineage) == 1, "it was put back to what it was before"
    world.tick()
    assert world.tick() is None


def test_harm_with_nothing_to_go_back_to_takes_the_candidate_out_and_stops_the_trainer(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.store.write() as tx:
        snapshots.remove(tx, "main", 2)
    world.start("1")
    world.to_stage(2)
    world.judge("fail")
    world.tick()
    assert world.live == {}
    with world.store.read() as reader:
        trainer, row = trainers.get(reader, "main"), snapshots.get(reader, "main", 1)
    assert (trainer.desired, row.quarantined) == ("pause", True)
    assert "did harm" in (trainer.pause_reason or "")


def test_an_aborted_rollout_leaves_the_champion_to_everybody_and_blames_nobody(world: World) -> None:
    serve(world, "1")
    world.start("2")
    world.to_stage(5)
    assert world.live["global"] == (2, 50)
    world.ask("abort")
    assert world.live == {"global": (1, 100)}
    with world.store.read() as reader:
        assert not snapshots.get(reader, "main", 2).quarantined
        assert pins.live(reader, "main") == {}
    assert world.row.phase == "aborted"


def test_a_first_rollout_that_is_given_up_leaves_nothing_live(world: World) -> None:
    world.start()
    world.to_stage(2)
    world.ask("abort")
    assert world.live == {}
    world.tick()
    again = rollout.retry(world.store, world.clock, world.settings, "main", actor="ada", reason="again")
    assert again.state is not None
    assert (again.state.phase, world.row.number) == ("progressing", 2)


def test_a_process_that_dies_before_the_way_back_leaves_it_to_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(world, "1")
    world.start("2")
    world.to_stage(2)
    world.judge("fail")

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(rollout, "retreat", die)
    with pytest.raises(Killed):
        world.tick()
    assert (world.row.phase, world.live["canary"]) == ("degraded", (2, 5)), "decided, and not done"
    monkeypatch.undo()
    world.tick()
    assert world.live == {"global": (1, 100), "canary": (1, 5)}


def test_what_a_person_does_to_the_rings_ends_the_rollout(world: World) -> None:
    serve(world, "1")
    world.start("2")
    world.to_stage(3)
    rollback(world.store, world.clock, "main", actor="ada", reason="users complain")
    world.clock.advance(HOUR_S)
    world.tick()
    assert (world.row.phase, world.row.state["cause"]) == ("aborted", "overtaken")
    assert world.live == {"global": (1, 100), "canary": (1, 10)}


@pytest.mark.parametrize("percent_before", [1, 2, 3, 4, 5, 6])
def test_the_rest_of_the_tenants_always_get_the_champion(world: World, percent_before: int) -> None:
    serve(world, "1")
    world.start("2")
    world.to_stage(percent_before)
    with world.store.read() as reader:
        live = activations.live(reader, "main")
    everybody = live[Ring.GLOBAL]
    assert (everybody.version if everybody.percent == 100 else everybody.rest_version) == 1
    rollback(world.store, world.clock, "main", actor="ada", reason="drill")
    assert world.live["global"] == (1, 100)


def remove_evidence(world: World) -> None:
    with world.store.write() as tx:
        evidence.remove(tx, "main", "lineage")
        evidence.remove(tx, "main", "candidate")


def age_evidence(world: World) -> None:
    world.clock.advance(25 * HOUR_S)


def unknown_evidence(world: World) -> None:
    world.judge("unknown")


def nan_evidence(world: World) -> None:
    with world.store.write() as tx:
        for row in evidence.of(tx, "main").values():
            broken = {**row.findings, "promote": {**row.findings["promote"], "value": "nan"}}
            evidence.put(tx, replace(row, findings={**broken, "fresh_windows": 0}))


def evidence_of_another_stage(world: World) -> None:
    with world.store.write() as tx:
        for row in evidence.of(tx, "main").values():
            evidence.put(tx, replace(row, stage=row.stage + 1))


def evidence_against_another_champion(world: World) -> None:
    with world.store.write() as tx:
        for row in evidence.of(tx, "main").values():
            evidence.put(tx, replace(row, champion=77))


def damaged_bytes(world: World) -> None:
    with world.store.read() as reader:
        path = world.store.home / snapshots.get(reader, "main", 2).path
    path.write_bytes(path.read_bytes()[:-1])


def candidate_gone(world: World) -> None:
    with world.store.write() as tx:
        snapshots.remove(tx, "main", 2)
        snapshots.remove(tx, "main", 1)


def quarantined(world: World) -> None:
    with world.store.write() as tx:
        snapshots.put(tx, replace(snapshots.get(tx, "main", 2), quarantined=True, quarantine_reason="drift"))


def nobody_is_eligible(world: World) -> None:
    world.settings = replace(world.settings, policy=replace(POLICY, canary_tenants=()))


def frozen(world: World) -> None:
    world.settings = replace(world.settings, rollout=RolloutSettings(freeze=("2020-01-01..2099-01-01",)))


def switched_off(world: World) -> None:
    world.settings = replace(world.settings, features=replace(world.settings.features, unified_model=False))


def other_stages(world: World) -> None:
    world.settings = replace(world.settings, rollout=RolloutSettings(stages=("shadow", "canary 2%", "global 100%")))


def set_forward(world: World) -> None:
    world.clock.jump(40 * DAY_S)


def set_back(world: World) -> None:
    world.clock.jump(-40 * DAY_S)


SPOIL = [
    remove_evidence,
    age_evidence,
    unknown_evidence,
    nan_evidence,
    evidence_of_another_stage,
    evidence_against_another_champion,
    damaged_bytes,
    candidate_gone,
    quarantined,
    nobody_is_eligible,
    frozen,
    switched_off,
    other_stages,
]


@pytest.mark.parametrize(
    ("stage", "spoil"),
    # in shadow nothing is exposed yet, and a rollout takes other stages as they are
    [(stage, spoil) for stage in (0, 2) for spoil in SPOIL if (stage, spoil) != (0, other_stages)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_whatever_is_missing_stale_or_broken_exposes_nobody_further(
    world: World, spoil: Callable[[World], None], stage: int
) -> None:
    world.start("2")
    if stage:
        world.to_stage(stage)
    else:
        world.go(lambda world: world.clock.now_ms() >= 1_800_000_000_000 + 0.4 * DAY_S * 1000)
    before = world.live
    if spoil is nobody_is_eligible and stage:
        world.to_stage(3)
        before = world.live
    world.clock.advance(DAY_S)
    world.judge()
    spoil(world)
    looked = world.tick()
    assert looked is not None
    assert not any(isinstance(each, Activate) for each in looked.decisions)
    reach = {ring: percent for ring, (_, percent) in world.live.items()}
    assert all(percent <= before[ring][1] for ring, percent in reach.items())


@pytest.mark.parametrize("jump", [set_forward, set_back])
def test_setting_the_clock_moves_no_stage_and_is_on_the_record(world: World, jump: Callable[[World], None]) -> None:
    world.start()
    world.to_stage(1)
    world.judge()
    jump(world)
    world.judge()
    world.tick()
    assert world.row.stage == 1
    assert "clock.jump" in world.actions()
    entry = next(e for e in ledger.read(world.store.home) if e["action"] == "clock.jump")
    assert entry["details"]["counted_ms"] <= 12 * HOUR_S * 1000


def test_a_reboot_counts_at_most_the_gap_that_is_allowed(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.clock.reboot(down_s=30 * DAY_S)
    world.judge()
    world.tick()
    assert world.row.stage == 1
    assert world.row.state["held_ms"] == world.settings.rollout.max_gap_ms


def test_no_verdict_pauses_after_the_deadline_and_never_goes_on(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.go(lambda world: world.row.phase == "paused", verdict="unknown")
    assert (world.row.stage, world.row.state["cause"]) == (1, "unknown")
    world.judge()
    looked = world.tick()
    assert looked is not None
    assert looked.hold is not None
    assert looked.hold.gate == "paused"


def test_a_harmed_tenant_is_held_back_while_the_rest_go_on(world: World) -> None:
    world.start()
    world.to_stage(2)
    names = [f"tenant-{n}" for n in range(400)]
    world.judge(tenants=names, harmed=["tenant-7"])
    world.tick()
    assert world.row.state["held_tenants"] == ["tenant-7"]
    world.to_stage(3, tenants=names)
    assert world.row.state["held_tenants"] == ["tenant-7"]


def test_promote_skips_the_hold_but_never_the_evidence(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.judge()
    assert world.ask("promote").state.stage == 2  # type: ignore[union-attr]
    with pytest.raises(RefusedError, match="gate evidence") as refusal:
        world.ask("promote")
    assert {gate["gate"] for gate in refusal.value.context["gates"]} >= {"evidence"}


def test_an_override_of_the_evidence_takes_a_person_each_time_and_expires(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.judge("unknown")
    overrides.grant(
        world.store, world.clock, world.settings, "main", "evidence", actor="ada", reason="incident", for_ms=3_600_000
    )
    world.clock.advance(60)
    world.tick()
    assert world.row.stage == 1, "the machine never uses it"
    assert world.ask("promote").state.stage == 2  # type: ignore[union-attr]
    world.clock.advance(HOUR_S)
    world.judge("unknown")
    with pytest.raises(RefusedError, match="gate evidence"):
        world.ask("promote")


def test_proven_harm_can_not_be_overridden(world: World) -> None:
    serve(world, "1")
    prove(world.store, world.clock, "main", 2, verdict="fail")
    for gate in ("evidence", "policy"):
        overrides.grant(world.store, world.clock, world.settings, "main", gate, actor="ada", reason="I know better")
    with pytest.raises(RefusedError, match="gate evidence: fail"):
        activate(world.store, world.clock, world.settings, "main", "2", ring=Ring.CANARY, actor="ada")


@pytest.mark.parametrize("verb", ["start", "promote", "pause", "resume", "abort", "retry"])
def test_a_viewer_may_look_and_roll_back_and_nothing_else(world: World, verb: str) -> None:
    serve(world, "1")
    world.learn()
    serve(world, "2")
    world.start("3")
    arguments = (world.store, world.clock, world.settings, "main")
    with pytest.raises(RefusedError, match=f"vic has role viewer, which may not rollout.{verb}"):
        if verb == "start":
            world.ask("abort")
            world.start("3", actor="vic")
        elif verb == "retry":
            rollout.retry(*arguments, actor="vic")
        else:
            world.ask(verb, actor="vic")
    assert rollback(world.store, world.clock, "main", actor="vic", reason="it hurts").to_version == 1


def test_a_viewer_can_not_make_the_machine_look(world: World) -> None:
    world.start()
    with pytest.raises(RefusedError, match=r"vic has role viewer, which may not rollout\.tick"):
        rollout.tick(world.store, world.clock, world.settings, "main", actor="vic")
    assert rollout.tick(world.store, world.clock, world.settings, "main", actor="ola") is not None


def test_evidence_whose_row_is_written_again_without_new_windows_grows_old(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.judge()
    world.clock.advance(25 * HOUR_S)
    with world.store.write() as tx:
        for row in evidence.of(tx, "main").values():
            findings = {**row.findings, "judged_at_ms": row.updated_at_ms}
            evidence.put(tx, replace(row, findings=findings, updated_at_ms=world.clock.now_ms()))
    looked = world.tick()
    assert looked is not None
    assert looked.hold is not None
    assert "the newest evidence is 1d1h old" in looked.hold.detail


def test_an_override_of_the_policy_gives_nobody_a_role(world: World) -> None:
    prove(world.store, world.clock, "main", first_seq=0, windows=1)
    arguments = (world.store, world.clock, world.settings, "main", "2")
    overrides.grant(*arguments[:4], "policy", actor="ada", reason="a demo can't wait")
    with pytest.raises(RefusedError, match=r"gate role: role viewer may not activate\.global"):
        activate(*arguments, ring=Ring.GLOBAL, actor="vic")
    assert activate(*arguments, ring=Ring.GLOBAL, actor="ola").activation.version == 2


def test_of_many_looks_at_once_only_one_moves(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.clock.advance(DAY_S)
    world.judge()
    stores = [Store(world.store.home, SystemClock()) for _ in range(6)]
    moves: list[Looked | None] = []

    def look(store: Store) -> None:
        moves.append(rollout.tick(store, world.clock, world.settings, "main"))

    threads = [threading.Thread(target=look, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(moves) == 6
    assert sum(isinstance(each, Activate) for look in moves if look for each in look.decisions) == 1
    assert [(a.ring, a.percent) for a in world.history()] == [(Ring.CANARY, 1), (Ring.CANARY, 5)]


def test_a_rollout_under_way_is_not_begun_again(world: World) -> None:
    first = world.start("2")
    again = world.start("2")
    assert first.state is not None
    assert again.state is not None
    assert (first.state.rollout_id, world.actions().count("rollout.start")) == (again.state.rollout_id, 1)
    with pytest.raises(RefusedError, match="a rollout of main is under way"):
        world.start("1")


def test_a_dry_run_decides_and_writes_nothing(world: World) -> None:
    world.start()
    world.to_stage(1)
    world.clock.advance(DAY_S)
    world.judge()
    token = world.store.token()
    looked = rollout.tick(world.store, world.clock, world.settings, "main", dry_run=True)
    assert looked is not None
    assert [type(each) for each in looked.decisions] == [Activate]
    assert world.store.token() == token


def test_a_refused_activation_is_on_the_record_and_recomputes(world: World) -> None:
    with pytest.raises(RefusedError, match="gate evidence"):
        activate(world.store, world.clock, world.settings, "main", "2", ring=Ring.GLOBAL, actor="ada", reason="now")
    damaged_bytes(world)
    with pytest.raises(IntegrityError):
        activate(world.store, world.clock, world.settings, "main", "2", ring=Ring.SHADOW, actor="ada")
    refused = [entry for entry in ledger.read(world.store.home) if entry["action"] == "snapshot.refuse"]
    assert [[step["step"] for step in entry["details"]["saga"] if step["done"]] for entry in refused] == [
        ["load", "verify"],
        ["load"],
    ]
    for entry in refused:
        assert recompute(entry["action"], entry["details"]["inputs"]) == entry["details"]["outcome"]


def test_what_held_it_back_is_recorded_once_and_not_at_every_look(world: World) -> None:
    world.start()
    before = len(world.actions())
    for _ in range(5):
        world.clock.advance(HOUR_S)
        world.judge()
        looked = world.tick()
        assert looked is not None
        assert isinstance(looked.hold, Hold)
    assert len(world.actions()) <= before + 1


def test_the_harm_of_a_lineage_that_was_left_does_not_stop_the_next_one(world: World) -> None:
    serve(world, "1")
    serve(world, "2", Ring.CANARY)
    prove(world.store, world.clock, world.name, verdict="fail", first_seq=120, windows=50)
    rollback(world.store, world.clock, world.name, actor="ada", reason="it did harm")
    begun = rollout.start(world.store, world.clock, world.settings, world.name, actor="ada", reason="again")
    world.clock.advance(HOUR_S)
    world.tick()
    assert begun.state is not None
    assert (world.row.rollout_id, world.row.phase) == (begun.state.rollout_id, "progressing")
    prove(world.store, world.clock, world.name, verdict="fail", first_seq=200, windows=50)
    world.tick()
    assert world.row.phase == "paused"


def test_a_rollback_ends_what_was_excepted_before_it(world: World) -> None:
    prove(world.store, world.clock, "main", verdict="unknown")
    for gate in ("evidence", "policy"):
        overrides.grant(world.store, world.clock, world.settings, "main", gate, actor="ada", reason="a hurry")
    for version in ("1", "2"):
        activate(world.store, world.clock, world.settings, "main", version, ring=Ring.GLOBAL, actor="ada")
    world.learn()
    rollback(world.store, world.clock, "main", actor="vic", reason="it hurts")
    world.learn()
    world.clock.advance(60)
    prove(world.store, world.clock, "main", verdict="unknown", first_seq=0, windows=1)
    with pytest.raises(RefusedError, match=r"gate evidence: unknown .*and policy"):
        activate(world.store, world.clock, world.settings, "main", "latest", ring=Ring.GLOBAL, actor="ada")
    (entry,) = [each for each in ledger.read(world.store.home) if each["action"] == "snapshot.rollback"]
    assert len(entry["details"]["overrides_ended"]) == 2
