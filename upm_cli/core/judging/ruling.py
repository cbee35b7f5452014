"""The verdict on a contest with everything that bears on it: the tests, the labels that are missing, the misses.

`unknown` is what is left when harm is not shown and being as good is not shown either; it says what is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from upm_cli.core.evidence import Findings
from upm_cli.core.judging.coverage import worst_case
from upm_cli.core.judging.false_alarms import FalseAlarmBudget
from upm_cli.core.judging.trial import Trial
from upm_cli.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What contests go by besides their tests. Names are those of the sections `evidence` and `drift_monitor`."""

    label_horizon_ms: int = 0
    min_label_coverage: float = 0.95
    false_alarms: FalseAlarmBudget = field(default_factory=lambda: FalseAlarmBudget.parse("1 per 90d"))
    drift_threshold: float = 0.2
    by_regret: bool = False  # the lineage's scores are regret over blocks of class labels

    def __post_init__(self) -> None:
        if self.label_horizon_ms < 0 or not 0 <= self.min_label_coverage <= 1:
            raise ValueError(f"no rules: horizon {self.label_horizon_ms} ms, coverage {self.min_label_coverage}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a verdict is made of, as plain values."""

    contest: Verdict  # of the tests alone
    reasons: tuple[str, ...]
    alarm: bool  # the share of bad scores rose
    broken: str  # why windows could not be scored; empty: they could
    windows: int  # old enough to be judged
    labelled: int  # of them, with a usable label
    min_label_coverage: float
    high: float | None  # upper bound of the mean excess loss on windows with a label
    margin: float
    has_begun: bool = True  # no window from before this stage waits for its label any more


def decide(facts: Facts) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and what stands between it and a pass. Harm that was shown stays shown.

    With too few labels the missing ones count as the worst: the challenger wrong, the champion right.
    """
    if facts.contest is Verdict.FAIL or facts.alarm:
        failed = facts.reasons if facts.contest is Verdict.FAIL else ()
        return Verdict.FAIL, failed + (("the share of bad scores rose above what is allowed",) if facts.alarm else ())
    if facts.broken:
        return Verdict.UNKNOWN, (facts.broken,)
    if not facts.has_begun:
        return Verdict.UNKNOWN, ("windows from before this stage are still waiting for their labels",)
    share = min(1.0, facts.labelled / facts.windows) if facts.windows else None
    if share is None:
        return Verdict.UNKNOWN, ("no window was judged yet", *facts.reasons)
    if share >= facts.min_label_coverage:
        return facts.contest, facts.reasons
    if facts.contest is Verdict.PASS and worst_case(facts.high, share, 1.0) < facts.margin:
        return Verdict.PASS, ()
    return Verdict.UNKNOWN, (labels_missing(share, facts.windows, facts.min_label_coverage), *facts.reasons)


def labels_missing(share: float, windows: int, needed: float) -> str:
    """Say how many windows have labels and how many should."""
    return f"labels: {100 * share:.3g} % of {windows:,} windows, needs {100 * needed:.3g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A verdict with the facts and findings behind it."""

    verdict: Verdict
    reasons: tuple[str, ...]
    facts: Facts
    findings: Findings
    trial: Trial

    def to_json(self) -> dict[str, Any]:
        """Return everything there is to know about the contest, as plain values."""
        trial, facts = self.trial, self.facts
        found = self.findings.to_json()
        return found | {
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "stage": trial.stage,
            "fresh_windows": 0 if trial.stage != self.findings.stage else self.findings.fresh_windows,
            "fresh_first_seq": trial.fresh_first_seq,
            "from_seq": trial.from_seq,
            "gate": _gate(self),
            "labels": {
                "windows": facts.windows,
                "labelled": facts.labelled,
                "share": trial.coverage.share,
                "needed": facts.min_label_coverage,
                "young": trial.coverage.waiting,
            },
            "exceedance": None if trial.misses is None else trial.misses.to_json(),
            "broken": facts.broken or None,
            "doubt_from": trial.doubt_from() if self.verdict is Verdict.FAIL else None,
        }


def _gate(ruling: Ruling) -> dict[str, Any]:
    """Return the number a gate goes by: the mean excess loss, at its worst where labels are missing."""
    measure, share = ruling.findings.promote, ruling.trial.coverage.share
    number: dict[str, Any] = {
        "value": measure.value,
        "low": measure.low,
        "high": measure.high,
        "threshold": measure.threshold,
        "windows": ruling.findings.fresh_windows,
        "needed": measure.needed,
        "pessimistic": False,
    }
    if share is not None and share < ruling.facts.min_label_coverage:
        number |= {
            "low": worst_case(measure.low, share, -1.0),
            "high": worst_case(measure.high, share, 1.0),
            "pessimistic": True,
        }
    return number


def rule(trial: Trial, rules: Rules) -> Ruling:
    """Judge a contest as it stands."""
    findings = trial.contest.findings()
    facts = Facts(
        contest=findings.verdict,
        reasons=findings.reasons,
        alarm=trial.misses is not None and trial.misses.alarm_seq is not None,
        broken=trial.broken,
        windows=trial.coverage.windows,
        labelled=trial.coverage.labelled,
        min_label_coverage=rules.min_label_coverage,
        high=findings.promote.high,
        margin=trial.policy.margin,
        has_begun=trial.stage == findings.stage,
    )
    verdict, reasons = decide(facts)
    return Ruling(verdict=verdict, reasons=reasons, facts=facts, findings=findings, trial=trial)


def headline(name: str, findings: Mapping[str, Any]) -> str:
    """Say in one line what a contest shows; `name` says who is held against whom."""
    gate, verdict = findings["gate"], findings["verdict"]
    said = f"{name}: {verdict}"
    if gate["value"] is not None:
        sign = {"pass": "<", "fail": "against"}.get(verdict, "not yet <")
        bounds = f" [{gate['low']:+.4f}, {gate['high']:+.4f}]"
        said += (
            f" | mean excess {gate['value']:+.4f}{bounds} {sign} {gate['threshold']:.4f}, {gate['windows']:,} windows"
        )
    if verdict == "unknown" and gate["needed"]:
        said += f"; about {gate['needed']:,} more windows needed"
    why = [reason for reason in findings["reasons"] if "more windows are needed" not in reason]
    return "; ".join([said, *why])
