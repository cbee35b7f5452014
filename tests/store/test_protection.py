"""What serves and is quarantined is taken back without being asked, as the settings say."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_release_decisions import World

from upm_cli.config.schema import RolloutSettings
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.records import DriftStatus, DriftWindow, Ring
from upm_cli.ops import protect, quarantine, rollout
from upm_cli.ops.report import build, headline
from upm_cli.store import drift, ledger, snapshots


def with_rule(world: World, rule: str) -> World:
    world.settings = replace(world.settings, rollout=RolloutSettings(on_quarantine=rule))
    return world


def bar(world: World, version: int) -> None:
    with world.store.write() as tx:
        snapshots.put(tx, replace(snapshots.get(tx, "main", version), quarantined=True, quarantine_reason="P95 0.4"))


def look(world: World) -> list[int]:
    """Return the versions it went back to."""
    return [each.to_version for each in protect.look(world.store, world.clock, world.settings, "main")]


@pytest.fixture
def served(tmp_path: Path) -> World:
    world = World(tmp_path / ".upm")
    for _ in range(2):
        world.activate(str(world.learn()))
    return world


def test_a_quarantined_version_that_serves_is_rolled_back_once(served: World) -> None:
    with_rule(served, "rollback")
    assert look(served) == []
    bar(served, 2)
    assert look(served) == [1]
    assert (served.live(), look(served)) == ({"global": 1}, [])
    entry = ledger.read(served.home)[-1]
    assert (entry["action"], entry["actor"]) == ("snapshot.rollback", "drift-monitor")
    assert entry["details"]["reason"] == "automatic: v2 is quarantined (P95 0.4)"


def test_a_window_that_it_dealt_with_is_a_breach_for_a_day(served: World) -> None:
    with_rule(served, "rollback")
    hour = 3_600_000
    failed = DriftWindow(
        trainer="main",
        window_id="main/1",
        version=2,
        started_at_ms=0,
        closed_at_ms=hour,
        status=DriftStatus.QUARANTINED,
        verdict="fail",
        threshold=0.2,
        n=1000,
        mean=0.3,
        p95=0.4,
        max=0.5,
    )
    later = replace(failed, window_id="main/2", status=DriftStatus.OPEN, verdict="unknown", closed_at_ms=25 * hour - 1)
    with served.store.write() as tx:
        drift.put(tx, failed)
        drift.put(tx, later)
    bar(served, 2)
    look(served)
    report = build(served.store, "main", DriftPolicy())
    assert [line.window.window_id for line in report.taken_back] == ["main/1"]
    assert headline(report) == "main: P95 0.400 ≥ 0.2 at 1970-01-01 00:00Z was rolled back by drift-monitor"
    with served.store.write() as tx:
        drift.put(tx, replace(later, closed_at_ms=25 * hour))
    assert build(served.store, "main", DriftPolicy()).taken_back == ()


def test_one_that_serves_nobody_is_left_alone(served: World) -> None:
    with_rule(served, "rollback")
    served.learn()
    bar(served, 3)
    assert look(served) == []
    served.activate("2", ring=Ring.SHADOW)
    assert look(served) == []


def test_every_ring_that_serves_one_is_taken_back(served: World) -> None:
    with_rule(served, "rollback")
    served.learn()
    served.activate("3", ring=Ring.CANARY)
    bar(served, 3)
    bar(served, 2)
    assert look(served) == [1, 1]
    assert served.live() == {"canary": 1, "global": 1}


def test_the_settings_may_leave_it_at_a_pause_or_to_people(served: World) -> None:
    bar(served, 2)
    assert (look(with_rule(served, "ignore")), served.trainer.desired) == ([], "run")
    assert (look(with_rule(served, "pause")), served.trainer.desired) == ([], "pause")
    assert (served.live(), served.trainer.pause_reason) == ({"global": 2}, "automatic: v2 is quarantined (P95 0.4)")
    token = served.store.token()
    assert (look(served), served.store.token()) == ([], token)


def test_without_a_way_back_the_trainer_is_paused_and_says_why(served: World) -> None:
    with_rule(served, "rollback")
    bar(served, 1)
    bar(served, 2)
    assert (look(served), served.trainer.desired) == ([], "pause")
    assert "no way back: trainer main has no sound version older than v2" in (served.trainer.pause_reason or "")


def test_both_workers_that_roll_back_are_known_as_such() -> None:
    assert {protect.ACTOR, rollout.ACTOR} == quarantine.UNATTENDED
