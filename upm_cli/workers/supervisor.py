"""The supervisor: one process for each project that keeps the workers of all its trainers running.

One loop, five questions in each pass: what do signals and wishes ask for, what should run, what has become of each
process, what are others told, is it over. What is decided about one process is in core/supervision.py, who does what in
core/placement.py; here it is carried out.
"""

import math
import os
import random
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from upm_cli.clock import Clock
from upm_cli.config.schema import Settings
from upm_cli.core import placement, supervision
from upm_cli.core.placement import JobSpec, Kind
from upm_cli.core.records import Wish
from upm_cli.core.supervision import Action, Observation, Phase, State
from upm_cli.errors import BusyError, UpmError
from upm_cli.exit_codes import ExitCode
from upm_cli.ops import supervisor as ops
from upm_cli.ops import trainers
from upm_cli.store import lease, positions, runfiles, wishes
from upm_cli.store.positions import Positions
from upm_cli.store.session import Store
from upm_cli.store.wishes import SUPERVISOR
from upm_cli.workers.__main__ import ADAPTER_SYNC
from upm_cli.workers.children import Child, Starter
from upm_cli.workers.context import Project
from upm_cli.workers.logpump import LogPump
from upm_cli.workers.notify import Notifier
from upm_cli.workers.policy import policy_of
from upm_cli.workers.signals import Signals
from upm_cli.workers.targets import groups_of, has_adapter_sync, max_workers

PASS_S: Final = 0.1  # from one pass of the loop to the next
LOOK_EVERY_S: Final = 0.5  # at the state: trainers that came and went, wishes
MARK_EVERY_S: Final = 1.0  # at how far everybody has come
LEASE_EVERY_S: Final = 2.0  # at trainers that somebody else trains
TELL_EVERY_S: Final = 1.0
MEASURE_EVERY_S: Final = 5.0


class Mode(Enum):
    """What the supervisor as a whole is doing."""

    RUN = auto()
    DRAIN = auto()  # nothing new is read; what is in the log is learned and judged; then stop
    STOP = auto()


#: In which order jobs finish in a drain: each one's input has ended when those before it are done.
_DRAINS: Final = (Kind.INGEST, Kind.TRAINER, Kind.DRIFT)


@dataclass(slots=True)
class _Times:
    """When each thing was last done."""

    look_s: float = -math.inf
    mark_s: float = -math.inf
    lease_s: float = -math.inf
    tell_s: float = -math.inf
    measure_s: float = -math.inf


@dataclass(slots=True)
class Outside:
    """What a supervisor has of the world around it."""

    start: Starter
    log: LogPump
    notify: Notifier = field(default_factory=Notifier)
    chance: random.Random = field(default_factory=random.Random)


class Supervisor:
    """Looks after the processes of one project. The caller holds the lease `supervisor`."""

    def __init__(self, store: Store, clock: Clock, project: Project, settings: Settings, outside: Outside) -> None:
        self._store, self._clock, self._project, self._settings = store, clock, project, settings
        self._start_process, self._log, self._notify = outside.start, outside.log, outside.notify
        self._chance = outside.chance
        self._policy = policy_of(settings.supervisor)
        self._mode, self._code = Mode.RUN, int(ExitCode.DONE)
        self._is_urgent = self._is_ready = False
        self._began_ms = clock.now_ms()
        self.children: dict[str, Child] = {}
        self._placement: placement.Placement = {}
        self._positions = Positions()
        self._token: tuple[int, int] | None = None
        self._times = _Times()
        self._leases: dict[str, lease.Lease] = {}  # of the trainers that are ours
        self._elsewhere: dict[str, str] = {}  # trainers that somebody else trains, and who
        self._aside: dict[str, str] = {}  # jobs that end their process each time, and why
        self._restarts: dict[str, int] = {}  # by job of a pool: the serial of the last restart asked for
        self._granted = 0  # serial of the last wish that was carried out
        self._trouble = ""  # why the state could not be looked at
        self._futile: UpmError | None = None  # why it ended by itself

    def run(self, signals: Signals) -> int:
        """Keep everything running until asked to end; return the exit code.

        Raises UpmError when every worker has been given up.
        """
        try:
            self._begin()
            while True:
                self._hear(signals)
                self._look(force=signals.take_look())
                self._watch()
                self._tell()
                if self._is_over():
                    break
                self._give_up()
                self._clock.sleep(PASS_S)
            if self._futile is not None:
                raise self._futile
            return self._code
        finally:
            self._end()

    # What signals and wishes ask for

    def _begin(self) -> None:
        actor = ops.current_actor()
        for default in self._settings.supervisor.default_trainers:
            trainers.ensure(self._store, self._clock, self._settings, default.name, actor=actor)
        with self._store.write(actor=actor) as tx:
            self._granted = wishes.begin(tx, actor=actor, now_ms=self._clock.now_ms()).serial
        self._log.say(f"started (pid {os.getpid()}, at most {max_workers(self._settings)} worker processes)")

    def _hear(self, signals: Signals) -> None:
        if signals.stop is not None and self._mode is not Mode.STOP:
            self._stop(f"signal {signals.stop}", 128 + signals.stop)
        elif signals.stop is not None and self._code == ExitCode.DONE:
            self._code = 128 + signals.stop
        if signals.is_urgent and not self._is_urgent:
            self._is_urgent = True
            self._log.say("asked again: ending at once, without clean-up", level="warning")
        if signals.take_reload():
            self._reload()

    def _stop(self, why: str, code: int) -> None:
        self._mode, self._code = Mode.STOP, code
        self._notify.stopping()
        self._log.say(f"stopping: {why}")

    def _reload(self) -> None:
        """Read the configuration again; a bad one changes nothing."""
        self._notify.reloading(self._clock.monotonic_s())
        try:
            fresh = self._project.settings()
            if fresh.full_digest() == self._settings.full_digest():
                self._log.say("the configuration is the same as before")
            else:
                self._settings, self._policy = fresh, policy_of(fresh.supervisor)
                for default in fresh.supervisor.default_trainers:
                    trainers.ensure(self._store, self._clock, fresh, default.name, actor=ops.current_actor())
                for child in self.children.values():
                    child.restart = child.state.phase is not Phase.STOPPED
                self._token = None
                self._log.say("the configuration was read again; the workers start anew with it")
        except UpmError as exc:
            self._log.say(f"the configuration stays as it was: {exc.message}", level="error")
        if self._is_ready:
            self._notify.ready()

    def _grant(self, found: list[Wish]) -> None:
        """Carry out the wishes that are newer than the last one that was."""
        for wish in found:
            if wish.serial <= self._granted:
                continue
            self._granted = wish.serial
            why = f"asked by {wish.actor}" + (f": {wish.reason}" if wish.reason else "")
            if wish.worker != SUPERVISOR:
                self._restart(wish, why)
            elif wish.desired == "restart":
                self._log.say(f"all workers start anew, {why}")
                self._aside.clear()
                self._placement = {}
                self._reload()
                for child in self.children.values():
                    child.restart = child.state.phase is not Phase.STOPPED
            elif wish.desired == "drain" and self._mode is Mode.RUN:
                self._mode = Mode.DRAIN
                self._log.say(f"draining, {why}")
            elif wish.desired == "stop" and self._mode is not Mode.STOP:
                self._stop(why, ExitCode.DONE)

    def _restart(self, wish: Wish, why: str) -> None:
        """Start a process or a job of a pool anew, given up or not."""
        self._aside.pop(wish.worker, None)
        if wish.worker in self.children:
            self.children[wish.worker].restart = True
        self._restarts[wish.worker] = wish.serial
        self._log.say(f"starts anew, {why}", worker=wish.worker)

    # What should run

    def _look(self, *, force: bool) -> None:
        """Find out what should run now, if the state has changed."""
        now_s = self._clock.monotonic_s()
        if not force and now_s - self._times.look_s < LOOK_EVERY_S:
            return
        self._times.look_s = now_s
        try:
            token = self._store.token()
            if token != self._token:
                with self._store.read() as reader:
                    found, wanted = positions.read(reader), wishes.list_all(reader)
                self._token, self._positions = token, found
                self._grant(wanted)
            self._hold_trainers(now_s)
            self._trouble = ""
        except UpmError as exc:
            if exc.message != self._trouble:
                self._log.say(f"can't look at the state: {exc.message}", level="error")
            self._trouble = exc.message
        self._place()

    def _hold_trainers(self, now_s: float) -> None:
        """Take the leases of trainers that came, and let go of those that went."""
        for name in [name for name in self._leases if name not in self._positions.trainers]:
            self._leases.pop(name).release()
            self._log.say(f"trainer {name} is gone")
        missing = [name for name in self._positions.trainers if name not in self._leases]
        is_time = now_s - self._times.lease_s >= LEASE_EVERY_S
        for name in missing:
            if name in self._elsewhere and not is_time:
                continue
            try:
                self._leases[name] = lease.acquire(self._store.home, trainers.train_lease(name), "upm up")
            except BusyError as exc:
                if name not in self._elsewhere:
                    self._log.say(f"trainer {name} is left alone: {exc.message}", level="warning")
                self._elsewhere[name] = exc.message
                continue
            self._elsewhere.pop(name, None)
            if self._is_ready:
                self._log.say(f"trainer {name} is taken on")
        self._elsewhere = {name: who for name, who in self._elsewhere.items() if name in missing}
        self._times.lease_s = now_s if is_time else self._times.lease_s

    def _place(self) -> None:
        """Give every job to a process."""
        if self._mode is Mode.STOP:
            return
        groups = groups_of(self._settings, self._positions, self._project.folder, self._leases)
        able = {stream: tuple(job for job in jobs if job.label not in self._aside) for stream, jobs in groups.items()}
        placed = placement.place(able, self._placement, max_workers(self._settings))
        self._placement = placed
        flags = self._project.flags()
        for name, jobs in placed.items():
            child = self.children.setdefault(name, Child(name, ["host", name, *flags]))
            child.jobs = jobs
        if has_adapter_sync():
            self.children.setdefault(ADAPTER_SYNC, Child(ADAPTER_SYNC, [ADAPTER_SYNC, "sync", *flags]))
        for name, child in list(self.children.items()):
            if child.is_host and name not in placed:
                child.jobs = ()
                if not child.state.is_alive:
                    del self.children[name]
                    runfiles.remove_notes(self._store.home, name)

    # What has become of each process

    def _watch(self) -> None:
        now_s = self._clock.monotonic_s()
        for child in self.children.values():
            child.read(self._store.home)
        if now_s - self._times.mark_s >= MARK_EVERY_S:
            self._times.mark_s = now_s
            for child in self.children.values():
                child.mark(self._positions)
        for child in list(self.children.values()):
            self._order(child)
            self._decide(child, now_s)
        if self._mode is Mode.DRAIN and not self._left_to_drain():
            self._stop("everything has been learned and judged", ExitCode.DONE)

    def _order(self, child: Child) -> None:
        """Tell a process which jobs to do; one that another process has not let go of yet comes later."""
        if not child.is_host:
            return
        busy = set().union(*(other.hosted for other in self.children.values() if other is not child))
        jobs = [job for job in child.jobs if job.label not in busy]
        orders = {
            "jobs": [job.to_plain() for job in jobs],
            "finish": sorted(job.label for job in jobs if self._must_finish(job)),
            "restarts": {job.label: self._restarts[job.label] for job in jobs if job.label in self._restarts},
        }
        if orders != child.orders:
            runfiles.write_note(self._store.home, child.name, runfiles.JOBS, orders)
            child.orders = orders

    def _decide(self, child: Child, now_s: float) -> None:
        before = child.state
        ended = child.ended(self._store.home) if before.is_alive else None
        seen = Observation(
            wanted=self._is_wanted(child),
            restart=child.restart,
            is_urgent=self._is_urgent,
            is_ready=bool(child.beat) or (not child.is_host and now_s - before.since_s >= 2.0),
            exit=ended,
            marks=child.marks,
            chance=self._chance.random(),
        )
        child.restart = False
        child.state, actions = supervision.decide(before, seen, self._policy, now_s)
        if ended is not None:
            self._set_aside(child, before)
            child.forget()
        for action in actions:
            self._act(child, action)
        self._say_change(child, before)

    def _is_wanted(self, child: Child) -> bool:
        if self._mode is Mode.STOP:
            return False
        return not child.is_host or bool(child.orders.get("jobs"))

    def _act(self, child: Child, action: Action) -> None:
        if action is Action.START:
            runfiles.remove_status(self._store.home, child.name)
            try:
                child.handle = self._start_process(child.name, child.argv)
            except OSError as exc:  # no more processes, no memory: the next pass finds it ended
                self._log.say(f"can't be started: {exc}", worker=child.name, level="error")
            child.cpu_s = 0.0
        elif child.handle is not None and action is Action.TERMINATE:
            child.handle.terminate()
        elif child.handle is not None:
            child.handle.kill()

    def _set_aside(self, child: Child, before: State) -> None:
        """Remember which job a process was at when it failed; one that ends it each time is not given to it again."""
        if child.state.streak <= before.streak:
            return
        if before.streak == 0:
            child.ended_by.clear()
        child.ended_by.append(runfiles.last_doing(self._store.home, child.name))
        last = child.ended_by[-max(1, self._policy.intensity) :]
        job = last[-1]
        if placement.is_pool(child.name) and job and len(last) >= self._policy.intensity and set(last) == {job}:
            self._aside[job] = f"set aside: {child.name} {child.state.reason} while it was at it, {len(last)} times"
            self._log.say(self._aside[job], worker=job, level="error")

    def _say_change(self, child: Child, before: State) -> None:
        state = child.state
        if state.phase is before.phase and state.since_s == before.since_s:
            return
        pid = f" (pid {child.handle.pid})" if child.handle is not None else ""
        why = f": {state.reason}" if state.reason else ""
        if state.phase is Phase.BACKOFF:
            why += f"; again in {max(0.0, state.retry_at_s - state.since_s):.1f} s"
        level = {Phase.BACKOFF: "warning", Phase.FATAL: "error"}.get(state.phase, "info")
        if state.phase is Phase.STOPPING and state.after is supervision.After.RETRY:
            level = "warning"
        self._log.say(f"{state.phase}{pid}{why}", worker=child.name, level=level)

    # A drain

    def _must_finish(self, job: JobSpec) -> bool:
        """Say whether everything that `job` gets its input from is done."""
        if self._mode is not Mode.DRAIN or job.kind not in _DRAINS:
            return False
        earlier = _DRAINS[: _DRAINS.index(job.kind)]
        return not any(kind in earlier for kind in self._left_to_drain())

    def _left_to_drain(self) -> set[Kind]:
        """Return the kinds of job that somebody still works at; what was given up is not waited for."""
        left: set[Kind] = set()
        for child in self.children.values():
            if child.is_host and not child.state.is_settled:
                told = child.beat.get("jobs", {})
                for job in child.jobs:
                    lost = told.get(job.label, {}).get("state") == "fatal"
                    if job.kind in _DRAINS and job.label not in child.done and not lost:
                        left.add(job.kind)
        return left

    # What others are told

    def _tell(self) -> None:
        now_s = self._clock.monotonic_s()
        self._notify.alive(now_s)
        if not self._is_ready and self.children and all(_has_come_up(child) for child in self.children.values()):
            self._is_ready = True
            self._notify.ready()
            self._log.say(f"ready: {self._headline()}")
        if now_s - self._times.tell_s < TELL_EVERY_S:
            return
        if now_s - self._times.measure_s >= MEASURE_EVERY_S:
            elapsed_s = now_s - self._times.measure_s if self._times.measure_s > 0 else 0.0
            for child in self.children.values():
                child.measure(elapsed_s)
            self._times.measure_s = now_s
        self._times.tell_s = now_s
        self._notify.status(self._headline())
        try:
            ops.publish(self._store.home, self._report(now_s))
        except UpmError as exc:
            self._log.say(f"can't say how things are: {exc.message}", level="error")

    def _headline(self) -> str:
        alive = sum(child.state.is_alive for child in self.children.values())
        restarts = sum(child.state.restarts for child in self.children.values())
        text = f"{len(self._leases)} trainers, {alive} workers, {restarts} restarts"
        problems = self._problems()
        return f"{text}; {problems[0]}" if problems else text

    def _report(self, now_s: float) -> ops.Report:
        now_ms = self._clock.now_ms()
        return ops.Report(
            pid=os.getpid(),
            state={Mode.RUN: "running" if self._is_ready else "starting", Mode.DRAIN: "draining"}.get(
                self._mode, "stopping"
            ),
            at_ms=now_ms,
            since_ms=self._began_ms,
            trainers=len(self._leases),
            problems=self._problems(),
            workers=[self._told(child, now_s, now_ms) for child in self.children.values()],
        )

    def _told(self, child: Child, now_s: float, now_ms: int) -> ops.WorkerReport:
        state, told = child.state, child.beat.get("jobs", {}) if child.is_host else {}
        return ops.WorkerReport(
            name=child.name,
            state=str(state.phase),
            pid=child.handle.pid if child.handle is not None else None,
            since_ms=now_ms - round((now_s - state.since_s) * 1000),
            restarts=state.restarts,
            code=state.code,
            reason=state.reason,
            rss_bytes=child.rss_bytes,
            cpu_percent=child.cpu_percent,
            jobs={
                job.label: {
                    "state": told.get(job.label, {}).get("state", "starting"),
                    "restarts": told.get(job.label, {}).get("restarts", 0),
                    "error": told.get(job.label, {}).get("error", ""),
                }
                for job in child.jobs
            },
        )

    def _problems(self) -> list[str]:
        found = [f"the state: {self._trouble}"] if self._trouble else []
        for child in self.children.values():
            if child.state.phase in (Phase.FATAL, Phase.BACKOFF):
                found.append(f"{child.name} {child.state.phase}: {child.state.reason}")
            for label, told in child.beat.get("jobs", {}).items() if child.is_host else ():
                if told["state"] in ("fatal", "backoff"):
                    found.append(f"{label} {told['state']}: {told['error']}")
        found += [f"{job} {why}" for job, why in self._aside.items()]
        return found + [f"trainer {name}: {who}" for name, who in self._elsewhere.items()]

    # Is it over

    def _is_over(self) -> bool:
        return self._mode is Mode.STOP and not any(child.state.is_alive for child in self.children.values())

    def _give_up(self) -> None:
        """End when every worker of every trainer has been given up: whoever started us must hear of that."""
        working = [child for child in self.children.values() if any(job.name for job in child.jobs)]
        if self._mode is not Mode.RUN or not working:
            return
        if all(child.state.phase is Phase.FATAL for child in working):
            said = "; ".join(f"{child.name}: {child.state.reason}" for child in working[:3])
            self._futile = UpmError(
                f"every worker was given up: {said}",
                hint="upm logs shows their last words; what was committed is safe: mend it and run upm up again",
                code="UPM-E114",
                context={"workers": [child.name for child in working]},
            )
            self._stop("every worker was given up", ExitCode.INTERNAL)

    def _end(self) -> None:
        """Leave nobody behind, whatever happened."""
        for child in self.children.values():
            if child.handle is not None and child.handle.poll() is None:
                child.handle.kill()
                _reap(child, self._clock)
            runfiles.remove_notes(self._store.home, child.name)
        for held in self._leases.values():
            held.release()
        ops.forget(self._store.home)
        self._log.say("ended")


def _has_come_up(child: Child) -> bool:
    return child.state.phase is not Phase.STARTING and not (child.state == State() and child.orders.get("jobs"))


def _reap(child: Child, clock: Clock) -> None:
    for _ in range(100):
        if child.handle is None or child.handle.poll() is not None:
            return
        clock.sleep(0.02)
