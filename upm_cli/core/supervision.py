"""When a worker is started, restarted, told to stop, killed, or given up: decisions about one worker at a time.

    STOPPED ─▶ STARTING ─▶ RUNNING ─▶ EXITED          ended well, nothing left to do
                  ▲           │   └──▶ STOPPING ─▶ STOPPED | STARTING | BACKOFF
                  └─ BACKOFF ◀┘ ended badly, or stuck
                        └──▶ FATAL                     too often, or for a reason that stays

`decide` looks at one worker once and says what to do. Nothing of it waits or measures: the caller looks again and
again with `now_s` of a clock that never goes back, and hands in the chance that spreads restarts.

A worker is stuck by what it gets done, not by being alive: there is work for it, and its progress has not changed for
`stuck_s`. One without work may stand still as long as it likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from upm_cli.exit_codes import ExitCode

#: A worker that ends with one of these said why; starting it again would only say so again.
FINAL: Final = frozenset(
    {ExitCode.USAGE, ExitCode.INVALID, ExitCode.NOT_FOUND, ExitCode.REFUSED, ExitCode.BUSY, ExitCode.INTEGRITY}
)


class Phase(StrEnum):
    """What a worker does, in the words of `upm ps`."""

    STOPPED = "stopped"  # it is not to run
    STARTING = "starting"  # its process is there, it has not said that it works
    RUNNING = "running"
    BACKOFF = "backoff"  # it ended badly and will be started again
    STOPPING = "stopping"  # it was asked to end
    EXITED = "exited"  # it ended by itself, all done
    FATAL = "fatal"  # given up


class Action(StrEnum):
    """What the caller is to do now."""

    START = "start"
    TERMINATE = "terminate"  # ask it to end: finish the unit of work, commit, go
    KILL = "kill"  # end it and everything it started


class After(StrEnum):
    """What becomes of a worker that was asked to end."""

    STOP = "stop"
    START = "start"  # at once: somebody asked for a restart
    RETRY = "retry"  # as after a crash: it was stuck


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient supervision is. All times are seconds."""

    backoff_s: float = 1.0  # longest pause before the first restart; doubled with each one
    backoff_most_s: float = 300.0
    intensity: int = 3  # restarts within `window_s`; one more and the worker is given up
    window_s: float = 60.0
    healthy_s: float = 600.0  # after running this long, what went wrong before is forgotten
    start_s: float = 60.0  # a worker that does not say it works by then is stuck
    stuck_s: float = 60.0  # without progress although there is work
    grace_s: float = 20.0  # from being asked to end to being killed
    may_restart: bool = True
    final: frozenset[int] = FINAL  # exit codes after which nothing is tried again

    def __post_init__(self) -> None:
        times = (self.backoff_s, self.backoff_most_s, self.window_s, self.healthy_s)
        if not all(each >= 0 for each in (*times, self.start_s, self.stuck_s, self.grace_s)):
            raise ValueError(f"times must not be negative: {self}")
        if self.intensity < 0:
            raise ValueError(f"intensity must not be negative, got {self.intensity}")

    def pause_s(self, streak: int, chance: float) -> float:
        """Return the pause before restart number `streak` (from 1) in a row: full jitter under a doubling limit."""
        doubled = self.backoff_s * 2.0 ** min(streak - 1, 60)
        return chance * min(self.backoff_most_s, doubled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far one job of a worker has come. `progress` is any value that changes when something got done."""

    progress: object
    has_work: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended: its exit code, or minus the signal that killed it.

    `is_waiting`: what is in its way is outside and may pass by itself (a lease somebody holds, a full disk). It is
    tried again for as long as that takes.
    """

    code: int
    why: str = ""
    is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen of one worker in one look. `chance` is uniform in [0, 1)."""

    wanted: bool = True
    restart: bool = False  # somebody asked for it since the last look
    is_urgent: bool = False  # end it now, without any clean-up
    is_ready: bool = False  # it has said that it works
    exit: Exit | None = None  # its process has ended
    marks: Mapping[str, Mark] = field(default_factory=dict)  # by job
    chance: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """When a job was last seen to have got something done, and since when it has had work without doing any."""

    progress: object
    at_s: float
    waits_since_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered of one worker between two looks."""

    phase: Phase = Phase.STOPPED
    since_s: float = 0.0  # when this phase began
    failures: tuple[float, ...] = ()  # until when each of the recent ones counts
    streak: int = 0  # failures in a row, since it was last healthy
    restarts: int = 0  # of its whole life
    retry_at_s: float = 0.0  # in BACKOFF
    kill_at_s: float = 0.0  # in STOPPING
    after: After = After.STOP  # in STOPPING
    moved: Mapping[str, Moved] = field(default_factory=dict)
    code: int | None = None  # of its last end
    reason: str = ""  # why it is in this phase, for people

    @property
    def is_alive(self) -> bool:
        """Whether there should be a process."""
        return self.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)

    @property
    def is_settled(self) -> bool:
        """Whether nothing happens to it any more unless somebody asks."""
        return self.phase in (Phase.STOPPED, Phase.EXITED, Phase.FATAL)


Decided = tuple[State, tuple[Action, ...]]


def decide(state: State, seen: Observation, policy: Policy, now_s: float) -> Decided:
    """Return what a worker is now, and what to do about it."""
    if state.is_alive:
        if seen.exit is not None:
            return _ended(state, seen, seen.exit, policy, now_s)
        if state.phase is Phase.STOPPING:
            return _stopping(state, seen, policy, now_s)
        return _working(state, seen, policy, now_s)
    if not seen.wanted:
        if state.phase is Phase.STOPPED:
            return state, ()
        return _enter(state, Phase.STOPPED, now_s, reason=state.reason), ()
    if seen.restart:
        return _start(replace(state, failures=(), streak=0), now_s, "asked to start again")
    if state.phase is Phase.STOPPED:
        return _start(state, now_s, "")
    if state.phase is Phase.BACKOFF and now_s >= state.retry_at_s:
        return _start(state, now_s, state.reason)
    return state, ()


def _working(state: State, seen: Observation, policy: Policy, now_s: float) -> Decided:
    """Look at a process that is there and was not asked to end."""
    if seen.is_urgent:
        stopping = _stop(state, policy, now_s, After.STOP, "told to end at once")
        return replace(stopping, kill_at_s=now_s + policy.grace_s), (Action.KILL,)
    if not seen.wanted:
        return _stop(state, policy, now_s, After.STOP, "asked to stop"), (Action.TERMINATE,)
    if seen.restart:
        fresh = replace(state, failures=(), streak=0)
        return _stop(fresh, policy, now_s, After.START, "asked to start again"), (Action.TERMINATE,)
    if state.phase is Phase.STARTING:
        if seen.is_ready:
            running = _enter(state, Phase.RUNNING, now_s)
            return replace(running, moved=_moved({}, seen.marks, now_s)), ()
        if now_s - state.since_s > policy.start_s:
            why = f"stuck: it did not come up in {policy.start_s:g} s"
            return _stop(state, policy, now_s, After.RETRY, why), (Action.TERMINATE,)
        return state, ()
    moved = _moved(state.moved, seen.marks, now_s)
    late = _stuck(moved, seen.marks, policy, now_s)
    if late is not None:
        why = f"stuck: no progress of {late} for {policy.stuck_s:g} s although there is work"
        return _stop(replace(state, moved=moved), policy, now_s, After.RETRY, why), (Action.TERMINATE,)
    if now_s - state.since_s >= policy.healthy_s and (state.failures or state.streak):
        state = replace(state, failures=(), streak=0)
    return (state if moved == state.moved else replace(state, moved=moved)), ()


def _moved(before: Mapping[str, Moved], marks: Mapping[str, Mark], now_s: float) -> dict[str, Moved]:
    """Return when each job last got something done, and since when it has been waiting for that."""
    found = {}
    for name, mark in marks.items():
        known = before.get(name)
        if known is None or known.progress != mark.progress:
            known = Moved(progress=mark.progress, at_s=now_s, waits_since_s=now_s)
        elif not mark.has_work:
            known = replace(known, waits_since_s=now_s)
        found[name] = known
    return found


def _stuck(moved: Mapping[str, Moved], marks: Mapping[str, Mark], policy: Policy, now_s: float) -> str | None:
    """Return the job that stands still although it has work, or None.

    Jobs of one worker take turns. So the longest waiting one is stuck when no job at all has moved for `stuck_s`, or
    when it has waited so long that each job could have stood still once.
    """
    waiting = [name for name, mark in marks.items() if mark.has_work]
    if not waiting:
        return None
    longest = min(waiting, key=lambda name: moved[name].waits_since_s)
    since_s = moved[longest].waits_since_s
    quiet_s = now_s - max(since_s, *(each.at_s for each in moved.values()))
    if quiet_s > policy.stuck_s or now_s - since_s > policy.stuck_s * len(marks):
        return longest
    return None


def _stopping(state: State, seen: Observation, policy: Policy, now_s: float) -> Decided:
    """Wait for a process that was asked to end; kill it when it takes too long."""
    if not seen.wanted and state.after is not After.STOP:
        state = replace(state, after=After.STOP)
    if seen.wanted and seen.restart and state.after is After.STOP:
        state = replace(state, after=After.START)
    if seen.is_urgent or now_s >= state.kill_at_s:
        return replace(state, kill_at_s=now_s + max(policy.grace_s, 1.0)), (Action.KILL,)
    return state, ()


def _ended(state: State, seen: Observation, end: Exit, policy: Policy, now_s: float) -> Decided:
    """Say what becomes of a worker whose process is gone."""
    was_asked = state.phase is Phase.STOPPING
    state = replace(state, code=end.code, moved={})
    if not seen.wanted or (was_asked and state.after is After.STOP):
        return _enter(state, Phase.STOPPED, now_s, reason=state.reason), ()
    if was_asked and state.after is After.START:
        return _start(state, now_s, "asked to start again")
    if was_asked:
        return _failed(state, state.reason, seen, policy, now_s, counts_s=_stuck_counts_s(policy))
    if end.code == 0:
        return _enter(state, Phase.EXITED, now_s), ()
    why = end.why or said(end.code)
    if end.is_waiting and policy.may_restart:
        return _back_off(replace(state, streak=state.streak + 1), why, seen, policy, now_s), ()
    if end.code in policy.final:
        return _enter(state, Phase.FATAL, now_s, reason=why), ()
    return _failed(state, why, seen, policy, now_s, counts_s=policy.window_s)


def _stuck_counts_s(policy: Policy) -> float:
    """Return how long being stuck counts: it takes long to see, so it may not be forgotten before it is seen again."""
    return policy.window_s + policy.intensity * (policy.stuck_s + policy.grace_s)


def _failed(state: State, why: str, seen: Observation, policy: Policy, now_s: float, *, counts_s: float) -> Decided:
    recent = tuple(until_s for until_s in state.failures if until_s > now_s)
    if not policy.may_restart or len(recent) >= policy.intensity:
        given_up = f"given up after {len(recent)} restarts in a row: {why}" if recent else why
        return _enter(replace(state, failures=recent), Phase.FATAL, now_s, reason=given_up), ()
    state = replace(state, failures=(*recent, now_s + counts_s), streak=state.streak + 1)
    return _back_off(state, why, seen, policy, now_s), ()


def _back_off(state: State, why: str, seen: Observation, policy: Policy, now_s: float) -> State:
    waiting = _enter(state, Phase.BACKOFF, now_s, reason=why)
    return replace(waiting, retry_at_s=now_s + policy.pause_s(state.streak, seen.chance))


def _start(state: State, now_s: float, why: str) -> Decided:
    again = state.phase is not Phase.STOPPED
    state = _enter(state, Phase.STARTING, now_s, reason=why)
    return replace(state, restarts=state.restarts + again, moved={}), (Action.START,)


def _stop(state: State, policy: Policy, now_s: float, after: After, why: str) -> State:
    state = _enter(state, Phase.STOPPING, now_s, reason=why)
    return replace(state, after=after, kill_at_s=now_s + policy.grace_s)


def _enter(state: State, phase: Phase, now_s: float, *, reason: str = "") -> State:
    return replace(state, phase=phase, since_s=now_s, reason=reason)


def said(code: int) -> str:
    """Return how a process ended, in words: `code` is its exit code, or minus the signal that killed it."""
    return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
