"""Counters that outlive the telemetry files they were counted from."""

import json

from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.points import Point
from upm_cli.telemetry.totals import Totals


def sums(totals: Totals) -> dict[str, float]:
    return {f"{s.name}{json.dumps(dict(s.labels)) if len(s.labels) > 1 else ''}": s.value for s in totals.samples()}


def success(count: int, ms: float, snapshot: str = "main@4") -> Point:
    measured = {"adapter_id": "edge", "snapshot_id": snapshot, "duration_ms": ms}
    return Point(name="upm.adapter.sync.success", at_ms=1, measurements=measured, count=count)


def failure(count: int, retry_count: int) -> Point:
    measured = {"adapter_id": "edge", "snapshot_id": "main@4", "reason": "down", "retry_count": retry_count}
    return Point(name="upm.adapter.sync.failure", at_ms=1, measurements=measured, count=count)


def test_syncs_are_counted_and_timed() -> None:
    totals = Totals()
    totals.take([success(2, 300), success(1, 50), failure(1, 1), failure(4, 3), failure(1, 0), failure(1, 9)])
    assert sums(totals) == {
        "upm_adapter_sync_successes_total": 3,
        "upm_adapter_sync_duration_seconds_sum": 0.35,
        "upm_adapter_sync_duration_seconds_count": 3,
        "upm_adapter_sync_failures_total": 7,
        "upm_adapter_sync_retries_total": 3,
    }
    assert {sample.labels["trainer"] for sample in totals.samples()} == {"main"}


def test_verdicts_and_commits_are_counted_by_trainer() -> None:
    about = {"trainer_id": "eu", "drift_window_id": "eu/1", "verdict": "fail"}
    measured = {"drift_p95": 0.3, "drift_mean": 0.1, "drift_max": 1.0, "sample_count": 9}
    update = {"loss": 0.2, "duration_ms": 1500, "window_count": 64}
    totals = Totals()
    totals.take(
        [
            Point(name="upm.drift.score", at_ms=1, measurements=measured, metadata=about),
            Point(name="upm.trainer.update", at_ms=1, measurements=update, metadata={"trainer_id": "eu"}, count=3),
        ]
    )
    assert sums(totals) == {
        'upm_drift_windows_judged_total{"trainer": "eu", "verdict": "fail"}': 1,
        "upm_trainer_commit_duration_seconds_sum": 1.5,
        "upm_trainer_commit_duration_seconds_count": 3,
    }


def test_points_that_are_not_as_expected_count_for_nothing() -> None:
    totals = Totals()
    totals.take(
        [
            Point(name="upm.unheard.of", at_ms=1, measurements={}),
            Point(name="upm.trainer.update", at_ms=1, measurements={"duration_ms": 5}, metadata={}),
            Point(name="upm.trainer.update", at_ms=1, measurements={"duration_ms": "x"}, metadata={"trainer_id": "a"}),
        ]
    )
    assert sums(totals) == {}


def test_sums_go_on_from_where_they_were_kept() -> None:
    first, together = Totals(), Totals()
    first.take([success(2, 300)])
    second = Totals(json.loads(json.dumps(first.to_json())))
    second.take([success(1, 50), failure(1, 1)])
    together.take([success(2, 300), success(1, 50), failure(1, 1)])
    assert sums(second) == sums(together)


def test_a_counter_can_be_there_before_anything_was_counted() -> None:
    totals = Totals()
    totals.take([failure(1, 0)])
    for _ in range(2):
        totals.start("upm_adapter_sync_failures_total", {"trainer": "main"})
        totals.start("upm_adapter_sync_successes_total", {"trainer": "main"})
    found = {sample.key: sample for sample in totals.samples()}
    assert found[Sample("upm_adapter_sync_failures_total", 0, {"trainer": "main"}).key].value == 1
    assert found[Sample("upm_adapter_sync_successes_total", 0, {"trainer": "main"}).key].value == 0
