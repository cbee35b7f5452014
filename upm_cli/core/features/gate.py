"""The gate `feature_drift`: may a rollout go on while windows are not like those the live version learned from?"""

from typing import Final

from upm_cli.core.gates import GateResult
from upm_cli.core.records import FeatureWatch

GATE: Final = "feature_drift"
NAMED: Final = 5  # features that a sentence names


def feature_drift_gate(
    trainer: str, watch: FeatureWatch | None, *, holds: bool, followed: int, now_ms: int, max_age_ms: int
) -> GateResult:
    """Allow while the newest look, not older than `max_age_ms`, found no feature drifting; always unless it `holds`.

    `followed`: features that are followed at most; with none of them nobody knows. What is unknown says no as well.
    """
    verdict, detail, satisfy = _said(trainer, watch, followed, now_ms, max_age_ms)
    numbers = {"verdict": verdict, "holds": holds, "features": names(watch) if verdict == "fail" else []}
    if watch is not None:
        numbers |= {"looks": watch.looks, "windows": watch.windows, "looked_at_ms": watch.looked_at_ms}
        if verdict == "fail":
            numbers |= {"p": min(one["p"] for one in watch.drifting), "effect": watch.drifting[0]["effect"]}
    allowed = verdict == "pass" or not holds
    warned = verdict != "pass" and not holds
    return GateResult(
        gate=GATE,
        allowed=allowed,
        detail=detail + (" (a warning: rollout.on_feature_drift is report)" if warned else ""),
        satisfy="" if allowed else satisfy,
        numbers=numbers,
    )


def names(watch: FeatureWatch | None) -> list[str]:
    """Return the features that drift, worst first."""
    return [] if watch is None else [str(one["feature"]) for one in watch.drifting]


def in_words(features: list[str]) -> str:
    """Return the names of features for a sentence."""
    more = f" and {len(features) - NAMED} more" if len(features) > NAMED else ""
    return ", ".join(features[:NAMED]) + more


def _said(
    trainer: str, watch: FeatureWatch | None, followed: int, now_ms: int, max_age_ms: int
) -> tuple[str, str, str]:
    """Return (verdict, detail, what would satisfy the gate)."""
    wait = "wait until the drift monitor has looked at enough windows: upm status"
    if followed < 1:
        return "unknown", "no feature is followed", "set evidence.features above 0, or on_feature_drift: report"
    if watch is None:
        return "unknown", "nobody has looked at the features yet", wait
    if watch.verdict == "unknown" or watch.looked_at_ms is None:
        return "unknown", f"nobody can say whether features drift: {watch.reason or 'no look yet'}", wait
    age_ms = now_ms - watch.looked_at_ms
    if not 0 <= age_ms <= max_age_ms:
        old = f"{age_ms / 3_600_000:.1f} h old" if age_ms > 0 else "from the future"
        return "unknown", f"the newest look at the features is {old}", "windows stopped or the monitor did: upm status"
    if watch.verdict != "pass" or watch.drifting:
        found = names(watch)
        said = f"{len(found)} feature{'s' * (len(found) != 1)} drift{'s' * (len(found) == 1)}: {in_words(found)}"
        return "fail", said, f"see why: upm drift-report {trainer} --by feature; it goes on when the drift is over"
    return "pass", f"no feature drifts, in a look at {watch.windows:,} windows", ""
