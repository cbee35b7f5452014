"""Is a lineage ready? What it takes to leave shadow, and to be used in production for the first time.

Each criterion has its number, its limit, a verdict and what is missing. What nobody can say is unknown, which is not
met. The first three let a lineage leave shadow; all five make it ready for production.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from upm_cli.core.gates import GateResult
from upm_cli.core.records import Signoff
from upm_cli.core.verdict import Verdict

HOUR_MS: Final = 3_600_000
LEAVE_SHADOW: Final = ("shadow_time", "quiet_windows", "no_quarantine")
SIGNED_OFF: Final = ("dashboard", "runbook")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessPolicy:
    """The limits. Names are those of the `policy` section."""

    min_shadow_hours: int = 336
    readiness_share: float = 0.95  # of the judged drift windows
    readiness_quiet_hours: int = 48

    def __post_init__(self) -> None:
        if not 0 < self.readiness_share <= 1:
            raise ValueError(f"readiness_share must be above 0 and at most 1, got {self.readiness_share}")
        if self.min_shadow_hours < 0 or self.readiness_quiet_hours < 0:
            raise ValueError("min_shadow_hours and readiness_quiet_hours must be at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known about a lineage. None: it could not be read."""

    now_ms: int
    shadow_ms: int | None  # accumulated time in shadow
    passed: int | None  # drift windows whose P95 is below the threshold
    failed: int | None
    unknown: int | None = 0  # windows with too few samples: no evidence either way
    knows_quarantines: bool = True  # whether the list of quarantines could be read
    last_quarantine_ms: int | None = None  # None: there was none
    signoffs: Mapping[str, Signoff] = field(default_factory=dict)  # by item
    signers: frozenset[str] = frozenset()  # who may sign off, by the policy in force


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One criterion: `value` against `limit`, and what is missing (empty when it is met)."""

    name: str
    verdict: Verdict
    value: Any
    limit: Any
    detail: str
    missing: str = ""

    @property
    def is_met(self) -> bool:
        return self.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """All criteria, in order."""

    criteria: tuple[Criterion, ...]

    @property
    def may_leave_shadow(self) -> bool:
        return all(each.is_met for each in self.criteria if each.name in LEAVE_SHADOW)

    @property
    def is_ready(self) -> bool:
        """Whether it is ready for its first use in production."""
        return all(each.is_met for each in self.criteria)


def assess(facts: Facts, policy: ReadinessPolicy) -> Readiness:
    """Hold what is known against the limits."""
    return Readiness(
        criteria=(
            _shadow_time(facts, policy),
            _quiet_windows(facts, policy),
            _no_quarantine(facts, policy),
            *(_signed(item, facts) for item in SIGNED_OFF),
        )
    )


def _shadow_time(facts: Facts, policy: ReadinessPolicy) -> Criterion:
    need = policy.min_shadow_hours
    if facts.shadow_ms is None:
        return _unknown("shadow_time", need, "time in shadow", "let the drift monitor run: it counts the time")
    hours = facts.shadow_ms / HOUR_MS
    is_met = facts.shadow_ms >= need * HOUR_MS
    return Criterion(
        name="shadow_time",
        verdict=Verdict.PASS if is_met else Verdict.FAIL,
        value=round(hours, 3),
        limit=need,
        detail=f"{hours:.1f} of {need} hours in shadow",
        missing="" if is_met else f"{need - hours:.1f} more hours in shadow",
    )


def _quiet_windows(facts: Facts, policy: ReadinessPolicy) -> Criterion:
    need = policy.readiness_share
    if facts.passed is None or facts.failed is None or facts.passed + facts.failed == 0:
        return _unknown("quiet_windows", need, "share of quiet drift windows", "wait for judged windows with labels")
    judged = facts.passed + facts.failed
    share = facts.passed / judged
    is_met = facts.passed >= need * judged
    besides = f", {facts.unknown} not judged" if facts.unknown else ""
    missing = _more_passes(facts.passed, judged, need)
    return Criterion(
        name="quiet_windows",
        verdict=Verdict.PASS if is_met else Verdict.FAIL,
        value=round(share, 6),
        limit=need,
        detail=f"{facts.passed} of {judged} judged windows are below the threshold ({share:.1%}){besides}",
        missing="" if is_met else missing,
    )


def _more_passes(passed: int, judged: int, need: float) -> str:
    """Say how many windows below the threshold, one after the other, bring the share to `need`."""
    if need >= 1:
        return "only windows below the threshold, for as long as windows count"
    more = max(0, int((need * judged - passed) / (1 - need)) - 1)
    while passed + more < need * (judged + more):
        more += 1
    return f"{more} more windows below the threshold"


def _no_quarantine(facts: Facts, policy: ReadinessPolicy) -> Criterion:
    need = policy.readiness_quiet_hours
    if not facts.knows_quarantines:
        return _unknown("no_quarantine", need, "time since the last quarantine", "upm doctor")
    if facts.last_quarantine_ms is None:
        said = "nothing was ever quarantined"
        return Criterion(name="no_quarantine", verdict=Verdict.PASS, value=None, limit=need, detail=said)
    hours = (facts.now_ms - facts.last_quarantine_ms) / HOUR_MS
    is_met = hours >= need
    return Criterion(
        name="no_quarantine",
        verdict=Verdict.PASS if is_met else Verdict.FAIL,
        value=round(hours, 3),
        limit=need,
        detail=f"the last quarantine was {hours:.1f} hours ago, {need} are asked for",
        missing="" if is_met else f"{need - hours:.1f} more hours without a quarantine",
    )


def _signed(item: str, facts: Facts) -> Criterion:
    name, limit = f"{item}_signed_off", "a named person"
    signoff = facts.signoffs.get(item)
    ask = f"upm rollout sign-off {item}"
    if signoff is None:
        said = f"nobody has signed the {item} off"
        return Criterion(name=name, verdict=Verdict.FAIL, value=None, limit=limit, detail=said, missing=ask)
    if signoff.actor not in facts.signers or signoff.at_ms > facts.now_ms:
        said = f"{signoff.actor} signed the {item} off, which does not count"
        return Criterion(name=name, verdict=Verdict.FAIL, value=signoff.actor, limit=limit, detail=said, missing=ask)
    said = f"{signoff.actor} signed the {item} off"
    return Criterion(name=name, verdict=Verdict.PASS, value=signoff.actor, limit=limit, detail=said)


def _unknown(name: str, limit: Any, what: str, missing: str) -> Criterion:
    said = f"nobody can say the {what}"
    return Criterion(name=name, verdict=Verdict.UNKNOWN, value=None, limit=limit, detail=said, missing=missing)


def readiness_gate(readiness: Readiness) -> GateResult:
    """Say as a gate whether the lineage may leave shadow."""
    open_ones = [each for each in readiness.criteria if each.name in LEAVE_SHADOW and not each.is_met]
    return GateResult(
        gate="readiness",
        allowed=readiness.may_leave_shadow,
        detail="; ".join(each.detail for each in open_ones) or "ready to leave shadow",
        satisfy="; ".join(each.missing for each in open_ones),
        numbers={
            each.name: {"value": each.value, "limit": each.limit, "verdict": each.verdict.value}
            for each in readiness.criteria
            if each.name in LEAVE_SHADOW
        },
    )
