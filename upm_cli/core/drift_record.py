"""The record of a judged window, and which snapshots a failed one casts doubt on."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from upm_cli.core.drift import DriftPolicy, JudgedWindow, Stats
from upm_cli.core.records import DriftStatus, DriftWindow, Snapshot
from upm_cli.core.verdict import Verdict


def window_id(trainer: str, first_seq: int) -> str:
    """Return the id of the drift window that begins with the comparison at log position `first_seq`."""
    return f"{trainer}/{first_seq}"


def record(
    trainer: str,
    judged: JudgedWindow,
    policy: DriftPolicy,
    *,
    version: int | None,
    before: DriftWindow | None,
    final: bool,
    judged_now: bool,
) -> DriftWindow:
    """Return what is kept of `judged`, given the record of the same window from `before`.

    `final` says that the window is closed; an open one is only judged when asked to (`judged_now`), at the end of an
    input, and may grow afterwards. A window that failed stays failed, whatever else it still took in, and keeps
    the status an operator has given it.
    """
    stats = judged.stats
    verdict = judged.verdict if judged_now else Verdict.UNKNOWN
    early = before.metadata.get("failed_early") if before else None
    if early is None and not final and verdict is Verdict.FAIL:
        early = {"n": stats.n, "p95": stats.p95, "last_seq": judged.last_seq}
    if early is not None:
        verdict = Verdict.FAIL
    return DriftWindow(
        trainer=trainer,
        window_id=window_id(trainer, judged.first_seq),
        version=version,
        started_at_ms=judged.start_ms,
        closed_at_ms=judged.end_ms,
        status=_status(verdict, policy, before, final=final),
        verdict=verdict.value,
        threshold=policy.drift_threshold,
        n=stats.n,
        mean=stats.mean,
        p95=stats.p95,
        max=stats.max,
        recommendation=before.recommendation if before else None,
        first_seq=judged.first_seq,
        last_seq=judged.last_seq,
        metadata=_metadata(judged, before, early, final=final),
    )


def _status(verdict: Verdict, policy: DriftPolicy, before: DriftWindow | None, *, final: bool) -> DriftStatus:
    if before is not None and before.status in (DriftStatus.QUARANTINED, DriftStatus.RESOLVED):
        return before.status
    if verdict is Verdict.FAIL and policy.quarantine_enabled and policy.rule != "evidence":
        return DriftStatus.QUARANTINED
    return DriftStatus.CLOSED if final else DriftStatus.OPEN


def _metadata(judged: JudgedWindow, before: DriftWindow | None, early: Any, *, final: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "final": final,
        "rule": judged.rule.value,
        "total": judged.total,
        "late": judged.late,
        "seed": _plain(judged.seed),
    }
    if judged.regret is not None:
        found["regret"] = _plain(judged.regret)
    if early is not None:
        found["failed_early"] = early
    if before is not None and "suspects" in before.metadata:
        found["suspects"] = before.metadata["suspects"]
    return found


def _plain(stats: Stats) -> dict[str, Any]:
    return asdict(stats)


def newest_version(snapshots: Iterable[Snapshot], seq: int) -> int | None:
    """Return the newest version that was made from the log up to `seq`, or None."""
    return max((s.version for s in snapshots if s.last_seq <= seq), default=None)


def suspects(window: DriftWindow, passed_seq: int | None, snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the snapshots that a failed window casts doubt on.

    Those whose own part of the log (`first_seq` to `last_seq`) touches it, unless it also reaches `passed_seq`, where
    the next window that passed begins: then it predicts well again. Those already named in the window's record are
    left out, so that one which an operator has released stays so.
    """
    known = set(window.metadata.get("suspects", ()))
    return [
        s
        for s in snapshots
        if s.version not in known
        and s.first_seq <= window.last_seq
        and s.last_seq >= window.first_seq
        and (passed_seq is None or s.last_seq < passed_seq)
    ]
