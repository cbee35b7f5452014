"""The supervisor's loop over a real state, with processes that a test plays and a clock that it moves."""

import json
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from upm_cli.clock import ManualClock
from upm_cli.config.load import load
from upm_cli.core.event import EVENTS
from upm_cli.core.records import Mode as TrainerMode
from upm_cli.errors import StorageError, UpmError
from upm_cli.ops import supervisor as ops
from upm_cli.ops import trainers as trainer_ops
from upm_cli.ops.project import init_project
from upm_cli.store import lease, outbox, runfiles, streams, trainers
from upm_cli.store.session import Store
from upm_cli.workers.context import Project
from upm_cli.workers.signals import Signals
from upm_cli.workers.supervisor import Outside, Supervisor

ALONE = ["trainer-main", "drift-main", "rollouts"]
QUICK = "restart_backoff_ms: 1000, stuck_ms: 30000, grace_ms: 5000, max_workers: 4"


@dataclass
class Process:
    """One started process: it does what it was ordered to, unless it is frozen or has ended."""

    world: "World"
    name: str
    argv: Sequence[str]
    pid: int
    code: int | None = None
    told: list[str] = field(default_factory=list)
    is_frozen: bool = False  # it gives no sign of life any more
    listens: bool = True  # to being asked to end
    turns: int = 0

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.told.append("terminate")
        if self.listens and not self.is_frozen:
            self.code = 143

    def kill(self) -> None:
        self.told.append("kill")
        self.code = -9

    @property
    def orders(self) -> dict[str, Any]:
        return runfiles.read_note(self.world.home, self.name, runfiles.JOBS) or {"jobs": [], "finish": []}

    @property
    def jobs(self) -> list[str]:
        return [f"{job['kind']}-{job['name']}".rstrip("-") for job in self.orders["jobs"]]

    def beat(self) -> None:
        """Say that every job has come further and has seen everything."""
        if self.code is not None or self.is_frozen or self.argv[0] != "host":
            return
        self.turns += 1
        finished = [label for label in self.orders["finish"] if label not in self.world.slow]
        told = {"state": "running", "at": self.turns, "seen": "all", "restarts": 0, "error": ""}
        jobs = {label: told | self.world.said.get(label, {}) for label in self.jobs if label not in finished}
        note = {"pid": self.pid, "turns": self.turns, "jobs": jobs, "done": finished}
        runfiles.write_note(self.world.home, self.name, runfiles.BEAT, note)


class Even(random.Random):
    """A chance that is always even: every pause is half of the longest."""

    def random(self) -> float:
        return 0.5


class Clock(ManualClock):
    """A clock on which a pass of the supervisor's loop takes half a second and lets the world go on."""

    on_sleep: Callable[[], None] = staticmethod(lambda: None)

    def sleep(self, seconds: float) -> None:
        self.advance(max(seconds, 0.5))
        self.on_sleep()


@dataclass
class World:
    """A project, its supervisor, and what happens around it."""

    folder: Path
    clock: Clock = field(default_factory=lambda: Clock(now_ms=1_767_225_600_000, monotonic_s=1000.0))
    signals: Signals = field(default_factory=Signals)
    started: list[Process] = field(default_factory=list)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)  # what jobs say of themselves
    slow: set[str] = field(default_factory=set)  # jobs that do not finish
    log: list[tuple[str, str, str]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    plan: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    reports: list[ops.Report] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / ".upm"

    @property
    def last(self) -> ops.Report:
        """What was told last before it was asked to end."""
        return [report for report in self.reports if report.state == "running"][-1]

    def configure(self, names: Sequence[str] = ("main",), section: str = QUICK, sources: str = "[]") -> None:
        listed = ", ".join(f"{{name: {name}, sources: {sources}}}" for name in names)
        (self.folder / "upm.yaml").write_text(f"supervisor: {{{section}, default_trainers: [{listed}]}}\n")

    def at(self, seconds: float, *does: Callable[[], object]) -> "World":
        """Let something happen that many seconds after the start."""
        self.plan.extend((self.clock.monotonic_s() + seconds, each) for each in does)  # type: ignore[misc]
        return self

    def pass_time(self) -> None:
        for process in self.started:
            process.beat()
        shared = [label for process in self.started if process.code is None for label in process.jobs]
        assert len(shared) == len(set(shared)), "no job is given to two processes at a time"
        due = [each for each in self.plan if each[0] <= self.clock.monotonic_s()]
        self.plan = [each for each in self.plan if each not in due]
        for _, does in due:
            does()
        found = ops.report(self.store)
        if found is not None:
            self.reports.append(found)

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.signals._receive(number, None)

    def run(self, seconds: float = 10.0) -> int:
        """Run a supervisor, and end it after `seconds` unless something else does."""
        self.store = Store(self.home, self.clock)
        self.at(seconds, self.stop)
        settings = load(self.folder / "upm.yaml", environ={}).settings
        outside = Outside(start=self.start, log=self, notify=self, chance=Even())  # type: ignore[arg-type]
        project = Project(folder=self.folder)
        self.clock.on_sleep = self.pass_time  # type: ignore[method-assign]
        supervisor = Supervisor(self.store, self.clock, project, settings, outside)
        with lease.acquire(self.home, ops.LEASE, "upm up"):
            return supervisor.run(self.signals)

    def start(self, name: str, argv: Sequence[str]) -> Process:
        self.started.append(Process(self, name, argv, pid=5000 + len(self.started)))
        return self.started[-1]

    def newest(self, name: str) -> Process:
        return [process for process in self.started if process.name == name][-1]

    def count(self, name: str) -> int:
        return sum(process.name == name for process in self.started)

    def grow(self, stream: str = "main", rows: int = 100) -> None:
        """Append log rows, as an ingest worker does."""
        from dataclasses import replace

        with self.store.write() as tx:
            found = streams.find(tx, stream)
            assert found is not None
            streams.put(tx, replace(found, next_seq=found.next_seq + rows))

    # As a log and as a service manager

    def say(self, text: str, *, worker: str = "supervisor", level: str = "info") -> None:
        self.log.append((worker, level, text))

    def lines(self, worker: str, level: str | None = None) -> list[str]:
        return [text for who, how, text in self.log if who == worker and level in (None, how)]

    def ready(self) -> None:
        self.sent.append("ready")

    def stopping(self) -> None:
        self.sent.append("stopping")

    def reloading(self, _now_s: float) -> None:
        self.sent.append("reloading")

    def status(self, text: str) -> None:
        self.sent.append(text)

    def alive(self, _now_s: float) -> None:
        return


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "project"
    init_project(folder, ManualClock(1_767_225_600_000))
    found = World(folder)
    found.configure()
    yield found
    found.store.close()


def test_every_job_gets_a_process_and_all_end_with_the_signal(world: World) -> None:
    assert world.run() == 143
    assert [process.name for process in world.started] == ALONE
    assert all(process.told == ["terminate"] for process in world.started)
    assert [text for text in world.sent if text in ("ready", "stopping")] == ["ready", "stopping"]
    assert "1 trainers, 3 workers, 0 restarts" in world.sent
    assert lease.holder(world.home, "train-main") is None
    assert not list((world.home / "run").glob("*.beat"))


def test_sources_get_an_ingest_job_with_absolute_paths(world: World) -> None:
    world.configure(sources="['inbox/*.jsonl']", section=QUICK.replace("4", "8"))
    world.at(2, lambda: seen.append(world.newest("ingest-main").orders))
    seen: list[dict[str, Any]] = []
    world.run()
    assert seen[0]["jobs"][0]["sources"] == [str(world.folder / "inbox/*.jsonl")]


def test_a_worker_that_dies_is_started_again_and_its_restarts_are_told(world: World) -> None:
    world.at(3, lambda: setattr(world.newest("trainer-main"), "code", -9))
    assert world.run() == 143
    assert world.count("trainer-main") == 2
    assert world.lines("trainer-main", "warning") == ["backoff: killed by signal 9; again in 0.5 s"]
    assert world.last.restarts == 1
    assert [worker.restarts for worker in world.last.workers if worker.name == "trainer-main"] == [1]


def test_a_worker_that_dies_too_often_is_given_up_and_the_others_go_on(world: World) -> None:
    for second in range(2, 40):
        world.at(second, lambda: setattr(world.newest("drift-main"), "code", 1))
    assert world.run(45) == 143
    assert world.count("drift-main") == 4
    assert world.count("trainer-main") == 1
    assert world.lines("drift-main", "error") == ["fatal: given up after 3 restarts in a row: ended with code 1"]
    with world.store.read() as reader:
        (told,) = [each for each in outbox.after(reader) if each.type == "ai.upm.worker.fatal"]
    assert EVENTS[told.type].problems(told.data) == []
    assert (told.data["worker"], told.data["trainer_id"], told.data["restarts"]) == ("drift-main", "main", 3)
    assert "drift-main fatal: given up after 3 restarts in a row: ended with code 1" in world.last.problems


def test_what_a_worker_says_about_its_end_is_passed_on(world: World) -> None:
    def fail() -> None:
        process = world.newest("trainer-main")
        error = {"code": "UPM-E096", "message": "the checkpoint can't be used", "hint": "", "context": {}}
        runfiles.write_status(world.home, "trainer-main", {"pid": process.pid, "error": error})
        process.code = 9

    world.at(3, fail)
    world.run()
    assert world.lines("trainer-main", "error") == ["fatal: ended with code 9: the checkpoint can't be used"]
    assert world.count("trainer-main") == 1


def test_a_full_disk_is_waited_for(world: World) -> None:
    def fail() -> None:
        process = world.newest("trainer-main")
        if process.code is None:
            error = {"code": "UPM-E010", "message": "the disk is full", "hint": "", "context": {}}
            runfiles.write_status(world.home, "trainer-main", {"pid": process.pid, "error": error})
            process.code = 1

    for second in range(2, 60, 2):
        world.at(second, fail)
    world.run(70)
    assert world.count("trainer-main") > 4
    assert world.lines("trainer-main", "error") == []


def test_a_worker_without_progress_although_the_log_grows_is_replaced(world: World) -> None:
    world.at(5, lambda: setattr(world.newest("trainer-main"), "is_frozen", True), world.grow)
    world.run(60)
    first, second = (process for process in world.started if process.name == "trainer-main")
    assert first.told == ["terminate", "kill"]
    assert second.told == ["terminate"]
    told = world.lines("trainer-main", "warning")
    assert told[0].endswith("stuck: no progress of trainer-main for 30 s although there is work")
    assert world.count("drift-main") == 1, "nothing was learned, so there was nothing to judge"


def test_a_frozen_worker_without_work_is_left_alone(world: World) -> None:
    world.said = {"trainer-main": {"seen": [0, 0], "at": 1}, "drift-main": {"seen": [0, 0], "at": 1}}
    world.at(5, lambda: setattr(world.newest("trainer-main"), "is_frozen", True))
    world.run(100)
    assert world.count("trainer-main") == 1


def test_a_ticker_that_stops_ticking_is_stuck_as_there_is_always_time_to_pass(world: World) -> None:
    world.at(5, lambda: setattr(world.newest("rollouts"), "is_frozen", True))
    world.run(60)
    assert world.count("rollouts") == 2


def test_trainers_that_come_and_go_while_it_runs_are_followed(world: World) -> None:
    def add() -> None:
        trainer_ops.add(world.store, world.clock, "late", mode=TrainerMode.SHADOW, actor="me")

    def remove() -> None:
        with world.store.write() as tx:
            trainers.remove(tx, "late")

    during: list[tuple[int, bool]] = []
    world.configure(section=QUICK.replace("4", "8"))
    world.at(3, add).at(6, lambda: during.append((world.count("trainer-late"), is_held("train-late")))).at(8, remove)
    world.at(12, lambda: during.append((world.count("trainer-late"), is_held("train-late"))))

    def is_held(name: str) -> bool:
        return lease.holder(world.home, name) is not None

    world.run(15)
    assert during == [(1, True), (1, False)]
    assert world.newest("trainer-late").told == ["terminate"]
    assert {"trainer late is taken on", "trainer late is gone"} <= set(world.lines("supervisor"))


def test_a_trainer_that_somebody_else_trains_is_left_alone_until_they_are_done(world: World) -> None:
    held = lease.acquire(world.home, "train-main", "upm train main --follow")
    during: list[int] = []
    world.at(5, lambda: during.append(world.count("trainer-main")), held.release)
    world.run(15)
    assert during == [0]
    assert world.count("trainer-main") == 1
    told = world.lines("supervisor", "warning")
    assert len(told) == 1
    assert "trainer main is left alone: train-main is already running: pid" in told[0]
    assert any("upm train main --follow" in problem for report in world.reports for problem in report.problems)


def ask(world: World, desired: str, **more: Any) -> Callable[[], object]:
    return lambda: ops.ask(world.store, world.clock, desired, actor="alice", **more)


def test_a_wish_to_stop_is_found_without_any_signal_and_ends_it_with_0(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.at(5, ask(world, "stop", reason="holiday"))
    assert world.run(60) == 0
    assert "stopping: asked by alice: holiday" in world.lines("supervisor")
    assert all(process.told == ["terminate"] for process in world.started)


def test_a_wish_about_an_older_supervisor_means_nothing_to_a_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.at(5, ask(world, "stop"))
    assert world.run(60) == 0
    second = World(world.folder)
    assert second.run(10) == 143
    second.store.close()


def test_a_drain_finishes_ingest_then_trainers_then_monitors_and_ends_with_0(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.configure(sources="[in.jsonl]")
    order: list[str] = []
    world.slow = {"ingest-main", "trainer-main", "drift-main"}

    def finish(label: str) -> Callable[[], None]:
        def does() -> None:
            order.extend(each.name for each in world.started if each.orders["finish"])
            world.slow.discard(label)

        return does

    world.at(5, ask(world, "drain"))
    for second, label in ((8, "ingest-main"), (11, "trainer-main"), (14, "drift-main")):
        world.at(second, finish(label))
    assert world.run(120) == 0
    assert order == ["ingest-main", "ingest-main", "trainer-main", "ingest-main", "trainer-main", "drift-main"]
    assert "stopping: every full batch has been learned and judged" in world.lines("supervisor")


def test_a_signal_cuts_a_drain_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.slow = {"trainer-main"}
    world.at(5, ask(world, "drain"))
    assert world.run(20) == 143


def test_a_restart_revives_what_was_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.at(3, lambda: setattr(world.newest("trainer-main"), "code", 3))
    world.at(6, ask(world, "restart", worker="main", reason="mended"))
    world.run(15)
    assert world.count("trainer-main") == 2
    assert "starts anew, asked by alice: mended" in world.lines("trainer-main")
    assert world.newest("trainer-main").code == 143


def test_a_restart_without_a_name_starts_all_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.at(5, ask(world, "restart"))
    world.run(15)
    assert [world.count(name) for name in ALONE] == [2, 2, 2]
    assert world.last.restarts == 3


def test_a_worker_that_does_not_listen_is_killed_after_the_grace(world: World) -> None:
    world.at(3, lambda: setattr(world.newest("trainer-main"), "listens", False))
    assert world.run(10) == 143
    assert world.newest("trainer-main").told == ["terminate", "kill"]
    assert world.clock.monotonic_s() >= 1000 + 10 + 5


def test_a_second_signal_kills_at_once(world: World) -> None:
    for name in ALONE:
        world.at(3, lambda name=name: setattr(world.newest(name), "listens", False))
    world.at(5, lambda: world.stop(signal.SIGINT)).at(6, lambda: world.stop(signal.SIGINT))
    assert world.run(60) == 130
    assert all(process.told == ["terminate", "kill"] for process in world.started)
    assert world.clock.monotonic_s() < 1000 + 9


def test_a_configuration_that_is_read_again_brings_new_trainers_and_settings(world: World) -> None:
    def edit() -> None:
        world.configure(names=("main", "second"), section=QUICK.replace("4", "9"))
        world.signals._receive(signal.SIGHUP, None)

    world.at(5, edit)
    world.run(15)
    assert [world.count(name) for name in ("trainer-main", "trainer-second")] == [2, 1]
    assert world.sent.count("ready") == 2
    assert world.sent.index("reloading") > world.sent.index("ready")


@pytest.mark.parametrize("text", ["supervisor: {max_workers: none}\n", "supervisor: [\n"])
def test_a_bad_configuration_changes_nothing(world: World, text: str) -> None:
    def edit() -> None:
        (world.folder / "upm.yaml").write_text(text)
        world.signals._receive(signal.SIGHUP, None)

    world.at(5, edit)
    assert world.run(15) == 143
    assert len(world.started) == 3
    assert any(text.startswith("the configuration stays as it was") for text in world.lines("supervisor", "error"))


def test_the_same_configuration_again_restarts_nobody(world: World) -> None:
    world.at(5, lambda: world.signals._receive(signal.SIGHUP, None))
    world.run(15)
    assert len(world.started) == 3
    assert "the configuration is the same as before" in world.lines("supervisor")


def test_more_trainers_than_processes_share_pools_and_nobody_is_done_twice_on_the_way(world: World) -> None:
    def add(name: str) -> Callable[[], object]:
        return lambda: trainer_ops.add(world.store, world.clock, name, mode=TrainerMode.SHADOW, actor="me")

    world.at(5, *(add(f"t{n}") for n in range(4)))
    done: list[set[str]] = []
    world.at(20, lambda: done.append({label for each in world.started if each.code is None for label in each.jobs}))
    world.run(25)
    assert [world.count(f"pool-{n}") for n in range(1, 5)] == [1, 1, 1, 1]
    assert world.newest("trainer-main").told == ["terminate"]
    expected = {f"{kind}-{name}" for kind in ("trainer", "drift") for name in ("main", "t0", "t1", "t2", "t3")}
    assert done == [expected | {"rollouts"}]


def test_a_job_that_ends_its_pool_each_time_is_set_aside_and_the_rest_goes_on(world: World) -> None:
    names = [f"t{n}" for n in range(4)]
    world.configure(names=names, section=f"{QUICK}, max_workers: 2".replace("max_workers: 4, ", ""))
    with_bad = []

    def crash() -> None:
        for process in world.started:
            if process.code is None and "trainer-t1" in process.jobs and process.turns > 2:
                with runfiles.Doing(world.home, process.name) as doing:
                    doing.say("trainer-t1")
                process.code = -11
                with_bad.append(process.name)

    for second in range(2, 60):
        world.at(second, crash)
    world.run(65)
    assert len(with_bad) == 3
    assert len(set(with_bad)) == 1
    still = {label for worker in world.last.workers for label in worker.jobs}
    every = {f"{kind}-{name}" for kind in ("trainer", "drift") for name in names} | {"rollouts"}
    assert still == every - {"trainer-t1"}
    assert any(problem.startswith("trainer-t1 set aside: pool-") for problem in world.last.problems)
    assert {worker.state for worker in world.last.workers} == {"running"}


def test_a_job_of_a_pool_that_was_given_up_is_a_problem_that_is_told(world: World) -> None:
    world.configure(names=["a", "b"], section=QUICK.replace("4", "2"))
    world.said = {"trainer-b": {"state": "fatal", "error": "the checkpoint can't be used"}}
    world.run(10)
    assert "trainer-b fatal: the checkpoint can't be used" in world.last.problems


def test_a_restart_of_a_job_in_a_pool_is_passed_on_to_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops.procs, "send", lambda *_: False)
    world.configure(names=["a", "b"], section=QUICK.replace("4", "2"))
    told: list[dict[str, int]] = []
    world.at(4, ask(world, "restart", worker="b"))
    world.at(8, lambda: told.extend(each.orders["restarts"] for each in world.started if "trainer-b" in each.jobs))
    world.run(10)
    assert [list(each) for each in told] == [["trainer-b"]]
    assert {worker.name: worker.restarts for worker in world.last.workers} == {"pool-1": 0, "pool-2": 0}


def test_when_every_worker_is_given_up_it_ends_and_says_so(world: World) -> None:
    def fail() -> None:
        for process in world.started:
            if process.name != "rollouts":
                process.code = 9

    world.at(3, fail)
    with pytest.raises(UpmError, match=r"every worker was given up: trainer-main: ended with code 9") as refused:
        world.run(60)
    assert refused.value.code == "UPM-E174"
    assert world.newest("rollouts").told == ["terminate"]


def test_a_state_that_can_not_be_read_is_said_once_and_work_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_it() -> None:
        def fail() -> None:
            raise StorageError("can't look at state.duckdb: Input/output error")

        monkeypatch.setattr(world.store, "token", fail)

    world.at(4, break_it)
    world.at(10, monkeypatch.undo)
    assert world.run(15) == 143
    told = [text for text in world.lines("supervisor", "error") if "can't look at the state" in text]
    assert told == ["can't look at the state: can't look at state.duckdb: Input/output error"]
    assert len(world.started) == 3
    assert world.last.problems == []


def test_a_process_that_can_not_be_started_is_tried_again(world: World) -> None:
    tries: list[str] = []
    start = world.start

    def refuse(name: str, argv: Sequence[str]) -> Process:
        tries.append(name)
        if name == "trainer-main" and tries.count(name) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(name, argv)

    world.start = refuse  # type: ignore[method-assign]
    assert world.run(15) == 143
    assert tries.count("trainer-main") == 2
    assert "can't be started" in world.lines("trainer-main", "error")[0]


def test_what_is_published_is_what_ps_reads(world: World) -> None:
    seen: list[dict[str, Any]] = []
    world.at(8, lambda: seen.append(ops.processes(world.store, world.clock.now_ms())))
    world.run(12)
    (found,) = seen
    assert found["supervisor"]["state"] == "running"
    assert [(row["name"], row["state"], row["lag"]) for row in found["workers"]] == [
        ("trainer-main", "running", 0),
        ("drift-main", "running", None),
        ("rollouts", "running", None),
    ]
    assert json.dumps(found)
    assert ops.processes(world.store, world.clock.now_ms()) == {"supervisor": None, "workers": []}
