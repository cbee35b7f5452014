"""The alert rules of upm, and the few numbers that are recorded for them.

Each has a code whose page (`upm explain UPM-A001`) says what it means, what to look at and what to do. Expressions
join with `ignoring(…)`, never `on(…)`, so that labels of the target (job, instance, a project) keep things apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert rule. `lasts` is for how long the expression has to hold."""

    code: str
    name: str
    expr: str
    severity: str  # critical: now · warning: today · info: when you look
    summary: str
    lasts: str = "0m"


@dataclass(frozen=True, slots=True)
class Recording:
    name: str
    expr: str


RECORDINGS: Final = (
    Recording("upm:snapshot_freshness_seconds", "time() - upm_snapshot_created_timestamp_seconds"),
    Recording("upm:windows_read:rate5m", "rate(upm_windows_read_total[5m])"),
)

_LEARNING: Final = (
    Alert(
        code="UPM-A001",
        name="UpmDriftP95",
        expr='upm_drift_p95{range="1h"} >= ignoring (range) upm_drift_threshold',
        severity="critical",
        summary='{{ $labels.trainer }}: drift P95 of the last hour is {{ printf "%.3g" $value }}, at or over its limit',
    ),
    Alert(
        code="UPM-A002",
        name="UpmDriftP95Day",
        expr='upm_drift_p95{range="24h"} >= ignoring (range) upm_drift_threshold',
        severity="warning",
        summary='{{ $labels.trainer }}: drift P95 of the last day is {{ printf "%.3g" $value }}, at or over its limit',
    ),
    Alert(
        code="UPM-A003",
        name="UpmSnapshotStale",
        expr=(
            'upm:snapshot_freshness_seconds > 7200 unless ignoring (mode, state) upm_trainer_state{state="paused"} == 1'
        ),
        severity="warning",
        summary="{{ $labels.trainer }}: the newest snapshot is {{ $value | humanizeDuration }} old",
        lasts="5m",
    ),
    Alert(
        code="UPM-A004",
        name="UpmSnapshotFreshness",
        expr=(
            '(upm:snapshot_freshness_seconds{mode="shadow"} > 30 or upm:snapshot_freshness_seconds{mode="canary"} > 10)'
            " and ignoring (mode) upm:windows_read:rate5m > 0"
        ),
        severity="info",
        summary="{{ $labels.trainer }}: snapshots are {{ $value | humanizeDuration }} behind while windows come in",
        lasts="15m",
    ),
    Alert(
        code="UPM-A015",
        name="UpmTrainerLag",
        expr='upm_trainer_lag_seconds > 300 unless ignoring (state) upm_trainer_state{state="paused"} == 1',
        severity="warning",
        summary="{{ $labels.trainer }}: windows wait {{ $value | humanizeDuration }} to be learned",
        lasts="5m",
    ),
    Alert(
        code="UPM-A016",
        name="UpmDeadLetters",
        expr=(
            'increase(upm_windows_total{fate="dead_letter"}[1h])'
            " / ignoring (fate) (increase(upm_windows_read_total[1h]) > 0) > 0.01"
        ),
        severity="warning",
        summary="{{ $labels.trainer }}: {{ $value | humanizePercentage }} of the last hour's windows are dead letters",
    ),
)

_SAFETY: Final = (
    Alert(
        code="UPM-A006",
        name="UpmQuarantine",
        expr="increase(upm_quarantines_total[15m]) > 0",
        severity="warning",
        summary="{{ $labels.trainer }}: quarantined by the {{ $labels.reason }} rule",
    ),
    Alert(
        code="UPM-A007",
        name="UpmTrainerQuarantined",
        expr='upm_trainer_state{state="quarantined"} == 1',
        severity="critical",
        summary="{{ $labels.trainer }}: what it serves, or made last, is quarantined",
        lasts="5m",
    ),
    Alert(
        code="UPM-A010",
        name="UpmNoEvidence",
        expr=(
            '(upm_rollout_phase{phase="progressing"} == 1'
            " unless ignoring (phase) (max without (contest) (upm_evidence_judged_timestamp_seconds)"
            " > time() - scalar(max(upm_evidence_max_age_seconds))))"
        ),
        severity="warning",
        summary="{{ $labels.trainer }}: a rollout goes on, and no evidence for it came in for long",
        lasts="2h",
    ),
    Alert(
        code="UPM-A013",
        name="UpmRolloutPaused",
        expr='upm_rollout_phase{phase="paused"} == 1',
        severity="warning",
        summary="{{ $labels.trainer }}: the rollout is paused and waits for a person",
        lasts="10m",
    ),
    Alert(
        code="UPM-A014",
        name="UpmRollback",
        expr="increase(upm_rollbacks_total[15m]) > 0",
        severity="warning",
        summary="{{ $labels.trainer }}: rolled back ({{ $labels.by }})",
    ),
    Alert(
        code="UPM-A005",
        name="UpmAdapterSyncSuccess",
        expr="upm_adapter_sync_success_ratio < upm_adapter_sync_objective_ratio",
        severity="warning",
        summary="only {{ $value | humanizePercentage }} of the latest adapter syncs succeeded",
        lasts="5m",
    ),
)

_OPERATION: Final = (
    Alert(
        code="UPM-A008",
        name="UpmWorkerFailed",
        expr='upm_worker_state{state=~"failed|fatal"} == 1',
        severity="critical",
        summary="{{ $labels.worker }}: {{ $labels.state }}, and not started again",
        lasts="1m",
    ),
    Alert(
        code="UPM-A009",
        name="UpmWorkerDown",
        expr=(
            'upm_worker_up{kind!="supervisor"} == 0 and ignoring (worker, kind) upm_worker_up{kind="supervisor"} == 1'
        ),
        severity="critical",
        summary="{{ $labels.worker }}: down while its supervisor runs",
        lasts="2m",
    ),
    Alert(
        code="UPM-A009",
        name="UpmWorkerStuck",
        expr="time() - upm_worker_status_timestamp_seconds > 120 and upm_worker_up == 1",
        severity="critical",
        summary="{{ $labels.worker }}: runs, and said nothing for {{ $value | humanizeDuration }}",
        lasts="1m",
    ),
    Alert(
        code="UPM-A009",
        name="UpmWorkerRestarts",
        expr="increase(upm_worker_restarts_total[15m]) > 3",
        severity="warning",
        summary='{{ $labels.worker }}: started again {{ printf "%.0f" $value }} times within 15 minutes',
    ),
    Alert(
        code="UPM-A011",
        name="UpmLedgerBroken",
        expr="upm_ledger_verified == 0",
        severity="critical",
        summary="the ledger is not as it was written",
    ),
    Alert(
        code="UPM-A011",
        name="UpmLedgerNotVerified",
        expr=(
            "time() - upm_ledger_verified_timestamp_seconds > 86400"
            " or (upm_build_info == 1 unless ignoring (version, python) upm_ledger_verified)"
        ),
        severity="warning",
        summary="the ledger was not verified for a day",
        lasts="15m",
    ),
    Alert(
        code="UPM-A012",
        name="UpmDiskNearlyFull",
        expr="upm_disk_free_bytes / upm_disk_size_bytes < 0.1 and upm_disk_free_bytes < 20e9",
        severity="warning",
        summary="{{ $value | humanizePercentage }} of the disk of the {{ $labels.disk }} is free",
        lasts="5m",
    ),
    Alert(
        code="UPM-A012",
        name="UpmDiskFull",
        expr="upm_disk_free_bytes / upm_disk_size_bytes < 0.03 and upm_disk_free_bytes < 5e9",
        severity="critical",
        summary="{{ $value | humanizePercentage }} of the disk of the {{ $labels.disk }} is free",
    ),
    Alert(
        code="UPM-A017",
        name="UpmMetricsAbsent",
        expr="absent(upm_build_info)",
        severity="critical",
        summary="nobody exports the metrics of upm",
        lasts="5m",
    ),
    Alert(
        code="UPM-A017",
        name="UpmMetricsOld",
        expr="time() - upm_metrics_collected_timestamp_seconds > 900",
        severity="warning",
        summary="the metrics were collected {{ $value | humanizeDuration }} ago",
    ),
    Alert(
        code="UPM-A018",
        name="UpmMetricsIncomplete",
        expr="upm_metrics_collect_success == 0",
        severity="warning",
        summary="{{ $labels.part }} could not be read, so its metrics are missing",
        lasts="10m",
    ),
)

#: name of the group → its rules
ALERTS: Final[Mapping[str, tuple[Alert, ...]]] = {
    "upm-learning": _LEARNING,
    "upm-safety": _SAFETY,
    "upm-operation": _OPERATION,
}
