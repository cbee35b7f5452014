"""The record of rollouts: each step explained, worked out again, and shown as it stood at a time."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import ManualClock
from upm_cli.config.load import load
from upm_cli.config.schema import RolloutSettings, Settings
from upm_cli.ops import at as ops
from upm_cli.ops import audit, rollout
from upm_cli.store import drift, trainers
from upm_cli.store.session import Store
from upm_cli.testing import open_policy, prove

HOUR_S = 3600.0


class Ramp:
    """The rollout of a trained project on a clock that is moved by hand."""

    def __init__(self, folder: Path, start_ms: int) -> None:
        self.clock = ManualClock(start_ms)
        self.store = Store(folder / ".upm", self.clock)
        stages = ("shadow", "canary 5% for 1h", "global 50% for 1h", "global 100%")
        settings: Settings = open_policy(load(folder / "upm.yaml", environ={}).settings, "ada")
        self.settings = replace(settings, rollout=RolloutSettings(stages=stages, watch_ms=0))

    def look(self) -> None:
        rollout.tick(self.store, self.clock, self.settings, "main")

    def proven(self, version: int | None = None, stage: int = 0) -> None:
        prove(self.store, self.clock, "main", version, stage=stage, tenants=["t0", "t1", "t2"])


@pytest.fixture
def ramped(trained: Any) -> Any:
    """A project in which a rollout was started, took v2 to a canary, and was aborted; `trained.ramp` is its clock."""
    made = audit.read(trained.store)[-1]["at"]
    ramp = trained.ramp = Ramp(trained.folder, int(datetime.fromisoformat(made).timestamp() * 1000) + 1000)
    with ramp.store.write() as tx:
        assert all(window.verdict == "pass" for window in drift.list_for(tx, "main")[:-1])
        assert trainers.get(tx, "main").name == "main"
    ramp.proven()
    rollout.start(ramp.store, ramp.clock, ramp.settings, "main", "2", actor="ada", reason="try v2")
    trained.started = ramp.clock.now_ms()
    for _ in range(4):
        ramp.clock.advance(HOUR_S / 2)
        ramp.proven()
        ramp.look()
    trained.exposed = ramp.clock.now_ms()
    ramp.clock.advance(60)
    rollout.ask(ramp.store, ramp.clock, ramp.settings, "main", "abort", actor="ada", reason="never mind")
    return trained


def steps(shell: Any) -> list[dict[str, Any]]:
    return [entry for entry in audit.read(shell.store) if entry["action"].startswith("rollout.")]


def test_every_step_comes_out_the_same(ramped: Any) -> None:
    found = steps(ramped)
    assert [entry["actor"] for entry in found if entry["action"] in ("rollout.start", "rollout.abort")] == [
        "ada",
        "ada",
    ]
    assert {entry["actor"] for entry in found if entry["action"] == "rollout.advance"} == {"rollout"}
    assert any(
        decision["kind"] == "activate"
        for entry in found
        for decision in entry["details"].get("outcome", {}).get("decisions", ())
    )
    done = audit.verify(ramped.store, recomputing=True)
    assert done.recomputed == done.decisions >= 3
    assert done.moves >= 2  # into the canary, and out of it


def test_a_step_is_explained_with_its_gates(ramped: Any) -> None:
    moves = [entry for entry in steps(ramped) if "v2 to 5 % in canary" in ramped("explain", str(entry["n"])).out]
    assert len(moves) == 1
    told = ramped.json("explain", str(moves[0]["n"]))
    assert told["recomputed"] == "same"
    assert {gate["gate"] for gate in told["gates"]} >= {"evidence"}
    assert all(gate["allowed"] for gate in told["gates"])
    text = ramped("explain", str(moves[0]["n"]), "-o", "table").out
    assert "✓ evidence" in text
    assert "✗" not in text


def test_a_forged_step_is_told_apart(ramped: Any) -> None:
    entry = next(entry for entry in steps(ramped) if entry["action"] == "rollout.advance")
    entry["details"]["outcome"]["state"]["percent"] = 100
    found = audit.again(entry)
    assert found.status == "differs"
    assert any(line.startswith("outcome.state.percent: recorded 100, worked out") for line in found.differences)


def at(shell: Any, at_ms: int) -> dict[str, Any]:
    (found,) = ops.at(shell.ramp.store, ["main"], at_ms)
    return found


def test_a_time_shows_the_stage_and_the_share_there_was_then(ramped: Any) -> None:
    assert at(ramped, ramped.started - 1)["rollout"] is None
    then = at(ramped, ramped.exposed)
    assert (then["rollout"]["phase"], then["rollout"]["name"], then["rollout"]["version"]) == (
        "progressing",
        "canary 5 %",
        2,
    )
    (ring,) = then["rings"]
    assert (ring["ring"], ring["version"], ring["percent"], ring["actor"]) == ("canary", 2, 5, "rollout")
    assert ring["ledger"] == next(e["n"] for e in steps(ramped) if e["details"]["decision_id"] == ring["decision_id"])
    now = at(ramped, ramped.ramp.clock.now_ms())
    assert now["rollout"]["phase"] == "aborted"
    assert [ring["percent"] for ring in now["rings"]] == [0]
