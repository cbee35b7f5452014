"""`upm gate`, `upm tenant`, `upm quarantine` and the overrides of `upm activate`, through the front door."""

import json
from dataclasses import replace
from typing import Any

import pytest

from upm_cli import actors
from upm_cli.core.gate_guide import GUIDES
from upm_cli.core.records import DriftStatus
from upm_cli.store import drift, evidence, snapshots

ME = actors.current()
Paced = Any
TENANTS = [f"t{i}" for i in range(40)]
ABOUT_V2 = {"first_seq": 0, "windows": 1000}  # windows that v2 has learned: the lineage's contest speaks for it


def says(found: dict[str, Any]) -> dict[str, str]:
    return {gate["gate"]: gate["says"] for gate in found["gates"]}


def check(paced: Paced, code: int, *words: str) -> dict[str, str]:
    """Ask the gates, which must end with `code`; return what each says."""
    ran = paced("gate", "check", *words, "--json")
    assert ran.code == code, ran
    return says(json.loads(ran.out))


def test_checking_the_gates_asks_all_of_them_and_changes_nothing(paced: Paced) -> None:
    before = paced.ledger()
    assert set(check(paced, 0, "main", "--to-stage", "shadow").values()) == {"yes"}
    found = check(paced, 5, "main", "v2", "--to-stage", "global")
    assert (found["evidence"], found["policy"], found["bytes"], found["quarantine"]) == (
        "unknown",
        "wait",
        "yes",
        "yes",
    )
    assert paced.ledger() == before
    paced.prove(**ABOUT_V2)
    assert check(paced, 0, "main", "v2", "--to-stage", "canary")["evidence"] == "yes"
    paced("rollout", "freeze", "--reason", "the database moves")
    assert check(paced, 5, "main", "v2", "--to-stage", "canary")["freeze"] == "no"


def test_without_a_version_the_gates_are_asked_about_the_rollout_under_way(paced: Paced) -> None:
    paced("rollout", "start")
    ran = paced("gate", "check", "-o", "table")
    assert ran.code == 5
    assert ran.err.startswith("refused: rollout of v2 of main in canary at 1 %")
    assert "wait 14d0h of shadow time" in ran.out
    paced("rollout", "pause", "--reason", "lunch")
    assert check(paced, 5) == {"paused": "no"}
    paced("rollout", "abort", "--yes")
    assert check(paced, 0)["policy"] == "yes"  # the trainer's mode is shadow: an activation again


@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_damaged_bytes_are_a_gate_of_their_own(paced: Paced, damage: str) -> None:
    path = paced.folder / ".upm" / paced.json("snapshot", "show", "main", "2")["path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data)) if damage == "flipped" else path.unlink()
    assert check(paced, 5, "main", "v2", "--to-stage", "shadow")["bytes"] == "no"


def test_every_gate_that_can_say_no_is_explained(paced: Paced) -> None:
    paced("rollout", "start")
    named = set(check(paced, 5)) | set(check(paced, 5, "main", "--to-stage", "canary"))
    explained = {row["gate"]: row for row in paced.json("gate", "explain")["gates"]}
    assert named <= set(explained)
    assert set(explained) == {guide.gate for guide in GUIDES}
    assert not explained["quarantine"]["overridable"]
    assert explained["freeze"]["overridable"]
    code, error = paced.error("gate", "explain", "evidense")
    assert (code, error["hint"]) == (4, "did you mean 'evidence'?")


def test_a_refused_activation_names_gate_numbers_what_helps_and_the_override(paced: Paced) -> None:
    ran = paced("activate", "main", "v2", "--to-stage", "global")
    assert (ran.code, ran.out) == (5, "")
    told = ran.err.splitlines()
    assert told[0] == "  ✗ evidence   no contest has judged it   (verdict unknown, windows 0)"
    assert any("min_shadow_hours 336" in line for line in told)
    assert any(line.strip().startswith("→ let it learn in shadow") for line in told)
    assert '  override: upm activate main v2 --to-stage global --override --reason "…"' in ran.err
    assert told[-2].startswith("error[UPM-E051]: gate evidence")
    assert paced("activate", "main", "v2", "--to-stage", "global", "-q").err.count("\n") == 2


def test_an_override_opens_the_gates_for_a_while_and_is_on_the_record(paced: Paced) -> None:
    words = ("activate", "main", "v2", "--to-stage", "global", "--override")
    assert paced.error(*words, "--expires", "4h")[1]["code"] == "UPM-E059"
    assert paced.error(*words, "--reason", "fix", "--expires", "25h")[1]["code"] == "UPM-E059"
    assert paced.error("activate", "main", "--expires", "4h")[0] == 2
    planned = paced.json(*words, "--reason", "fix", "--expires", "4h", "--dry-run")
    assert (planned["overridden"], paced.json("gate", "overrides")["overrides"]) == (["evidence", "policy"], [])
    done = paced(*words, "--reason", "fix", "--expires", "4h", "-o", "table")
    assert done.err == "warning: were excepted: evidence, policy (fix); upm gate overrides main\n"
    rows = paced.json("gate", "overrides", "main")["overrides"]
    assert sorted((row["gate"], row["in_force"], row["reason"]) for row in rows) == [
        ("evidence", True, "fix"),
        ("policy", True, "fix"),
    ]
    assert "override.grant" in [entry["action"] for entry in paced.ledger()]
    paced.clock.advance(4 * 3600)
    assert [row["in_force"] for row in paced.json("gate", "overrides")["overrides"]] == [False, False]
    assert paced("audit", "verify", "--recompute").code == 0


def test_an_override_can_be_withdrawn_and_some_gates_never_are_excepted(paced: Paced) -> None:
    given = paced.json("gate", "override", "freeze", "main", "--reason", "launch", "--expires", "2h")
    ended = paced.json("gate", "withdraw", given["override_id"])
    assert ended["expires_at"] == ended["at"]
    assert paced.json("gate", "overrides")["overrides"][0]["waits_for"] == "it has ended"
    for gate in ("quarantine", "lineage", "bytes", "hold", "weather"):
        assert paced.error("gate", "override", gate, "main", "--reason", "x")[1]["code"] == "UPM-E059"
    assert paced.error("gate", "override", "freeze", "main")[1]["code"] == "UPM-E059"
    assert paced.error("gate", "withdraw", "nothing-like-it")[1]["code"] == "UPM-E047"


def test_proven_harm_is_never_excepted(paced: Paced) -> None:
    paced.prove("fail")
    words = ("activate", "main", "v2", "--to-stage", "canary")
    ran = paced(*words)
    assert "override:" not in ran.err
    code, error = paced.error(*words, "--override", "--reason", "I know better")
    assert (code, error["context"]["gate"]) == (5, "evidence")
    assert paced.json("trainer", "show", "main")["active"] == {}


def test_losing_the_evidence_closes_the_gate_again(paced: Paced) -> None:
    paced.prove(**ABOUT_V2)
    assert check(paced, 0, "main", "v2", "--to-stage", "canary")["evidence"] == "yes"
    paced.clock.advance(25 * 3600)
    assert check(paced, 5, "main", "v2", "--to-stage", "canary")["evidence"] == "no"  # stale
    paced.prove()
    with paced.store as store, store.write() as tx:
        evidence.remove(tx, "main", "lineage")
    assert check(paced, 5, "main", "v2", "--to-stage", "canary")["evidence"] == "unknown"


def test_a_tenant_named_at_an_activation_gets_the_canary_besides_its_share(paced: Paced) -> None:
    paced.serve(1)
    paced.prove(**ABOUT_V2)
    done = paced.json("activate", "main", "v2", "--to-stage", "canary", "--tenant", "acme", "--tenant", "acme")
    assert (done["ring"], done["percent"]) == ("canary", 1)
    routed = paced.json("tenant", "route", "acme")
    assert (routed["version"], routed["ring"], routed["reason"]) == (2, "canary", "allowed")
    assert [row["rules"] for row in paced.json("tenant", "list")["tenants"]] == [["allow"]]
    assert paced.error("activate", "main", "v2", "--to-stage", "global", "--tenant", "acme")[0] == 2


def test_who_gets_what_follows_the_draw_of_an_activation_without_a_rollout(paced: Paced) -> None:
    assert paced.json("tenant", "route", "t1")["reason"] == "nothing"
    paced.serve(1)
    assert {paced.json("tenant", "route", tenant)["version"] for tenant in ("t1", "")} == {1}
    paced.prove(**ABOUT_V2)
    paced.json("activate", "main", "v2", "--to-stage", "canary", "--percent", "50")
    inside = {tenant for tenant in TENANTS if paced.json("tenant", "route", tenant)["version"] == 2}
    assert 8 < len(inside) < 32
    for tenant in TENANTS[:10]:
        found = paced.json("tenant", "route", tenant)
        assert (found["bucket"] < 0.5) == (tenant in inside) or found["ring"] == "global"
        assert found["asked"][0]["ring"] == "canary"
    text = paced("tenant", "route", min(inside), "-o", "table").out
    assert text.startswith(f"tenant {min(inside)} gets v2 of main: its place 0.")


def test_rules_about_a_tenant_are_told_asked_for_and_lifted(paced: Paced) -> None:
    paced.serve(1)
    paced.prove(**ABOUT_V2)
    paced.json("activate", "main", "v2", "--to-stage", "canary", "--percent", "50")
    inside = next(tenant for tenant in TENANTS if paced.json("tenant", "route", tenant)["version"] == 2)
    code, error = paced.error("tenant", "deny", inside)
    assert (code, error["detail"]) == (2, f"tenant {inside} then gets v1 instead of v2 and needs confirmation")
    assert paced.json("tenant", "deny", inside, "--dry-run")["changed"] is False
    denied = paced.json("tenant", "deny", inside, "--yes", "--reason", "audit")
    assert (denied["from_version"], denied["to_version"], denied["changed"]) == (2, 1, True)
    assert paced.json("tenant", "deny", inside)["changed"] is False
    assert paced.json("tenant", "route", inside)["asked"][0]["reason"] == "denied"
    paced("tenant", "allow", inside, "--yes")  # replaces the deny
    assert paced.json("tenant", "list")["tenants"][0]["rules"] == ["allow"]
    assert paced.json("tenant", "clear", inside, "--yes")["to_version"] == 2
    assert paced.json("tenant", "clear", inside)["changed"] is False
    actions = [entry["action"] for entry in paced.ledger() if entry["action"].startswith("tenant.")]
    assert actions == ["tenant.deny", "tenant.allow", "tenant.clear"]
    assert paced.error("tenant", "deny", "a\nb", "--yes")[1]["code"] == "UPM-E021"


def test_nobody_is_let_in_during_a_freeze_but_anybody_can_be_kept_out(paced: Paced) -> None:
    paced.serve(1)
    paced.prove(**ABOUT_V2)
    paced.json("activate", "main", "v2", "--to-stage", "canary", "--percent", "50")
    routes = {tenant: paced.json("tenant", "route", tenant)["version"] for tenant in TENANTS[:12]}
    inside = next(tenant for tenant, version in routes.items() if version == 2)
    outside = next(tenant for tenant, version in routes.items() if version == 1)
    paced("rollout", "freeze", "--reason", "the database moves")
    code, error = paced.error("tenant", "allow", outside, "--yes")
    assert (code, error["context"]["gate"]) == (5, "freeze")
    assert paced.json("tenant", "deny", inside, "--yes")["to_version"] == 1
    assert paced.error("tenant", "clear", inside, "--yes")[0] == 5


def test_a_harmed_tenant_is_held_back_while_the_rest_go_on(paced: Paced) -> None:
    paced.serve(1)
    paced("rollout", "start")
    paced.go(4, tenants=TENANTS)
    inside = [row["tenant"] for row in paced.json("tenant", "list")["tenants"] if row["version"] == 2]
    assert len(inside) > 5
    paced.prove(harmed=inside[:1], tenants=TENANTS)
    assert "hold tenant" in paced("rollout", "tick", "-o", "table").out
    shown = paced.json("rollout", "status")
    assert (shown["phase"], shown["tenants"]["held"]) == ("progressing", inside[:1])
    routed = paced.json("tenant", "route", inside[0])
    assert (routed["version"], routed["asked"][0]["reason"]) == (1, "held_back")
    assert paced.json("tenant", "route", inside[1])["version"] == 2


def test_what_is_quarantined_is_listed_shown_and_released(paced: Paced) -> None:
    assert paced.json("quarantine", "list")["quarantined"] == []
    with paced.store as store, store.write() as tx:
        (window,) = drift.list_for(tx, "main")
        drift.put(tx, replace(window, status=DriftStatus.QUARANTINED, verdict="fail", metadata={"suspects": [2]}))
        snapshots.put(tx, replace(snapshots.get(tx, "main", 2), quarantined=True, quarantine_reason="P95 too high"))
    rows = paced.json("quarantine", "list", "main")["quarantined"]
    assert [(row["id"], row["kind"]) for row in rows] == [("main@2", "snapshot"), ("main/0", "drift window")]
    assert paced.json("quarantine", "show", "main@2")["drift_windows"] == ["main/0"]
    assert paced.json("quarantine", "show", "main/0")["snapshots"] == [2]
    assert paced.error("quarantine", "show", "main/77")[0] == 4
    assert paced.error("quarantine", "release", "main/0", "--reason", "x")[0] == 2
    assert paced.error("quarantine", "release", "main@2")[0] == 2  # without a reason
    assert paced.json("quarantine", "release", "2", "--reason", "wrong labels", "--dry-run")["changed"] is False
    assert paced.json("quarantine", "release", "2", "--reason", "wrong labels")["changed"] is True
    assert paced.json("quarantine", "release", "main@2", "--reason", "again")["changed"] is False
    assert [row["id"] for row in paced.json("quarantine", "list")["quarantined"]] == ["main/0"]
