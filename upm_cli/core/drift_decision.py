"""A quarantine by the seed's rule in the form it is recorded in: what the window showed, and what follows from it."""

from collections.abc import Iterable, Mapping
from typing import Any

from upm_cli.core.drift import DriftPolicy, Stats, judge
from upm_cli.core.drift_record import suspects
from upm_cli.core.plain import from_plain, to_plain
from upm_cli.core.records import DriftStatus, DriftWindow, Snapshot
from upm_cli.core.sketches import sketched_snapshots, snapshot_sketches
from upm_cli.core.verdict import Verdict


def quarantine_inputs(
    window: DriftWindow,
    policy: DriftPolicy,
    snapshots: Iterable[Snapshot],
    passed_seq: int | None,
    way_back: int | None,
) -> dict[str, Any]:
    """Write down what a quarantine is worked out from.

    `snapshots` are the trainer's (those that touch the window are kept), `passed_seq` is where the next window that
    passed begins, `way_back` the version that a rollback would find, None: none.
    """
    return {
        **extend_inputs(window, snapshots, passed_seq),
        "n": window.n,
        "p95": window.p95,
        "failed_early": to_plain(window.metadata.get("failed_early")),
        "policy": to_plain(policy),
        "way_back": way_back,
    }


def extend_inputs(window: DriftWindow, snapshots: Iterable[Snapshot], passed_seq: int | None) -> dict[str, Any]:
    """Write down what says which snapshots a failed window casts doubt on."""
    touching = [s for s in snapshots if s.first_seq <= window.last_seq and s.last_seq >= window.first_seq]
    return {
        "window": {
            "window_id": window.window_id,
            "first_seq": window.first_seq,
            "last_seq": window.last_seq,
            "suspects": to_plain(window.metadata.get("suspects", ())),
        },
        "snapshots": snapshot_sketches(touching),
        "passed_seq": passed_seq,
    }


def recompute_extend(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return all versions that a failed window casts doubt on, those it names already among them."""
    return extend_outcome([*inputs["window"]["suspects"], *_fresh(inputs)])


def extend_outcome(barred: Iterable[int]) -> dict[str, Any]:
    """Return what is recorded when a quarantine reaches further snapshots."""
    return {"barred": sorted(barred)}


def recompute_quarantine(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict on the window, the snapshots it casts doubt on, and what is recommended."""
    verdict, fails = _verdict(inputs)
    barred = sorted([*inputs["window"]["suspects"], *(_fresh(inputs) if fails else ())])
    return quarantine_outcome(verdict.value, barred, inputs["way_back"])


def served_inputs(window: DriftWindow, policy: DriftPolicy, way_back: int | None, *, serves: bool) -> dict[str, Any]:
    """Write down what a quarantine by a served window is worked out from: it bars the version that was served.

    `serves`: whether tenants still get that version; if not, there is nothing to recommend.
    """
    return {
        "window": {"window_id": window.window_id, "version": window.version},
        "n": window.n,
        "p95": window.p95,
        "failed_early": to_plain(window.metadata.get("failed_early")),
        "policy": to_plain(policy),
        "way_back": way_back,
        "serves": serves,
    }


def recompute_served(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict on a served window, the version it bars, and what is recommended."""
    verdict, fails = _verdict(inputs)
    barred = [inputs["window"]["version"]] if fails else []
    return served_outcome(verdict.value, barred, inputs["way_back"], serves=inputs["serves"])


def served_outcome(verdict: str, barred: Iterable[int], way_back: int | None, *, serves: bool) -> dict[str, Any]:
    """Return what is recorded of a quarantine by a served window."""
    outcome = quarantine_outcome(verdict, barred, way_back)
    return outcome if serves else {**outcome, "recommendation": None}


def _verdict(inputs: Mapping[str, Any]) -> tuple[Verdict, bool]:
    """Return the verdict on a recorded window, and whether it quarantines."""
    policy = from_plain(DriftPolicy, inputs["policy"])
    verdict = judge(Stats(n=inputs["n"], scores=inputs["n"], dropped=0, p95=inputs["p95"]), policy)
    if inputs["failed_early"] is not None:  # a window that failed stays failed
        verdict = Verdict.FAIL
    return verdict, verdict is Verdict.FAIL and policy.quarantine_enabled


def _fresh(inputs: Mapping[str, Any]) -> list[int]:
    """Return the versions that the recorded window casts doubt on and does not name yet."""
    seen = inputs["window"]
    window = DriftWindow(
        trainer="",
        window_id=seen["window_id"],
        version=None,
        started_at_ms=0,
        closed_at_ms=0,
        status=DriftStatus.OPEN,
        verdict=Verdict.FAIL.value,
        threshold=0.0,
        n=0,
        mean=None,
        p95=None,
        max=None,
        first_seq=seen["first_seq"],
        last_seq=seen["last_seq"],
        metadata={"suspects": seen["suspects"]},
    )
    found = suspects(window, inputs["passed_seq"], sketched_snapshots("", inputs["snapshots"]))
    return [snapshot.version for snapshot in found]


def quarantine_outcome(verdict: str, barred: Iterable[int], way_back: int | None) -> dict[str, Any]:
    """Return what is recorded of a quarantine."""
    return {
        "verdict": verdict,
        "barred": list(barred),
        "recommendation": "pause" if way_back is None else "rollback",
    }
