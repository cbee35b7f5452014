"""`upm drill`: rehearsals that show what would happen, and leave what is live alone."""

from typing import Any

import pytest

from upm_cli.config.load import load
from upm_cli.errors import UsageError
from upm_cli.ops.drill_rollout import parse_harm
from upm_cli.ops.rollout_policy import policy_of

Paced = Any
CHECKS = {
    "ring serves the target",
    "nobody gets the bad version",
    "rings are pinned",
    "bad version is barred",
    "trainer is put back",
    "ledger is whole",
}


def bytes_of(paced: Paced) -> dict[str, bytes]:
    """Return every file of the project, but for what locking leaves and the shell completes."""
    home = paced.folder / ".upm"
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and path.name not in ("state.lock", "names")
    }


def test_a_rollback_is_rehearsed_on_a_copy_and_only_the_record_tells(paced: Paced) -> None:
    for version in (1, 2):
        paced.serve(version)
    paced.learn()
    before = bytes_of(paced)
    assert paced.json("drill", "rollback", "--dry-run")["recorded"] is False
    assert bytes_of(paced) == before
    done = paced.json("drill", "rollback", "--reason", "monthly")
    assert (done["ok"], done["made_up"], done["from_version"], done["to_version"]) == (True, False, 2, 1)
    assert {each["check"] for each in done["checks"]} == CHECKS
    assert all(each["ok"] for each in done["checks"])
    assert done["total_ms"] == pytest.approx(
        done["open_ms"] + done["read_ms"] + done["verify_ms"] + done["commit_ms"], abs=0.3
    )
    after = bytes_of(paced)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"state.duckdb", "ledger.jsonl"}
    entry = paced.ledger()[-1]
    assert (entry["action"], entry["details"]["ok"], entry["details"]["reason"]) == ("drill.rollback", True, "monthly")
    (told,) = paced.json("audit", "list", "--type", "drill.rollback")["entries"]
    assert told["what"] == f"v2 back to v1 in {done['total_ms']:.0f} ms"
    assert paced.json("trainer", "show", "main")["active"] == {"global": 2}
    assert not [path for path in (paced.folder / ".upm").iterdir() if "drill" in path.name]


def test_where_nothing_is_live_a_made_up_case_is_rehearsed_and_said_to_be_one(paced: Paced) -> None:
    ran = paced("drill", "rollback", "-o", "table")
    assert ran.code == 0
    assert "rolled a made-up case, as there is nothing to go back from, from v2 back to v1" in ran.out
    assert paced.ledger()[-1]["details"]["made_up"] is True


def test_a_rollback_that_would_fail_fails_in_the_drill_and_is_on_the_record(paced: Paced) -> None:
    paced.serve(1)
    code, error = paced.error("drill", "rollback")
    assert (code, error["code"]) == (5, "UPM-E056")
    assert paced.ledger()[-1]["details"]["error"]["code"] == "UPM-E056"
    paced.serve(2)
    path = paced.folder / ".upm" / paced.json("snapshot", "show", "main", "1")["path"]
    path.write_bytes(b"x" + path.read_bytes()[1:])
    code, error = paced.error("drill", "rollback")
    assert (code, error["code"]) == (9, "UPM-E097")
    assert paced.ledger()[-1]["details"]["ok"] is False


def test_after_a_rollback_the_drill_rehearses_the_next_one_further_back(paced: Paced) -> None:
    paced.learn()
    for version in (1, 2, 3):
        paced.serve(version)
    assert paced("rollback", "main", "--yes").code == 0
    done = paced.json("drill", "rollback")
    assert (done["from_version"], done["to_version"], done["ok"]) == (2, 1, True)
    assert paced("rollback", "main", "--to", "1", "--yes").code == 0
    assert paced.json("drill", "rollback")["made_up"] is True  # as far back as it can go


def test_a_whole_rollout_is_rehearsed_and_always_the_same(paced: Paced) -> None:
    done = paced.json("drill", "rollout")
    assert (done["phase"], done["serves_everybody"], done["as_expected"]) == ("promoted", "candidate", True)
    way = [(row["day"], row["event"], row["percent"]) for row in done["timeline"]]
    assert way == [
        (0.0, "begun", 0),
        (14.0, "entered", 1),
        (15.0, "entered", 5),
        (16.0, "entered", 10),
        (17.0, "entered", 25),
        (19.0, "entered", 50),
        (20.0, "entered", 75),
        (21.0, "entered", 100),
        (22.0, "promoted", 100),
    ]
    assert paced.json("drill", "rollout") == done


@pytest.mark.parametrize(("harm", "step"), [("canary 10%", 3), ("step 6", 5), ("100%", 7)])
def test_harm_in_a_stage_turns_the_rehearsed_rollout_back(paced: Paced, harm: str, step: int) -> None:
    done = paced.json("drill", "rollout", "--harm", harm)
    assert (done["phase"], done["serves_everybody"], done["as_expected"]) == ("degraded", "champion", True)
    last = done["timeline"][-1]
    assert (last["event"], last["stage"], last["percent"]) == ("rolled back", step, 0)
    assert last["why"].startswith("harm: ")


def test_the_rehearsal_goes_by_the_projects_own_policy(paced: Paced) -> None:
    paced.write(
        "supervisor: {default_trainers: [{name: main}]}\n"
        "policy: {min_shadow_hours: 48}\n"
        "rollout:\n"
        "  stages: [shadow, canary 20% for 6h, global 100%]\n"
        "  watch_ms: 3600000\n"
        "  on_harm: pause\n"
    )
    ran = paced("drill", "rollout", "--json")
    done = ran.json
    assert [row["day"] for row in done["timeline"]] == [0.0, 2.0, 2.25, 2.292]
    assert done["notes"][0].startswith("policy.canary_tenants is empty")
    assert "note: policy.canary_tenants is empty" in ran.err
    harmed = paced.json("drill", "rollout", "--harm", "20%")
    assert (harmed["phase"], harmed["as_expected"]) == ("paused", True)


def test_a_freeze_of_the_calendar_holds_the_rehearsal(paced: Paced) -> None:
    paced.write(
        "supervisor: {default_trainers: [{name: main}]}\n"
        "policy: {canary_tenants: ['*'], min_shadow_hours: 24}\n"
        "rollout: {stages: [shadow, canary 10% for 1h, global 100%], freeze: ['2026-01-05..2026-01-08']}\n"
    )
    done = paced.json("drill", "rollout")
    entered = next(row["day"] for row in done["timeline"] if row["percent"] == 10)
    assert entered >= 4
    assert any(row["event"] == "waits" and row["why"].startswith("freeze: ") for row in done["timeline"])


def test_a_rehearsal_can_be_cut_short(paced: Paced) -> None:
    done = paced.json("drill", "rollout", "--days", "3")
    assert (done["phase"], done["days"], len(done["timeline"])) == ("progressing", 3.0, 1)
    code, error = paced.error("drill", "rollout", "--harm", "canary 3%")
    assert (code, error["code"]) == (2, "UPM-E029")
    assert "4: canary 10 %" in error["hint"]


def test_a_stage_can_be_named_in_several_ways(paced: Paced) -> None:
    policy = policy_of(load(paced.folder / "upm.yaml", overrides=(), environ={}).settings)
    for text in ("4", "step 4", "canary 10 %", "canary 10%", "canary10", "10%", "10 %"):
        assert parse_harm(text, policy) == 3, text
    assert parse_harm("shadow", policy) == 0
    with pytest.raises(UsageError):
        parse_harm("9", policy)
