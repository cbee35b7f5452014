"""`upm adapter`, `upm sync`, and what the release verbs do for agents, through the front door."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from upm_cli.core.delivery import envelope, places, pointer
from upm_cli.ops.sync_lease import take_lease

Paced = Any


@pytest.fixture
def fleet(paced: Paced) -> Paced:
    """A project whose v1 is live, with one directory for two tenants; nothing is delivered yet."""
    paced.serve(1)
    paced.json("adapter", "add", "edge", "--path", str(models(paced)), "--tenant", "acme", "--tenant", "bob")
    return paced


def models(paced: Paced) -> Path:
    return paced.folder.parent / "models"


def served(paced: Paced) -> set[int]:
    """Return the versions of the pointers in the directory."""
    found = (models(paced) / "pointers" / "main").glob("*.json")
    raw = [envelope.decode(path.read_bytes(), pointer.PAYLOAD_TYPE).payload for path in found]
    return {pointer.decode(each).version for each in raw}


def acknowledge(paced: Paced, tenant: str, agent: str) -> None:
    """Let an agent of the directory say that it serves what is live for `tenant`."""
    row = next(each for each in paced.json("adapter", "show", "edge")["tenants"] if each["tenant"] == tenant)
    path = models(paced) / places.ack("main", tenant, agent)
    path.parent.mkdir(parents=True, mode=0o700)
    said = {key: row[key] for key in ("trainer", "tenant", "version", "digest", "epoch", "serial")}
    path.write_text(json.dumps({"schema_version": 1, "agent": agent, "loaded_at": None, **said}))
    seconds = paced.clock.now_ms() / 1000
    os.utime(path, (seconds, seconds))


def test_adding_twice_changes_nothing_and_dry_run_nothing_at_all(paced: Paced) -> None:
    words = ("adapter", "add", "edge", "--kind", "directory", "--path", str(models(paced)), "--reason", "the shop")
    planned = paced.json(*words, "--dry-run")
    assert (planned["added"], planned["changed"], planned["dry_run"]) == ([""], False, True)
    assert paced.json("adapter", "list")["adapters"] == []
    assert not models(paced).exists()
    done = paced.json(*words)
    assert (done["kind"], done["location"], done["changed"]) == ("directory", str(models(paced)), True)
    assert paced.json(*words)["changed"] is False
    assert "already" in paced(*words, "-o", "table").out
    entry = paced.ledger()[-1]
    assert (entry["action"], entry["subject"], entry["details"]["reason"]) == ("adapter.add", "edge", "the shop")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("edge",), 2, "UPM-E121"),
        (("edge", "--kind", "directory"), 2, "UPM-E121"),
        (("edge", "--kind", "http"), 2, "UPM-E121"),
        (("edge", "--kind", "pigeon", "--path", "x"), 2, "UPM-E029"),
        (("edge", "--path", "/"), 2, "UPM-E121"),
        (("../edge", "--path", "x"), 2, "UPM-E021"),
        (("edge", "--path", "x", "--trainer", "mian"), 4, "UPM-E040"),
        (("edge", "--url", "https://a"), 2, "UPM-E121"),
    ],
)
def test_what_can_not_be_added_is_refused_with_a_code(
    paced: Paced, words: tuple[str, ...], code: int, error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if words == ("edge", "--path", "/"):
        words = ("edge", "--path", str(paced.folder / ".upm" / "run"))
    got, told = paced.error("adapter", "add", *words)
    assert (got, told["code"]) == (code, error)
    assert told["hint"]
    assert paced.json("adapter", "list")["adapters"] == []


def test_a_run_delivers_and_a_second_one_has_nothing_to_do(fleet: Paced) -> None:
    planned = fleet.json("sync", "run", "--dry-run")
    assert ([row["desired_version"] for row in planned["adapters"]], served(fleet)) == ([1, 1], set())
    done = fleet.json("sync", "run")
    assert (done["total"], done["confirmed"], done["undelivered"], done["by_worker"]) == (2, 2, [], False)
    assert served(fleet) == {1}
    assert fleet("sync", "run", "-o", "table").out == "2/2 adapters confirmed, 0 pending, 0 errored\n"
    assert fleet.json("sync", "run", "--dry-run")["adapters"] == []


def test_each_run_asks_the_agents_of_a_directory_what_they_serve(fleet: Paced) -> None:
    fleet.json("sync", "run")
    for row in fleet.json("adapter", "list")["adapters"]:
        assert (row["agents"], row["why"]) == ({"on": 0, "behind": 0, "stale": 0}, "no agent has said what it serves")
    assert "no agent has said what it serves" in fleet("sync", "status", "-o", "table").out
    acknowledge(fleet, "acme", "desk-1")
    fleet.json("sync", "run")
    acme, bob = fleet.json("adapter", "list")["adapters"]
    assert (acme["agents"], acme["why"]) == ({"on": 1, "behind": 0, "stale": 0}, None)
    assert bob["why"] == "no agent has said what it serves"
    assert "agents: 1 on it" in fleet("adapter", "show", "edge", "-o", "table").out


def test_a_run_sends_again_what_was_lost_in_a_directory(fleet: Paced) -> None:
    fleet.json("sync", "run")
    for pointer_file in (models(fleet) / "pointers" / "main").glob("*.json"):
        pointer_file.unlink()
    assert fleet.json("sync", "run")["confirmed"] == 2
    assert served(fleet) == {1}


def test_status_shows_every_adapter_and_the_success_rate(fleet: Paced) -> None:
    before = fleet.json("sync", "status")
    assert (before["by_status"]["pending"], before["success_rate"]["value"], before["worker"]) == (2, None, None)
    fleet.json("sync", "run")
    shown = fleet("sync", "status", "-o", "table", "-w")
    assert shown.err.splitlines()[0] == "2/2 adapters confirmed; 100.00% of 2 deliveries in 24 h (goal 99.5%)"
    assert "nothing delivers now" in shown.err
    after = fleet.json("sync", "status")
    assert (after["success_rate"]["ok"], after["success_rate"]["attempts"]) == (2, 2)
    overview = fleet.json("status")
    assert overview["adapters"]["by_status"]["synced"] == 2
    assert "2/2 adapters confirmed" in fleet("status", "-o", "table").err
    with fleet.store as store, take_lease(store, "a worker"):
        assert fleet.json("sync", "status")["worker"]["command"] == "a worker"


def test_one_that_fails_is_told_with_code_8_and_tried_again_when_asked(fleet: Paced) -> None:
    models(fleet).chmod(0o777)
    ran = fleet("sync", "run", "-o", "table")
    assert ran.code == 8
    assert "0/2 adapters confirmed, 0 pending, 2 errored" in ran.out
    assert "can be written by everybody" in ran.out
    assert fleet("status", "-o", "table").err.count("adapter edge and 1 more adapters errored") == 1
    shown = fleet("adapter", "show", "edge", "-o", "table").out
    assert "tenant acme: errored; should have v1, has confirmed nothing" in shown
    assert "after 1 tries" in shown
    models(fleet).chmod(0o755)
    assert fleet.json("sync", "retry", "--dry-run")["changed"] is False
    assert len(fleet.json("sync", "retry", "edge", "--reason", "mended")["adapters"]) == 2
    assert fleet("sync", "retry", "-o", "table").out == "nothing was given up\n"
    assert fleet("sync", "run").code == 0


def test_verify_ends_with_9_where_something_else_is_served(fleet: Paced) -> None:
    fleet.json("sync", "run")
    assert {row["verdict"] for row in fleet.json("sync", "verify")["verified"]} == {"ok"}
    (first, *_) = sorted((models(fleet) / "pointers" / "main").glob("*.json"))
    first.unlink()
    ran = fleet("sync", "verify", "edge", "--json")
    found = json.loads(ran.out)
    assert (ran.code, found["differs"], found["unreachable"]) == (9, 1, 0)
    models(fleet).rename(models(fleet).with_name("moved"))
    assert fleet("sync", "verify").code == 8
    assert fleet.error("sync", "verify", "nobody")[0] == 4


def test_adapters_are_removed_after_a_question(fleet: Paced) -> None:
    assert fleet.error("adapter", "remove", "edge")[1]["code"] == "UPM-E022"
    assert fleet.json("adapter", "remove", "edge", "--dry-run")["removed"] is False
    assert fleet.json("adapter", "remove", "edge", "--tenant", "bob", "--yes")["tenants"] == ["bob"]
    assert [row["tenant"] for row in fleet.json("adapter", "show", "edge")["tenants"]] == ["acme"]
    done = fleet("adapter", "remove", "edge", "--yes", "-o", "table")
    assert done.out.startswith("forgot adapter edge for acme; what lies at ")
    assert fleet.error("adapter", "show", "edge")[1]["code"] == "UPM-E122"


def test_a_rollback_reaches_agents_at_once_and_says_how_many(fleet: Paced) -> None:
    fleet.learn()
    fleet.serve(2)
    fleet.json("sync", "run")
    assert served(fleet) == {2}
    ran = fleet("rollback", "main", "--yes", "--reason", "worse", "-o", "table")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "2/2 adapters confirmed"
    assert served(fleet) == {1}


def test_a_rollback_does_not_depend_on_agents(fleet: Paced) -> None:
    fleet.learn()
    fleet.serve(2)
    fleet.json("sync", "run")
    models(fleet).chmod(0o777)
    done = fleet.json("rollback", "main", "--yes", "--reason", "worse")
    assert done["to_version"] == 1
    assert done["adapters"] == {"total": 2, "confirmed": 0, "pending": 0, "errored": 2}
    assert served(fleet) == {2}


def test_a_rollback_leaves_agents_to_the_worker_when_asked_or_when_settings_can_not_be_read(fleet: Paced) -> None:
    fleet.learn()
    fleet.serve(2)
    fleet.json("sync", "run")
    done = fleet("rollback", "main", "--yes", "--no-sync", "-o", "table")
    assert done.out.splitlines()[-1] == "0/2 adapters confirmed, 2 pending: upm sync status"
    assert served(fleet) == {2}
    fleet.learn()
    fleet.learn()
    fleet.serve(4)
    fleet.write("adapter_sync: {max_retries: [}\n")
    broken = fleet("rollback", "main", "--yes", "-o", "table")
    assert broken.code == 0, broken.err
    assert "not handed to agents" in broken.err
    assert broken.out.splitlines()[-1] == "0/2 adapters confirmed, 2 pending: upm sync status"


def test_a_rollback_survives_a_bug_and_a_deadline_in_the_handing_over(
    fleet: Paced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upm_cli.errors import TimedOutError
    from upm_cli.ops import sync_run

    for error, said in ((RuntimeError("a bug"), "internal error"), (TimedOutError("gave up"), "may not have it yet")):

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        fleet.learn()
        fleet.learn()
        with fleet.store as store, store.read() as reader:
            from upm_cli.store import trainers

            newest = trainers.get(reader, "main").last_version
        fleet.serve(newest)
        with monkeypatch.context() as patch:
            patch.setattr(sync_run, "run_pass", fail)
            ran = fleet("rollback", "main", "--yes", "--reason", "worse", "-o", "table")
        assert ran.code == 0
        assert said in ran.err


def test_activation_and_rollouts_hand_over_too(fleet: Paced) -> None:
    fleet.json("sync", "run")
    fleet.prove(first_seq=0, windows=1000)
    done = fleet.json("activate", "main", "2", "--to-stage", "canary", "--tenant", "acme", "--reason", "x")
    assert done["adapters"] == {"total": 2, "confirmed": 2, "pending": 0, "errored": 0}
    assert served(fleet) == {1, 2}
    assert fleet.json("activate", "main", "2", "--to-stage", "shadow")["adapters"] is None


def test_an_aborted_rollout_gives_agents_back_what_they_had(fleet: Paced) -> None:
    fleet.json("sync", "run")
    fleet.json("rollout", "start", "main", "2")
    fleet.go(1)
    with fleet.store as store, store.read() as reader:
        from upm_cli.ops import tenants

        gets = {tenant: tenants.route(reader, fleet.settings, "main", tenant).version for tenant in ("acme", "bob")}
    fleet.json("sync", "run")
    assert served(fleet) == set(gets.values())
    done = fleet.json("rollout", "abort", "main", "--yes", "--reason", "enough")
    assert done["adapters"] == {"total": 2, "confirmed": 2, "pending": 0, "errored": 0}
    assert served(fleet) == {1}
    assert fleet("rollout", "tick", "main").code == 0


def test_lowering_wants_an_admin_a_reason_and_something_to_lower(fleet: Paced) -> None:
    fleet.json("sync", "run")
    assert fleet.error("sync", "run", "--lower-epoch")[1]["code"] == "UPM-E029"
    done = fleet.json("sync", "run", "--lower-epoch", "--reason", "restored")
    assert (done["lowered"], done["confirmed"]) == ([], 2)
    for path in (models(fleet) / "pointers" / "main").glob("*.json"):  # as a later life of the project left it
        known = pointer.decode(envelope.decode(path.read_bytes(), pointer.PAYLOAD_TYPE).payload)
        from dataclasses import replace

        ahead = replace(known, place=pointer.Place(9, 1))
        path.write_bytes(ahead.envelope().encode())
    fleet.learn()
    fleet.serve(2)
    assert fleet("sync", "run").code == 8
    planned = fleet.json("sync", "run", "--lower-epoch", "--reason", "restored", "--dry-run")
    assert {(row["epoch"], row["serial"]) for row in planned["lowered"]} == {(9, 1)}
    assert fleet.error("sync", "run", "--lower-epoch", "--reason", "restored")[1]["code"] == "UPM-E022"
    done = fleet.json("sync", "run", "--lower-epoch", "--reason", "restored", "--yes")
    assert (done["confirmed"], served(fleet)) == (2, {2})


def test_without_adapters_every_command_says_how_to_begin(paced: Paced) -> None:
    assert paced("sync", "run", "-o", "table").out == "no adapters yet: upm adapter add --help\n"
    for words in (("adapter", "list"), ("sync", "status"), ("sync", "verify"), ("sync", "collect")):
        ran = paced(*words, "-o", "table")
        assert (ran.code, ran.err) == (0, "no adapters yet: upm adapter add --help\n"), words


def test_what_has_nothing_to_get_is_no_failure(paced: Paced) -> None:
    paced.json("adapter", "add", "edge", "--path", str(models(paced)))
    ran = paced("sync", "run", "-o", "table")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "0/1 adapters confirmed, 1 pending, 0 errored",
        "  nothing is to be sent to 1 of them yet: upm sync status says why",
    ]
    assert "nothing is live for this tenant" in paced("adapter", "show", "edge", "-o", "table").out
    assert "nothing is live for this tenant" in paced("sync", "status", "-o", "table").out


def test_many_failures_are_told_shortly_and_a_watch_ends_when_nothing_is_on_its_way(
    fleet: Paced, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.json("adapter", "add", "edge", "--path", str(models(fleet)), *(f"--tenant=t{n}" for n in range(12)))
    lines = []

    def deliver(seconds: float) -> None:
        lines.append(fleet.clock.now_ms())
        models(fleet).chmod(0o777)
        assert fleet("sync", "run", "-o", "table").out.endswith("  and 4 more\nnext: upm sync status\n")

    monkeypatch.setattr(fleet.clock, "sleep", deliver)
    shown = fleet("sync", "status", "-w", "-o", "table")
    assert len(lines) == 1
    assert shown.code == 0
    assert "14 errored" in fleet("sync", "status", "-o", "table").err


OUTCOME = '{"type":"ai.upm.outcome","prediction_id":"p1","label":1,"observed_at":"2026-01-05T08:00:00Z","agent":"a"}'


def test_collected_logs_are_taken_in_when_asked(fleet: Paced) -> None:
    logs = models(fleet) / "feedback"
    logs.mkdir()
    (logs / "predictions-a-000001.jsonl").write_text(OUTCOME + "\n")
    ran = fleet("sync", "collect", "--ingest", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["ingested"] is True
    (fleet.folder / ".upm" / "feedback" / "edge" / "predictions-a-000001.jsonl").unlink()
    assert fleet("sync", "collect", "--ingest", "--set", "adapter_sync.max_retries=1").code == 0


def test_logs_are_collected_and_the_next_command_is_told(fleet: Paced) -> None:
    logs = models(fleet) / "feedback"
    logs.mkdir()
    (logs / "predictions-a-000001.jsonl").write_text("{}\n")
    ran = fleet("sync", "collect", "-o", "table")
    assert ran.code == 0
    assert ran.err.startswith("next: upm ingest --kind outcomes ")
    (row,) = fleet.json("sync", "collect")["collected"]
    assert (row["files"], row["next"]) == (0, None)
    models(fleet).rename(models(fleet).with_name("moved"))
    assert fleet("sync", "collect").code == 8
