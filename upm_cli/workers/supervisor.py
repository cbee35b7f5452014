"""The supervisor: one process for each project that keeps the workers of all its trainers running.

One loop, five questions in each pass: what do signals and wishes ask for, what should run, what has become of each
process, what are others told, is it over. What is decided about one process is in core/supervision.py, who does what in
core/placement.py; here it is carried out.
"""

import math
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from upm_cli import actors
from upm_cli.clock import Clock
from upm_cli.config.schema import Settings
from upm_cli.core.records import Wish
from upm_cli.core.supervision import Phase
from upm_cli.errors import UpmError
from upm_cli.exit_codes import ExitCode
from upm_cli.ops import supervisor as ops
from upm_cli.ops import trainers
from upm_cli.store import positions, reserve, wishes
from upm_cli.store.positions import Positions
from upm_cli.store.session import Store
from upm_cli.store.wishes import SUPERVISOR
from upm_cli.workers import bulletin
from upm_cli.workers.children import Starter
from upm_cli.workers.context import Project
from upm_cli.workers.crew import Crew, Mode
from upm_cli.workers.holdings import Holdings
from upm_cli.workers.logpump import LogPump
from upm_cli.workers.notify import Notifier
from upm_cli.workers.policy import policy_of
from upm_cli.workers.signals import Signals
from upm_cli.workers.targets import groups_of, max_workers

PASS_S: Final = 0.1  # from one pass of the loop to the next
LOOK_EVERY_S: Final = 0.5  # at the state: trainers that came and went, wishes
TELL_EVERY_S: Final = 1.0
_REAPED_WITHIN_S: Final = 2.0


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
        self._log, self._notify = outside.log, outside.notify
        policy = policy_of(settings.supervisor)
        self.crew = Crew(store.home, self._log, outside.start, policy, project.flags(), outside.chance)
        self._holdings = Holdings(store.home, self._log.say)
        self._mode, self._code = Mode.RUN, int(ExitCode.DONE)
        self._futile: UpmError | None = None  # why it ends by itself
        self._is_urgent = self._is_ready = False
        self._began_ms = clock.now_ms()
        self._positions = Positions()
        self._token: tuple[int, int] | None = None
        self._looked_at_s = self._told_at_s = -math.inf
        self._granted = 0  # serial of the last wish that was carried out
        self._trouble = ""  # why the state could not be looked at
        self._given_up: set[tuple[str, str]] = set()  # workers and jobs that were told of, with the reason

    def run(self, signals: Signals) -> int:
        """Keep everything running until asked to end; return the exit code.

        Raises UpmError when every worker has been given up.
        """
        try:
            self._begin()
            while not self._is_over():
                self._hear(signals)
                self._look(force=signals.take_look())
                now_s = self._clock.monotonic_s()
                self.crew.watch(self._positions, self._mode, now_s, is_urgent=self._is_urgent)
                self._report_given_up()
                self._tell(now_s)
                self._consider_the_end()
                self._clock.sleep(PASS_S)
            if self._futile is not None:
                raise self._futile
            return self._code
        finally:
            self._end()

    # What signals and wishes ask for

    def _begin(self) -> None:
        actor = actors.current()
        self._ensure_trainers()
        with self._store.write(actor=actor) as tx:
            self._granted = wishes.begin(tx, actor=actor, now_ms=self._clock.now_ms()).serial
        self._log.say(f"started (pid {os.getpid()}, at most {max_workers(self._settings)} processes for trainers)")

    def _ensure_trainers(self) -> None:
        for default in self._settings.supervisor.default_trainers:
            trainers.ensure(self._store, self._clock, self._settings, default.name, actor=actors.current())

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
                self._settings, self.crew.policy = fresh, policy_of(fresh.supervisor)
                self._ensure_trainers()
                self.crew.restart_all()
                self._token = None
                self._log.say("the configuration was read again; the workers start anew with it")
        except UpmError as exc:
            self._log.say(f"the configuration stays as it was: {exc.message}", level="error")
        if self._is_ready:
            self._notify.ready()

    def _grant(self, found: Sequence[Wish]) -> None:
        """Carry out the wishes that are newer than the last one that was."""
        for wish in found:
            if wish.serial <= self._granted:
                continue
            self._granted = wish.serial
            why = f"asked by {wish.actor}" + (f": {wish.reason}" if wish.reason else "")
            if wish.worker != SUPERVISOR:
                self.crew.restart(wish.worker, wish.serial)
                self._log.say(f"starts anew, {why}", worker=wish.worker)
            elif wish.desired == "restart":
                self._log.say(f"all workers start anew, {why}")
                self._reload()
                self.crew.restart_all(anew=True)
            elif wish.desired == "drain" and self._mode is Mode.RUN:
                self._mode = Mode.DRAIN
                self._log.say(f"draining, {why}")
            elif wish.desired == "stop" and self._mode is not Mode.STOP:
                self._stop(why, ExitCode.DONE)

    # What should run

    def _look(self, *, force: bool) -> None:
        """Find out what should run now, if the state has changed."""
        now_s = self._clock.monotonic_s()
        if not force and now_s - self._looked_at_s < LOOK_EVERY_S:
            return
        self._looked_at_s = now_s
        try:
            token = self._store.token()
            if token != self._token:
                with self._store.read() as reader:
                    found, wanted = positions.read(reader), wishes.list_all(reader)
                self._token, self._positions = token, found
                self._grant(wanted)
            self._holdings.update(self._positions, now_s, quietly=not self._is_ready)
            self._trouble = ""
        except UpmError as exc:
            if exc.message != self._trouble:
                self._log.say(f"can't look at the state: {exc.message}", level="error")
            self._trouble = exc.message
        if self._mode is not Mode.STOP:
            groups = groups_of(self._settings, self._positions, self._project.folder, self._holdings.ours)
            tells = bool(self._settings.notify.webhooks)
            self.crew.place(groups, max_workers(self._settings), syncs=self._positions.has_adapters, tells=tells)

    # What others are told

    def _report_given_up(self) -> None:
        """Put an event into the outbox for each worker, or job of a pool, that was given up since the last look."""
        children = self.crew.children.values()
        found = {(child.name, child.state.reason): child.state.restarts for child in children if child.is_given_up}
        found |= dict.fromkeys(self.crew.aside.items(), 0)
        self._given_up &= found.keys()
        for (name, why), restarts in found.items():
            if (name, why) in self._given_up:
                continue
            try:
                ops.tell_given_up(self._store, self._clock, name, why, restarts=restarts)
            except UpmError:
                return  # the state can't be written now: the next look tells it
            self._given_up.add((name, why))

    def _tell(self, now_s: float) -> None:
        self._notify.alive(now_s)
        children = self.crew.children.values()
        if not self._is_ready and children and all(child.has_settled_in for child in children):
            self._is_ready = True
            self._notify.ready()
            self._log.say(f"ready: {self._headline()}")
        if now_s - self._told_at_s < TELL_EVERY_S:
            return
        self._told_at_s = now_s
        reserve.make_up(self._store.home)
        self.crew.measure(now_s)
        self._notify.status(self._headline())
        running = "running" if self._is_ready else "starting"
        state = {Mode.RUN: running, Mode.DRAIN: "draining", Mode.STOP: "stopping"}[self._mode]
        now_ms = self._clock.now_ms()
        told = bulletin.report(
            self.crew, self._holdings, self._trouble, state=state, began_ms=self._began_ms, now_ms=now_ms, now_s=now_s
        )
        try:
            ops.publish(self._store.home, told)
        except UpmError as exc:
            self._log.say(f"can't say how things are: {exc.message}", level="error")

    def _headline(self) -> str:
        return bulletin.headline(self.crew, self._holdings, self._trouble)

    # Is it over

    def _consider_the_end(self) -> None:
        """End after a drain; or when every worker of every trainer was given up, which whoever started us must hear."""
        if self._mode is Mode.DRAIN and not self.crew.left_to_drain():
            self._stop("every full batch has been learned and judged", ExitCode.DONE)
        working = [child for child in self.crew.children.values() if any(job.name for job in child.jobs)]
        if self._mode is not Mode.STOP and working and all(child.state.phase is Phase.FATAL for child in working):
            said = "; ".join(f"{child.name}: {child.state.reason}" for child in working[:3])
            self._futile = UpmError(
                f"every worker was given up: {said}",
                hint="upm logs shows their last words; what was committed is safe: mend it and run upm up again",
                code="UPM-E174",
                context={"workers": [child.name for child in working]},
            )
            self._stop("every worker was given up", ExitCode.INTERNAL)

    def _is_over(self) -> bool:
        return self._mode is Mode.STOP and not any(child.state.is_alive for child in self.crew.children.values())

    def _end(self) -> None:
        """Leave nobody behind, whatever happened."""
        deadline_s = self._clock.monotonic_s() + _REAPED_WITHIN_S
        for child in self.crew.kill_all():
            while child.handle is not None and child.handle.poll() is None and self._clock.monotonic_s() < deadline_s:
                self._clock.sleep(0.01)
        self._holdings.release()
        ops.forget(self._store.home)
        self._log.say("ended")
