"""The supervisor as others see it: whether one runs, how its workers are, and how it is asked for something.

A wish is written into the state first and then told by a signal. A signal that is lost costs half a second; a wish is
never lost, and it is as good as the right to write the project's files.
"""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upm_cli import procs
from upm_cli.clock import Clock
from upm_cli.core.placement import Kind
from upm_cli.core.records import Wish
from upm_cli.errors import NotFoundError, TimedOutError
from upm_cli.ids import iso
from upm_cli.store import lease, positions, runfiles, wishes
from upm_cli.store.filelock import Holder
from upm_cli.store.wishes import SUPERVISOR

if TYPE_CHECKING:
    from upm_cli.store.positions import Positions
    from upm_cli.store.session import Store

LEASE: Final = SUPERVISOR
LOOK_SIGNAL: Final = signal.SIGUSR1  # "look at the state now"
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """One process as its supervisor sees it. `jobs`: by name their state, restarts and last error."""

    name: str
    state: str
    pid: int | None
    since_ms: int
    restarts: int
    code: int | None = None
    reason: str = ""
    rss_bytes: int | None = None
    cpu_percent: float | None = None  # of one core, over the last seconds
    jobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a supervisor says about itself, about once a second."""

    pid: int
    state: str  # starting, running, draining or stopping
    at_ms: int
    since_ms: int
    trainers: int
    problems: Sequence[str] = ()
    workers: Sequence[WorkerReport] = ()

    @property
    def restarts(self) -> int:
        own = sum(worker.restarts for worker in self.workers)
        return own + sum(int(job["restarts"]) for worker in self.workers for job in worker.jobs.values())


def publish(home: Path, report: Report) -> None:
    """Let everybody see how the supervisor and its workers are. Raises StorageError."""
    runfiles.write_note(home, SUPERVISOR, runfiles.BEAT, asdict(report))


def forget(home: Path) -> None:
    """Take back what was published, as the supervisor ends."""
    runfiles.remove_notes(home, SUPERVISOR)


def holder(store: "Store") -> Holder | None:
    """Return who runs as the supervisor of this project now, or None."""
    return lease.holder(store.home, LEASE)


def report(store: "Store") -> Report | None:
    """Return what the running supervisor said last; None when none runs, or it has not said anything yet."""
    found = holder(store)
    note = runfiles.read_note(store.home, SUPERVISOR, runfiles.BEAT) if found is not None else None
    if found is None or note is None or note.get("pid") != found.pid:
        return None
    workers = [WorkerReport(**worker) for worker in note.pop("workers")]
    return Report(**note, workers=workers)


def ask(
    store: "Store", clock: Clock, desired: str, *, worker: str = SUPERVISOR, actor: str, reason: str = ""
) -> tuple[Wish, Holder]:
    """Ask the running supervisor to stop, drain or restart (itself or one worker); return the wish and who was asked.

    Raises NotFoundError when none runs, or it has no such worker.
    """
    found = require(store)
    if worker != SUPERVISOR:
        worker = find_worker(store, worker)
    with store.write(actor=actor) as tx:
        wish = wishes.put(tx, worker, desired, actor=actor, reason=reason, now_ms=clock.now_ms())
        if desired == "restart":
            tx.ledger("worker.restart", worker, reason=reason)
        else:
            tx.ledger("supervisor.stop", SUPERVISOR, drain=desired == "drain", reason=reason)
    procs.send(found.pid, found.started, LOOK_SIGNAL)
    return wish, found


def tell_given_up(store: "Store", clock: Clock, worker: str, reason: str, *, restarts: int) -> None:
    """Tell that a worker, or a job of one, was given up. Raises BusyError, StorageError."""
    kind, _, name = worker.partition("-")
    about = {"trainer_id": name} if kind in (Kind.TRAINER, Kind.DRIFT) and name else {}
    at_ms = clock.now_ms()
    with store.write(actor="supervisor") as tx:
        tx.event(
            "ai.upm.worker.fatal",
            f"/workers/{worker}",
            worker=worker,
            reason=reason or "it failed too often",
            restarts=restarts,
            at=iso(at_ms),
            **about,
        )


def require(store: "Store") -> Holder:
    """Return who runs as supervisor. Raises NotFoundError when nobody does."""
    found = holder(store)
    if found is None:
        raise NotFoundError(
            "no supervisor runs in this project", hint="upm up starts one", code="UPM-E172", context={"lease": LEASE}
        )
    return found


def find_worker(store: "Store", name: str) -> str:
    """Return the process or job that is meant by `name`; a trainer's name alone means the job that trains it.

    Raises NotFoundError listing what there is.
    """
    shown = report(store)
    workers = [] if shown is None else shown.workers
    known = {worker.name for worker in workers} | {job for worker in workers for job in worker.jobs}
    for candidate in (name, f"{Kind.TRAINER}-{name}"):
        if candidate in known:
            return candidate
    processes = sorted(worker.name for worker in workers)
    raise NotFoundError(
        f"the supervisor has no worker {name!r}",
        hint=f"there are {', '.join(processes) or 'none yet'}: upm ps",
        code="UPM-E173",
        context={"worker": name, "known": sorted(known)},
    )


def wait_for_end(store: "Store", clock: Clock, asked: Holder, timeout_s: float) -> float:
    """Wait until the supervisor that was asked to end has ended; return how many seconds that took.

    Raises TimedOutError after `timeout_s`; it goes on ending.
    """
    began_s = clock.monotonic_s()
    while (now := holder(store)) is not None and (now.pid, now.started) == (asked.pid, asked.started):
        waited_s = clock.monotonic_s() - began_s
        if waited_s >= timeout_s:
            raise TimedOutError(
                f"the supervisor (pid {asked.pid}) has not ended within {timeout_s:g} s",
                hint="it goes on ending: upm ps; kill it, and what was committed is still safe",
                code="UPM-E175",
                context={"pid": asked.pid, "waited_s": round(waited_s, 3)},
            )
        clock.sleep(_POLL_S)
    return clock.monotonic_s() - began_s


def line(store: "Store", now_ms: int) -> dict[str, Any] | None:
    """Return the supervisor's line of `upm status`; None when none runs."""
    found = holder(store)
    if found is None:
        return None
    shown = report(store)
    return {
        "pid": found.pid,
        "state": "starting" if shown is None else shown.state,
        "since": iso(found.since_ms),
        "up_s": round(max(0, now_ms - found.since_ms) / 1000, 3),
        "trainers": 0 if shown is None else shown.trainers,
        "workers": 0 if shown is None else sum(worker.pid is not None for worker in shown.workers),
        "restarts": 0 if shown is None else shown.restarts,
        "problems": [] if shown is None else list(shown.problems),
    }


def processes(store: "Store", now_ms: int) -> dict[str, Any]:
    """Return what `upm ps` prints: the supervisor, its workers, and those that somebody else started."""
    with store.read() as reader:
        where = positions.read(reader)
    shown = report(store)
    rows = [] if shown is None else [_row(worker, where) for worker in shown.workers]
    ours = {row["pid"] for row in rows}
    for status in runfiles.whole_statuses(store.home):
        held = lease.holder(store.home, str(status.get("lease", "")))
        if held is not None and held.pid not in ours and status.get("pid") == held.pid:
            rows.append(_stranger(status, held, where, now_ms))
    return {"supervisor": line(store, now_ms), "workers": rows}


def _row(worker: WorkerReport, where: "Positions") -> dict[str, Any]:
    found = procs.facts(worker.pid) if worker.pid is not None else None
    return {
        "name": worker.name,
        "state": worker.state,
        "pid": worker.pid,
        "rss_bytes": worker.rss_bytes if found is None else found.rss_bytes,
        "cpu_percent": None if worker.cpu_percent is None else round(worker.cpu_percent, 1),
        "restarts": worker.restarts,
        "lag": _lag(worker.jobs, where),
        "since": iso(worker.since_ms),
        "code": worker.code,
        "reason": worker.reason,
        "jobs": [{"name": name, **job} for name, job in worker.jobs.items()],
    }


def _stranger(status: Mapping[str, Any], held: Holder, where: "Positions", now_ms: int) -> dict[str, Any]:
    """Return the row of a worker that no supervisor started: one of `upm train` or `upm ingest`."""
    found = procs.facts(held.pid)
    age_s = max(0.001, (now_ms - held.since_ms) / 1000)
    name = str(status["worker"])
    return {
        "name": name,
        "state": "running",
        "pid": held.pid,
        "rss_bytes": None if found is None else found.rss_bytes,
        "cpu_percent": None if found is None else round(100 * found.cpu_s / age_s, 1),
        "restarts": 0,
        "lag": _lag({name: {}}, where),
        "since": iso(held.since_ms),
        "code": None,
        "reason": held.command,
        "jobs": [],
    }


def _lag(jobs: Mapping[str, object], where: "Positions") -> int | None:
    """Return the log rows that the trainers among `jobs` have not learned yet; None when there is no trainer."""
    names = [name.removeprefix(f"{Kind.TRAINER}-") for name in jobs if name.startswith(f"{Kind.TRAINER}-")]
    found = [where.trainers[name] for name in names if name in where.trainers]
    return sum(max(0, where.log_ends.get(each.stream, 0) - each.log_position) for each in found) if found else None
