"""`upm train`, `ingest`, `predict`, `trainer` and `status`: what they do beyond the fields they print."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from upm_cli.core import snapshot as codec
from upm_cli.core.records import Activation, Ring
from upm_cli.core.training import Fold
from upm_cli.sources.decoder import Decoder
from upm_cli.store import activations, blobs, ledger, snapshots

Shell = Any


def test_training_again_on_the_same_file_changes_nothing(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in range(300)))
    first = fresh.json("train", "main", "--source", source, "--once")
    second = fresh.json("train", "main", "--source", source, "--once")
    assert second["windows"] == first["windows"]
    assert second["weights_sha256"] == first["weights_sha256"]
    assert second["snapshots"] == []


def test_training_in_parts_is_training_as_a_whole(fresh: Shell, trained: Shell, tmp_path: Path) -> None:
    source = Path(fresh.write("in.jsonl", *(fresh.event(i) for i in range(640))))
    fresh.json("train", "main", "--source", str(source), "--once")
    with source.open("a") as file:
        file.write("".join(json.dumps(fresh.event(i)) + "\n" for i in range(640, 2000)))
    parts = fresh.json("train", "main", "--source", str(source), "--once")
    whole = trained.json("train", "main", "--once")
    assert parts["windows"] == whole["windows"]
    assert parts["weights_sha256"] == whole["weights_sha256"], "640 is a multiple of the batch size"


def test_several_sources_are_learned_in_the_order_of_event_time(fresh: Shell) -> None:
    even = fresh.write("even.jsonl", *(fresh.event(i) for i in range(0, 40, 2)))
    odd = fresh.write("odd.jsonl", *(fresh.event(i) for i in range(1, 40, 2)))
    result = fresh.json(
        "train", "main", "--source", even, "--source", odd, "--set", "replay_buffer.release_delay_ms=60000"
    )
    assert result["windows"]["trained"] == 40
    assert fresh.json("trainer", "show", "main")["late_arrivals"] == 0


def test_ingested_windows_wait_until_they_are_trained(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in range(200)))
    result = fresh.json("ingest", source, "--trainer", "main")
    assert (result["stream"], result["windows"]["pending"], result["windows"]["trained"]) == ("main", 200, 0)
    assert fresh.json("train", "main", "--once")["windows"]["trained"] == 200


def test_a_check_of_a_source_writes_nothing(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in range(20)))
    before = (fresh.home / "state.duckdb").read_bytes()
    checked = fresh.json("ingest", "--check", source)
    assert (checked["windows"], checked["labels"], checked["rejected"]) == (20, 20, 0)
    assert (fresh.home / "state.duckdb").read_bytes() == before


def test_options_of_a_run_count_for_that_run(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in range(400)))
    result = fresh.json("train", "main", "--source", source, "--batch", "10", "--lr", "0.3", "--snapshot-every", "50")
    learner = fresh.json("trainer", "show", "main")["learner"]
    assert (learner["batch_size"], learner["learning_rate"]) == (10, 0.3)
    assert result["snapshots"]


def test_a_mode_given_to_train_is_kept_and_on_the_record(trained: Shell) -> None:
    assert trained.json("train", "main", "--mode", "canary")["mode"] == "canary"
    assert trained.json("train", "main")["mode"] == "canary"
    changes = [entry for entry in ledger.read(trained.home) if entry["action"] == "trainer.mode"]
    assert [entry["details"] for entry in changes] == [{"before": "shadow", "after": "canary"}]


def test_a_prediction_is_what_the_learner_itself_said_at_that_version(trained: Shell) -> None:
    events = [trained.event(i) for i in range(5000, 5010)]
    source = trained.write("ask.jsonl", *events)
    asked = trained.json("predict", source, "--version", "2")
    with trained.store.read() as reader:
        row = snapshots.get(reader, "main", 2)
    assert row.checkpoint_digest is not None
    arrays, kept = codec.decode(blobs.get(trained.home, row.checkpoint_digest))
    learner = Fold.from_parts(arrays, kept["checkpoint"]).learner
    expected = learner.predict_many(Decoder().decode_lines(Path(source).read_bytes()).batch.x)[:, 0]
    assert (asked["version"], asked["digest"]) == (2, row.digest)
    assert [answer["window_id"] for answer in asked["predictions"]] == [event["window_id"] for event in events]
    assert [answer["probability"] for answer in asked["predictions"]] == pytest.approx(expected.tolist(), rel=1e-6)
    right = [answer["prediction"] == event["label"] for answer, event in zip(asked["predictions"], events, strict=True)]
    assert sum(right) >= 8


def test_a_prediction_takes_the_live_version_else_the_newest(trained: Shell) -> None:
    ask = json.dumps({"x": 1.0, "y": 0.0})
    newest = trained.json("snapshot", "list", "main")["snapshots"][-1]["version"]
    assert trained.json("predict", ask)["version"] == newest
    trained.json("activate", "main", "1")
    assert trained.json("predict", ask)["version"] == 1
    assert trained.json("predict", ask, "--version", "latest")["version"] == newest


def test_predictions_may_come_from_standard_input(trained: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'{"x": 3.0, "y": -3.0}\n\n{"x": -3.0, "y": 3.0}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert [answer["prediction"] for answer in trained.json("predict", "-")["predictions"]] == [1, 0]


def test_predicting_changes_nothing(trained: Shell) -> None:
    before = (trained.home / "state.duckdb").read_bytes()
    trained.json("predict", json.dumps({"x": 1.0, "new feature": 3}))
    assert (trained.home / "state.duckdb").read_bytes() == before


@pytest.mark.parametrize(
    ("ask", "code"),
    [("{broken", 3), ('{"x": NaN}', 3), ('{"features": [1]}', 3), ("[1, 2]", 4), ("nowhere.jsonl", 4)],
)
def test_what_can_not_be_asked_is_refused(trained: Shell, ask: str, code: int) -> None:
    ran = trained("predict", ask)
    assert (ran.code, ran.out) == (code, ""), ran
    assert ran.err.startswith("error[UPM-E")
    assert "Traceback" not in ran.err


def test_adding_a_trainer_twice_is_done_once_and_another_kind_is_refused(fresh: Shell) -> None:
    for _ in range(2):
        added = fresh.json("trainer", "add", "search", "--tenant", "acme", "--mode", "shadow")
        assert (added["trainer"], added["tenant_id"], added["stream"]) == ("search", "acme", "search")
    fresh.refused(2, "UPM-E027", "trainer", "add", "search", "--tenant", "other")
    assert [row["name"] for row in fresh.json("trainer", "list")["trainers"]].count("search") == 1


@pytest.mark.parametrize("name", ["", "Ab c", "../x", "-x", "a" * 200, "ü"])
def test_a_name_that_can_not_be_a_file_is_refused(fresh: Shell, name: str) -> None:
    ran = fresh("trainer", "add", "--", name)
    assert ran.code in (2, 3), ran
    assert ran.err.startswith("error[UPM-E0")
    assert not list(fresh.home.parent.parent.glob("x*"))


def test_a_removed_trainer_is_gone_and_its_log_can_be_learned_again(trained: Shell) -> None:
    weights = trained.json("trainer", "show", "main")["weights_sha256"]
    plan = trained.json("trainer", "remove", "main", "--dry-run")
    assert (plan["removed"], plan["snapshots"]) == (False, 4)
    gone = trained.json("trainer", "remove", "main", "--yes", "--reason", "again")
    assert (gone["removed"], gone["stream_kept"]) == (True, "main")
    trained.refused(4, "UPM-E040", "activate", "main", "1")
    again = trained.json("train", "main", "--once")
    assert (again["windows"]["trained"], again["weights_sha256"]) == (2000, weights)
    assert [row["version"] for row in trained.json("snapshot", "list", "main")["snapshots"]] == [1, 2, 3, 4]


def test_a_trainer_that_serves_tenants_is_not_removed(trained: Shell) -> None:
    with trained.store.write() as tx:  # an activation beyond shadow needs weeks of evidence; here it is just put there
        live = Activation(
            trainer="main",
            ring=Ring.GLOBAL,
            epoch=1,
            version=1,
            previous_version=None,
            percent=100,
            kind="activate",
            decision_id="d",
            actor="tester",
            reason="",
            at_ms=1,
        )
        activations.append(tx, live)
    ran = trained("trainer", "remove", "main", "--yes", "--reason", "x")
    assert (ran.code, ran.out) == (5, ""), ran
    assert trained.counts()["trained"] == 2000


def test_status_shows_the_worst_first_and_what_to_do(trained: Shell) -> None:
    trained.json("trainer", "add", "another")
    trained.json("pause", "main", "--reason", "odd labels")
    overview = trained.json("status")
    assert [row["name"] for row in overview["trainers"]] == ["main", "another"]
    assert overview["trainers"][0]["state"] == "paused"
    assert {"trainer": "main", "problem": "paused: odd labels", "next": "upm resume main"} in overview["problems"]
    ran = trained("status", "-o", "table")
    assert "upm resume main" in ran.err
    assert "paused" in ran.out


def test_pause_and_resume_twice_change_nothing_the_second_time(trained: Shell) -> None:
    assert trained.json("pause", "main", "--reason", "x")["changed"]
    assert not trained.json("pause", "main", "--reason", "x")["changed"]
    assert trained.json("resume", "main")["changed"]
    assert not trained.json("resume", "main")["changed"]
    assert not trained.json("pause", "main", "--dry-run")["changed"]
    assert trained.json("trainer", "show", "main")["desired"] == "run"
