"""A process that does several jobs in turn: the same results, fair shares, and nobody stopped by another's trouble."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upm_cli.clock import ManualClock
from upm_cli.core.placement import JobSpec, Kind
from upm_cli.errors import BusyError, IntegrityError
from upm_cli.ops import trainers as trainer_ops
from upm_cli.ops.project import init_project
from upm_cli.store import lease, monitors, positions, runfiles, trainers
from upm_cli.store.session import Store
from upm_cli.store.together import Outcome, Steps
from upm_cli.workers import host, ingest, interest, trainer
from upm_cli.workers.context import Project, Worker
from upm_cli.workers.job import Turn
from upm_cli.workers.lifeline import Stop
from upm_cli.workers.trainer import TrainerJob

NAMES = ("a", "b", "c")
WINDOWS = 96  # whole batches


def write(folder: Path, name: str, first: int, stop: int) -> None:
    """Append windows of a stream of its own to the file of `name`."""
    with (folder / f"{name}.jsonl").open("a") as file:
        for i in range(first, stop):
            x, y = np.random.default_rng([ord(name[0]), i]).normal(size=2).round(3).tolist()
            start_ms = 1_767_225_600_000 + i * 1000
            window = {"window_id": f"{name}{i}", "window_start": start_ms, "window_end": start_ms + 1000}
            file.write(json.dumps({**window, "features": {"x": x, "y": y}, "label": int(x > y)}) + "\n")


class Clock(ManualClock):
    """Time passes only while the process sleeps; then `on_sleep` may look around."""

    on_sleep: Callable[[], None] = staticmethod(lambda: None)

    def sleep(self, seconds: float) -> None:
        self.advance(max(seconds, 0.25))
        self.on_sleep()


@dataclass
class Site:
    """A project with three trainers, and a process that works for them."""

    folder: Path
    clock: Clock = field(default_factory=lambda: Clock(1_767_300_000_000, 50.0))
    stop: Stop = field(default_factory=Stop)
    seen: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.home, self.clock)

    @property
    def home(self) -> Path:
        return self.folder / ".upm"

    def jobs(self, *names: str, kinds: Sequence[Kind] = (Kind.INGEST, Kind.TRAINER, Kind.DRIFT)) -> list[JobSpec]:
        every = names or NAMES
        source = {name: (str(self.folder / f"{name}.jsonl"),) for name in every}
        return [JobSpec(kind=k, name=n, sources=source[n] if k is Kind.INGEST else ()) for n in every for k in kinds]

    def order(self, jobs: Sequence[JobSpec], *, finish: Sequence[str] = (), **restarts: int) -> None:
        serials = {name.replace("_", "-"): serial for name, serial in restarts.items()}
        note = {"jobs": [job.to_plain() for job in jobs], "finish": list(finish), "restarts": serials}
        runfiles.write_note(self.home, self.process, runfiles.JOBS, note)

    process = "pool-1"

    def run(self, until: Callable[[], object], seconds: float = 200.0) -> int:
        """Run the process until something holds, and then ask it to end."""
        deadline_s = self.clock.monotonic_s() + seconds

        def look() -> None:
            if until():
                self.stop.signal = 15
            assert self.clock.monotonic_s() < deadline_s, "it never came true"

        self.clock.on_sleep = look  # type: ignore[method-assign]
        self.stop.signal = None
        return host.run(Worker.open(self.process, Project(folder=self.folder), self.clock, self.stop))

    def beat(self) -> dict[str, Any]:
        return runfiles.read_note(self.home, self.process, runfiles.BEAT) or {"jobs": {}, "done": []}

    def state(self, label: str) -> str | None:
        found: dict[str, Any] = self.beat()["jobs"].get(label, {})
        return found.get("state")

    def known(self) -> dict[str, tuple[int, str | None]]:
        """Return what each trainer has learned: how many windows, and the digest of its weights."""
        return self._looked()[0]

    def compared(self) -> dict[str, int]:
        return self._looked()[1]

    def _looked(self) -> tuple[dict[str, tuple[int, str | None]], dict[str, int]]:
        """Read the state, if it is another one."""
        token = self.store.token()
        if token not in self.seen:
            with self.store.read() as reader:
                known = {each.name: (each.trained, each.weights_sha256) for each in trainers.list_all(reader)}
                self.seen = {token: (known, {name: monitors.get(reader, name).compared for name in NAMES})}
        return self.seen[token]

    def all_learned(self, windows: int = WINDOWS, names: Sequence[str] = NAMES) -> Callable[[], bool]:
        return lambda: all(self.known()[name][0] == windows for name in names)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as it is before its first worker, made once and copied for each test."""
    folder, clock = tmp_path_factory.mktemp("hosted") / "project", ManualClock(1_767_300_000_000)
    init_project(folder, clock)
    listed = ", ".join(f"{{name: {name}}}" for name in NAMES)
    section = f"supervisor: {{restart_backoff_ms: 1000, default_trainers: [{listed}]}}"
    (folder / "upm.yaml").write_text(f"{section}\nlearner: {{bits: 8, task: binary}}\n")
    store, settings = Store(folder / ".upm", clock), Project(folder=folder).settings()
    for name in NAMES:
        trainer_ops.ensure(store, clock, settings, name, actor="me")
        write(folder, name, 0, WINDOWS)
    store.close()
    return folder


@pytest.fixture
def site(untouched: Path, tmp_path: Path) -> Iterator[Site]:
    found = Site(shutil.copytree(untouched, tmp_path / "project"))
    yield found
    found.store.close()


def calm(untouched: Path, folder: Path, windows: int) -> dict[str, str | None]:
    """Return the weights of each trainer as a run of its own learns them, with nobody else in the process."""
    own = Site(shutil.copytree(untouched, folder))
    for name in NAMES:
        write(own.folder, name, WINDOWS, windows)
        project = Project(folder=own.folder)
        reads = Worker.open(f"ingest-{name}", project, own.clock, Stop())
        ingest.run(reads, name, [str(own.folder / f"{name}.jsonl")], "auto", follow=False)
        learns = Worker.open(f"trainer-{name}", project, own.clock, Stop())
        trainer.run(learns, name, _Ended())  # type: ignore[arg-type]
        reads.store.close()
        learns.store.close()
    found = {name: digest for name, (_, digest) in own.known().items()}
    own.store.close()
    return found


class _Ended:
    def closed(self) -> bool:
        return True


def test_trainers_that_share_a_process_learn_what_each_would_alone(site: Site, untouched: Path, tmp_path: Path) -> None:
    site.order(site.jobs())
    assert site.run(site.all_learned()) == 143
    for name in NAMES:
        write(site.folder, name, WINDOWS, 2 * WINDOWS)
    assert site.run(lambda: site.all_learned(2 * WINDOWS)() and set(site.compared().values()) == {2 * WINDOWS}) == 143
    expected = calm(untouched, tmp_path / "calm", 2 * WINDOWS)
    assert {name: digest for name, (_, digest) in site.known().items()} == expected
    assert len(set(expected.values())) == 3


def test_each_job_has_the_lease_of_its_name_while_it_runs(site: Site) -> None:
    site.order(site.jobs("a"))
    held: list[bool] = []

    def all_run() -> bool:
        if len(site.beat()["jobs"]) == 3 and site.all_learned(names=["a"])():
            held.extend(lease.holder(site.home, label) is not None for label in (*site.beat()["jobs"], "pool-1"))
        return bool(held)

    site.run(all_run)
    assert held == [True] * 4
    assert [lease.holder(site.home, label) for label in ("ingest-a", "trainer-a", "drift-a", "pool-1")] == [None] * 4


def test_an_idle_job_has_seen_all_there_is_until_there_is_more(site: Site) -> None:
    site.order(site.jobs("a"))
    seen: dict[str, object] = {}

    def interests() -> dict[str, object]:
        with site.store.read() as reader:
            where = positions.read(reader)
        of = {"trainer-a": interest.of_trainer("a", where), "drift-a": interest.of_monitor("a", where)}
        return of | {"ingest-a": interest.of_ingest([str(site.folder / "a.jsonl")])}

    def until() -> bool:
        seen.update({label: told["seen"] for label, told in site.beat()["jobs"].items()})
        return site.compared()["a"] == WINDOWS and seen == interests()

    site.run(until)
    write(site.folder, "a", WINDOWS, WINDOWS + 1)
    assert {label for label, value in interests().items() if seen[label] != value} == {"ingest-a"}
    with site.store.write() as tx:
        trainers.put(tx, replace(trainers.get(tx, "a"), log_position=1000))
    assert seen["drift-a"] != interests()["drift-a"]
    assert seen["trainer-a"] == interests()["trainer-a"]


def test_neither_a_damaged_trainer_nor_one_that_was_removed_stops_the_others(site: Site) -> None:
    site.order(site.jobs())
    site.run(site.all_learned())
    with site.store.read() as reader:
        digest = trainers.get(reader, "b").checkpoint_digest
    (path,) = (site.home / "blobs/sha256" / str(digest)[:2]).glob(f"{digest}.*")
    path.write_bytes(path.read_bytes()[:-20])
    with site.store.write() as tx:
        trainers.remove(tx, "c")
    for name in NAMES:
        write(site.folder, name, WINDOWS, 2 * WINDOWS)

    def until() -> bool:
        return site.known()["a"][0] == 2 * WINDOWS and site.state("trainer-b") == site.state("drift-c") == "fatal"

    assert site.run(until) == 143
    assert (site.known()["b"][0], "c" in site.known()) == (WINDOWS, False)
    told = runfiles.read_status(site.home, "trainer-b")
    assert told is not None
    assert (told["state"], told["error"]["code"]) == ("failed", "UPM-E090")


def broken(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Callable[[], Exception], times: int = 10_000
) -> list[int]:
    """Let the turns of one trainer fail."""
    turn, failed = TrainerJob.turn, [0]

    def fails(self: TrainerJob, *, finish: bool) -> Steps[Turn]:
        if self._name == name and failed[0] < times:
            failed[0] += 1
            raise error()
        return (yield from turn(self, finish=finish))

    monkeypatch.setattr(TrainerJob, "turn", fails)
    return failed


def test_a_job_with_a_bug_is_tried_again_and_then_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = broken(monkeypatch, "b", lambda: RuntimeError("a bug"))
    site.order(site.jobs())
    site.run(lambda: site.all_learned(names=["a", "c"])() and site.state("trainer-b") == "fatal")
    assert failed == [4], "once, and three restarts"
    assert len(list((site.home / "crash").glob("trainer-b-*.txt"))) == 1
    assert site.known()["b"] == (0, None)


def test_a_job_that_recovers_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "b", lambda: RuntimeError("a bug"), times=2)
    site.order(site.jobs())
    restarts: list[int] = []
    site.run(lambda: site.all_learned()() and not restarts.append(site.beat()["jobs"]["trainer-b"]["restarts"]))
    assert restarts[-1] == 2


def test_an_order_to_restart_revives_a_job_that_was_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "b", lambda: IntegrityError("damaged"), times=1)
    site.order(site.jobs())
    asked: list[None] = []

    def until() -> bool:
        if site.state("trainer-b") == "fatal" and not asked:
            asked.append(site.order(site.jobs(), trainer_b=7))
        return site.all_learned()()

    site.run(until)
    assert asked


def test_a_job_whose_lease_somebody_has_waits_for_it(site: Site) -> None:
    held = lease.acquire(site.home, "trainer-b", "upm train b")
    site.order(site.jobs())
    seen: list[str | None] = []

    def until() -> bool:
        if site.all_learned(names=["a", "c"])() and site.clock.monotonic_s() > 90 and not seen:
            seen.append(site.state("trainer-b"))
            held.release()
        return site.all_learned()()

    site.run(until)
    assert seen == ["backoff"]


def test_a_job_alone_in_its_process_ends_the_process(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "a", lambda: BusyError("taken over"))
    site.process = "trainer-a"
    site.order(site.jobs("a", kinds=[Kind.TRAINER]))
    with pytest.raises(BusyError, match="taken over"):
        site.run(lambda: False)


def test_jobs_come_and_go_with_the_orders(site: Site) -> None:
    site.order(site.jobs("a"))
    steps: list[str] = []

    def until() -> bool:
        if not steps and site.all_learned(names=["a"])():
            steps.append("a has learned")
            site.order(site.jobs("b"))
        if len(steps) == 1 and site.all_learned(names=["b"])():
            steps.append("b has learned")
            assert lease.holder(site.home, "trainer-a") is None
        return len(steps) == 2

    site.run(until)
    assert site.known()["c"][0] == 0


def test_a_job_that_is_told_to_finish_uses_everything_up_and_says_so(site: Site) -> None:
    site.order(site.jobs(), finish=["ingest-a", "ingest-b", "ingest-c"])
    steps: list[int] = []

    def until() -> bool:
        done = site.beat()["done"]
        if not steps and len(done) == 3:
            write(site.folder, "a", WINDOWS, 2 * WINDOWS)
        if len(done) == 3 * (len(steps) + 1) and len(done) < 9:  # then those whose input has ended, as a crew does
            steps.append(1)
            ended = (Kind.INGEST, Kind.TRAINER, Kind.DRIFT)[: len(steps) + 1]
            site.order(site.jobs(), finish=[job.label for job in site.jobs(kinds=ended)])
        return len(done) == 9

    site.run(until)
    with site.store.read() as reader:
        assert trainers.get(reader, "a").trained <= WINDOWS, "what came after the end was not read"
    assert site.compared() == {name: trained for name, (trained, _) in site.known().items()}


def test_turns_are_shared_out_evenly_while_there_is_much_to_do(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, order = TrainerJob.turn, []

    def counted(self: TrainerJob, *, finish: bool) -> Steps[Turn]:
        order.append(self._name)
        done = yield from turn(self, finish=finish)
        return Turn.MOVED if len(order) < 30 else done

    monkeypatch.setattr(TrainerJob, "turn", counted)
    site.order(site.jobs(kinds=[Kind.TRAINER]))
    site.run(lambda: len(order) >= 30)
    assert all(sorted(order[at : at + 3]) == list(NAMES) for at in range(0, 27, 3))


def test_what_several_jobs_want_committed_goes_into_one_commit(site: Site) -> None:
    with site.store.read() as reader:
        before = reader.meta.generation
    site.order(site.jobs(kinds=[Kind.INGEST, Kind.TRAINER]))
    site.run(site.all_learned())
    with site.store.read() as reader:
        commits = reader.meta.generation - before
    # Alone each of the three would make 5: both jobs begin, one reads, one learns and says at the end that it stopped.
    assert 4 <= commits <= 7


def test_what_a_job_has_begun_is_committed_when_it_is_taken_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, int]] = []
    go_on = host.Host._go_on

    def watched(self: host.Host, slot: host.Slot, outcome: Outcome) -> None:
        go_on(self, slot, outcome)
        if isinstance(slot.job, TrainerJob) and slot.steps is not None and not taken:
            taken.append((slot.spec.name, slot.job._session.trained))
            site.order([job for job in site.jobs() if job.label != slot.spec.label])

    monkeypatch.setattr(host.Host, "_go_on", watched)
    monkeypatch.setattr(host, "LOOK_EVERY_S", 0.0)  # it is taken away while it waits
    site.order(site.jobs())
    site.run(lambda: taken and lease.holder(site.home, f"trainer-{taken[0][0]}") is None)
    ((name, learned),) = taken
    assert site.known()[name][0] == learned > 0


def test_a_ticker_looks_at_every_trainer(site: Site) -> None:
    site.order([JobSpec(kind=Kind.ROLLOUTS)])
    looks: list[Any] = []
    site.run(lambda: looks.append(site.beat()["jobs"].get("rollouts", {}).get("at")) or (looks[-1] or [0])[0] >= 3)
    assert runfiles.read_status(site.home, "rollouts") is not None
