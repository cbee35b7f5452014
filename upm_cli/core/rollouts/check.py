"""Every state a rollout can get into, and every way the world can look there: is there a hole?

Breadth first, so that the first path that breaks a rule is a shortest one. In each state the machine looks at every
verdict, at every clock, with every gate shut or missing, and people ask for every verb. On any path there is at most
one mishap: the process dies between keeping the state and carrying the decision out, in either order; a person moves
the rings by hand; or a tenant is held back.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from upm_cli.core.rollout import VERBS
from upm_cli.core.rollouts.decisions import Activate, Decision, Hold, Rollback, Step
from upm_cli.core.rollouts.looks import CLEAR, FAIL, PASS, QUARANTINED, Depth, Look, asked_looks, looks
from upm_cli.core.rollouts.model import ROLLOUT, World, carry_out, first_world, key, meddle, observe, settle, small
from upm_cli.core.rollouts.policy import RolloutPolicy
from upm_cli.core.rollouts.rules import Deed, after, broken
from upm_cli.core.rollouts.state import RolloutState
from upm_cli.errors import RefusedError

Verbs = Mapping[str, Callable[..., Step]]
_Pair = tuple[RolloutState, World]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was looked at and, if a rule can be broken, the shortest way there in words."""

    states: int
    steps: int
    broken: str = ""
    trace: tuple[str, ...] = ()
    is_whole: bool = True  # False: it was stopped by `at_most`

    @property
    def is_sound(self) -> bool:
        return not self.broken

    def words(self) -> str:
        if self.is_sound:
            return f"{self.states:,} states, {self.steps:,} steps: no rule can be broken"
        lines = [f"{number}. {line}" for number, line in enumerate(self.trace, start=1)]
        return "\n".join((f"rule broken: {self.broken}", *lines))


def check(policy: RolloutPolicy, *, is_quick: bool = False, verbs: Verbs = VERBS, at_most: int = 1_000_000) -> Report:
    """Explore every reachable state under `policy`, with `verbs` as the machine (default: the real one)."""
    return _Search(small(policy), is_quick, verbs).run(at_most)


class _Search:
    def __init__(self, policy: RolloutPolicy, is_quick: bool, verbs: Verbs) -> None:
        self.policy, self.verbs, self.is_quick = policy, verbs, is_quick
        self.mishaps = 0 if is_quick else 1
        depths = (Depth.FEW if is_quick else Depth.WHOLE, Depth.FEW)  # before and after a mishap
        self.looks = [looks(policy, depth) for depth in depths]
        self.asked = [asked_looks(policy, depth) for depth in depths]
        self.came_from: dict[tuple[Any, ...], tuple[tuple[Any, ...] | None, str]] = {}
        self.queue: deque[_Pair] = deque()
        self.steps = 0

    def run(self, at_most: int) -> Report:
        self._reach(settle(*first_world(), self.policy), None, "")
        while self.queue:
            state, world = self.queue.popleft()
            here = key(state, world)
            for verb, look in self._choices(world.mishaps):
                bad = self._try(verb, look, state, world, here)
                if bad is not None:
                    return bad
            for words, moved in meddle(state, world, self.policy) if world.mishaps < self.mishaps else ():
                self._reach(settle(state, moved, self.policy), here, words)
            if self.steps > at_most:
                return Report(states=len(self.came_from), steps=self.steps, is_whole=False)
        return Report(states=len(self.came_from), steps=self.steps)

    def _choices(self, mishaps: int) -> Iterator[tuple[str, Look]]:
        yield from (("advance", look) for look in self.looks[mishaps])
        yield from (("promote", look) for look in self.asked[mishaps])
        for gates, evidence in ((CLEAR, PASS), (CLEAR, FAIL), (QUARANTINED, PASS)):
            look = Look(time=1, evidence=evidence, gates=gates)
            yield from ((verb, look) for verb in ("start", "pause", "resume", "abort", "retry"))

    def _try(self, verb: str, look: Look, state: RolloutState, world: World, here: tuple[Any, ...]) -> Report | None:
        self.steps += 1
        arguments = {} if verb == "advance" else {"actor": "ada"}
        if verb == "retry":
            arguments["rollout_id"] = f"{ROLLOUT}-again"
        try:
            step = self.verbs[verb](state, observe(look, state, world, self.policy), self.policy, **arguments)
        except RefusedError:
            return None
        deed = Deed(verb=verb, look=look, before=state, world=world, step=step, policy=self.policy)
        rule = next(broken(deed), None)
        if rule is not None:
            return self._found(rule.__doc__ or rule.__name__, deed, here)
        if verb == "retry":
            return None  # a new rollout in shadow: the first state again
        for words, kept, moved in _fates(deed, self.mishaps):
            self._reach(settle(kept, moved, self.policy), here, words, deed)
        return None

    def _reach(self, pair: _Pair, origin: tuple[Any, ...] | None, words: str, deed: Deed | None = None) -> None:
        name = key(*pair)
        state, world = pair
        twin = key(state, replace(world, mishaps=0)) if world.mishaps else name  # without a fault: more is tried there
        if name not in self.came_from and twin not in self.came_from:
            self.came_from[name] = (origin, f"{_said(deed)}{words}" if deed is not None else words)
            self.queue.append(pair)

    def _found(self, rule: str, deed: Deed, here: tuple[Any, ...]) -> Report:
        path, at = [_said(deed)], here
        while True:
            origin, words = self.came_from[at]
            if origin is None:
                break
            path.append(words)
            at = origin
        return Report(
            states=len(self.came_from), steps=self.steps, broken=rule.splitlines()[0], trace=tuple(reversed(path))
        )


def _fates(deed: Deed, mishaps: int) -> Iterator[tuple[str, RolloutState, World]]:
    """Yield what becomes of a step: kept and carried out, or only one of them, or neither."""
    known, kept = after(deed), deed.step.state
    if kept.held_tenants - deed.before.held_tenants and known.mishaps < mishaps:
        known = replace(known, mishaps=known.mishaps + 1)
    moves = [each for each in deed.step.decisions if isinstance(each, Activate | Rollback)]
    if not moves:
        yield "", kept, known
        return
    done = carry_out(known, moves[0])
    yield "", kept, done
    if done.mishaps < mishaps:
        known = replace(known, mishaps=known.mishaps + 1)
        yield " (the process dies before the rings move)", kept, known
        # who lost the state goes on from what was kept before, and is what that says
        lost = replace(done, phase=deed.world.phase, mishaps=done.mishaps + 1)
        yield " (the process dies before the state is kept)", deed.before, lost


def _said(deed: Deed) -> str:
    """Say a step in words: who did what, how the world looked, and what came of it."""
    told = [_decision(each) for each in deed.step.decisions if not isinstance(each, Hold)]
    hold = deed.step.hold
    if hold is not None:
        told.append("hold for " + ", ".join(each.gate for each in hold.gates))
    who = "the machine looks" if deed.verb == "advance" else f"ada asks to {deed.verb}"
    return (
        f"at {deed.before.percent} %, {deed.before.phase}: {who} {deed.look.words()} → {'; '.join(told) or 'nothing'}"
    )


def _decision(decision: Decision) -> str:
    if isinstance(decision, Activate):
        return f"activate v{decision.version} in {decision.ring} at {decision.percent} %"
    if isinstance(decision, Rollback):
        return f"roll v{decision.version} back ({decision.cause})"
    extra = next((str(found) for name in ("cause", "what", "tenant") if (found := getattr(decision, name, ""))), "")
    return decision.kind.replace("_", " ") + (f" ({extra})" if extra else "")
