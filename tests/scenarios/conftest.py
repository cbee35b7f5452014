"""A rollout, its rings and its evidence, on a clock that is moved by hand."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from upm_cli.core.gates import GateResult
from upm_cli.core.records import Ring
from upm_cli.core.rollout import decide, inputs_json, outcome_json, recompute, state_from_json, state_json
from upm_cli.core.rollouts.decisions import Activate, Decision, Rollback, Step
from upm_cli.core.rollouts.policy import HOUR_MS, RolloutPolicy
from upm_cli.core.rollouts.state import EvidenceView, Instant, Observation, RolloutState, Served, new_rollout
from upm_cli.core.verdict import Verdict

GATES = tuple(
    GateResult(gate=name, allowed=True, detail="fine")
    for name in ("quarantine", "lineage", "feature", "policy", "readiness")
)


@dataclass
class Fleet:
    """One trainer with a champion, tenants, a monitor that judges 100 windows an hour, and a rollout."""

    policy: RolloutPolicy = field(default_factory=RolloutPolicy)
    wall_ms: int = 1_800_000_000_000
    monotonic_ms: int = 5_000
    era: str = "boot-1"
    position: int = 10_000
    verdict: Verdict = Verdict.PASS
    labels_come: bool = True
    live: dict[Ring, Served] = field(default_factory=lambda: {Ring.GLOBAL: Served(version=3, percent=100, epoch=5)})
    epoch: int = 5
    shadow_ms: int = 0
    seen: dict[str, Any] = field(default_factory=dict)  # what an observation has besides
    told: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.judged_to, self.judged_at = self.position, self.wall_ms
        self.state: RolloutState = new_rollout("r1", "main", at_ms=self.wall_ms)
        self.tenants = frozenset(f"tenant-{i}" for i in range(100))

    def evidence(self) -> EvidenceView | None:
        state = self.state
        n = max(0, self.judged_to - state.since_seq)
        return EvidenceView(
            verdict=self.verdict,
            kind=state.contest_kind,
            rollout_id=state.rollout_id,
            stage=state.stage,
            version=state.version,
            champion=state.champion,
            n=n,
            first_seq=state.since_seq if n else None,
            last_seq=self.judged_to - 1 if n else None,
            as_of_ms=self.judged_at,
            more=500 if self.verdict is Verdict.UNKNOWN else None,
        )

    def observe(self) -> Observation:
        looks = Observation(
            instant=Instant(wall_ms=self.wall_ms, monotonic_ms=self.monotonic_ms, era=self.era),
            epoch=self.epoch,
            live=dict(self.live),
            position=self.position,
            evidence=self.evidence(),
            gates=GATES,
            candidate=7,
            quarantined=False,
            shadow_ms=self.shadow_ms,
            tenants=self.tenants,
        )
        return replace(looks, **self.seen)

    def wait(self, hours: float) -> None:
        """Let real time pass, with windows coming."""
        passed = round(hours * HOUR_MS)
        self.wall_ms += passed
        self.monotonic_ms += passed
        self.shadow_ms += passed
        self.position += round(hours * 100)
        if self.labels_come:
            self.judged_to, self.judged_at = self.position, self.wall_ms

    def do(self, verb: str = "advance", *, keeps: bool = True, moves: bool = True, **arguments: Any) -> list[Decision]:
        """Decide, keep the state and carry the decision out; every decision must come out the same from the record."""
        observation = self.observe()
        if verb != "advance":
            arguments = {"actor": "ada", "reason": "", **arguments}
        step: Step = decide(verb, self.state, observation, self.policy, arguments)
        inputs = inputs_json(self.state, observation, self.policy, verb, arguments)
        assert recompute(inputs) == outcome_json(step)
        if keeps:
            self.state = state_from_json(state_json(step.state))
        for each in step.decisions:
            if moves and isinstance(each, Activate):
                self.move(each.ring, each.version, each.percent, rollout_id="r1")
            if moves and isinstance(each, Rollback):
                for ring in each.rings:
                    self.move(ring, each.to or 0, self.live[ring].percent)
        self.told += step.decisions
        return list(step.decisions)

    def move(self, ring: Ring, version: int, percent: int, rollout_id: str | None = None) -> None:
        self.epoch += 1
        self.live[ring] = Served(version=version, percent=percent, epoch=self.epoch, rollout_id=rollout_id)

    def climb(self, percent: int) -> None:
        """Start if need be, and go on, four hours at a time, until `percent` is reached."""
        if self.state.phase == "pending":
            self.do("start")
        for _ in range(2000):
            if self.state.percent >= percent:
                self.do()  # sees its own step in the rings
                return
            self.wait(4)
            self.do()
        raise AssertionError(f"stuck at {self.state}")


def kinds(decisions: list[Decision]) -> list[str]:
    return [each.kind for each in decisions]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def make_fleet() -> Callable[..., Fleet]:
    return Fleet


@pytest.fixture
def names() -> Callable[[list[Decision]], list[str]]:
    return kinds
