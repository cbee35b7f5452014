"""up, down, restart, ps and logs, with a supervisor that is only pretended: this process holds its lease."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_demo_json_reference import documented, fields

from upm_cli.clock import SystemClock
from upm_cli.commands import logs
from upm_cli.ops import supervisor as ops
from upm_cli.ops.supervisor import Report, WorkerReport
from upm_cli.store import lease, ledger, logfiles, runfiles, wishes
from upm_cli.store.logfiles import Line, LogFile
from upm_cli.workers import detached

Shell = Any


def report(shell: Shell, *workers: WorkerReport, **more: Any) -> Report:
    now_ms = SystemClock().now_ms()
    told = Report(pid=os.getpid(), state="running", at_ms=now_ms, since_ms=now_ms, trainers=1, workers=workers)
    ops.publish(shell.home, replace(told, **more))
    return told


def worker(name: str, *jobs: str, **more: Any) -> WorkerReport:
    known: dict[str, Any] = {"state": "running", "pid": os.getpid(), "since_ms": 1_767_225_600_000, "restarts": 0}
    told = {job: {"state": "running", "restarts": 1, "error": ""} for job in jobs or (name,)}
    return WorkerReport(name=name, jobs=told, **known | more)


@pytest.fixture
def looked() -> Iterator[list[int]]:
    """The signals that reached this process, which plays the supervisor."""
    found: list[int] = []
    before = signal.signal(ops.LOOK_SIGNAL, lambda number, _frame: found.append(number))
    yield found
    signal.signal(ops.LOOK_SIGNAL, before)


@pytest.fixture
def up(fresh: Shell, looked: list[int]) -> Iterator[Shell]:
    """A project whose supervisor is this process."""
    with lease.acquire(fresh.home, ops.LEASE, "upm up"):
        report(fresh, worker("trainer-main"), worker("pool-1", "trainer-a", "drift-a", restarts=2))
        yield fresh


def wish(shell: Shell) -> tuple[str, str]:
    store = shell.store
    with store.read() as reader:
        found = wishes.list_all(reader)[-1]
    store.close()
    return found.worker, found.desired


def test_without_a_supervisor_down_has_nothing_to_do_and_restart_nobody_to_ask(fresh: Shell) -> None:
    ran = fresh("down", "-o", "table")
    assert (ran.code, ran.out) == (0, "no supervisor runs in this project: nothing to do\n")
    assert fresh.json("down")["ended"] is True
    fresh.refused(4, "UPM-E172", "restart")
    assert fresh.json("ps") == {"schema_version": 1, "supervisor": None, "workers": []}
    assert fresh.json("status")["supervisor"] is None


def test_down_writes_the_wish_sends_the_signal_and_records_who_asked(up: Shell, looked: list[int]) -> None:
    said = up.json("down", "--reason", "maintenance")
    assert (said["pid"], said["asked"], said["ended"]) == (os.getpid(), "stop", False)
    assert (wish(up), looked) == (("supervisor", "stop"), [ops.LOOK_SIGNAL])
    entry = ledger.read(up.home)[-1]
    assert (entry["action"], entry["details"]) == ("supervisor.stop", {"drain": False, "reason": "maintenance"})


def test_down_can_ask_for_a_drain_and_a_dry_run_asks_for_nothing(up: Shell, looked: list[int]) -> None:
    assert up.json("down", "--drain", "--dry-run")["asked"] is None
    assert looked == []
    assert up.json("down", "--drain")["asked"] == "drain"
    assert wish(up) == ("supervisor", "drain")


def test_waiting_for_the_end_has_an_end_of_its_own(up: Shell) -> None:
    ran = up("down", "--wait", "100ms")
    assert ran.code == 10
    assert ran.err.startswith(f"error[UPM-E175]: the supervisor (pid {os.getpid()}) has not ended within 0.1 s")


@pytest.mark.parametrize(
    ("given", "meant"), [("pool-1", "pool-1"), ("drift-a", "drift-a"), ("a", "trainer-a"), ("main", "trainer-main")]
)
def test_restart_takes_the_name_of_a_process_a_job_or_a_trainer(up: Shell, given: str, meant: str) -> None:
    assert up.json("restart", given)["worker"] == meant
    assert wish(up) == (meant, "restart")
    assert ledger.read(up.home)[-1]["subject"] == meant


def test_restart_without_a_name_means_all_and_an_unknown_name_is_told_what_there_is(up: Shell) -> None:
    assert up.json("restart")["worker"] is None
    assert wish(up) == ("supervisor", "restart")
    ran = up.refused(4, "UPM-E173", "restart", "mian")
    assert "there are pool-1, trainer-main: upm ps" in ran.err


def test_ps_shows_processes_with_their_jobs_below(up: Shell) -> None:
    shown = up.json("ps", "--jobs")
    assert [row["name"] for row in shown["workers"]] == [
        "trainer-main", "  trainer-main", "pool-1", "  trainer-a", "  drift-a",
    ]  # fmt: skip
    first = up.json("ps")["workers"][0]
    assert first["rss_bytes"] > 10_000_000, "measured now, not remembered"
    assert shown["supervisor"]["restarts"] == 2 + 3
    table = up("ps", "-o", "table")
    assert "pool-1" in table.out
    assert f"supervisor running (pid {os.getpid()})" in table.err


def test_ps_and_status_say_what_is_wrong(up: Shell) -> None:
    report(up, worker("trainer-main", state="backoff", pid=None), problems=["trainer-main backoff: killed by signal 9"])
    assert "warning: trainer-main backoff: killed by signal 9" in up("ps", "-o", "table").err
    err = up("status", "-o", "table").err
    assert "● running for " in err
    assert "supervisor: trainer-main backoff: killed by signal 9.   Next: upm ps" in err


def test_ps_lists_workers_of_a_train_that_no_supervisor_started(fresh: Shell) -> None:
    with lease.acquire(fresh.home, "trainer-main", "upm trainer worker of main"):
        status = {"worker": "trainer-main", "lease": "trainer-main", "pid": os.getpid(), "state": "training"}
        runfiles.write_status(fresh.home, "trainer-main", status)
        (row,) = fresh.json("ps")["workers"]
    assert (row["name"], row["pid"], row["reason"]) == ("trainer-main", os.getpid(), "upm trainer worker of main")


def test_what_a_killed_supervisor_left_behind_is_believed_by_nobody(fresh: Shell, looked: list[int]) -> None:
    with lease.acquire(fresh.home, ops.LEASE, "upm up"):
        report(fresh, worker("trainer-main"))
    assert fresh.json("ps") == {"schema_version": 1, "supervisor": None, "workers": []}
    assert fresh.json("down")["asked"] is None
    assert looked == []


def test_a_stranger_who_got_the_number_of_the_supervisor_gets_no_signal(up: Shell, looked: list[int]) -> None:
    path = up.home / "run" / "supervisor.lease"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "started": note["started"] + 1}))
    assert up.json("down")["asked"] == "stop"
    assert looked == [], "a process of that number, but another one"
    assert wish(up) == ("supervisor", "stop"), "whoever holds the lease still finds the wish"


def test_a_second_supervisor_is_refused_and_told_of_the_first(up: Shell) -> None:
    ran = up.refused(7, "UPM-E070", "up")
    assert f"supervisor is already running: pid {os.getpid()} (upm up)" in ran.err


def test_a_trainer_that_the_supervisor_has_is_not_trained_by_anybody_else(up: Shell) -> None:
    with lease.acquire(up.home, "train-main", "upm up"):
        ran = up.refused(7, "UPM-E070", "train", "main", "--once")
    assert f"pid {os.getpid()} (upm up)" in ran.err


def test_a_trainer_that_the_supervisor_has_can_be_removed(up: Shell) -> None:
    assert up("trainer", "add", "old").code == 0
    with lease.acquire(up.home, "train-old", "upm up"):
        assert up.json("trainer", "remove", "old", "--yes")["removed"] is True
    assert [row["name"] for row in up.json("trainer", "list")["trainers"]] == ["main"]


def test_a_trainer_that_somebody_else_trains_can_not_be_removed(fresh: Shell) -> None:
    assert fresh("trainer", "add", "old").code == 0
    with lease.acquire(fresh.home, "train-old", "upm train old"):
        fresh.refused(7, "UPM-E070", "trainer", "remove", "old", "--yes")


@pytest.mark.parametrize(
    ("config", "code", "error"),
    [
        ("supervisor: {enabled: false}\n", 5, "UPM-E170"),
        ("supervisor: {default_trainers: [{name: main, sources: ['-']}]}\n", 2, "UPM-E171"),
        ("features: {unified_model: false}\n", 5, "UPM-E054"),
    ],
)
def test_up_refuses_what_it_can_not_run(fresh: Shell, config: str, code: int, error: str) -> None:
    (fresh.folder / "upm.yaml").write_text(config)
    fresh.refused(code, error, "up")


def test_the_fields_of_their_answers_are_documented(up: Shell, fresh: Shell) -> None:
    page = documented()
    lines = [Line(at="2026-11-23T12:00:00.000Z", worker="supervisor", level="info", text="ready")]
    LogFile(up.home, "supervisor", most_bytes=10_000, keep=0).write(lines)
    for section, words in (
        ("`upm ps`", ["ps"]),
        ("`upm down`", ["down"]),
        ("`upm restart`", ["restart"]),
        ("`upm logs`", ["logs"]),
    ):
        said = up.json(*words)
        said.pop("schema_version")
        assert fields(said, page[section]) == page[section], section


def line(at: int, name: str, text: str) -> Line:
    return Line(at=f"2026-11-23T12:00:{at:02}.000Z", worker=name, level="out", text=text)


def test_logs_prints_the_last_lines_of_one_or_of_all_in_the_order_of_time(fresh: Shell) -> None:
    for name, seconds in (("supervisor", (1, 4, 5)), ("trainer-main", (2, 3, 6))):
        file = LogFile(fresh.home, name, most_bytes=10_000, keep=1)
        file.write(line(second, name, f"at {second}") for second in seconds)
        file.close()
    assert [each["text"] for each in fresh.json("logs", "-n", "4")["lines"]] == ["at 3", "at 4", "at 5", "at 6"]
    assert [each["text"] for each in fresh.json("logs", "trainer-main", "-n", "2")["lines"]] == ["at 3", "at 6"]
    assert "2026-11-23 12:00:06Z" in fresh("logs", "-o", "table").out
    ran = fresh.refused(4, "UPM-E173", "logs", "drift-main")
    assert "there are supervisor, trainer-main" in ran.err


def test_logs_of_a_job_are_those_of_the_process_that_does_it(up: Shell) -> None:
    for name in ("pool-1", "drift-a"):  # it had a process of its own, before there were as many trainers
        file = LogFile(up.home, name, most_bytes=10_000, keep=1)
        file.write([line(1, name, f"said by {name}")])
        file.close()
    ran = up("logs", "drift-a", "--json")
    assert [each["text"] for each in ran.json["lines"]] == ["said by pool-1"]
    assert "drift-a is one of the jobs of pool-1" in ran.err


def test_logs_without_any_say_where_they_come_from(fresh: Shell) -> None:
    assert "nothing was said yet: upm up" in fresh("logs", "-o", "table").err
    fresh.refused(4, "UPM-E173", "logs", "supervisor")


def test_logs_follow_what_is_said_and_what_is_not_text_is_shown_escaped(
    fresh: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LogFile(fresh.home, "supervisor", most_bytes=10_000, keep=1)
    file.write([line(1, "supervisor", "before")])
    naps: list[float] = []

    def nap(_clock: SystemClock, seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt
        file.write([line(1 + len(naps), "supervisor", f"new \x1b[31m{len(naps)}")])

    monkeypatch.setattr(SystemClock, "sleep", nap)
    ran = fresh("logs", "-f", "-o", "tsv")
    file.close()
    assert ran.code == 130
    told = [row.split("\t")[-1] for row in ran.out.splitlines()]
    assert told == ["before", "new \\x1b[31m1", "new \\x1b[31m2"]
    assert logs._POLL_S < 1


def test_up_in_the_background_passes_on_why_it_did_not_come_up(fresh: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh.folder / "upm.yaml").write_text("supervisor: {enabled: false}\n")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    ran = fresh("up", "--detach")
    assert (ran.code, ran.out) == (5, "")
    assert "error[UPM-E170]: supervisor.enabled is off" in ran.err
    assert detached.READY_S > 60


def test_logs_of_workers_that_are_long_gone_are_dropped(fresh: Shell) -> None:
    for name in ("supervisor", "trainer-old"):
        file = LogFile(fresh.home, name, most_bytes=10_000, keep=1)
        file.write([line(1, name, "x")])
        file.close()
    old = logfiles.folder(fresh.home) / "trainer-old.log"
    os.utime(old, (1, 1))
    assert logfiles.drop_old(fresh.home, 1_000_000_000_000) == 1
    assert logfiles.workers(fresh.home) == ["supervisor"]
