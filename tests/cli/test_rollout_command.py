"""`upm rollout` through the front door, on a clock that is moved: what people and scripts rely on."""

import json
import re
import threading
from typing import Any

import pytest

from upm_cli import actors
from upm_cli.clock import SystemClock
from upm_cli.commands._rollout_tree import tree
from upm_cli.ops import rollout
from upm_cli.ops.rollout_ticking import tick_all
from upm_cli.ops.rollout_words import PLAIN
from upm_cli.store.session import Store

ME = actors.current()
STAGES = [0, 1, 5, 10, 25, 50, 75, 100]
Paced = Any


def test_a_rollout_goes_from_shadow_to_everybody_by_ticks_alone(paced: Paced) -> None:
    begun = paced.json("rollout", "start", "main", "--reason", "the new features")
    assert (begun["phase"], begun["percent"], begun["changed"]) == ("progressing", 0, True)
    seen, days, phase = [0], 0, "progressing"
    while phase == "progressing":
        paced.clock.advance(86_400)
        days += 1
        paced.prove()
        (looked,) = paced.json("rollout", "tick")["rollouts"]
        phase, percent = looked["phase"], looked["percent"]
        seen += [percent] if percent != seen[-1] else []
        assert days < 40
    assert seen == STAGES
    # 14 days of shadow, then 1 + 1 + 1 + 2 + 1 + 1 of the stages and 1 of watching
    # the first look only begins the count of shadow time
    assert days == 14 + 1 + 8
    assert paced.json("rollout", "status")["phase"] == "promoted"
    assert paced.json("trainer", "show", "main")["active"]["global"] == 2
    assert paced("audit", "verify", "--recompute").code == 0


def test_a_tick_without_news_says_nothing_at_all_for_cron(paced: Paced) -> None:
    assert (paced("rollout", "tick", "--all").code, paced("rollout", "tick", "--all").out) == (0, "")
    paced("rollout", "start")
    paced.clock.advance(3600)
    paced("rollout", "tick")
    for words in (("rollout", "tick"), ("rollout", "tick", "--all"), ("rollout", "tick", "main", "-o", "table")):
        ran = paced(*words)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert paced.json("rollout", "tick")["rollouts"][0]["decided"] == []


def test_a_tick_that_turns_a_rollout_back_ends_with_6_and_the_next_with_0(paced: Paced) -> None:
    paced.serve(1)
    paced("rollout", "start")
    paced.go(2)
    paced.clock.advance(3600)
    paced.prove("fail")
    ran = paced("rollout", "tick", "-o", "table")
    assert ran.code == 6
    assert "back from v2 to v1 (harm)" in ran.out
    assert (paced("rollout", "tick").code, paced("rollout", "tick").out) == (0, "")
    assert paced.json("trainer", "show", "main")["active"] == {"global": 1, "canary": 1}
    shown = paced.json("rollout", "status")
    assert (shown["phase"], shown["cause"], shown["healthy"]) == ("degraded", "harm", False)
    assert shown["candidate"]["quarantined"]
    assert "rollout degraded (harm)" in paced("status", "-o", "table").err


def test_ticks_at_the_same_time_go_one_step_only(paced: Paced) -> None:
    paced("rollout", "start")
    paced.go(1)
    paced.clock.advance(86_400)
    paced.prove()

    def look() -> None:
        store = Store(paced.folder / ".upm", SystemClock())  # waits for the lock for real
        tick_all(store, paced.clock, paced.settings, ["main"], actor=ME)
        store.close()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paced.json("rollout", "status")["stage"] == 2
    moves = [entry for entry in paced.ledger() if entry["details"].get("percent") == 5]
    assert len([entry for entry in moves if entry["details"]["outcome"]["decisions"][0]["kind"] == "activate"]) == 1


def test_starting_twice_is_starting_once_and_another_version_is_refused(paced: Paced) -> None:
    first = paced.json("rollout", "start", "main", "v2")
    again = paced.json("rollout", "start", "main")
    assert (again["changed"], again["rollout_id"]) == (False, first["rollout_id"])
    assert paced.error("rollout", "start", "main", "v1")[0] == 5
    assert paced.error("rollout", "start", "main", "v9")[1]["code"] == "UPM-E044"
    assert len(paced.json("rollout", "history")["rollouts"]) == 1


def test_a_dry_run_of_every_verb_changes_nothing(paced: Paced) -> None:
    planned = paced.json("rollout", "start", "--dry-run")
    assert (planned["decided"], planned["changed"], planned["rollout_id"]) == (["begun in shadow"], False, None)
    paced("rollout", "start")
    paced.go(1)
    paced.clock.advance(86_400)
    paced.prove()
    before = paced.ledger()
    for words in (
        ("promote",),
        ("pause",),
        ("abort",),
        ("tick",),
        ("freeze", "--reason", "x"),
        ("unfreeze",),
        ("sign-off", "runbook"),
    ):
        assert paced("rollout", *words, "--dry-run").code == 0, words
    assert paced.ledger() == before
    assert paced.json("rollout", "status")["stage"] == 1


def test_what_exposes_more_or_takes_away_wants_a_yes(paced: Paced) -> None:
    paced("rollout", "start")
    paced.go(1)
    for verb, sentence in (("promote", "v2 in canary at 5 %"), ("abort", "back from v2 to nothing")):
        code, error = paced.error("rollout", verb)
        assert (code, error["code"]) == (2, "UPM-E022")
        assert sentence in error["detail"]
    assert paced.json("rollout", "promote", "--yes", "--reason", "Monday")["percent"] == 5
    assert paced.json("rollout", "abort", "--yes")["phase"] == "aborted"
    assert paced.json("rollout", "abort")["changed"] is False
    assert paced.json("trainer", "show", "main")["active"] == {}


def test_a_refused_step_names_every_gate_its_numbers_and_what_would_open_it(paced: Paced) -> None:
    paced("rollout", "start")
    ran = paced("rollout", "promote", "--yes")
    assert (ran.code, ran.out) == (5, "")
    *told, error, hint = ran.err.splitlines()
    assert error.startswith("error[UPM-E051]: gate evidence: there is no evidence (and ")
    assert hint == "hint: let the drift monitor judge labelled windows"
    assert {line.split()[1] for line in told if line.startswith("  ✗")} == {"evidence", "shadow", "readiness"}
    assert any("min_shadow_ms 1209600000" in line for line in told)
    _, found = paced.error("rollout", "promote", "--yes")
    refused = {gate["gate"]: gate for gate in found["context"]["gates"]}
    assert refused["shadow"]["satisfy"] == "wait 14d0h of shadow time"


def test_paused_it_stays_where_it_is_and_goes_on_after(paced: Paced) -> None:
    paced("rollout", "start")
    paced.go(1)
    assert paced.json("rollout", "pause", "--reason", "lunch")["phase"] == "paused"
    for _ in range(3):
        paced.clock.advance(86_400)
        paced.prove()
        assert paced("rollout", "tick").out == ""
    assert paced.json("rollout", "status")["stage"] == 1
    assert paced.error("rollout", "promote", "--yes")[1]["code"] == "UPM-E058"
    assert paced.json("rollout", "resume")["phase"] == "progressing"
    paced.prove()
    paced("rollout", "tick")
    assert paced.json("rollout", "status")["stage"] == 1  # the pause does not count
    paced.clock.advance(86_400)
    paced.prove()
    paced("rollout", "tick")
    assert paced.json("rollout", "status")["stage"] == 2


def test_retry_begins_anew_right_after_an_abort(paced: Paced) -> None:
    assert paced.error("rollout", "retry")[1]["code"] == "UPM-E047"
    paced("rollout", "start")
    paced.go(1)
    assert paced.error("rollout", "retry")[0] == 5
    paced("rollout", "abort", "--yes")
    again = paced.json("rollout", "retry", "main", "v2", "--reason", "the labels are fixed")
    assert (again["phase"], again["stage"]) == ("progressing", 0)
    numbers = [row["rollout"] for row in paced.json("rollout", "history")["rollouts"]]
    assert numbers == [1, 2]


def test_status_without_a_rollout_is_not_found_and_says_how_to_begin(paced: Paced) -> None:
    code, error = paced.error("rollout", "status")
    assert (code, error["code"], error["hint"]) == (4, "UPM-E047", "upm rollout start main")
    assert paced.error("rollout", "status", "mian")[1]["code"] == "UPM-E040"


def test_unknown_is_never_shown_as_ok(paced: Paced) -> None:
    paced("rollout", "start")
    text = paced("rollout", "status", "-o", "table").out
    assert "… unknown evidence: there is no evidence" in text
    assert "✓ evidence" not in text
    says = {gate["gate"]: gate["says"] for gate in paced.json("rollout", "status")["gates"]}
    assert (says["evidence"], says["shadow"], says["readiness"]) == ("unknown", "unknown", "unknown")
    paced.prove("unknown")
    says = {gate["gate"]: gate["says"] for gate in paced.json("rollout", "status")["gates"]}
    assert says["evidence"] == "unknown"


def test_status_is_a_tree_with_the_stages_the_gates_and_what_comes_next(paced: Paced) -> None:
    paced.serve(1)
    paced("rollout", "start")
    paced.go(3, tenants=[f"t{i}" for i in range(50)])
    paced.clock.advance(3 * 3600 + 12 * 60)
    lines = paced("rollout", "status", "-o", "table").out.splitlines()
    assert lines[0].startswith("Rollout main  v0001 → v0002    ▶ progressing  canary 10 %   3h12m/1d")
    assert lines[1].strip() == "✓ shadow ─ ✓ 1% ─ ✓ 5% ─ ▶ 10% ─ ○ 25% ─ ○ 50% ─ ○ 75% ─ ○ 100%"
    assert lines[2].startswith("├─ v0002 candidate  sha256 ")
    assert re.search(r"  \d+ of 50 known tenants$", lines[2])
    assert any("… wait hold: canary 10 % was held 3h12m of 1d0h" in line for line in lines)
    assert lines[-2].startswith("└─ v0001 stable")
    assert re.match(r"next: canary 25 % at 20\d\d-\d\d-\d\d \d\d:\d\d \(automatic\)   upm rollout promote", lines[-1])


def test_where_the_terminal_has_no_signs_there_are_plain_ones(paced: Paced) -> None:
    paced("rollout", "start")
    text = tree(paced.json("rollout", "status"), PLAIN)
    assert text.isascii()
    assert "> shadow - o 1%" in text


def test_until_healthy_is_done_at_once_where_only_time_and_evidence_are_missing(paced: Paced) -> None:
    paced("rollout", "start")
    assert paced("rollout", "status", "--until", "healthy", "-o", "jsonl").code == 0
    paced("rollout", "pause", "--reason", "wait")
    ran = paced("rollout", "status", "--until", "healthy", "-o", "jsonl", "--timeout", "300ms")
    assert ran.code == 10
    (line,) = [json.loads(each) for each in ran.out.splitlines() if "phase" in each]
    assert (line["phase"], line["healthy"]) == ("paused", False)
    assert paced.error("rollout", "status", "--until", "tomorrow")[0] == 2


def test_watching_a_rollout_that_was_given_up_ends_with_6(paced: Paced) -> None:
    paced("rollout", "start")
    paced("rollout", "abort", "--yes", "--reason", "no")
    for words in (("-w",), ("--until", "healthy"), ("--until", "done")):
        ran = paced("rollout", "status", *words)
        assert ran.code == 6
        (line,) = ran.out.splitlines()
        assert line.split("\t")[1:3] == ["main", "aborted"]


def test_watching_prints_a_line_for_each_change_until_it_is_done(paced: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    paced("rollout", "start")
    paced.go(6)

    def pass_a_day(seconds: float) -> None:
        paced.clock.advance(86_400 / 2)
        paced.prove()
        with paced.store as store:
            tick_all(store, paced.clock, paced.settings, ["main"], actor=ME)

    monkeypatch.setattr(paced.clock, "sleep", pass_a_day)
    ran = paced("rollout", "status", "--until", "done", "-o", "jsonl")
    assert ran.code == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [(line["phase"], line["percent"]) for line in lines if "hold" not in line["waits_for"]] == [
        ("promoted", 100)
    ]
    percents = [line["percent"] for line in lines]
    assert percents == sorted(percents)
    assert {line["percent"] for line in lines} == {75, 100}


def test_plan_gives_the_earliest_times_from_now_on(paced: Paced) -> None:
    stages = paced.json("rollout", "plan")["stages"]
    days = [None if row["in_ms"] is None else row["in_ms"] / 86_400_000 for row in stages]
    assert days == [None, 14, 15, 16, 17, 19, 20, 21]
    assert stages[1]["needs"][0] == "readiness (336 h in shadow)"
    paced("rollout", "start")
    paced.go(3)
    paced.clock.advance(6 * 3600)
    stages = paced.json("rollout", "plan")["stages"]
    assert [row["status"] for row in stages] == ["done"] * 3 + ["current"] + ["ahead"] * 4
    assert [row["in_ms"] for row in stages[4:6]] == [18 * 3_600_000, 66 * 3_600_000]


def test_history_tells_every_decision_with_who_and_why_newest_last(paced: Paced) -> None:
    assert paced("rollout", "history", "-o", "table").err.startswith("main has no rollout yet")
    paced("rollout", "start", "--reason", "go")
    paced.go(1)
    paced("rollout", "pause", "--reason", "lunch")
    found = paced.json("rollout", "history")
    assert found["decisions"][0]["action"] == "rollout.start"
    last = found["decisions"][-1]
    assert (last["actor"], last["reason"], last["action"]) == (ME, "lunch", "rollout.pause")
    moved = next(row for row in found["decisions"] if row["percent"] == 1 and "canary" in row["what"])
    assert moved["actor"] == "rollout"
    assert paced("explain", str(moved["ledger"])).code == 0


def test_a_freeze_holds_the_next_step_and_ends_by_itself(paced: Paced) -> None:
    assert paced.error("rollout", "freeze")[1]["code"] == "UPM-E029"
    assert paced.error("rollout", "freeze", "--until", "2001-01-01T00:00Z", "--reason", "x")[0] == 2
    paced("rollout", "start")
    paced.go(1)
    paced("rollout", "freeze", "--all", "--until", "30h", "--reason", "the database moves")
    assert paced.json("rollout", "freeze", "--all", "--until", "30h", "--reason", "again")["changed"] is False
    paced.clock.advance(86_400)
    paced.prove()
    assert paced("rollout", "tick").out == ""
    gate = next(gate for gate in paced.json("rollout", "status")["gates"] if gate["gate"] == "freeze")
    assert (gate["allowed"], "the database moves" in gate["detail"]) == (False, True)
    assert paced("rollout", "status", "--until", "healthy", "--timeout", "200ms").code == 10
    paced.clock.advance(7 * 3600)
    paced.prove()
    paced("rollout", "tick")
    assert paced.json("rollout", "status")["stage"] == 2


def test_a_freeze_is_lifted_by_hand_and_lifting_twice_is_once(paced: Paced) -> None:
    paced("rollout", "start")
    assert paced.json("rollout", "unfreeze", "main")["changed"] is False
    paced("rollout", "freeze", "main", "--reason", "inventory")
    lifted = paced.json("rollout", "unfreeze", "main")
    assert (lifted["frozen"], lifted["reason"], lifted["changed"]) == (False, "inventory", True)
    assert paced.error("rollout", "freeze", "main", "--all", "--reason", "x")[0] == 2


def test_readiness_shows_each_number_with_its_limit_and_5_where_it_is_required(paced: Paced) -> None:
    assert paced("rollout", "readiness").code == 0
    assert paced("rollout", "readiness", "--require", "shadow").code == 5
    paced("rollout", "start")
    paced.go(1)
    found = paced.json("rollout", "readiness")
    met = {row["criterion"]: row["verdict"] for row in found["criteria"]}
    assert met == {
        "shadow_time": "pass",
        "quiet_windows": "pass",
        "no_quarantine": "pass",
        "dashboard_signed_off": "fail",
        "runbook_signed_off": "fail",
    }
    assert (found["may_leave_shadow"], found["ready_for_production"]) == (True, False)
    assert paced("rollout", "readiness", "--require", "shadow").code == 0
    assert paced("rollout", "readiness", "--require", "production").code == 5
    for item in ("dashboard", "runbook"):
        signed = paced.json("rollout", "sign-off", item, "--note", "looked at it")
        assert (signed["actor"], signed["changed"]) == (ME, True)
        assert paced.json("rollout", "sign-off", item, "--note", "looked at it")["changed"] is False
    assert paced("rollout", "readiness", "--require", "production").code == 0
    assert paced.json("rollout", "sign-off", "runbook", "--withdraw")["signed"] is False
    assert paced("rollout", "readiness", "--require", "production").code == 5
    assert paced.error("rollout", "sign-off", "weather")[0] == 2
    assert paced.error("rollout", "readiness", "--require", "luck")[0] == 2


def test_status_and_trainer_show_say_how_far_it_is(paced: Paced) -> None:
    assert paced.json("status")["trainers"][0]["stage"]["rollout"] is None
    paced("rollout", "start")
    for _ in range(9):
        paced.prove()
        paced("rollout", "tick")
        paced.clock.advance(86_400)
    paced.prove()
    paced("rollout", "tick")
    assert "shadow day 9/14" in paced("status", "-o", "table").out
    paced.go(3)
    assert "canary 10 % step 4/8" in paced("status", "-o", "table").out
    assert paced.json("trainer", "show", "main")["rollout"]["step"] == 4
    rows = paced.json("snapshot", "list", "main")["snapshots"]
    assert [row["live"] for row in rows] == [[], ["canary 10 %"]]
    assert paced.json("snapshot", "show", "main", "2")["live"] == ["canary 10 %"]


def test_what_people_called_is_told_in_words(paced: Paced) -> None:
    paced("rollout", "start")
    paced("rollout", "freeze", "--until", "8h", "--reason", "x")
    paced("rollout", "unfreeze")
    paced("rollout", "sign-off", "runbook", "--note", "wiki")
    paced("rollout", "sign-off", "runbook", "--withdraw")
    told = {row["action"]: row["what"] for row in paced.json("audit", "list")["entries"]}
    assert told["freeze.set"] == "until 2027-01-15T16:00Z"
    assert told["signoff.give"] == "runbook: wiki"
    assert told["signoff.withdraw"] == f"runbook, signed by {ME}"


def test_on_a_terminal_the_tree_is_drawn_again_in_its_place(paced: Paced, monkeypatch: pytest.MonkeyPatch) -> None:
    paced("rollout", "start")
    looks = iter(["pause", "abort"])

    def steer(seconds: float) -> None:
        with paced.store as store:
            rollout.ask(store, paced.clock, paced.settings, "main", next(looks), actor=ME)

    monkeypatch.setattr(paced.clock, "sleep", steer)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    ran = paced("rollout", "status", "-w")
    assert ran.code == 6
    first, second, third = ran.out.split("\x1b[J")
    assert "▶ progressing" in first
    assert "‖ paused" in second
    assert "✗ aborted" in third
    drawn = first.removesuffix(first[first.rindex("\x1b[") :])
    assert first.endswith(f"\x1b[{drawn.count(chr(10))}F")


def test_a_rollout_can_begin_before_the_trainer_ever_ran(paced: Paced) -> None:
    paced.write("supervisor: {default_trainers: [{name: main}, {name: fresh}]}\npolicy: {canary_tenants: ['*']}\n")
    assert paced.json("rollout", "start", "fresh")["phase"] == "progressing"
    shown = paced.json("rollout", "status", "fresh")
    assert (shown["candidate"], shown["champion"]) == (None, None)
    assert "there is no sound snapshot yet" in paced("rollout", "status", "fresh", "-o", "table").out
