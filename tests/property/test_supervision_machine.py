"""A worker under any course of events, with its process played by an obvious model beside it."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from upm_cli.core.supervision import Action, Exit, Mark, Observation, Phase, Policy, State, decide

POLICY = Policy(
    backoff_s=1.0,
    backoff_most_s=10.0,
    intensity=3,
    window_s=60.0,
    healthy_s=120.0,
    start_s=15.0,
    stuck_s=30.0,
    grace_s=5.0,
)
JOBS = ("a", "b")
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 4.0, 10.0, 45.0, 200.0])


class Worker(RuleBasedStateMachine):
    """`alive`: whether there is a process; everything else is what an onlooker would note about it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.state = State()
        self.alive = False
        self.ready = False
        self.wanted = True
        self.asked_to_end_s: float | None = None
        self.killed = False
        self.failed_s: list[float] = []  # when it ended badly and was to be tried again
        self.progress = dict.fromkeys(JOBS, 0)
        self.work = dict.fromkeys(JOBS, False)
        self.still_since_s = self.now_s  # nothing moved, and somebody has had work, since then

    def look(
        self, end: Exit | None = None, *, restart: bool = False, urgent: bool = False, chance: float = 0.9
    ) -> None:
        before = self.state
        seen = Observation(
            wanted=self.wanted,
            restart=restart,
            is_urgent=urgent,
            is_ready=self.ready,
            exit=end,
            marks={job: Mark(progress=self.progress[job], has_work=self.work[job]) for job in JOBS if self.ready},
            chance=chance,
        )
        self.state, actions = decide(before, seen, POLICY, self.now_s)
        if end is not None:
            self.alive = self.ready = False
        if before.phase in (Phase.FATAL, Phase.EXITED, Phase.STOPPED) and self.state.phase is before.phase:
            assert actions == ()
        if before.phase in (Phase.FATAL, Phase.EXITED) and self.state.phase is Phase.STARTING:
            assert restart, "only somebody who asks brings it back"
        for action in actions:
            self.do(action, before, urgent=urgent, restart=restart)

    def do(self, action: Action, before: State, *, urgent: bool, restart: bool) -> None:
        if action is Action.START:
            assert not self.alive, "never two of them"
            assert self.wanted
            if before.phase is Phase.BACKOFF and not restart:
                assert self.now_s >= before.retry_at_s
            self.alive, self.ready, self.asked_to_end_s, self.killed = True, False, None, False
            self.work = dict.fromkeys(JOBS, False)
            self.still_since_s = self.now_s
            return
        assert self.alive, "there is somebody to be told"
        if action is Action.TERMINATE:
            assert self.asked_to_end_s is None, "it is asked once"
            self.asked_to_end_s = self.now_s
            if self.state.reason.startswith("stuck: no progress"):
                assert any(self.work.values())
                assert self.now_s - self.still_since_s > POLICY.stuck_s
        else:
            told_s = self.now_s if self.asked_to_end_s is None else self.asked_to_end_s
            assert urgent or self.now_s - told_s >= POLICY.grace_s
            self.killed = True

    @rule(seconds=SECONDS, urgent=st.sampled_from([False] * 9 + [True]))
    def wait(self, seconds: float, urgent: bool) -> None:
        self.now_s += seconds
        self.look(urgent=urgent and not self.wanted)

    @rule()
    def come_up(self) -> None:
        self.ready = self.alive
        self.look()

    @rule(job=st.sampled_from(JOBS))
    def move(self, job: str) -> None:
        if self.ready:
            self.progress[job] += 1
            self.still_since_s = self.now_s
            self.look()

    @rule(job=st.sampled_from(JOBS), has_work=st.booleans())
    def get_work(self, job: str, has_work: bool) -> None:
        if self.ready:
            if has_work and not any(self.work.values()):
                self.still_since_s = self.now_s
            self.look()  # what was true until now is seen before it changes
            self.work[job] = has_work
            if not any(self.work.values()):
                self.still_since_s = self.now_s
            self.look()

    @rule(code=st.sampled_from([0, 1, 1, 1, -9, -9, 3, 143]), chance=st.floats(0, 1, exclude_max=True))
    def end(self, code: int, chance: float) -> None:
        if self.alive:
            was_asked = self.asked_to_end_s is not None
            self.look(Exit(code=code), chance=chance)
            if self.state.phase is Phase.BACKOFF:
                self.failed_s.append(self.now_s)
                pause_s = self.state.retry_at_s - self.now_s
                assert 0 <= pause_s <= min(POLICY.backoff_most_s, POLICY.backoff_s * 2 ** (self.state.streak - 1))
            if code == 0 and self.wanted and not was_asked:
                assert self.state.phase is Phase.EXITED
            if code == 3 and self.wanted and not was_asked:
                assert self.state.phase is Phase.FATAL

    @rule(wanted=st.booleans())
    def want(self, wanted: bool) -> None:
        self.wanted = wanted
        self.look()

    @rule()
    def ask_for_a_restart(self) -> None:
        self.look(restart=True)
        self.failed_s.clear()

    @invariant()
    def there_is_a_process_exactly_when_it_says_so(self) -> None:
        assert self.state.is_alive == self.alive

    @invariant()
    def it_is_not_tried_more_often_than_allowed(self) -> None:
        recent = [at_s for at_s in self.failed_s if self.now_s - at_s < POLICY.window_s]
        assert len(recent) <= POLICY.intensity

    @invariant()
    def nobody_is_asked_to_end_for_ever(self) -> None:
        if self.alive and self.asked_to_end_s is not None and not self.killed:
            assert self.now_s - self.asked_to_end_s <= 200.0 + POLICY.grace_s


TestWorker = Worker.TestCase
TestWorker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
