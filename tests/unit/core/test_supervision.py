"""Decisions about one worker, on a clock that is moved by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from upm_cli.core.supervision import (
    Action,
    Exit,
    Mark,
    Observation,
    Phase,
    Policy,
    State,
    decide,
)

POLICY = Policy(
    backoff_s=1.0,
    backoff_most_s=8.0,
    intensity=3,
    window_s=60.0,
    healthy_s=600.0,
    start_s=30.0,
    stuck_s=60.0,
    grace_s=20.0,
)


@dataclass
class Watched:
    """One worker, and everything that was done about it."""

    policy: Policy = POLICY
    now_s: float = 100.0
    state: State = field(default_factory=State)
    did: list[Action] = field(default_factory=list)

    def see(self, passes_s: float = 0.0, **seen: object) -> Sequence[Action]:
        self.now_s += passes_s
        self.state, actions = decide(self.state, Observation(**seen), self.policy, self.now_s)  # type: ignore[arg-type]
        self.did += actions
        return actions

    def run(self) -> "Watched":
        """Start it and let it say that it works."""
        if not self.state.is_alive:
            self.see()
        self.see(is_ready=True)
        assert self.state.phase is Phase.RUNNING
        return self

    def die(self, code: int = 1, *, chance: float = 0.5, **more: object) -> Sequence[Action]:
        return self.see(exit=Exit(code=code, **more), chance=chance)  # type: ignore[arg-type]

    def work(self, seconds: float, progress: object, *, step_s: float = 1.0, has_work: bool = True) -> None:
        """Look once a second, seeing the same each time."""
        for _ in range(round(seconds / step_s)):
            self.see(step_s, marks={"job": Mark(progress=progress, has_work=has_work)})


def test_a_worker_is_started_and_runs_once_it_says_so() -> None:
    worker = Watched()
    assert worker.see() == (Action.START,)
    assert worker.state.phase is Phase.STARTING
    assert worker.see(1.0) == ()
    assert worker.see(1.0, is_ready=True) == ()
    assert worker.state.phase is Phase.RUNNING
    assert (worker.state.restarts, worker.state.since_s) == (0, 102.0)


def test_a_worker_that_is_not_wanted_is_never_started() -> None:
    worker = Watched()
    assert worker.see(wanted=False) == ()
    assert worker.state == State()


def test_a_worker_that_ends_well_is_left_alone() -> None:
    worker = Watched().run()
    assert worker.die(0) == ()
    assert worker.see(1000.0) == ()
    assert worker.state.phase is Phase.EXITED


def test_pauses_double_up_to_their_limit_and_chance_picks_from_all_of_them() -> None:
    limits = [POLICY.pause_s(streak, 1.0) for streak in range(1, 7)]
    assert limits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert [POLICY.pause_s(3, chance) for chance in (0.0, 0.25, 0.5)] == [0.0, 1.0, 2.0]
    assert POLICY.pause_s(10_000, 1.0) == 8.0


def test_a_crashed_worker_is_started_again_after_its_pause() -> None:
    worker = Watched().run()
    assert worker.die(chance=0.75) == ()
    assert worker.state.phase is Phase.BACKOFF
    assert worker.state.retry_at_s == worker.now_s + 0.75
    assert worker.see(0.5) == ()
    assert worker.see(0.5) == (Action.START,)
    assert (worker.state.phase, worker.state.restarts) == (Phase.STARTING, 1)
    assert worker.state.reason == "ended with code 1"


def test_one_restart_too_many_within_the_window_gives_it_up() -> None:
    worker = Watched()
    for _ in range(3):
        worker.run().die(-9)
        assert worker.state.phase is Phase.BACKOFF
        worker.see(8.0)
    worker.run().die(-9)
    assert worker.state.phase is Phase.FATAL
    assert worker.state.reason == "given up after 3 restarts in a row: killed by signal 9"
    assert worker.see(10_000.0) == ()


def test_crashes_that_are_far_apart_do_not_add_up() -> None:
    worker = Watched()
    for _ in range(20):
        worker.run()
        worker.now_s += 61.0
        worker.die()
        worker.see(8.0)
    assert worker.state.phase is Phase.STARTING
    assert worker.state.restarts == 20
    assert worker.state.streak == 20, "but its pauses stay long"


def test_after_a_healthy_while_the_pauses_are_short_again() -> None:
    worker = Watched()
    for _ in range(3):
        worker.run().die()
        worker.see(8.0)
    worker.run()
    worker.see(599.0)
    assert worker.state.streak == 3
    worker.see(1.0)
    assert (worker.state.streak, worker.state.failures) == (0, ())
    worker.die(chance=0.999)
    assert worker.state.retry_at_s - worker.now_s < 1.0


@pytest.mark.parametrize("code", [2, 3, 4, 5, 7, 9])
def test_an_end_that_would_only_come_again_is_final(code: int) -> None:
    worker = Watched().run()
    assert worker.die(code, why="no trainer 'mian'") == ()
    assert (worker.state.phase, worker.state.code) == (Phase.FATAL, code)
    assert worker.state.reason == "no trainer 'mian'"
    assert worker.state.failures == ()


def test_what_waits_for_something_outside_is_tried_for_as_long_as_it_takes() -> None:
    worker = Watched()
    for _ in range(50):
        worker.run().die(7, is_waiting=True, chance=1.0)
        assert worker.state.phase is Phase.BACKOFF
        assert worker.state.failures == ()
        worker.see(8.0)
    assert worker.state.phase is Phase.STARTING


def test_with_restarts_off_the_first_end_is_the_last() -> None:
    worker = Watched(Policy(may_restart=False)).run()
    worker.die()
    assert (worker.state.phase, worker.state.reason) == (Phase.FATAL, "ended with code 1")


def test_a_stop_waits_for_the_grace_and_then_kills() -> None:
    worker = Watched().run()
    assert worker.see(wanted=False) == (Action.TERMINATE,)
    assert worker.state.phase is Phase.STOPPING
    assert worker.see(19.0, wanted=False) == ()
    assert worker.see(1.0, wanted=False) == (Action.KILL,)
    assert worker.see(wanted=False, exit=Exit(code=-9)) == ()
    assert worker.state.phase is Phase.STOPPED
    assert worker.state.restarts == 0


def test_an_urgent_end_kills_at_once_whatever_it_is_doing() -> None:
    running, starting, stopping = Watched().run(), Watched(), Watched().run()
    starting.see()
    stopping.see(wanted=False)
    for worker in (running, starting, stopping):
        assert worker.see(wanted=False, is_urgent=True) == (Action.KILL,)
        worker.see(wanted=False, is_urgent=True, exit=Exit(code=-9))
        assert worker.state.phase is Phase.STOPPED


def test_a_restart_that_is_asked_for_is_clean_and_counts_nothing_against_it() -> None:
    worker = Watched().run()
    worker.die()
    worker.see(8.0)
    worker.run()
    assert worker.see(restart=True) == (Action.TERMINATE,)
    assert worker.see(1.0) == ()
    assert worker.see(1.0, exit=Exit(code=143)) == (Action.START,)
    assert (worker.state.phase, worker.state.streak, worker.state.failures) == (Phase.STARTING, 0, ())


@pytest.mark.parametrize("code", [3, 0])
def test_a_restart_revives_what_was_given_up_or_has_ended(code: int) -> None:
    worker = Watched().run()
    worker.die(code)
    assert worker.state.phase in (Phase.FATAL, Phase.EXITED)
    assert worker.see(restart=True) == (Action.START,)


def test_a_restart_ends_a_pause() -> None:
    worker = Watched().run()
    worker.die(chance=1.0)
    assert worker.see(restart=True) == (Action.START,)


def test_a_worker_in_backoff_that_is_no_longer_wanted_is_stopped() -> None:
    worker = Watched().run()
    worker.die()
    worker.see(wanted=False)
    assert worker.state.phase is Phase.STOPPED
    assert worker.see(100.0, wanted=False) == ()


def test_a_worker_wanted_again_while_it_stops_is_started_when_it_has_ended() -> None:
    worker = Watched().run()
    worker.see(wanted=False)
    worker.see(1.0, wanted=True, restart=True)
    assert worker.see(1.0, exit=Exit(code=143)) == (Action.START,)


def test_a_stop_during_a_restart_wins() -> None:
    worker = Watched().run()
    worker.see(restart=True)
    worker.see(1.0, wanted=False)
    assert worker.see(1.0, wanted=False, exit=Exit(code=143)) == ()
    assert worker.state.phase is Phase.STOPPED


def test_work_without_progress_means_stuck_and_it_is_ended_and_tried_again() -> None:
    worker = Watched().run()
    worker.work(30, "a")
    worker.work(61, "b")
    assert worker.state.phase is Phase.RUNNING
    worker.work(1, "b")
    assert worker.state.phase is Phase.STOPPING
    assert worker.did[-1] is Action.TERMINATE
    assert worker.state.reason == "stuck: no progress of job for 60 s although there is work"
    assert worker.see(20.0) == (Action.KILL,)
    worker.see(exit=Exit(code=-9))
    assert worker.state.phase is Phase.BACKOFF


def test_an_idle_worker_is_never_stuck() -> None:
    worker = Watched().run()
    worker.work(100_000, "a", step_s=10.0, has_work=False)
    assert worker.state.phase is Phase.RUNNING
    worker.work(59, "a")
    assert worker.state.phase is Phase.RUNNING, "and what counts is the time since work arrived"


def test_a_worker_that_goes_on_slowly_is_not_stuck() -> None:
    worker = Watched().run()
    for step in range(100):
        worker.work(50, step)
    assert worker.state.phase is Phase.RUNNING


def test_a_worker_that_never_comes_up_is_stuck() -> None:
    worker = Watched()
    worker.see()
    assert worker.see(30.0) == ()
    assert worker.see(0.1) == (Action.TERMINATE,)
    assert worker.state.reason == "stuck: it did not come up in 30 s"


def test_being_stuck_again_and_again_gives_it_up_although_it_takes_long_to_see() -> None:
    worker = Watched()
    for _ in range(3):
        worker.run()
        worker.work(62, "a")
        worker.see(20.0)
        worker.see(exit=Exit(code=-9))
        assert worker.state.phase is Phase.BACKOFF
        worker.see(8.0)
    worker.run()
    worker.work(62, "a")
    worker.see(exit=Exit(code=143))
    assert worker.state.phase is Phase.FATAL


def turns(worker: Watched, seconds: int, progress: dict[str, object], work: set[str]) -> None:
    for _ in range(seconds):
        worker.see(1.0, marks={name: Mark(progress=at, has_work=name in work) for name, at in progress.items()})


def test_a_process_whose_jobs_take_turns_is_well_as_long_as_one_of_them_moves() -> None:
    worker = Watched().run()
    for step in range(10):
        turns(worker, 10, {"a": step, "b": 0, "c": 0}, {"a", "b"})
    assert worker.state.phase is Phase.RUNNING


def test_a_job_that_never_gets_anywhere_is_stuck_although_the_others_move() -> None:
    worker = Watched().run()
    for step in range(30):
        turns(worker, 10, {"a": step, "b": 0}, {"a", "b"})
    assert worker.state.phase is Phase.STOPPING
    assert "no progress of b" in worker.state.reason


def test_a_process_of_many_jobs_is_stuck_when_none_of_them_moves_whoever_waits() -> None:
    worker = Watched().run()
    turns(worker, 30, {"a": 1, "b": 1}, set())
    turns(worker, 40, {"a": 1, "b": 1}, {"b"})
    turns(worker, 22, {"a": 1, "b": 1}, {"a", "b"})
    assert worker.state.phase is Phase.STOPPING
    assert "no progress of b" in worker.state.reason


def test_a_job_that_has_just_become_idle_does_not_make_a_waiting_one_look_stuck() -> None:
    worker = Watched().run()
    turns(worker, 59, {"a": 0, "b": 0}, {"b"})
    turns(worker, 1, {"a": 1, "b": 0}, {"b"})
    turns(worker, 55, {"a": 1, "b": 0}, {"b"})
    assert worker.state.phase is Phase.RUNNING


@pytest.mark.parametrize(
    "wrong", [{"backoff_s": -1.0}, {"grace_s": -0.1}, {"intensity": -1}, {"stuck_s": float("nan")}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Policy(**wrong)  # type: ignore[arg-type]
