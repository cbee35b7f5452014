"""The processes of a supervisor: who does what, what has become of each, and what is done about it."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final

from upm_cli.core import placement, supervision
from upm_cli.core.placement import JobSpec, Kind, Placement
from upm_cli.core.supervision import Action, Exit, Observation, Phase, Policy, State
from upm_cli.store import runfiles
from upm_cli.store.positions import Positions
from upm_cli.workers.__main__ import ADAPTER_SYNC
from upm_cli.workers.children import Child, Starter
from upm_cli.workers.logpump import LogPump

MARK_EVERY_S: Final = 1.0  # a look at how far everybody has come
MEASURE_EVERY_S: Final = 5.0
#: In which order jobs finish in a drain: the input of each has ended when those before it are done.
_DRAINS: Final = (Kind.INGEST, Kind.TRAINER, Kind.DRIFT)


class Mode(Enum):
    """What the supervisor as a whole is doing."""

    RUN = auto()
    DRAIN = auto()  # nothing new is read; what is in the log is learned and judged; then stop
    STOP = auto()


@dataclass(slots=True)
class Crew:
    """All processes by name. `flags` hand the project to them."""

    home: Path
    log: LogPump
    start: Starter
    policy: Policy
    flags: Sequence[str]
    chance: random.Random
    children: dict[str, Child] = field(default_factory=dict)
    placement: Placement = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)  # jobs that end their process each time, and why
    restarts: dict[str, int] = field(default_factory=dict)  # by job of a pool: serial of the last restart asked for
    _marked_at_s: float = -math.inf
    _measured_at_s: float = -math.inf

    # Who does what

    def place(
        self, groups: Mapping[str, Sequence[JobSpec]], max_workers: int, *, syncs: bool, tells: bool = False
    ) -> None:
        """Give every job to a process; `syncs`: models are handed to agents, too; `tells`: webhooks are told."""
        able = {stream: [job for job in jobs if job.label not in self.aside] for stream, jobs in groups.items()}
        self.placement = placement.place(able, self.placement, max_workers, tells=tells)
        for name, jobs in self.placement.items():
            self.children.setdefault(name, Child(name, ["host", name, *self.flags])).jobs = jobs
        if syncs:
            self.children.setdefault(
                ADAPTER_SYNC, Child(ADAPTER_SYNC, [ADAPTER_SYNC, "sync", "--supervised", *self.flags])
            )
        for name, child in list(self.children.items()):
            if child.is_host and name not in self.placement:
                child.jobs = ()
                if not child.state.is_alive:
                    del self.children[name]
                    runfiles.remove_notes(self.home, name)

    def restart(self, name: str, serial: int) -> None:
        """Start a process, or a job of a pool, anew; given up or not."""
        self.aside.pop(name, None)
        self.restarts[name] = serial
        if name in self.children:
            self.children[name].restart = True

    def restart_all(self, *, anew: bool = False) -> None:
        """Start every process anew; `anew`: place the jobs as if for the first time."""
        if anew:
            self.aside.clear()
            self.placement = {}
        for child in self.children.values():
            child.restart = child.state.phase is not Phase.STOPPED

    # What has become of each

    def watch(self, positions: Positions, mode: Mode, now_s: float, *, is_urgent: bool) -> None:
        """Look at every process once and do what is to be done."""
        for child in self.children.values():
            child.read(self.home)
        if now_s - self._marked_at_s >= MARK_EVERY_S:
            self._marked_at_s = now_s
            for child in self.children.values():
                child.mark(positions)
        left = self.left_to_drain()
        for child in list(self.children.values()):
            if child.is_host:
                self._order(child, left if mode is Mode.DRAIN else None)
            self._decide(child, mode, now_s, is_urgent=is_urgent)

    def measure(self, now_s: float) -> None:
        """Look at the memory and the processor time of each, now and then."""
        elapsed_s = now_s - self._measured_at_s
        if elapsed_s >= MEASURE_EVERY_S:
            self._measured_at_s = now_s
            for child in self.children.values():
                child.measure(elapsed_s if math.isfinite(elapsed_s) else 0.0)

    def kill_all(self) -> list[Child]:
        """Kill what still runs, and forget what was said; return who was killed."""
        killed = [child for child in self.children.values() if child.handle is not None and child.handle.poll() is None]
        for child in killed:
            assert child.handle is not None
            child.handle.kill()
        for child in self.children.values():
            runfiles.remove_notes(self.home, child.name)
        return killed

    def left_to_drain(self) -> set[Kind]:
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

    def _order(self, child: Child, left: Iterable[Kind] | None) -> None:
        """Tell a process which jobs to do; one that another process has not let go of yet comes later.

        `left`: what is still to be drained; None: there is no drain.
        """
        busy = set().union(*(other.hosted for other in self.children.values() if other is not child))
        jobs = [job for job in child.jobs if job.label not in busy]
        orders = {
            "jobs": [job.to_plain() for job in jobs],
            "finish": sorted(job.label for job in jobs if left is not None and _must_finish(job, left)),
            "restarts": {job.label: self.restarts[job.label] for job in jobs if job.label in self.restarts},
        }
        if orders != child.orders:
            runfiles.write_note(self.home, child.name, runfiles.JOBS, orders)
            child.orders, child.ordered = orders, frozenset(job.label for job in jobs)

    def _decide(self, child: Child, mode: Mode, now_s: float, *, is_urgent: bool) -> None:
        before = child.state
        ended = child.ended(self.home) if before.is_alive else None
        seen = Observation(
            wanted=mode is not Mode.STOP and (not child.is_host or bool(child.orders.get("jobs"))),
            restart=child.restart,
            is_urgent=is_urgent,
            is_ready=child.has_come_up(now_s),
            exit=ended,
            marks=child.marks,
            chance=self.chance.random(),
        )
        child.restart = False
        child.state, actions = supervision.decide(before, seen, self.policy, now_s)
        if ended is not None:
            self._note_end(child, before, ended)
            child.forget()
        for action in actions:
            self._act(child, action)
        self._say_change(child, before)

    def _act(self, child: Child, action: Action) -> None:
        if action is Action.START:
            runfiles.remove_status(self.home, child.name)
            try:
                child.handle = self.start(child.name, child.argv)
            except OSError as exc:  # no more processes, no memory: the next look finds that it has ended
                self.log.say(f"can't be started: {exc}", worker=child.name, level="error")
            child.cpu_s = 0.0
        elif child.handle is not None and action is Action.TERMINATE:
            child.handle.terminate()
        elif child.handle is not None:
            child.handle.kill()

    def _note_end(self, child: Child, before: State, ended: Exit) -> None:
        """Remember which job a pool was at when it failed; one that ends it each time is not given to it again."""
        if not placement.is_pool(child.name) or child.state.streak <= before.streak or ended.is_waiting:
            return
        if before.streak == 0:
            child.ended_by.clear()
        child.ended_by.append(runfiles.last_doing(self.home, child.name))
        least = max(1, self.policy.intensity)
        job, last = child.ended_by[-1], child.ended_by[-least:]
        if job and len(last) == least and set(last) == {job}:
            self.aside[job] = f"set aside: {child.name} {child.state.reason} while it was at it, {least} times"
            self.log.say(self.aside[job], worker=job, level="error")

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
        self.log.say(f"{state.phase}{pid}{why}", worker=child.name, level=level)


def _must_finish(job: JobSpec, left: Iterable[Kind]) -> bool:
    """Say whether everything that `job` gets its input from is done."""
    if job.kind not in _DRAINS:
        return False
    earlier = _DRAINS[: _DRAINS.index(job.kind)]
    return not any(kind in earlier for kind in left)
