"""A stranger's own data, not as upm wants it: what was refused is said, with why, where, and what to do next."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upm_cli.app import main
from upm_cli.ops.project import SAMPLE_WINDOW
from upm_cli.store import lease, runfiles, trainers
from upm_cli.store.wishes import SUPERVISOR

Shell = Any


def renamed(event: dict[str, Any]) -> dict[str, Any]:
    names = {"window_start": "start", "window_end": "end"}
    return {names.get(name, name): value for name, value in event.items()}


@pytest.mark.parametrize("command", [("train", "main", "--once", "--source"), ("ingest", "--trainer", "main")])
def test_a_file_of_which_nothing_can_be_used_is_an_error_and_nothing_is_lost(
    fresh: Shell, command: tuple[str, ...]
) -> None:
    source = fresh.write("in.jsonl", *(renamed(fresh.event(i)) for i in range(50)))
    ran = fresh.refused(3, "UPM-E180", *command, source)
    first, hint = ran.err.splitlines()
    assert f"50 refused, all because window_start is missing ({source}:0)" in first
    for told in ("'window_start' by 'start'", "'window_end' by 'end'", "upm events dead-letters", "--check"):
        assert told in hint
    assert len(fresh.json("events", "dead-letters")["dead_letters"]) == 50

    mended = fresh.write("in.jsonl", *(fresh.event(i) for i in range(50)))
    assert fresh.json("train", "main", "--once", "--source", mended)["windows"]["trained"] == 50


def test_the_error_has_the_reasons_for_programs(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(renamed(fresh.event(i)) for i in range(5)), "no json")
    ran = fresh("train", "main", "--once", "--source", source, "--json")
    assert ran.code == 3
    refused = json.loads(ran.out)["error"]["context"]["refused"]
    assert (refused["count"], refused["looked_at"]) == (6, 6)
    most, other = refused["reasons"]
    assert most["count"] == 5
    assert most["meant"] == {"start": "window_start", "end": "window_end"}
    assert most["examples"][0] == {"source": source, "offset": 0}
    assert (other["count"], other["meant"]) == (1, {})


def test_lines_refused_among_good_ones_are_summed_up_and_only_those_of_this_run(fresh: Shell) -> None:
    bad = [renamed(fresh.event(100 + i)) for i in range(3)]
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in range(100)), *bad, "no json")
    ran = fresh("train", "main", "--once", "--source", source, "-o", "table")
    assert ran.code == 0
    head, *rest = ran.out.splitlines()
    assert head.endswith("s; 4 refused: window_start is missing, …")
    assert any("3 × window_start is missing, as at" in line for line in rest)
    assert any("did you mean 'window_start' by 'start'" in line for line in rest)
    assert any("upm events dead-letters main" in line for line in rest)

    ran = fresh("train", "main", "--once", "--source", source, "--json")
    assert ran.json["refused"] == {"count": 0, "looked_at": 0, "reasons": []}
    assert "refused" not in ran.err

    more = fresh.write("more.jsonl", *(fresh.event(200 + i) for i in range(10)), "no json")
    ran = fresh("ingest", more, "--json")
    assert [reason["count"] for reason in ran.json["refused"]["reasons"]] == [1]
    ran = fresh("ingest", fresh.write("yet.jsonl", fresh.event(300), "no json"), "-o", "table")
    assert ran.out.splitlines()[0].endswith("; 1 refused: not JSON: JSON is malformed: invalid character (byte 4)")


def test_windows_that_only_the_learner_refused_are_told_too(trained: Shell) -> None:
    events = [trained.event(2000 + i, {"size": 1}) for i in range(40)]
    ran = trained("train", "main", "--source", trained.write("maps.jsonl", *events), "--once", "--json")
    assert ran.code == 3
    (reason,) = json.loads(ran.out)["error"]["context"]["refused"]["reasons"]
    assert (reason["count"], reason["meant"]) == (40, {})
    assert "label" in reason["reason"]


def test_labels_without_their_windows_are_no_error(fresh: Shell) -> None:
    source = fresh.write("labels.jsonl", *({"window_id": f"w{i}", "label": 1} for i in range(5)))
    assert fresh.json("ingest", source)["refused"]["count"] == 5


def test_a_check_groups_equal_reasons(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(renamed(fresh.event(i)) for i in range(500)), fresh.event(0), "no json")
    ran = fresh("ingest", "--check", source, "-o", "table")
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 4
    assert "500 × window_start is missing" in ran.out
    ran = fresh("ingest", "--check", source, "--json")
    said = json.loads(ran.out)
    assert (said["windows"], said["rejected"], len(said["rejects"])) == (1, 501, 20)
    assert [reason["count"] for reason in said["reasons"]] == [500, 1]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_with_other_columns_is_asked_what_they_mean(fresh: Shell, ending: str) -> None:
    path = fresh.folder / f"in.{ending}"
    if ending == "csv":
        path.write_text("window_id,start,end,price,label\na,1,2,3,1\n")
    else:
        pq.write_table(pa.table({"window_id": ["a"], "start": [1], "end": [2], "price": [3.0]}), path)
    for words in (("train", "--once", "--source"), ("ingest", "--check")):
        ran = fresh.refused(3, "UPM-E035", *words, str(path))
        assert "has no column" in ran.err or "CSV header" in ran.err
        assert "did you mean 'window_start' by 'start' and 'window_end' by 'end'?" in ran.err


def test_rows_of_a_table_that_are_no_windows_are_told_with_their_place(fresh: Shell) -> None:
    path = Path(fresh.write("in.csv"))
    path.write_text("window_id,window_start,window_end,price\n" + "a,yesterday,2,3\n" * 3)
    ran = fresh.refused(3, "UPM-E180", "train", "--once", "--source", str(path))
    assert "3 refused, all because window_start" in ran.err


def test_a_rollout_before_the_first_snapshot_waits_for_it_and_says_so(fresh: Shell) -> None:
    fresh("rollout", "start", "--yes")
    said = fresh("rollout", "status", "-o", "table").out
    assert said.count("no snapshot yet to ask about") > 4
    for other in ("could not be asked", "upm doctor", "VERSION"):
        assert other not in said
    gates = fresh.json("gate", "check") if fresh("gate", "check").code == 0 else {}
    assert gates == {}
    assert "same outcome" in fresh("audit", "verify", "--recompute", "-o", "table").out


def test_a_stream_that_somebody_else_reads_is_busy_and_the_holder_is_named(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", fresh.event(0))
    inbox = "supervisor.default_trainers=[{name: main, sources: ['inbox/*.jsonl']}]"
    with lease.acquire(fresh.home, "ingest-main", "upm worker host-1"), lease.acquire(fresh.home, SUPERVISOR, "upm up"):
        ran = fresh.refused(7, "UPM-E070", "ingest", source, "--set", inbox)
        assert f"stream main is being read by pid {os.getpid()} (upm worker host-1)" in ran.err
        assert "inbox/*.jsonl" in ran.err
        runfiles.write_status(fresh.home, "ingest-main", {"state": "following"})
        assert "run it again" in fresh.refused(7, "UPM-E070", "train", "--source", source).err
        assert runfiles.read_status(fresh.home, "ingest-main") is not None, "the status of whoever has it stays"
    assert fresh.json("ingest", source)["windows"]["read"] == 1


def shown(shell: Shell) -> tuple[str, list[str]]:
    overview = shell.json("status")
    return overview["trainers"][0]["state"], [problem["problem"] for problem in overview["problems"]]


def test_a_trainer_whose_learner_failed_for_good_is_errored_until_it_learns_again(trained: Shell) -> None:
    with trained.store.read() as reader:
        digest = trainers.get(reader, "main").checkpoint_digest
    (blob,) = (trained.home / "blobs").rglob(f"{digest}*")
    kept = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes(kept[:-5] + b"12345")
    source = trained.write("more.jsonl", *(trained.event(2000 + i) for i in range(10)))
    ran = trained("train", "main", "--source", source)
    assert ran.code == 9
    state, (problem,) = shown(trained)
    assert state == "errored"
    assert problem.startswith("its worker failed for good: ")
    error = trained.json("trainer", "show", "main")["error"]
    assert error["message"] in problem
    assert f"error[{error['code']}]" in ran.err
    assert f"Next: upm explain {error['code']}" in trained("status", "-o", "table").err

    blob.write_bytes(kept)
    trained.json("train", "main", "--source", source)
    assert shown(trained) == ("idle", [])
    assert trained.json("trainer", "show", "main")["error"] is None


def test_a_wrong_path_and_a_run_that_is_busy_are_no_failure_of_the_trainer(trained: Shell) -> None:
    trained.refused(4, "UPM-E045", "train", "main", "--source", "nowhere.jsonl")
    with lease.acquire(trained.home, "trainer-main", "upm trainer worker of main"):
        trained.refused(7, "UPM-E070", "train", "main")
    assert shown(trained) == ("idle", [])


def test_the_sample_line_that_init_and_the_readme_show_is_a_window(fresh: Shell) -> None:
    told = fresh("init").err
    (line,) = [part.partition("window: ")[2] for part in told.splitlines() if "window: " in part]
    assert line == SAMPLE_WINDOW
    assert f"`{line}`" in (Path(__file__).resolve().parents[2] / "README.md").read_text()
    windows = fresh.json("train", "main", "--source", fresh.write("in.jsonl", line))["windows"]
    assert (windows["trained"] + windows["pending"], windows["dead_letter"]) == (1, 0)


def test_a_source_in_no_order_is_told_to_be_sorted_and_a_second_look_finds_nothing_new(fresh: Shell) -> None:
    source = fresh.write("in.jsonl", *(fresh.event(i) for i in reversed(range(300))), fresh.event(299))
    said = fresh("train", "main", "--once", "--source", source, "-o", "table").out
    assert "came too late, behind newer ones: sort the source by window_start" in said
    assert "upm events dead-letters main --late --retry" in said
    said = fresh("train", "main", "--once", "--source", source, "-o", "table").out
    assert "nothing new was read" in said
    assert "too late" not in said
    more = fresh.write("more.jsonl", *(fresh.event(i) for i in range(400, 440)))
    assert "in this run: read 40  trained 40" in fresh("train", "--source", more, "-o", "table").out


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("array.json", '[\n{"window_id": "a"},\n{"window_id": "b"}\n]\n', "jq -c"),
        (
            "semicolons.csv",
            "window_id;window_start;window_end;a\n1;2;3;4\n",
            "separated by commas here, not by semicolons",
        ),
        ("table.txt", "window_id,window_start,window_end,a\n", "try --format csv"),
    ],
)
def test_a_file_in_another_form_gets_advice(fresh: Shell, name: str, content: str, told: str) -> None:
    (fresh.folder / name).write_text(content)
    ran = fresh("ingest", "--check", str(fresh.folder / name), "-o", "table")
    assert ran.code == 3
    assert told in ran.out + ran.err


def test_the_file_beside_it_is_guessed_when_one_is_not_there(fresh: Shell) -> None:
    source = Path(fresh.write("events.jsonl", fresh.event(0)))
    ran = fresh.refused(4, "UPM-E045", "ingest", "--check", str(source.with_name("event.jsonl")))
    assert "did you mean 'events.jsonl'?" in ran.err
    ran = fresh.refused(4, "UPM-E045", "ingest", "--check", str(source.parent / "data" / "events.jsonl"))
    assert f"there is no folder {source.parent / 'data'} either" in ran.err


def test_predict_answers_for_the_good_lines_of_a_file_and_tells_the_others(trained: Shell) -> None:
    window = trained.event(1)
    unread = {**trained.event(2), "window_start": "yesterday"}
    source = trained.write("odd.jsonl", window, "", "junk", {"x": 1}, "[1]", {"features": 7}, unread)
    ran = trained("predict", source, "--version", "latest", "--json")
    assert ran.code == 8
    said = json.loads(ran.out)
    assert [one["window_id"] for one in said["predictions"]] == ["w000001", "line-4"]
    assert [one["line"] for one in said["refused"]] == [3, 5, 6, 7]
    assert "warning: line 3 has no prediction: not JSON" in ran.err
    whole = trained.json("predict", json.dumps(window), "--version", "latest")
    assert whole["predictions"] == said["predictions"][:1]
    assert whole["refused"] == []
    trained.refused(3, "UPM-E181", "predict", trained.write("bad.jsonl", "junk", "[1]"), "--version", "latest")


def test_mistakes_of_the_call_are_answered_with_the_nearest_right_one(fresh: Shell) -> None:
    assert "did you mean --source? upm train --help" in fresh.refused(2, "UPM-E020", "train", "--sorce", "x").err
    assert "did you mean 'shadow'? one of shadow" in fresh.refused(2, "UPM-E028", "train", "--mode", "shadwo").err
    code = main(["train", "--source"])
    assert code == 2
    assert fresh.capsys.readouterr().err.endswith("hint: upm train --help\n")


def test_windows_without_a_single_label_are_told_where_it_belongs(fresh: Shell) -> None:
    events = [{("target" if key == "label" else key): value for key, value in fresh.event(i).items()} for i in range(9)]
    said = fresh("train", "--source", fresh.write("in.jsonl", *events), "-o", "table").out
    assert "no window has a label: it is in the field `label`" in said


def test_times_in_seconds_are_noticed(fresh: Shell) -> None:
    events = [{**fresh.event(i), "window_start": 1_767_225_600 + i, "window_end": 1_767_225_601 + i} for i in range(9)]
    ran = fresh("train", "--source", fresh.write("in.jsonl", *events))
    assert ran.code == 0
    assert "warning: all windows are of the year 1970 or soon after: whole numbers are milliseconds" in ran.err
