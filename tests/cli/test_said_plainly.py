"""What somebody sees who uses upm for the first time, and makes the usual mistakes."""

import getpass
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upm_cli.store.logfiles import Line, LogFile

Shell = Any
Paced = Any


@pytest.fixture
def interrupt_soon() -> Iterator[None]:
    """Ctrl-C in a tenth of a second."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_during_a_query_is_an_interrupt_and_no_bug(fresh: Shell, request: pytest.FixtureRequest) -> None:
    for _ in range(3):  # so that what is imported is there, and the tenth of a second ends within the query
        fresh("sql", "SELECT 1")
    request.getfixturevalue("interrupt_soon")
    ran = fresh("sql", "SELECT count(*) FROM range(1000000000) a, range(1000) b")
    assert (ran.code, ran.out, ran.err) == (130, "", "interrupted\n")
    assert not (fresh.home / "crash").exists()


@pytest.mark.parametrize("words", [("logs", "-f", "-n", "1"), ("events", "-f", "--since", "1970-01-01T00:00Z")])
def test_following_ends_when_nobody_reads_any_more(
    fresh: Shell, on_path: dict[str, str], words: tuple[str, ...]
) -> None:
    line = Line(at="2026-11-29T22:47:16.000Z", worker="supervisor", level="info", text="started")
    LogFile(fresh.home, "supervisor", most_bytes=4096, keep=1).write([line])
    fresh("trainer", "add", "main")
    command = ["upm", *words, "-o", "jsonl", "-C", str(fresh.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=on_path) as following:
        assert following.stdout is not None and following.stderr is not None
        assert following.stdout.readline()
        following.stdout.close()
        assert following.wait(timeout=30) == 0
        assert following.stderr.read() == b""


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("snapshot", "list", "--trainer", "main"), "TRAINER stands without an option: upm snapshot list TRAINER"),
        (("rollback", "--trainer", "main"), "TRAINER stands without an option: upm rollback TRAINER"),
        (("snapshot", "list", "--trainers", "main"), "upm snapshot list --help"),
        (("snapshot", "list", "--help-me"), "did you mean --help? upm snapshot list --help"),
    ],
)
def test_an_argument_written_as_an_option_is_put_right(fresh: Shell, words: tuple[str, ...], hint: str) -> None:
    option = next(word for word in words if word.startswith("--"))
    said = f"error[UPM-E020]: no such option: {option}\nhint: {hint}\n"
    assert fresh.refused(2, "UPM-E020", *words).err == said


def test_the_only_command_of_a_group_is_the_one_that_was_meant(fresh: Shell) -> None:
    assert fresh.refused(2, "UPM-E026", "completion", "bash").err.endswith(
        "hint: did you mean: upm completion show bash\n"
    )


def test_labels_that_come_later_are_counted_by_check(fresh: Shell) -> None:
    label = {"window_id": "w000001", "label": 1}
    source = fresh.write("labels.jsonl", label, {**label, "window_id": "w000002"}, fresh.event(3))
    found = fresh.json("ingest", source, "--check")
    assert (found["windows"], found["labels"], found["later_labels"], found["rejected"]) == (1, 1, 2, 0)
    said = fresh("ingest", source, "--check", "-o", "table").out
    assert said == "1 windows, 1 with a label, 2 labels of windows that came before, 0 rejected\n"


def test_a_table_of_labels_alone_is_told_how_labels_come(fresh: Shell) -> None:
    table = fresh.folder / "labels.parquet"
    pq.write_table(pa.table({"window_id": ["w1"], "label": [1]}), table)
    csv = fresh.folder / "labels.csv"
    csv.write_text("window_id,label\nw1,1\n")
    for source in (table, csv):
        ran = fresh.refused(3, "UPM-E035", "ingest", str(source), "--check")
        assert 'lines of JSON: {"window_id": …, "label": …}' in ran.err


def test_a_prediction_log_in_parquet_is_called_what_it_is(fresh: Shell) -> None:
    table = fresh.folder / "labels.parquet"
    pq.write_table(pa.table({"prediction_id": ["p1"], "label": [1]}), table)
    ran = fresh.refused(3, "UPM-E035", "ingest", str(table), "--kind", "outcomes", "--check")
    assert "is a Parquet file" in ran.err
    assert "lines of JSON" in ran.err


def test_what_a_run_did_is_told_without_negative_numbers(fresh: Shell) -> None:
    windows = [{name: value for name, value in fresh.event(i).items() if name != "label"} for i in range(64)]
    fresh("train", "main", "--source", fresh.write("in.jsonl", *windows))
    labels = [{"window_id": f"w{i:06d}", "label": i % 2} for i in range(64)]
    said = fresh("train", "main", "--source", fresh.write("labels.jsonl", *labels), "-o", "table").out
    assert "in this run: trained 64" in said
    assert "-64" not in said


def test_a_first_run_that_only_drifts_leads_to_the_report_and_not_to_a_rollout(fresh: Shell) -> None:
    events = [fresh.event(i, label=100.0 + i % 50) for i in range(2000)]
    said = fresh("train", "main", "--source", fresh.write("in.jsonl", *events), "-o", "table").out
    assert "reached the limit 0.2, which is in the unit of the label: drift_monitor.drift_threshold" in said
    assert "next: upm drift-report main" in said
    assert "upm rollout start" not in said


def test_a_hold_of_no_time_is_not_counted_against_zero(paced: Paced) -> None:
    paced("rollout", "start")
    hold = next(gate for gate in paced.json("rollout", "status")["gates"] if gate["gate"] == "hold")
    assert "of 0s" not in hold["detail"]
    assert hold["detail"].endswith("; no time is asked for")
    assert hold["numbers"]["need_ms"] == 0


def test_resuming_what_is_not_paused_says_so(fresh: Shell) -> None:
    assert fresh("resume", "main", "-o", "table").out == "main is not paused\n"
    assert fresh("pause", "main", "-o", "table").out == "main paused\n"
    assert fresh("pause", "main", "-o", "table").out == "main is already paused\n"
    (problem,) = fresh.json("status")["problems"]
    assert problem["problem"] == f"paused: asked by {getpass.getuser()}"


def test_a_broken_configuration_is_shown_in_lines(fresh: Shell) -> None:
    with (fresh.folder / "upm.yaml").open("a") as config:
        config.write("learnr: {bits: 10}\n")
    ran = fresh("validate", "-o", "table")
    assert ran.code == 3
    assert "\\n" not in ran.out
    assert "1 problem in the configuration" in ran.out
    assert "unknown key 'learnr'" in ran.err


def test_a_word_that_is_no_time_is_told_which_are(fresh: Shell) -> None:
    ran = fresh.refused(2, "UPM-E029", "audit", "list", "--since", "yesterday")
    assert "24h" in ran.err and "2026-11-23T12:00Z" in ran.err


def test_a_webhook_without_its_secret_is_told_how_to_make_it(fresh: Shell) -> None:
    hook = "{name: ops, url: 'http://127.0.0.1:9/', secret_file: ops.secret}"
    with (fresh.folder / "upm.yaml").open("a") as config:
        config.write(f"notify: {{webhooks: [{hook}]}}\n")
    (told,) = json.loads(fresh("notify", "test", "--json").out)["webhooks"]
    path = fresh.folder / "ops.secret"
    assert told["error"] == f"there is no secret file {path}: upm notify secret ops.secret makes one"


def test_another_place_under_a_known_name_wants_another_name(fresh: Shell) -> None:
    fresh("adapter", "add", "edge", "--path", str(fresh.folder / "models"))
    ran = fresh.refused(2, "UPM-E121", "adapter", "add", "edge", "--path", str(fresh.folder / "others"))
    assert "choose another name" in ran.err


def test_where_the_encoding_has_no_signs_plain_ones_stand_for_them(fresh: Shell, on_path: dict[str, str]) -> None:
    words = [sys.executable, "-m", "upm_cli", "-C", str(fresh.folder), "status", "-o", "table"]
    env = {**on_path, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(words, env=env, capture_output=True, check=True)
    assert "\\" not in ran.stdout.decode("ascii")
    assert "----" in ran.stdout.decode("ascii")
