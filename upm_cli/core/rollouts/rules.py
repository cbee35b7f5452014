"""What must be true of every step of a rollout, judged by what is true and not by what the rollout believes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from upm_cli.core.rollouts.decisions import Activate, Admit, Decision, Found, Promote, Rollback, Step
from upm_cli.core.rollouts.exposure import Exposure, exposed
from upm_cli.core.rollouts.looks import CLEAR, FAIL, MANY_HARMED, ONE_HARMED, PASS, PINNED, QUARANTINED, TIMES, Look
from upm_cli.core.rollouts.model import CANDIDATE, TENANTS, World
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.state import Phase, RolloutState, exposure_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One step, and the world in which it was taken."""

    verb: str
    look: Look
    before: RolloutState
    world: World
    step: Step
    policy: RolloutPolicy

    def of(self, *kinds: type[Decision]) -> Sequence[Decision]:
        return [each for each in self.step.decisions if isinstance(each, kinds)]

    @property
    def is_asked(self) -> bool:
        return self.verb == "promote"

    @property
    def passed(self) -> int:
        """Units that really passed since the look before, and count."""
        return TIMES[self.look.time][3] if self.world.phase is Phase.PROGRESSING else 0

    @property
    def held(self) -> int:
        """Units that really passed at this exposure; in shadow, since the start."""
        return (self.world.held if self.before.stage else self.world.started) + self.passed

    @property
    def shows_harm(self) -> bool:
        return self.look.evidence == FAIL or self.look.gates == MANY_HARMED

    @property
    def has_evidence(self) -> bool:
        """Whether what it was shown is a fresh pass, or a person's override of one that is missing."""
        by_hand = self.is_asked and self.look.override == "evidence" and self.look.evidence != FAIL
        return self.look.evidence == PASS or by_hand

    @property
    def is_clear(self) -> bool:
        """Whether nothing besides evidence and time should have closed the way."""
        shut, over = self.look.gates, self.look.override
        if shut in (CLEAR, ONE_HARMED):
            return True
        if shut == PINNED:
            return self.is_asked
        if shut == "a freeze":
            return over == "freeze"
        if self.before.stage > 0 and _only_in_shadow(shut, self.policy):
            return True
        if shut in ("too little time in shadow", "unknown time in shadow"):
            return over == "shadow"
        return bool(over) and shut in (f"gate {over} saying no", f"gate {over} missing")


def _only_in_shadow(shut: str, policy: RolloutPolicy) -> bool:
    about = ("no snapshot", "only the champion's snapshot", "too little time in shadow", "unknown time in shadow")
    only = set(policy.leave_shadow_gates) - set(policy.required_gates)
    return shut in about or any(shut.startswith(f"gate {name} ") for name in only)


def more_exposure_needs_a_fresh_pass(deed: Deed) -> bool:
    """No step without a pass of this stage's evidence that is fresh, or a person's override where it is missing."""
    return not deed.of(Activate) or deed.has_evidence


def every_gate_must_allow(deed: Deed) -> bool:
    """No step while a gate says no or could not be asked."""
    return not deed.of(Activate) or deed.is_clear


def a_hold_takes_its_time(deed: Deed) -> bool:
    """No automatic step before its time has really passed, whatever the wall clock says."""
    if deed.is_asked or not deed.of(Activate, Promote):
        return True
    need = deed.policy.need_ms(deed.before.stage)
    return deed.held * 1_000_000 >= min(need, 2_000_000)


def one_stage_at_a_time(deed: Deed) -> bool:
    """A step goes from what the rings serve to the very next stage, and is good for this epoch only."""
    steps = [each for each in deed.step.decisions if isinstance(each, Activate)]
    ladder = [stage.percent for stage in deed.policy.stages]
    return not steps or (
        len(steps) == 1
        and deed.world.percent in ladder
        and ladder.index(steps[0].percent) == ladder.index(deed.world.percent) + 1
        and steps[0].version == CANDIDATE
        and steps[0].expected_epoch == deed.world.epoch
    )


def rest_is_rest(deed: Deed) -> bool:
    """Nothing goes on while it is not started, paused or ended."""
    return deed.world.phase is Phase.PROGRESSING or not deed.of(Activate, Promote, Admit)


def harm_is_for_good(deed: Deed) -> bool:
    """After harm no more tenants, ever; nor the end as a success."""
    harmed = deed.world.is_harmed or deed.shows_harm
    return not harmed or not deed.of(Activate, Promote, Admit)


def quarantined_is_not_exposed(deed: Deed) -> bool:
    """A candidate that is quarantined, or may be, gets no more tenants."""
    unsure = deed.world.is_quarantined or deed.look.gates in (QUARANTINED, "nobody knowing of a quarantine")
    return not unsure or not deed.of(Activate, Promote, Admit)


def _sees(state: RolloutState, policy: RolloutPolicy) -> frozenset[str]:
    return _exposed(exposure_of(state, policy))


@cache
def _exposed(exposure: Exposure) -> frozenset[str]:
    return exposed(TENANTS, exposure)


def tenants_stay(deed: Deed) -> bool:
    """Whoever is exposed stays exposed, but for tenants held back and for going back; nobody is added unsaid."""
    before, after = _sees(deed.before, deed.policy), _sees(deed.step.state, deed.policy)
    if deed.verb == "retry":
        return not after
    went_back = deed.step.state.phase in (Phase.ABORTED, Phase.DEGRADED) or deed.of(Found)
    lost = before - after - deed.step.state.held_tenants
    return (not lost or bool(went_back)) and (not after - before or bool(deed.of(Activate, Admit, Found)))


def success_is_watched(deed: Deed) -> bool:
    """It ends well only with everybody exposed and evidence that still passes."""
    return not deed.of(Promote) or (deed.world.percent == 100 and deed.has_evidence)


def a_person_wins(deed: Deed) -> bool:
    """After a person moved the rings under a running rollout it neither goes on nor turns anything back.

    One that knows of no step yet, and of which nothing is left in the rings, may begin.
    """
    is_first = deed.before.stage == 0 and deed.world.percent == 0
    return not deed.world.is_taken or is_first or not deed.of(Activate, Promote, Rollback)


def back_is_open(deed: Deed) -> bool:
    """Giving up what is exposed always takes it back; so does harm, unless a pause is asked for."""
    is_exposed = deed.world.percent > 0 and not deed.world.is_taken and not deed.before.has_ended
    if not is_exposed:
        return True
    if deed.verb == "abort":
        return bool(deed.of(Rollback))
    known = deed.before.seen == deed.world.live and not deed.before.is_moving
    if deed.verb == "advance" and deed.look.evidence == FAIL and not deed.before.is_harmed and known:
        wants_back = deed.policy.on_harm == "rollback"
        return bool(deed.of(Rollback)) if wants_back else deed.step.state.phase is not Phase.PROGRESSING
    return True


def back_is_not_forgotten(deed: Deed) -> bool:
    """A rollback that was decided and is not in the rings yet is decided again at the next look."""
    waits = deed.before.is_undoing and deed.before.seen == deed.world.live
    return not waits or deed.verb != "advance" or bool(deed.of(Rollback))


def an_end_is_an_end(deed: Deed) -> bool:
    """Nothing but a retry leaves an end."""
    return deed.verb == "retry" or not deed.before.has_ended or deed.step.state.phase is deed.before.phase


Rule = Callable[[Deed], bool]
RULES: tuple[Rule, ...] = (
    more_exposure_needs_a_fresh_pass,
    every_gate_must_allow,
    a_hold_takes_its_time,
    one_stage_at_a_time,
    rest_is_rest,
    harm_is_for_good,
    quarantined_is_not_exposed,
    tenants_stay,
    success_is_watched,
    a_person_wins,
    back_is_open,
    back_is_not_forgotten,
    an_end_is_an_end,
)


def broken(deed: Deed) -> Iterator[Rule]:
    """Yield the rules that a step breaks."""
    return (rule for rule in RULES if not rule(deed))


def after(deed: Deed) -> World:
    """Return the world as it knows of the step: what people and decisions brought the rollout to."""
    is_shown = deed.shows_harm and deed.verb == "advance" and not deed.before.has_ended
    is_harmed = deed.world.is_harmed or (is_shown and deed.world.phase in (Phase.PROGRESSING, Phase.PAUSED))
    phase, passed = deed.step.state.phase, deed.passed
    if (phase, passed, is_harmed) == (deed.world.phase, 0, deed.world.is_harmed):
        return deed.world
    held, started = deed.world.held + passed, deed.world.started + passed
    return replace(deed.world, phase=phase, held=held, started=started, is_harmed=is_harmed)
