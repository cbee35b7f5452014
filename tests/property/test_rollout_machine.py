"""Any order of looks, verbs, jumps, crashes and hands in the rings keeps the rules the exhaustive check has.

Unlike that check: true durations, several mishaps on one path, random gates, and every decision worked out again.
"""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from upm_cli.core.gates import GateResult
from upm_cli.core.records import Ring
from upm_cli.core.rollout import decide, inputs_json, outcome_json, recompute, state_from_json, state_json
from upm_cli.core.rollouts.decisions import Activate, Admit, Found, HoldTenant, Promote, Rollback
from upm_cli.core.rollouts.exposure import exposed
from upm_cli.core.rollouts.policy import HOUR_MS, RolloutPolicy
from upm_cli.core.rollouts.state import EvidenceView, Instant, Observation, Phase, Served, exposure_of, new_rollout
from upm_cli.core.verdict import Verdict
from upm_cli.errors import RefusedError

NAMES = ("quarantine", "lineage", "feature", "policy", "readiness")
TENANTS = frozenset(f"tenant-{i}" for i in range(30))
VERDICT = st.sampled_from([Verdict.PASS] * 6 + [Verdict.UNKNOWN, Verdict.FAIL, None])
CLOSED = st.sampled_from([None] * 8 + list(NAMES))
HOURS = st.sampled_from([0, 1, 6, 24, 24 * 14])


class Rollout(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.policy = RolloutPolicy(min_tenants=3)
        self.state = new_rollout("r1", "main", at_ms=0)
        self.live = {Ring.GLOBAL: Served(version=3, percent=100, epoch=1)}
        self.wall, self.true, self.position, self.epoch, self.boot = 10**12, 0, 100, 1, 1
        self.moved_at, self.is_harmed, self.is_taken, self.is_barred = 0, False, False, False
        self.do("start", Verdict.PASS, None, False)

    @rule(hours=HOURS, verdict=VERDICT, closed=CLOSED, quarantined=st.sampled_from([False] * 9 + [True, None]))
    def look(self, hours: int, verdict: Verdict | None, closed: str | None, quarantined: bool | None) -> None:
        self.pass_hours(hours)
        self.do("advance", verdict, closed, quarantined)

    @rule(
        verb=st.sampled_from(["promote", "pause", "resume", "abort", "start"]),
        verdict=VERDICT,
        closed=CLOSED,
        override=st.sampled_from([frozenset(), frozenset({"evidence"})]),
    )
    def ask(self, verb: str, verdict: Verdict | None, closed: str | None, override: frozenset[str]) -> None:
        self.do(verb, verdict, closed, False, overridden=override)

    @rule(verdict=VERDICT, how=st.sampled_from(["state lost", "effect lost"]))
    def crash(self, verdict: Verdict | None, how: str) -> None:
        self.pass_hours(24)
        self.do("advance", verdict, None, False, keeps=how != "state lost", moves=how != "effect lost")

    @rule(hours=st.sampled_from([-1000, -1, 2, 10_000]))
    def jump(self, hours: int) -> None:
        self.wall += hours * HOUR_MS

    @rule()
    def reboot(self) -> None:
        self.boot += 1
        self.moved_at -= HOUR_MS  # what a reboot counts at most

    @rule(version=st.sampled_from([3, 4]))
    def take_over(self, version: int) -> None:
        if any(each.version == 7 for each in self.live.values()):
            self.is_taken = self.is_barred = True
            self.move(Ring.GLOBAL, version, 100, None)
            self.live.pop(Ring.CANARY, None)

    @rule(tenant=st.sampled_from(sorted(TENANTS)))
    def harm_one(self, tenant: str) -> None:
        self.do("advance", Verdict.PASS, "policy", False, harmed=frozenset({tenant}))

    def pass_hours(self, hours: int) -> None:
        self.wall += hours * HOUR_MS
        self.true += hours * HOUR_MS
        self.position += hours * 10

    def move(self, ring: Ring, version: int, percent: int, rollout_id: str | None) -> None:
        self.epoch += 1
        self.live[ring] = Served(version=version, percent=percent, epoch=self.epoch, rollout_id=rollout_id)
        self.moved_at = self.true

    def do(
        self,
        verb: str,
        verdict: Verdict | None,
        closed: str | None,
        quarantined: bool | None,
        *,
        keeps: bool = True,
        moves: bool = True,
        **seen: Any,
    ) -> None:
        state, quarantined = self.state, self.is_barred or quarantined
        n = self.position - state.since_seq
        evidence = verdict and EvidenceView(
            verdict=verdict,
            kind=state.contest_kind,
            rollout_id="r1",
            stage=state.stage,
            version=state.version,
            champion=state.champion,
            n=n,
            first_seq=state.since_seq,
            last_seq=self.position - 1,
            as_of_ms=self.wall,
        )
        observation = Observation(
            instant=Instant(wall_ms=self.wall, monotonic_ms=self.true, era=f"boot-{self.boot}"),
            epoch=self.epoch,
            live=dict(self.live),
            position=self.position,
            evidence=evidence,
            gates=tuple(GateResult(gate=name, allowed=name != closed, detail="") for name in NAMES),
            candidate=7,
            quarantined=quarantined,
            shadow_ms=10**12,
            tenants=TENANTS,
        )
        observation = replace(observation, **seen)
        arguments = {} if verb == "advance" else {"actor": "ada", "reason": ""}
        inputs = inputs_json(state, observation, self.policy, verb, arguments)
        try:
            step = decide(verb, state, observation, self.policy, arguments)
        except RefusedError as exc:
            assert recompute(inputs) == outcome_json(exc)
            return
        assert recompute(inputs) == outcome_json(step)
        if keeps and verb == "advance" and verdict is Verdict.FAIL and state.phase in (Phase.PROGRESSING, Phase.PAUSED):
            self.is_harmed = True
        more = [each for each in step.decisions if isinstance(each, Activate | Promote)]
        if more:
            assert state.phase is Phase.PROGRESSING
            assert quarantined is False
            assert not self.is_harmed
            assert not self.is_taken
            by_hand = verb == "promote" and seen.get("overridden") == {"evidence"} and verdict is not Verdict.FAIL
            assert (verdict is Verdict.PASS and n > 0) or by_hand
            assert (
                verb == "promote" or self.true - self.moved_at >= self.policy.need_ms(state.stage) or state.stage == 0
            )
        if any(isinstance(each, Activate) for each in more):
            assert closed is None or (closed == "readiness" and state.stage > 0)
        self.check_tenants(step, harmed=seen.get("harmed", frozenset()))
        if keeps:
            self.state = state_from_json(state_json(step.state))
        for each in step.decisions if moves else ():
            if isinstance(each, Activate):
                assert each.percent > self.percent
                self.move(each.ring, each.version, each.percent, "r1")
            elif isinstance(each, Rollback):
                assert each.rings
                assert all(self.live[ring].version == 7 for ring in each.rings)
                self.is_barred |= each.is_bad
                for ring in each.rings:
                    self.move(ring, each.to or 0, self.live[ring].percent, None)

    def check_tenants(self, step: Any, harmed: frozenset[str]) -> None:
        before = exposed(TENANTS, exposure_of(self.state, self.policy))
        after = exposed(TENANTS, exposure_of(step.state, self.policy))
        kinds = {type(each) for each in step.decisions}
        if step.state.phase not in (Phase.ABORTED, Phase.DEGRADED) and Found not in kinds:
            assert before - after <= step.state.held_tenants
        if after - before:
            assert kinds & {Activate, Admit, Found}
        assert (HoldTenant in kinds) == bool(step.state.held_tenants - self.state.held_tenants)

    @property
    def percent(self) -> int:
        return max((each.percent for each in self.live.values() if each.version == 7), default=0)

    @invariant()
    def an_end_serves_nobody_but_after_success(self) -> None:
        inside = exposed(TENANTS, exposure_of(self.state, self.policy))
        if self.state.phase in (Phase.ABORTED, Phase.DEGRADED, Phase.PENDING):
            assert inside == frozenset()
        assert self.state.held_ms >= 0

    @invariant()
    def the_way_back_is_open(self) -> None:
        if self.percent and self.state.phase in (Phase.PROGRESSING, Phase.PAUSED) and not self.is_taken:
            observation = Observation(
                instant=Instant(wall_ms=self.wall, monotonic_ms=self.true, era="other"),
                epoch=self.epoch,
                live=dict(self.live),
                position=self.position,
            )
            step = decide("abort", self.state, observation, self.policy, {"actor": "eve", "reason": ""})
            assert step.state.phase is Phase.ABORTED


Rollout.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestRollout = Rollout.TestCase
