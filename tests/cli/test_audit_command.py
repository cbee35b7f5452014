"""`upm audit`, `upm explain DECISION` and `upm at` through the front door."""

import hashlib
import json
import os
import pwd
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from upm_cli.app import main
from upm_cli.clock import SystemClock
from upm_cli.core.decision import inputs_digest, recompute
from upm_cli.core.records import Ring
from upm_cli.ids import iso
from upm_cli.store import activations, layout, snapshots
from upm_cli.store.ledger import Head
from upm_cli.store.session import Store
from upm_cli.testing import prove

ME = pwd.getpwuid(os.getuid()).pw_name
POLICY = "policy: {min_shadow_hours: 0, readiness_quiet_hours: 0}\n"


@pytest.fixture(scope="module")
def decided_project(tmp_path_factory: pytest.TempPathFactory, trained_project: Path) -> Path:
    """A project in which things were decided: v1 and v3 went live, v3 was rolled back, v2 pinned, v3 released."""
    folder = tmp_path_factory.mktemp("decided") / "project"
    shutil.copytree(trained_project, folder)
    (folder / "upm.yaml").write_text((folder / "upm.yaml").read_text() + POLICY)

    def run(*words: str) -> int:
        return main([*words, "-q", "-C", str(folder)])

    for version in ("1", "3"):
        prove(Store(folder / ".upm", SystemClock()), SystemClock(), "main", first_seq=0, windows=1)
        assert run("activate", "main", version, "--to-stage", "global", "--reason", f"try {version}") == 0
    assert run("activate", "main", "4", "--to-stage", "canary", "--percent", "5") == 5
    assert run("rollback", "main", "--reason", "users complain", "--yes") == 0
    assert run("snapshot", "pin", "main", "2", "--reason", "for later") == 0
    assert run("snapshot", "release", "main", "3", "--reason", "it was the labels") == 0
    return folder


@pytest.fixture
def decided(tmp_path: Path, decided_project: Path, new_shell: Callable[[Path], Any]) -> Any:
    """A copy of it, for this test alone."""
    shutil.copytree(decided_project, tmp_path / "project")
    return new_shell(tmp_path / "project")


def actions(shell: Any, *words: str) -> list[tuple[str, str]]:
    return [(row["action"], row["subject"]) for row in shell.json("audit", "list", *words)["entries"]]


def test_everything_that_was_decided_is_listed_with_who_and_why(decided: Any) -> None:
    rows = decided.json("audit", "list")["entries"]
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    told = {row["action"]: row for row in rows}
    assert set(told) >= {
        "trainer.add",
        "snapshot.activate",
        "snapshot.refuse",
        "snapshot.rollback",
        "snapshot.pin",
        "snapshot.release",
    }
    assert {told[action]["actor"] for action in told if action.startswith("snapshot.")} == {ME}
    assert (told["snapshot.rollback"]["what"], told["snapshot.rollback"]["reason"]) == (
        "back to v1 in global",
        "users complain",
    )
    assert told["snapshot.activate"]["what"] == "live in global 100 %, before: v1"
    assert told["snapshot.refuse"]["what"].startswith("refused for canary: gate ")


def test_the_list_is_cut_down_by_time_type_actor_and_subject(decided: Any) -> None:
    assert actions(decided, "--type", "snapshot.pin") == [("snapshot.pin", "main@2")]
    assert {subject for _, subject in actions(decided, "--subject", "main@3")} == {"main@3"}
    assert len(actions(decided, "--subject", "main")) == len(actions(decided))
    assert actions(decided, "--actor", "nobody-of-that-name") == []
    assert actions(decided, "--since", "0s") == []
    both = actions(decided, "--type", "snapshot.pin", "--type", "*.rollback")
    assert [action for action, _ in both] == ["snapshot.rollback", "snapshot.pin"]
    ran = decided.refused(2, "UPM-E029", "audit", "list", "--type", "snapshot.rolback")
    assert "did you mean 'snapshot.rollback'?" in ran.err


def entry_of(shell: Any, action: str) -> dict[str, Any]:
    rows = [row for row in shell.json("audit", "list")["entries"] if row["action"] == action]
    found: dict[str, Any] = shell.json("audit", "show", str(rows[-1]["n"]))
    return found


def test_an_entry_is_found_by_number_and_by_the_beginning_of_its_id(decided: Any) -> None:
    entry = entry_of(decided, "snapshot.rollback")
    for word in (str(entry["n"]), f"#{entry['n']}", entry["decision_id"], entry["decision_id"][:-4].upper()):
        assert decided.json("audit", "show", word) == {"schema_version": 1} | {
            key: value for key, value in entry.items() if key != "schema_version"
        }
    assert "decisions begin with" in decided.refused(2, "UPM-E029", "audit", "show", entry["decision_id"][:6]).err
    assert "no entry #99" in decided.refused(4, "UPM-E045", "audit", "show", "99").err
    assert "no entry #0" in decided.refused(4, "UPM-E045", "explain", "#0").err
    assert "no entry of decision ffffff" in decided.refused(4, "UPM-E045", "explain", "ffffff").err
    assert "at least 6 characters" in decided.refused(4, "UPM-E045", "audit", "show", "main").err


def test_people_read_who_what_why_and_the_hash(decided: Any) -> None:
    entry = entry_of(decided, "snapshot.rollback")
    text = decided("audit", "show", str(entry["n"]), "-o", "table").out
    lines = [line.split(None, 1) for line in text.splitlines()]
    said = {line[0]: line[1] for line in lines if len(line) == 2}
    assert said["what"] == "back to v1 in global"
    assert said["who"] == ME
    assert said["why"] == "users complain"
    assert said["id"] == entry["decision_id"]
    assert (said["prev"], said["hash"]) == (entry["prev"], entry["hash"])
    assert said["to_version"] == "1"


@pytest.mark.parametrize("action", ["snapshot.activate", "snapshot.refuse", "snapshot.rollback", "snapshot.release"])
def test_a_decision_is_explained_and_comes_out_the_same(decided: Any, action: str) -> None:
    entry = entry_of(decided, action)
    told = decided.json("explain", str(entry["n"]))
    assert (told["recomputed"], told["differences"], told["decision_id"]) == ("same", [], entry["decision_id"])
    assert told["details"]["inputs_digest"] == inputs_digest(told["details"]["inputs"])
    text = decided("explain", entry["decision_id"], "-o", "table").out
    assert text.endswith("recomputed from the recorded inputs: same outcome\n")
    assert f"who     {ME}\n" in text
    assert told["details"]["config_digest"] in text


def test_each_gate_is_shown_with_what_it_says(decided: Any) -> None:
    entry = entry_of(decided, "snapshot.refuse")
    told = decided.json("explain", str(entry["n"]))
    refusing = {gate["gate"] for gate in told["gates"] if not gate["allowed"]}
    assert refusing
    text = decided("explain", str(entry["n"]), "-o", "table").out
    for gate in told["gates"]:
        mark = "✓" if gate["allowed"] else "✗"
        assert f"  {mark} {gate['gate']}" in text
        assert gate["detail"] in text


def test_what_somebody_asked_for_has_nothing_to_recompute(decided: Any) -> None:
    entry = entry_of(decided, "snapshot.pin")
    assert decided.json("explain", str(entry["n"]))["recomputed"] == "asked"
    assert "nothing to recompute" in decided("explain", str(entry["n"]), "-o", "table").out


def test_codes_are_explained_as_before(trained: Any) -> None:
    assert trained.json("explain", "UPM-E070")["title"] == "Already running"
    assert trained.json("explain", "e070")["title"] == "Already running"


def test_the_whole_record_is_proven_with_every_decision(decided: Any) -> None:
    rows = decided.json("audit", "list")["entries"]
    done = decided.json("audit", "verify", "--recompute")
    with_inputs = [row["n"] for row in rows if "inputs" in decided.json("audit", "show", str(row["n"]))["details"]]
    assert len(with_inputs) >= 5
    assert (done["entries"], done["decisions"], done["recomputed"]) == (len(rows), len(with_inputs), len(with_inputs))
    assert done["moves"] == 3
    assert done["head"] == rows[-1]["hash"]
    assert decided.json("audit", "verify")["recomputed"] is None


def rewrite(home: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the ledger and chain it anew, in the state as well, as somebody could who may write both."""
    path = home / layout.LEDGER
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    change(entries)
    previous, lines = "", []
    for entry in entries:
        entry["prev"] = previous
        body = {key: value for key, value in entry.items() if key != "hash"}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(text.encode()).hexdigest()
        whole = {**body, "hash": previous}
        lines.append(json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")
    path.write_text("".join(lines))
    head = Head(len(lines), previous, path.stat().st_size)
    with Store(home, SystemClock()).write() as tx:
        tx.execute(
            "meta.advance",
            generation=tx.meta.generation + 1,
            ledger_count=head.count,
            ledger_hash=head.hash,
            ledger_offset=head.offset,
            outbox_position=tx.meta.outbox_position,
        )
        tx.finish = lambda home: None  # type: ignore[method-assign]


def test_an_outcome_that_was_made_up_is_found_by_working_it_out_again(decided: Any) -> None:
    n = entry_of(decided, "snapshot.rollback")["n"]

    def forge(entries: list[dict[str, Any]]) -> None:
        entries[n - 1]["details"]["outcome"]["to_version"] = 2

    rewrite(decided.home, forge)
    assert decided.json("audit", "verify")["entries"] > n  # chain and state agree
    ran = decided("audit", "verify", "--recompute")
    assert (ran.code, ran.out) == (9, "")
    assert f"UPM-E099]: ledger entry {n} (snapshot.rollback) comes out differently" in ran.err
    told = decided("explain", str(n), "--json")
    assert told.code == 9
    assert json.loads(told.out)["differences"] == ["outcome.to_version: recorded 2, worked out 1"]
    assert "NOT the same outcome" in decided("explain", str(n), "-o", "table").out


def test_inputs_that_do_not_fit_their_digest_are_found(decided: Any) -> None:
    n = entry_of(decided, "snapshot.release")["n"]

    def forge(entries: list[dict[str, Any]]) -> None:
        entries[n - 1]["details"]["inputs"]["snapshot"]["created_at_ms"] += 1

    rewrite(decided.home, forge)
    told = decided("explain", str(n), "--json")
    assert told.code == 9
    assert json.loads(told.out)["differences"] == ["the inputs are not those the digest was taken of"]


def test_a_move_in_the_state_that_no_entry_tells_of_is_found(decided: Any) -> None:
    with decided.store.write() as tx:
        live = activations.live(tx, "main")[Ring.GLOBAL]
        activations.append(tx, replace(live, epoch=99, version=4, decision_id="made-up"))
    ran = decided.refused(9, "UPM-E092", "audit", "verify")
    assert "does not tell of epoch 99 of main (v4 in global, decision made-up)" in ran.err


def test_another_actor_in_the_ledger_than_in_the_state_is_found(decided: Any) -> None:
    n = entry_of(decided, "snapshot.rollback")["n"]
    rewrite(decided.home, lambda entries: entries[n - 1].update(actor="somebody-else"))
    ran = decided.refused(9, "UPM-E092", "audit", "verify")
    assert f"ledger entry {n} and the state differ about epoch 3 of main" in ran.err
    assert f"somebody-else or {ME}" in ran.err


def test_an_exported_head_is_one_line_for_its_owner_alone_and_finds_what_was_written_anew(decided: Any) -> None:
    file = decided.folder / "head.json"
    told = decided.json("audit", "head", "--out", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().count("\n") == 1
    assert json.loads(file.read_text()) == {key: told[key] for key in ("count", "hash", "at")}
    assert told["hash"] == decided.json("audit", "list")["entries"][-1]["hash"]
    assert decided.json("audit", "verify", "--anchor", str(file))["anchors"] == 1
    piped = decided("audit", "head", "-o", "jsonl").out
    file.write_text(file.read_text() + piped)
    assert decided.json("audit", "verify", "--anchor", str(file))["anchors"] == 2

    rewrite(decided.home, lambda entries: entries[0].update(actor="somebody-else"))
    assert "recomputed" in decided.json("audit", "verify")
    ran = decided.refused(9, "UPM-E092", "audit", "verify", "--anchor", str(file))
    assert f"ledger entry {told['count']} is not the one that was exported" in ran.err


@pytest.mark.parametrize("text", ["", "\n", "{}", "no json", '{"count": "1", "hash": "", "at": ""}', "[1]", "\x00\xff"])
def test_a_file_that_is_no_exported_head_is_refused(trained: Any, text: str) -> None:
    file = trained.folder / "head.json"
    file.write_text(text)
    trained.refused(3, "UPM-E035", "audit", "verify", "--anchor", str(file))
    trained.refused(4, "UPM-E046", "audit", "verify", "--anchor", str(file) + "-gone")


def test_a_damaged_ledger_is_named_by_every_command_that_reads_it(decided: Any) -> None:
    path = decided.home / layout.LEDGER
    data = path.read_bytes()
    path.write_bytes(data.replace(b"users complain", b"users  rejoice"))
    n = data[: data.index(b"users complain")].count(b"\n") + 1
    for words in (("audit", "verify"), ("audit", "head")):
        assert f"ledger entry {n} " in decided.refused(9, "UPM-E092", *words).err
    path.write_bytes(data.replace(b"users complain", b"users \x00omplain"))
    for words in (("audit", "list"), ("audit", "show", "1"), ("explain", "1"), ("at", "now")):
        assert f"ledger entry {n} " in decided.refused(9, "UPM-E092", *words).err


def ring(shell: Any, *words: str) -> dict[str, Any]:
    (trainer,) = shell.json("at", *words)["trainers"]
    return {row["ring"]: row for row in trainer["rings"]}


def test_at_tells_what_was_live_then_and_by_whose_decision(decided: Any) -> None:
    rows = [row for row in decided.json("audit", "list")["entries"] if row["decision_id"]]
    first, second = [row for row in rows if row["action"] == "snapshot.activate"]
    back = next(row for row in rows if row["action"] == "snapshot.rollback")
    seen = ring(decided, second["at"], "main")["global"]
    assert (seen["version"], seen["percent"], seen["decision_id"], seen["ledger"], seen["actor"], seen["by"]) == (
        3,
        100,
        second["decision_id"],
        second["n"],
        ME,
        "activate",
    )
    seen = ring(decided, "now")["global"]
    assert (seen["version"], seen["decision_id"], seen["by"]) == (1, back["decision_id"], "rollback")
    (then,) = decided.json("at", back["at"])["trainers"]
    assert (then["quarantined"], then["ring_pins"], then["pinned"]) == ([3], {"global": 1}, [])
    (now,) = decided.json("at", "now")["trainers"]
    assert (now["quarantined"], now["ring_pins"], now["pinned"]) == ([], {"global": 1}, [2])
    before = decided.json("at", iso(_ms(first["at"]) - 5000))["trainers"][0]
    assert (before["rings"], before["first_activation_at"][:16]) == ([], first["at"][:16])
    text = decided("at", iso(_ms(first["at"]) - 5000), "-o", "table").out
    assert "main: nothing was live" in text
    assert f"the first activation was at {before['first_activation_at']}" in text
    text = decided("at", "now", "-o", "table").out
    assert f"a rollback by {ME}: users complain   upm explain {back['n']}" in text
    assert "global pinned to v1" in text


def _ms(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)


def test_a_version_can_be_named_by_a_time(decided: Any) -> None:
    second = [row for row in decided.json("audit", "list")["entries"] if row["action"] == "snapshot.activate"][-1]
    assert decided.json("snapshot", "show", "main", f"@{second['at']}")["version"] == 3
    assert decided.json("snapshot", "show", f"@{second['at']}")["version"] == 3
    assert decided.json("snapshot", "show", "main", "@0s")["version"] == 1
    planned = decided.json("activate", "main", f"@{second['at']}", "--to-stage", "shadow", "--dry-run")
    assert planned["version"] == 3
    assert decided.json("rollback", "main", "--to", "@0s", "--dry-run")["to_version"] == 1
    assert "had nothing live" in decided.refused(4, "UPM-E044", "snapshot", "show", "main", "@365d").err
    assert "is no time" in decided.refused(2, "UPM-E029", "snapshot", "show", "main", "@soon").err


def test_a_time_to_come_and_no_time_are_refused(trained: Any) -> None:
    assert "yet to come" in trained.refused(2, "UPM-E029", "at", "2100-01-01").err
    assert "is no time" in trained.refused(2, "UPM-E029", "at", "soonish").err
    assert "no trainer 'mian'" in trained.refused(4, "UPM-E040", "at", "now", "mian").err


def test_events_tell_ledger_entries_in_words_and_keep_every_field_for_machines(decided: Any) -> None:
    entry = entry_of(decided, "snapshot.rollback")
    text = decided("events", "--type", "ai.upm.ledger.snapshot.rollback", "-o", "table").out
    assert f"#{entry['n']} {ME}: main@3 back to v1 in global (users complain)" in text
    assert "inputs" not in text
    event = json.loads(decided("events", "--type", "ai.upm.ledger.snapshot.rollback", "-o", "jsonl").out)
    assert event["data"]["details"]["inputs"] == entry["details"]["inputs"]


def test_damaged_targets_of_a_rollback_are_among_its_inputs(decided: Any) -> None:
    prove(decided.store, SystemClock(), "main", first_seq=0, windows=1)
    assert decided("activate", "main", "3", "--to-stage", "global").code == 0
    with decided.store.read() as reader:
        row = snapshots.get(reader, "main", 1)
    file = decided.home / row.path
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1])
    assert decided("rollback", "main", "--yes").code == 0
    entry = entry_of(decided, "snapshot.rollback")
    inputs = entry["details"]["inputs"]
    assert (inputs["damaged"], entry["details"]["outcome"]["targets"][0]) == ([1], 1)
    assert (entry["details"]["to_version"], decided.json("explain", str(entry["n"]))["recomputed"]) == (2, "same")
    assert recompute("snapshot.rollback", {**inputs, "damaged": []})["to_version"] == 1


@pytest.mark.parametrize("text", ["policy: {min_shadow_hours: many}\n", "[", "unknown_key: 1\n"])
def test_a_rollback_under_settings_that_can_not_be_read_says_so_on_the_record(decided: Any, text: str) -> None:
    config = decided.folder / "upm.yaml"
    good = config.read_text()
    prove(decided.store, SystemClock(), "main", first_seq=0, windows=1)
    assert decided("activate", "main", "3", "--to-stage", "global").code == 0
    config.write_text(text)
    assert decided("rollback", "main", "--yes", "--reason", "in a hurry").code == 0
    config.write_text(good)
    entry = entry_of(decided, "snapshot.rollback")
    assert (entry["reason"], entry["details"]["config_digest"]) == ("in a hurry", None)
    assert "the settings were not asked" in decided("explain", str(entry["n"]), "-o", "table").out
    assert decided.json("explain", str(entry["n"]))["recomputed"] == "same"
