"""A restore does not undo in silence: what was taken back on record is taken back in the restored state."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.test_release_decisions import World, damage
from tests.store.test_rollouts import World as Released
from upm_cli.core.drift import DriftPolicy
from upm_cli.core.records import DriftStatus, DriftWindow, Mode, Ring
from upm_cli.core.restoring import Fate, settle
from upm_cli.ops import audit, freezing, keeping, overrides, restore, restore_words, signing, tenants
from upm_cli.ops.quarantine import begin
from upm_cli.ops.trainers import add, set_desired
from upm_cli.store import (
    activations,
    freezes,
    fsio,
    history,
    incidents,
    layout,
    ledger,
    pins,
    reserve,
    snapshots,
    tenant_rules,
)
from upm_cli.store import overrides as override_rows
from upm_cli.store import signoffs as signoff_rows
from upm_cli.testing import open_policy


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A project whose v2 is live, v1 before it."""
    world = World(tmp_path / ".upm")
    for _ in range(2):
        world.learn()
        world.activate()
    return world


def lose(world: World | Released, doing: Callable[[], object]) -> None:
    """Let everything that `doing` commits be damaged, with the live state."""
    known = set(history.states(world.store.home))
    doing()
    world.store.close()
    for path in (
        world.store.home / layout.STATE,
        *(path for path in history.states(world.store.home) if path not in known),
    ):
        half = path.read_bytes()[: path.stat().st_size // 2]
        path.unlink()
        path.write_bytes(half)


def go_back(world: World | Released) -> dict[str, tuple[str, str]]:
    """Restore, and return what became of each action: its fate, and what was done or is to be run."""
    planned = restore.plan(world.store.home, world.clock, actor="ada")
    done = restore.go_back(world.store.home, world.clock, actor="ada", reason="it was damaged")
    assert planned is not None
    assert done is not None
    assert planned.actions == done.actions
    audit.verify(world.store, recomputing=True)
    assert restore.plan(world.store.home, world.clock, actor="ada") is None
    return {f"{each.action} {each.subject}": (each.fate, each.done or each.run) for each in done.actions}


def frozen(world: World | Released) -> dict[str, str]:
    with world.store.read() as reader:
        return {row.trainer: row.reason for row in freezes.list_all(reader)}


def entries(world: World) -> list[tuple[str, str]]:
    return [(entry["action"], entry["subject"]) for entry in ledger.read(world.store.home)]


def test_a_rollback_that_the_kept_state_does_not_know_is_done_again(world: World) -> None:
    lose(world, world.rollback)
    assert go_back(world)["snapshot.rollback main@2"] == ("done_again", "global of main serves v1; v2 is barred")
    assert world.live() == {"global": 1}
    assert world.rows()[2].quarantined
    with world.store.read() as reader:
        assert pins.live(reader, "main")[Ring.GLOBAL].version == 1
        assert incidents.list_for(reader, "main")[-1].to_version == 1
        assert activations.live(reader, "main")[Ring.GLOBAL].kind == "rollback"
    assert world.trainer.checkpoint_digest == world.rows()[1].checkpoint_digest
    assert world.trainer.desired == "run"  # it skips what the rollback had skipped
    assert entries(world)[-2:] == [("state.restored", "state"), ("restore.again", "main@2")]
    assert world.rollback().is_done


def test_its_epoch_is_later_than_any_that_agents_have_heard_of(world: World) -> None:
    lose(world, lambda: (world.learn(), world.activate(), world.rollback()))
    told = [entry["details"]["epoch"] for entry in ledger.read(world.store.home) if "epoch" in entry["details"]]
    go_back(world)
    assert world.trainer.epoch > max(told)


def test_a_version_that_the_kept_state_never_served_is_named_and_its_learning_stops(world: World) -> None:
    lose(world, lambda: (world.learn(), world.activate(), world.rollback()))
    fates = go_back(world)
    assert fates["snapshot.activate main@3"][0] == "superseded"
    assert fates["snapshot.rollback main@3"][0] == "done_again"
    assert world.live() == {"global": 2}
    assert world.trainer.desired == "pause"
    assert "had skipped what comes next" in (world.trainer.pause_reason or "")
    world.learn()
    assert set(world.rows()) == {1, 2, 4}  # v3 stays the one on record


def test_a_damaged_target_is_passed_over_for_the_next_good_one(tmp_path: Path) -> None:
    world = World(tmp_path / ".upm")
    for _ in range(3):
        world.learn()
        world.activate()
    path = world.file_of(2)
    lose(world, world.rollback)
    damage(path)
    assert go_back(world)["snapshot.rollback main@3"] == ("done_again", "global of main serves v1; v3 is barred")
    assert world.live() == {"global": 1}


def test_with_nothing_good_to_go_back_to_nothing_is_served_and_nothing_learned(world: World) -> None:
    path = world.file_of(1)
    lose(world, world.rollback)
    damage(path)
    fate, done = go_back(world)["snapshot.rollback main@2"]
    assert fate == "done_again"
    assert done.startswith("global of main serves nothing; v2 is barred; main is paused")
    assert world.live() == {}
    assert world.rows()[2].quarantined
    assert world.trainer.desired == "pause"


def test_what_was_released_again_stays_live(world: World) -> None:
    def back_and_forth() -> None:
        world.rollback()
        keeping.release(world.store, world.clock, "main", "2", actor="ada", reason="it was the labels")
        world.activate("2")

    lose(world, back_and_forth)
    fates = go_back(world)
    assert fates["snapshot.rollback main@2"][0] == "superseded"
    assert world.live() == {"global": 2}
    assert not world.rows()[2].quarantined


def test_an_activation_is_left_to_a_person(world: World) -> None:
    world.learn()
    lose(world, lambda: world.activate("3"))
    planned = restore.plan(world.store.home, world.clock, actor="ada")
    assert planned is not None
    assert any("agents of main may have heard of epoch 3; the state is at 2" in each for each in planned.afterwards)
    assert go_back(world)["snapshot.activate main@3"] == ("run_it_again", "upm activate main 3 --to-stage global")
    assert world.live() == {"global": 2}
    assert frozen(world) == {}


def test_what_was_stopped_stays_stopped(world: World) -> None:
    settings = open_policy(world.settings, "ada")
    with_override = overrides.grant(
        world.store, world.clock, settings, "main", "evidence", actor="ada", reason="once", for_ms=None
    )
    signing.sign(world.store, world.clock, settings, "main", "runbook", actor="ada", note="read")

    def stop() -> None:
        set_desired(world.store, world.clock, "main", "pause", actor="ada", reason="lunch")
        freezing.freeze(world.store, world.clock, settings, "main", until_ms=None, actor="ada", reason="sale")
        tenants.set_rule(world.store, world.clock, settings, "main", "acme", "deny", actor="ada", reason="they asked")
        overrides.withdraw(world.store, world.clock, with_override.override_id, actor="ada")
        signing.withdraw(world.store, settings, "main", "runbook", actor="ada")

    lose(world, stop)
    assert {fate for fate, _ in go_back(world).values()} == {"done_again"}
    assert (world.trainer.desired, world.trainer.pause_reason) == ("pause", "lunch")
    assert frozen(world) == {"main": "sale"}
    with world.store.read() as reader:
        assert [(row.tenant_id, row.rule) for row in tenant_rules.list_for(reader, "main")] == [("acme", "deny")]
        assert override_rows.get(reader, with_override.override_id).expires_at_ms <= world.clock.now_ms()
        assert signoff_rows.of(reader, "main") == {}


def test_a_restore_after_a_restore_knows_what_the_first_did_again(world: World) -> None:
    lose(world, world.rollback)
    known = set(history.states(world.store.home))
    go_back(world)
    world.store.close()
    for path in (world.store.home / layout.STATE, *set(history.states(world.store.home)) - known):
        path.unlink()
        path.write_bytes(b"rubbish" * 5000)
    fates = go_back(world)
    assert fates["snapshot.rollback main@2"][0] == "done_again"
    assert world.live() == {"global": 1}
    assert world.rows()[2].quarantined


def test_what_a_quarantine_barred_is_barred_and_what_is_not_there_yet_is_waited_for(world: World) -> None:
    def quarantine_two() -> None:
        world.learn()
        with world.store.write(actor="drift-monitor") as tx:
            begin(tx, world.clock, failed(first_seq=100, last_seq=299), None, policy=DriftPolicy())

    lose(world, quarantine_two)
    assert go_back(world)["drift.quarantine main"] == (
        "done_again",
        "v2 barred again; v3 not in that state: main is frozen until you have looked at it",
    )
    assert world.rows()[2].quarantined
    assert "drift.quarantine by drift-monitor" in (world.rows()[2].quarantine_reason or "")
    assert world.live() == {"global": 2}  # as it was: nobody had taken it back
    assert "v3 of main was barred and is not in this state yet" in frozen(world)["main"]
    assert world.rollback().to_version == 1


def failed(*, first_seq: int, last_seq: int) -> DriftWindow:
    return DriftWindow(
        trainer="main",
        window_id=f"main/{first_seq}",
        version=2,
        started_at_ms=0,
        closed_at_ms=3_600_000,
        status=DriftStatus.QUARANTINED,
        verdict="fail",
        threshold=0.2,
        n=1000,
        mean=0.3,
        p95=0.4,
        max=0.5,
        first_seq=first_seq,
        last_seq=last_seq,
        metadata={"rule": "seed"},
    )


def test_an_aborted_rollout_stays_out_of_the_rings_and_goes_no_further(tmp_path: Path) -> None:
    world = Released(tmp_path)
    world.start()
    world.go(lambda it: it.row.stage == 2)
    candidate = world.row.version
    assert candidate in [version for version, _ in world.live.values()]
    lose(world, lambda: world.ask("abort"))
    fates = go_back(world)
    assert fates["rollout.abort main"] == ("run_it_again", "main is frozen until you abort it again")
    assert fates[f"rollout.withdraw main@{candidate}"][0] == "done_again"
    assert candidate not in [version for version, percent in world.live.values() if percent]
    assert "rollout.abort by ada is not in this state" in frozen(world)["main"]
    before = world.live
    world.go(lambda it: it.row.phase == "aborted", days=1)
    assert world.live == before
    with world.store.read() as reader:
        assert not snapshots.get(reader, "main", candidate or 0).quarantined


def test_a_trainer_that_the_kept_state_does_not_know_is_left_to_a_person(world: World) -> None:
    def add_and_pause() -> None:
        add(world.store, world.clock, "other", mode=Mode.SHADOW, actor="ada")
        set_desired(world.store, world.clock, "other", "pause", actor="ada", reason="later")

    lose(world, add_and_pause)
    assert go_back(world) == {
        "trainer.add other": ("run_it_again", "upm trainer add other --mode shadow"),
        "trainer.pause other": ("run_it_again", "there is no trainer other in that state"),
    }


@pytest.mark.parametrize(
    ("action", "subject", "details", "command"),
    [
        (
            "snapshot.activate",
            "main@3",
            {"ring": "canary", "percent": 5},
            "upm activate main 3 --to-stage canary --percent 5",
        ),
        ("snapshot.activate", "main@3", {"ring": "shadow", "percent": 0}, "upm activate main 3 --to-stage shadow"),
        ("snapshot.rollback", "main@3", {"to_version": 2}, "upm rollback main --to v2"),
        ("snapshot.release", "main@3", {}, 'upm snapshot release main 3 --reason "…"'),
        ("snapshot.sign", "main", {"signed": ["main@3"]}, "upm snapshot sign"),
        ("keys.rotate", "3f2a", {"signed": []}, ""),
        (
            "trainer.add",
            "main",
            {"mode": "shadow", "tenant": "acme"},
            "upm trainer add main --mode shadow --tenant acme",
        ),
        ("anchor.set", "main", {"version": 2}, "upm anchor set main 2"),
        ("freeze.lift", "*", {}, "upm rollout unfreeze --all"),
        ("override.grant", "main", {"gate": "freeze"}, 'upm gate override freeze main --reason "…"'),
        (
            "adapter.add",
            "edge",
            {"kind": "directory", "location": "/srv/models", "trainer": "main", "tenants": ["", "acme"]},
            "upm adapter add edge --path /srv/models --trainer main --tenant acme",
        ),
        ("snapshot.activate", "main@3", {}, ""),  # of another version of upm
        ("letters.seen", "main", {}, 'upm events dead-letters main --acknowledge --reason "…"'),
        ("something.new", "main", {}, ""),
    ],
)
def test_an_action_on_record_as_a_command(action: str, subject: str, details: dict[str, object], command: str) -> None:
    assert restore_words.command({"action": action, "subject": subject, "details": details}) == command


def test_every_action_that_a_person_has_to_do_again_has_a_command() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/ledger.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    actions = {action for row in rows for action in re.findall(r"`([a-z_]+\.[a-z_]+)`", row)} - {"restore.again"}
    assert len(actions) > 50
    alone = [settle([{"n": 1, "subject": "main@1", "details": {}, "action": each}])[0] for each in sorted(actions)]
    by_hand = {each.entry["action"] for each in alone if each.fate is Fate.RUN}
    assert len(by_hand) > 20
    assert by_hand - set(restore_words._COMMANDS) == set()


def test_a_full_disk_gives_up_its_reserve_for_a_restore(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_while_reserved(operation: str, path: Path) -> None:
        if operation == "open" and reserve.size_bytes(world.home):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    lose(world, world.rollback)
    assert reserve.size_bytes(world.home) == reserve.SIZE_BYTES
    monkeypatch.setattr(fsio.faults, "before", full_while_reserved)
    assert restore.go_back(world.home, world.clock, actor="ada") is not None
    assert world.live() == {"global": 1}
    assert reserve.size_bytes(world.home) == 0


def test_a_restore_that_is_killed_anywhere_leaves_the_damaged_state_or_the_restored_one(world: World) -> None:
    lose(world, world.rollback)
    script = Path(__file__).with_name("killed_restores.py")
    ran = subprocess.run([sys.executable, script, world.home], capture_output=True, text=True, check=True)
    kills = [json.loads(line) for line in ran.stdout.splitlines()]
    whole = {"state": "whole", "live": [["global", 1]], "barred": [2], "beside": ["state.duckdb"]}
    for kill in kills:
        assert kill["after"]["state"] == "damaged" or kill["after"] == whole, kill
        assert kill["again"] == ("nothing to do" if kill["after"] == whole else "restored"), kill
        assert kill["end"] == whole, kill
    *killed, last = kills
    assert (last["step"], last["done"]) == (None, "restored")
    steps = [kill["step"].partition(" ")[0] for kill in killed]
    assert {"link", "open", "write", "fsync", "rename", "fsync-folder"} <= set(steps)
    swapped = [kill["after"]["state"] for kill in killed].index("whole")
    assert killed[swapped - 1]["step"] == "rename state.duckdb"
