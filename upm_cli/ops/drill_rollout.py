"""Rehearsing a whole rollout: the project's own policy on a clock that is moved, over a real temporary store."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from upm_cli import actors
from upm_cli.clock import ManualClock
from upm_cli.core.records import Ring
from upm_cli.core.rollout import plan
from upm_cli.core.rollouts.decisions import (
    Abort,
    Activate,
    Decision,
    Hold,
    NoteUnknown,
    Pause,
    Promote,
    Rollback,
    Start,
)
from upm_cli.core.rollouts.policy import HOUR_MS, RolloutPolicy
from upm_cli.core.rollouts.state import Phase, RolloutState
from upm_cli.errors import UsageError
from upm_cli.ops import made_up, rollout
from upm_cli.ops.made_up_evidence import prove
from upm_cli.ops.rollout_policy import policy_of
from upm_cli.ops.rollout_view import instant
from upm_cli.store import activations, dwells, sandbox

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

NAME: Final = "drill"
MONDAY_MS: Final = 1_767_571_200_000  # 2026-01-05T00:00Z: when the rehearsal begins, so that it is always the same
LONGEST_STEP_MS: Final = 24 * HOUR_MS
SHORT_STEP_MS: Final = 6 * HOUR_MS  # in the stage in which it does harm, and while something else than time holds it
SHORTEST_STEP_MS: Final = 1000
DAY_MS: Final = 24 * HOUR_MS
PATIENCE: Final = 4  # it is given up after so many times the time it needs at least
TIME: Final = ("hold", "shadow", "readiness", "evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened, `at_ms` after the start."""

    at_ms: int
    event: str  # begun | entered | promoted | rolled back | paused | waits | aborted
    stage: int
    name: str
    ring: str
    percent: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """The whole way. `notes`: what is otherwise than in the project, so that the way can be shown."""

    moments: tuple[Moment, ...]
    phase: str
    stage: int
    percent: int
    days: float
    looks: int
    serves_everybody: str  # candidate | champion | nothing
    notes: tuple[str, ...]
    is_as_expected: bool


def parse_harm(text: str, policy: RolloutPolicy) -> int:
    """Return the stage that `text` names: its step (4), its name (`canary 10 %`), or its share (`10 %`).

    Raises UsageError.
    """
    wanted = "".join(text.split()).lower()
    for index, stage in enumerate(policy.stages):
        name = "".join(stage.name.split())
        if wanted in (f"{index + 1}", f"step{index + 1}", name, name.removesuffix("%"), f"{stage.percent}%"):
            return index
    names = ", ".join(f"{step}: {stage.name}" for step, stage in enumerate(policy.stages, start=1))
    raise UsageError(f"--harm {text!r} is no stage", hint=f"one of {names}", code="UPM-E029")


def drill_rollout(settings: "Settings", *, harm: str | None = None, days: float | None = None) -> Rehearsed:
    """Let a made-up candidate go from shadow to everybody by the project's policy; with `harm` it fails in that stage.

    Time is moved, evidence made up; everything else is what a real rollout runs on. Ends after `days` at the latest.
    """
    drilled, notes = _for_drill(settings)
    policy = policy_of(drilled)
    at = None if harm is None else parse_harm(harm, policy)
    with sandbox.folder() as home:
        way = _Way.prepare(home, drilled, policy, at)
        try:
            way.go(_longest_ms(policy) if days is None else round(days * DAY_MS))
            return way.told(notes, is_cut=days is not None)
        finally:
            way.store.close()


def _for_drill(settings: "Settings") -> tuple["Settings", tuple[str, ...]]:
    """Return the settings of the rehearsal and what is otherwise in them than in the project."""
    notes = []
    section, features = settings.policy, settings.features
    if not section.canary_tenants:
        section = replace(section, canary_tenants=("*",))
        notes.append("policy.canary_tenants is empty: in the project no canary begins; here every tenant may be in one")
    if not features.unified_model:
        features = replace(features, unified_model=True)
        notes.append("features.unified_model is off: in the project nothing is exposed; here it is on")
    if not settings.rollout.automatic:
        notes.append("rollout.automatic is off: every step is promoted by a person here too, as soon as it may be")
    stages = settings.rollout
    if stages.on_feature_drift == "hold":
        stages = replace(stages, on_feature_drift="report")
        notes.append("rollout.on_feature_drift is hold: in the project feature drift holds a step; here nobody looks")
    manager = settings.snapshot_manager
    if manager.require_signature:
        manager = replace(manager, require_signature=False)
        notes.append("snapshot_manager.require_signature is on: made-up snapshots are not signed, and nobody asks here")
    drilled = replace(
        settings, policy=replace(section, actors={}), features=features, rollout=stages, snapshot_manager=manager
    )
    return drilled, tuple(notes)


def _longest_ms(policy: RolloutPolicy) -> int:
    least = sum(policy.need_ms(stage) for stage in range(len(policy.stages))) + policy.min_shadow_ms
    return PATIENCE * least + 14 * DAY_MS


@dataclass(slots=True)
class _Way:
    """A rehearsal under way."""

    store: "Store"
    clock: ManualClock
    settings: "Settings"
    policy: RolloutPolicy
    harm: int | None
    champion: int
    candidate: int
    moments: list[Moment] = field(default_factory=list)
    looks: int = 0
    state: RolloutState | None = None
    waiting: str = ""

    @classmethod
    def prepare(cls, home: Path, settings: "Settings", policy: RolloutPolicy, harm: int | None) -> "_Way":
        """Make a trainer whose first version serves everybody, and a second one that is to follow it."""
        from upm_cli.store.session import Store

        clock = ManualClock(MONDAY_MS)
        store = Store.create(home / "state", clock)
        champion = made_up.learn(store, clock, settings, NAME)
        made_up.serve(store, clock, NAME, champion)
        made_up.quiet_window(store, clock, NAME, settings.drift_monitor.drift_threshold)
        candidate = made_up.learn(store, clock, settings, NAME)
        return cls(
            store=store,
            clock=clock,
            settings=settings,
            policy=policy,
            harm=harm,
            champion=champion,
            candidate=candidate,
        )

    @property
    def passed_ms(self) -> int:
        return self.clock.now_ms() - MONDAY_MS

    def go(self, longest_ms: int) -> None:
        """Begin, then judge and look again and again until it ends or the time is over."""
        self._judge()
        begun = rollout.start(self.store, self.clock, self.settings, NAME, actor=actors.current(), reason="a drill")
        self._note(begun.decisions, begun.state)
        while self.state is not None and self._is_going() and self.passed_ms < longest_ms:
            self.clock.advance(min(self._step_ms(), longest_ms - self.passed_ms) / 1000)
            self._judge()
            self._look()

    def _is_going(self) -> bool:
        return self.state is not None and self.state.phase is Phase.PROGRESSING

    def _step_ms(self) -> int:
        """Return the time to the next look: until the next stage is due, a day at most."""
        state = self.state
        assert state is not None
        with self.store.read() as reader:
            dwell = dwells.find(reader, NAME)
        shadow_ms = None if dwell is None else round(dwell.shadow_s * 1000)
        stages = plan(self.policy, state, instant(self.clock), shadow_ms)
        ahead = next((each.in_ms for each in stages if each.index == state.stage + 1), None)
        left = self.policy.need_ms(state.stage) - state.held_ms if ahead is None else ahead
        longest = SHORT_STEP_MS if state.stage == self.harm else LONGEST_STEP_MS
        return max(SHORTEST_STEP_MS, min(left, longest) if left > 0 else SHORT_STEP_MS)

    def _judge(self) -> None:
        """Let the drift monitor have judged new windows, of the lineage or of the candidate."""
        state = self.state
        stage, version = (0, None) if state is None else (state.stage, state.version)
        verdict = "fail" if self.harm is not None and state is not None and stage == self.harm else "pass"
        prove(self.store, self.clock, NAME, version, stage=stage, verdict=verdict)

    def _look(self) -> None:
        self.looks += 1
        looked = rollout.tick(self.store, self.clock, self.settings, NAME)
        if looked is None:
            return
        self._note(looked.decisions, looked.state)
        if looked.hold is not None and {gate.gate for gate in looked.hold.gates} == {"automatic"}:
            asked = rollout.ask(self.store, self.clock, self.settings, NAME, "promote", actor=actors.current())
            self._note(asked.decisions, asked.state)

    def _note(self, decisions: tuple[Decision, ...], state: RolloutState | None) -> None:
        assert state is not None
        self.state = state
        for decision in decisions:
            for event, why in _events(decision):
                if event == "waits" and why == self.waiting:
                    continue
                self.waiting = why if event == "waits" else ""
                stage = self.policy.stages[state.stage]
                self.moments.append(
                    Moment(
                        at_ms=self.passed_ms,
                        event=event,
                        stage=state.stage,
                        name=stage.name,
                        ring=stage.ring.value,
                        percent=0 if event == "rolled back" else state.percent,
                        why=why,
                    )
                )

    def told(self, notes: tuple[str, ...], *, is_cut: bool) -> Rehearsed:
        state = self.state
        assert state is not None
        with self.store.read() as reader:
            live = activations.live(reader, NAME).get(Ring.GLOBAL)
        serving = "nothing"
        if live is not None and live.percent == 100:
            serving = "candidate" if live.version == self.candidate else "champion"
        return Rehearsed(
            moments=tuple(self.moments),
            phase=state.phase.value,
            stage=state.stage,
            percent=0 if state.phase in (Phase.DEGRADED, Phase.ABORTED) else state.percent,
            days=round(self.passed_ms / DAY_MS, 3),
            looks=self.looks,
            serves_everybody=serving,
            notes=notes,
            is_as_expected=self._is_as_expected(state, serving, is_cut=is_cut),
        )

    def _is_as_expected(self, state: RolloutState, serving: str, *, is_cut: bool) -> bool:
        """Say whether a good candidate got through, or a harmful one was turned back (paused, where that is set)."""
        if is_cut and state.phase is Phase.PROGRESSING:
            return True
        if self.harm is None:
            return state.phase is Phase.PROMOTED and serving == "candidate"
        if self.harm == 0 or self.policy.on_harm == "pause":
            return state.phase is Phase.PAUSED and state.is_harmed
        return state.phase is Phase.DEGRADED and serving == "champion"


def _why(decision: Activate | Promote) -> tuple[str, ...]:
    """Return the gates whose numbers tell why a step was taken."""
    return ("shadow", "evidence") if isinstance(decision, Activate) and decision.stage == 1 else ("hold", "evidence")


def _events(decision: Decision) -> Iterator[tuple[str, str]]:
    """Yield what a decision is called on the timeline, and why."""
    if isinstance(decision, Start):
        yield "begun", "shadow is always allowed"
    elif isinstance(decision, Activate | Promote):
        said = [gate.detail for gate in decision.gates if gate.gate in _why(decision)]
        name = "entered" if isinstance(decision, Activate) else "promoted"
        yield name, "; ".join(said)
    elif isinstance(decision, Rollback):
        yield "rolled back", f"{decision.cause}: {decision.reason}"
    elif isinstance(decision, Pause | Abort):
        yield ("paused" if isinstance(decision, Pause) else "aborted"), f"{decision.cause}: {decision.reason}"
    elif isinstance(decision, NoteUnknown):
        yield "waits", f"evidence: {decision.detail}"
    elif isinstance(decision, Hold):
        others = [gate for gate in decision.gates if gate.gate not in (*TIME, "automatic")]
        if others and not {"hold", "shadow"} & {gate.gate for gate in decision.gates}:
            yield "waits", f"{others[0].gate}: {others[0].detail}"
