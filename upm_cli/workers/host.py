"""A process that does the jobs a supervisor gave it: one, or many in turn.

Which jobs is in `run/<process>.jobs`, and may change at any time; how far each has come goes to `run/<process>.beat`.
Each turn is a piece of work of one job, the one that has waited longest comes first, and a job without news sleeps.
What jobs want committed is gathered while others have something to do, and goes into one commit.
A job alone in its process ends the process when it fails. Where several share one, the failed job is started again or
given up by itself (core/supervision.py), and the others go on.
"""

import math
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from upm_cli.core import supervision
from upm_cli.core.placement import JobSpec, Kind, is_pool
from upm_cli.core.supervision import Action, Exit, Observation, Phase, State
from upm_cli.errors import NotFoundError, UpmError
from upm_cli.ops.tidy import EVERY_S, sweep
from upm_cli.store import lease, positions, runfiles, together
from upm_cli.store.positions import Positions
from upm_cli.store.together import Outcome, Steps, Unit
from upm_cli.workers import jobs
from upm_cli.workers.context import Pace, Worker, fail
from upm_cli.workers.job import Job, Turn
from upm_cli.workers.policy import is_waiting, policy_of

BEAT_EVERY_S = 0.5  # and more seldom with many jobs
LOOK_EVERY_S = 0.2  # at orders, and at the state, for all jobs together
REST_S = 0.25  # at most, without anything to do
ADAPT_EVERY_S = 2.0  # to how much there is to do
MOST_AT_ONCE = 64  # units of work in one commit: others wait for the state meanwhile, and it takes about 3 ms for each
GATHER_S = 0.5  # at most, until what is wanted is committed
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
    steps: Steps[Turn] | None = None  # of the turn that waits for a commit
    interest: object = None  # when that turn began
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
        self._waiting: list[tuple[Slot, Unit]] = []  # for one commit
        self._waiting_since_s = 0.0
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
            now_s = clock.monotonic_s()
            if now_s - self._looked_at_s >= LOOK_EVERY_S:
                self._looked_at_s = now_s
                self._take_orders()
                self._look()
            self._restart_failed(now_s)
            slot = self._next(now_s)
            if self._waiting and (slot is None or self._is_full(now_s)):
                self._commit()
            elif slot is not None:
                self._serve(slot)
            else:
                clock.sleep(self._rest(now_s))
            self._adapt()
            self._beat()
            self._sweep()
        self._drop(list(self._slots.values()))
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
        self._drop(
            [
                slot
                for label, slot in self._slots.items()
                if wanted.get(label) != slot.spec or restarts.get(label, 0) != slot.restart
            ]
        )
        self._done &= wanted.keys()
        for label, spec in wanted.items():
            if label not in self._slots and label not in self._done:
                self._slots[label] = Slot(spec, restart=restarts.get(label, 0))
            if label in self._slots and label in finish:
                self._slots[label].finish, self._slots[label].due_at_s = True, 0.0

    def _look(self) -> None:
        """Read how far everybody has come, if the state is another one; jobs that there is news for are woken."""
        token, now_s = self._worker.store.token(), self._worker.clock.monotonic_s()
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
        """Give one turn."""
        self._turns += 1
        slot.served = self._turns
        with self._at_work(slot):
            slot.steps = self._turning(slot)
            self._go_on(slot, Outcome())

    def _turning(self, slot: Slot) -> Steps[Turn]:
        if slot.job is None:
            slot.job = yield from self._opening(slot)
        slot.interest = slot.job.interest(self._positions)
        return (yield from slot.job.turn(finish=slot.finish))

    def _is_full(self, now_s: float) -> bool:
        """Say whether what waits for a commit should wait no longer."""
        return len(self._waiting) >= MOST_AT_ONCE or now_s - self._waiting_since_s >= GATHER_S

    def _commit(self) -> None:
        """Commit what jobs wait for, and let them go on."""
        began_s = self._worker.clock.monotonic_s()
        waiting, self._waiting = self._waiting, []
        outcomes = together.commit(self._worker.store, [unit for _, unit in waiting])
        self._busy_s += self._worker.clock.monotonic_s() - began_s
        for (slot, _), outcome in zip(waiting, outcomes, strict=True):
            with self._at_work(slot):
                self._go_on(slot, outcome)

    @contextmanager
    def _at_work(self, slot: Slot) -> Iterator[None]:
        """Let the block work for a job. An error of a job that is alone in its process is the process's."""
        began_s = self._worker.clock.monotonic_s()
        self._doing.say(slot.spec.label)
        try:
            yield
        except Exception as exc:
            slot.steps = None
            if not self._shares:
                raise
            self._failed(slot, exc)
        self._doing.say("")
        self._busy_s += self._worker.clock.monotonic_s() - began_s

    def _go_on(self, slot: Slot, outcome: Outcome) -> None:
        """Go on with a turn until it wants a commit or has ended; alone in the process it gets its commit at once."""
        assert slot.steps is not None
        try:
            unit = together.answer(slot.steps, outcome)
            while not self._shares:
                (done,) = together.commit(self._worker.store, [unit])
                unit = together.answer(slot.steps, done)
        except StopIteration as end:
            slot.steps = None
            self._ended(slot, end.value)
        else:
            if not self._waiting:
                self._waiting_since_s = self._worker.clock.monotonic_s()
            self._waiting.append((slot, unit))

    def _ended(self, slot: Slot, turn: Turn) -> None:
        """Say when a job is due again after a turn."""
        assert slot.job is not None
        now_s = self._worker.clock.monotonic_s()
        if turn is Turn.MOVED:
            slot.due_at_s = now_s
            return
        if turn is Turn.DONE:
            self._done.add(slot.spec.label)
            self._drop([slot])
            return
        alone_s = slot.job.poll_s if turn is Turn.LATER else slot.job.doze_s
        slot.due_at_s = now_s + max(alone_s, SPREAD_S * len(self._slots))
        if turn is Turn.IDLE:
            slot.seen = slot.interest

    def _opening(self, slot: Slot) -> Steps[Job]:
        """Take the lease of the job and begin it."""
        slot.held = ExitStack()
        slot.held.enter_context(
            lease.acquire(self._worker.store.home, slot.spec.label, f"upm worker {self._worker.name}")
        )
        return (yield from jobs.opening(self._worker.named(slot.spec.label, self._pace), slot.spec))

    def _drop(self, slots: Sequence[Slot]) -> None:
        """Close jobs and forget them. What can't be committed any more is made again from where it stands."""
        while any(slot.steps is not None for slot in slots):
            self._commit()  # so that turns that wait have an end
        for slot in slots:
            self._slots.pop(slot.spec.label, None)
        going: list[tuple[Slot, Steps[None], Outcome]] = []
        for slot in slots:
            if slot.job is None:
                slot.held.close()
            else:
                going.append((slot, slot.job.closing(), Outcome()))
        while going:
            wanted = [(slot, steps, unit) for slot, steps, told in going if (unit := self._closing(slot, steps, told))]
            done = [
                outcome
                for at in range(0, len(wanted), MOST_AT_ONCE)
                for outcome in together.commit(
                    self._worker.store, [unit for _, _, unit in wanted[at : at + MOST_AT_ONCE]]
                )
            ]
            going = [(slot, steps, outcome) for (slot, steps, _), outcome in zip(wanted, done, strict=True)]

    def _closing(self, slot: Slot, steps: Steps[None], outcome: Outcome) -> Unit | None:
        """Go on closing a job; return what it wants committed, or None when it is closed."""
        self._doing.say(slot.spec.label)
        try:
            return together.answer(steps, outcome)
        except StopIteration:
            pass
        except NotFoundError:
            runfiles.remove_status(self._worker.store.home, slot.spec.label)  # its trainer was removed
        except Exception as exc:
            if not self._shares:
                raise
            self._tell_failure(slot, exc)
        finally:
            self._doing.say("")
        slot.job = None
        slot.held.close()
        return None

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
    """Say whether a job may have a turn: not while it waits for a commit or to be begun again, nor once given up."""
    return slot.steps is None and (slot.state is None or slot.state.phase in (Phase.STARTING, Phase.RUNNING))


def _told(slot: Slot) -> dict[str, Any]:
    at = slot.job.progress if slot.job is not None else None
    phase = Phase.RUNNING if slot.job is not None else Phase.STARTING
    restarts = 0
    if slot.state is not None:
        phase, restarts = slot.state.phase, slot.state.restarts
    return {"state": str(phase), "at": at, "seen": slot.seen, "restarts": restarts, "error": slot.error}
