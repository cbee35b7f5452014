"""A process that does the jobs a supervisor gave it: one, or many in turn.

Which jobs is in `run/<process>.jobs`, and may change at any time; how far each has come goes to `run/<process>.beat`.
Each turn is one unit of work of one job, the one that has waited longest comes first, and a job without news sleeps.
A job alone in its process ends the process when it fails. Where several share one, the failed job is started again or
given up by itself (core/supervision.py), and the others go on.
"""

import math
import os
import random
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from upm_cli.core import supervision
from upm_cli.core.placement import JobSpec, Kind, is_pool
from upm_cli.core.supervision import Action, Exit, Observation, Phase, State
from upm_cli.errors import NotFoundError, UpmError
from upm_cli.ops.tidy import EVERY_S, sweep
from upm_cli.store import lease, positions, runfiles
from upm_cli.store.positions import Positions
from upm_cli.workers.context import Pace, Worker, fail
from upm_cli.workers.job import Job, Turn
from upm_cli.workers.policy import is_waiting, policy_of

BEAT_EVERY_S = 0.5  # and more seldom with many jobs
LOOK_EVERY_S = 0.2  # at the state, for all jobs together
REST_S = 0.25  # at most, without anything to do
ADAPT_EVERY_S = 2.0  # to how much there is to do
SPREAD_S = 0.005  # for each job of a process: how much longer a sleeping one waits before it looks around itself


def run(worker: Worker) -> int:
    """Do the jobs of the process called `worker.name` until asked to stop; return the exit code."""
    with runfiles.Doing(worker.store.home, worker.name) as doing, ExitStack() as held:
        if is_pool(worker.name):
            held.enter_context(lease.acquire(worker.store.home, worker.name, f"upm worker {worker.name}"))
        return Host(worker, doing).run()


@dataclass(slots=True)
class Slot:
    """One job of this process, and where it stands."""

    spec: JobSpec
    job: Job | None = None
    held: ExitStack = field(default_factory=ExitStack)  # its lease
    state: State | None = None  # of its restarts, once it has failed
    due_at_s: float = 0.0
    served: int = 0  # number of its last turn
    seen: object = None  # its interest when it last found nothing more to do
    finish: bool = False
    restart: int = 0  # the last restart somebody asked for
    error: str = ""


class Host:
    """The jobs of one process."""

    def __init__(self, worker: Worker, doing: runfiles.Doing) -> None:
        self._worker, self._doing = worker, doing
        # Whether a job comes up and moves is watched from outside, together with the process it would hold up.
        self._policy = replace(policy_of(worker.settings.supervisor), start_s=math.inf, stuck_s=math.inf)
        self._chance = random.Random()  # noqa: S311 - spreads restarts, keeps no secrets
        self._slots: dict[str, Slot] = {}
        self._done: set[str] = set()  # finished, and not to be begun again
        self._shares = is_pool(worker.name)
        self._told: tuple[int, int] | None = None
        self._positions, self._looked_at_s = Positions(), -LOOK_EVERY_S
        self._token: tuple[int, int] | None = None
        self._beat_at_s = -BEAT_EVERY_S
        self._swept_at_s = self._adapted_at_s = worker.clock.monotonic_s()
        self._busy_s = 0.0
        self._pace = Pace()
        self._turns = 0

    def run(self) -> int:
        """Give turns until asked to stop, then close every job."""
        clock = self._worker.clock
        while not self._worker.stop:
            self._take_orders()
            self._look()
            now_s = clock.monotonic_s()
            self._restart_failed(now_s)
            slot = self._next(now_s)
            if slot is not None:
                self._serve(slot)
            else:
                clock.sleep(self._rest(now_s))
            self._adapt()
            self._beat()
            self._sweep()
        for slot in list(self._slots.values()):
            self._drop(slot)
        self._beat(force=True)
        return self._worker.stop.exit_code()

    # What to do

    def _take_orders(self) -> None:
        """Take on the jobs that are wanted now, and let go of those that are not."""
        home, name = self._worker.store.home, self._worker.name
        token = runfiles.note_token(home, name, runfiles.JOBS)
        if token == self._told:
            return
        note = runfiles.read_note(home, name, runfiles.JOBS)
        if note is None:
            return
        self._told = token
        finish, restarts = set(note["finish"]), note["restarts"]
        wanted = {spec.label: spec for spec in map(JobSpec.from_plain, note["jobs"])}
        for label, slot in list(self._slots.items()):
            if wanted.get(label) != slot.spec or restarts.get(label, 0) != slot.restart:
                self._drop(slot)
        self._done &= wanted.keys()
        for label, spec in wanted.items():
            if label not in self._slots and label not in self._done:
                self._slots[label] = Slot(spec, restart=restarts.get(label, 0))
            if label in self._slots and label in finish:
                self._slots[label].finish, self._slots[label].due_at_s = True, 0.0

    def _look(self) -> None:
        """Read how far everybody has come, if the state is another one; jobs that there is news for are woken."""
        now_s = self._worker.clock.monotonic_s()
        if now_s - self._looked_at_s < LOOK_EVERY_S:
            return
        self._looked_at_s = now_s
        token = self._worker.store.token()
        if token == self._token:
            return
        with self._worker.store.read() as reader:
            self._positions, self._token = positions.read(reader), token
        for slot in self._slots.values():
            asleep = slot.job is not None and slot.due_at_s > now_s and slot.spec.kind is not Kind.INGEST
            if asleep and slot.job is not None and slot.job.interest(self._positions) != slot.seen:
                slot.due_at_s = now_s

    def _next(self, now_s: float) -> Slot | None:
        """Return the job that is due and was served longest ago."""
        due = [slot for slot in self._slots.values() if slot.due_at_s <= now_s and _may_work(slot)]
        return min(due, key=lambda slot: slot.served, default=None)

    def _rest(self, now_s: float) -> float:
        next_s = min((slot.due_at_s for slot in self._slots.values() if _may_work(slot)), default=now_s + REST_S)
        return max(0.001, min(REST_S, next_s - now_s, self._looked_at_s + LOOK_EVERY_S - now_s))

    # Doing it

    def _serve(self, slot: Slot) -> None:
        """Give one turn. An error of a job that is alone in its process is the process's."""
        began_s = self._worker.clock.monotonic_s()
        self._turns += 1
        slot.served = self._turns
        self._doing.say(slot.spec.label)
        try:
            self._turn(slot)
        except Exception as exc:
            if not self._shares:
                raise
            self._failed(slot, exc)
        self._doing.say("")
        self._busy_s += self._worker.clock.monotonic_s() - began_s

    def _turn(self, slot: Slot) -> None:
        clock = self._worker.clock
        if slot.job is None:
            slot.job = self._open(slot)
        interest = slot.job.interest(self._positions)
        turn = slot.job.turn(finish=slot.finish)
        now_s = clock.monotonic_s()
        if turn is Turn.MOVED:
            slot.due_at_s = now_s
            return
        if turn is Turn.DONE:
            self._done.add(slot.spec.label)
            self._drop(slot)
            return
        alone_s = slot.job.poll_s if turn is Turn.LATER else slot.job.doze_s
        slot.due_at_s = now_s + max(alone_s, SPREAD_S * len(self._slots))
        if turn is Turn.IDLE:
            slot.seen = interest

    def _open(self, slot: Slot) -> Job:
        """Take the lease of the job and begin it."""
        spec, label = slot.spec, slot.spec.label
        home = self._worker.store.home
        slot.held = ExitStack()
        slot.held.enter_context(lease.acquire(home, label, f"upm worker {self._worker.name}"))
        own = self._worker.named(label, self._pace)
        if spec.kind is Kind.INGEST:
            from upm_cli.workers.feedback import Told
            from upm_cli.workers.ingest import FollowJob

            told = Told(trainer=spec.told, specs=spec.outcomes) if spec.outcomes else None
            return FollowJob(own, spec.name, spec.sources, "auto", told=told, sweeps=False)
        if spec.kind is Kind.TRAINER:
            from upm_cli.workers.trainer import TrainerJob

            return TrainerJob(own, spec.name)
        if spec.kind is Kind.DRIFT:
            from upm_cli.workers.drift_monitor import DriftJob

            return DriftJob(own, spec.name, has_ticker=True)
        if spec.kind is Kind.NOTIFY:
            from upm_cli.workers.notifier import NotifyJob

            return NotifyJob(own)
        from upm_cli.workers.rollouts import RolloutsJob

        return RolloutsJob(own)

    def _drop(self, slot: Slot) -> None:
        """Close a job and forget it. What it can't commit any more is made again from where it stands."""
        self._slots.pop(slot.spec.label, None)
        try:
            if slot.job is not None:
                self._doing.say(slot.spec.label)
                slot.job.close()
        except NotFoundError:
            runfiles.remove_status(self._worker.store.home, slot.spec.label)  # its trainer was removed
        except Exception as exc:
            if not self._shares:
                raise
            self._tell_failure(slot, exc)
        finally:
            slot.job = None
            slot.held.close()
            self._doing.say("")

    # What goes wrong

    def _failed(self, slot: Slot, error: Exception) -> None:
        """Let go of a job after an error; supervision says when, and whether, it is begun again."""
        code = self._tell_failure(slot, error)
        slot.job = None
        slot.held.close()
        now_s = self._worker.clock.monotonic_s()
        ended = Exit(code=code, why=slot.error, is_waiting=is_waiting(error))
        state = slot.state if slot.state is not None else State(phase=Phase.RUNNING)
        seen = Observation(exit=ended, chance=self._chance.random())
        slot.state, _ = supervision.decide(state, seen, self._policy, now_s)

    def _restart_failed(self, now_s: float) -> None:
        """Begin failed jobs again whose time has come, and forget failures of those that have been well for long."""
        for slot in self._slots.values():
            if slot.state is None:
                continue
            seen = Observation(is_ready=slot.job is not None)
            slot.state, actions = supervision.decide(slot.state, seen, self._policy, now_s)
            if Action.START in actions:
                slot.due_at_s, slot.error = now_s, ""

    def _tell_failure(self, slot: Slot, error: Exception) -> int:
        slot.error = error.message if isinstance(error, UpmError) else repr(error)
        return fail(error, slot.spec.label, self._worker.store.home, self._worker.clock)

    # What others are told

    def _beat(self, *, force: bool = False) -> None:
        now_s = self._worker.clock.monotonic_s()
        if not force and now_s - self._beat_at_s < BEAT_EVERY_S * (1 + len(self._slots) / 100):
            return
        self._beat_at_s = now_s
        jobs = {label: _told(slot) for label, slot in self._slots.items()}
        note = {"pid": os.getpid(), "turns": self._turns, "jobs": jobs, "done": sorted(self._done)}
        runfiles.write_note(self._worker.store.home, self._worker.name, runfiles.BEAT, note)

    def _adapt(self) -> None:
        """Let the jobs of a pool commit more seldom while it is busy, so that more gets done."""
        now_s = self._worker.clock.monotonic_s()
        elapsed_s = now_s - self._adapted_at_s
        if self._shares and elapsed_s >= ADAPT_EVERY_S:
            self._pace.adapt(self._busy_s / elapsed_s)
            self._adapted_at_s, self._busy_s = now_s, 0.0

    def _sweep(self) -> None:
        now_s = self._worker.clock.monotonic_s()
        if now_s - self._swept_at_s >= EVERY_S:
            self._swept_at_s = now_s
            sweep(self._worker.store)


def _may_work(slot: Slot) -> bool:
    """Say whether a job may have a turn: not while it waits to be begun again, nor after it was given up."""
    return slot.state is None or slot.state.phase in (Phase.STARTING, Phase.RUNNING)


def _told(slot: Slot) -> dict[str, Any]:
    at = slot.job.progress if slot.job is not None else None
    phase = Phase.RUNNING if slot.job is not None else Phase.STARTING
    restarts = 0
    if slot.state is not None:
        phase, restarts = slot.state.phase, slot.state.restarts
    return {"state": str(phase), "at": at, "seen": slot.seen, "restarts": restarts, "error": slot.error}
