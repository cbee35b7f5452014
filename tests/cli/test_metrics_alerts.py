"""Every alert fires when it should and only then, as Prometheus itself works it out (promtool)."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from upm_cli.app import main
from upm_cli.telemetry.metrics.rules import ALERTS

MINUTES = 180  # when it is looked; samples come once a minute, rules are asked every five; `time()` begins at 0
RULES = {alert.name: alert for group in ALERTS.values() for alert in group}
NOW = f"0+60x{MINUTES}"  # the instant at which a sample is taken, in Unix seconds
T, W = 'trainer="main"', 'worker="trainer-main",kind="trainer"'

HEALTHY: Mapping[str, str] = {
    'upm_build_info{version="1",python="3"}': "1",
    f'upm_drift_p95{{{T},range="1h"}}': "0.19",
    f'upm_drift_p95{{{T},range="24h"}}': "0.15",
    f"upm_drift_threshold{{{T}}}": "0.2",
    f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': NOW,
    f'upm_trainer_state{{{T},state="paused"}}': "0",
    f'upm_trainer_state{{{T},state="quarantined"}}': "0",
    f"upm_windows_read_total{{{T}}}": f"0+6000x{MINUTES}",
    f'upm_windows_total{{{T},fate="dead_letter"}}': f"0+6x{MINUTES}",
    f"upm_trainer_lag_seconds{{{T}}}": "1",
    f'upm_quarantines_total{{{T},reason="seed"}}': "3",
    f'upm_rollbacks_total{{{T},by="automatic"}}': "2",
    f'upm_rollout_phase{{{T},phase="progressing"}}': "1",
    f'upm_rollout_phase{{{T},phase="paused"}}': "0",
    f'upm_evidence_judged_timestamp_seconds{{{T},contest="lineage"}}': "0",
    f'upm_evidence_judged_timestamp_seconds{{{T},contest="candidate"}}': NOW,
    "upm_evidence_max_age_seconds": "3600",
    "upm_adapter_sync_success_ratio": "0.995",
    "upm_adapter_sync_objective_ratio": "0.995",
    'upm_worker_up{worker="supervisor",kind="supervisor"}': "1",
    f"upm_worker_up{{{W}}}": "1",
    f'upm_worker_state{{{W},state="training"}}': "1",
    f"upm_worker_status_timestamp_seconds{{{W}}}": NOW,
    f"upm_worker_restarts_total{{{W}}}": "9",
    "upm_ledger_verified": "1",
    "upm_ledger_verified_timestamp_seconds": NOW,
    'upm_disk_free_bytes{disk="state"}': "50e9",
    'upm_disk_size_bytes{disk="state"}': "200e9",
    "upm_metrics_collected_timestamp_seconds": NOW,
    'upm_metrics_collect_success{part="state"}': "1",
}
TRAINER, WORKER = {"trainer": "main"}, {"worker": "trainer-main", "kind": "trainer"}
SHADOW, CANARY = {**TRAINER, "mode": "shadow"}, {**TRAINER, "mode": "canary"}


@dataclass(frozen=True)
class Case:
    """A healthy project but for `series` (None: gone), and the alerts that then fire: name → (labels, summary)."""

    name: str
    series: Mapping[str, str | None]
    fires: Mapping[str, tuple[dict[str, str], str]] = field(default_factory=dict)


def late(value: str, after: int, before: str = "0") -> str:
    """Return a series that is `before` until `after` minutes before the end, and then `value`."""
    return f"{before}x{MINUTES - after - 1} {value}x{after}"


FIRING = [
    Case(
        "drift over the hour",
        {f'upm_drift_p95{{{T},range="1h"}}': late("0.2", 1, "0.1")},
        {"UpmDriftP95": (TRAINER, "main: drift P95 of the last hour is 0.2, at or over its limit")},
    ),
    Case(
        "drift over the day",
        {f'upm_drift_p95{{{T},range="24h"}}': "0.25"},
        {
            "UpmDriftP95Day": (
                TRAINER,
                "main: drift P95 of the last day is 0.25, at or over its limit",
            )
        },
    ),
    Case(
        "an old snapshot",
        {f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': "0", f"upm_windows_read_total{{{T}}}": "5"},
        {"UpmSnapshotStale": (SHADOW, "main: the newest snapshot is 3h 0m 0s old")},
    ),
    Case(
        "slow snapshots in shadow while windows come in",
        {f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': f"-45+60x{MINUTES}"},
        {
            "UpmSnapshotFreshness": (
                TRAINER | {"mode": "shadow"},
                "main: snapshots are 45s behind while windows come in",
            )
        },
    ),
    Case(
        "slow snapshots in canary while windows come in",
        {
            f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': None,
            f'upm_snapshot_created_timestamp_seconds{{{T},mode="canary"}}': f"-15+60x{MINUTES}",
        },
        {
            "UpmSnapshotFreshness": (
                TRAINER | {"mode": "canary"},
                "main: snapshots are 15s behind while windows come in",
            )
        },
    ),
    Case(
        "lag",
        {f"upm_trainer_lag_seconds{{{T}}}": "400"},
        {"UpmTrainerLag": (TRAINER, "main: windows wait 6m 40s to be learned")},
    ),
    Case(
        "dead letters",
        {f'upm_windows_total{{{T},fate="dead_letter"}}': f"0+300x{MINUTES}"},
        {"UpmDeadLetters": (TRAINER, "main: 5% of the last hour's windows are dead letters")},
    ),
    Case(
        "a quarantine just now",
        {f'upm_quarantines_total{{{T},reason="seed"}}': late("4", 5, "3")},
        {"UpmQuarantine": (TRAINER | {"reason": "seed"}, "main: quarantined by the seed rule")},
    ),
    Case(
        "a trainer that stays quarantined",
        {f'upm_trainer_state{{{T},state="quarantined"}}': late("1", 10)},
        {
            "UpmTrainerQuarantined": (
                TRAINER | {"state": "quarantined"},
                "main: what it serves, or made last, is quarantined",
            )
        },
    ),
    Case(
        "evidence that is too old",
        {f'upm_evidence_judged_timestamp_seconds{{{T},contest="candidate"}}': "0"},
        {
            "UpmNoEvidence": (
                TRAINER | {"phase": "progressing"},
                "main: a rollout goes on, and no evidence for it came in for long",
            )
        },
    ),
    Case(
        "no evidence at all",
        {
            f'upm_evidence_judged_timestamp_seconds{{{T},contest="candidate"}}': None,
            f'upm_evidence_judged_timestamp_seconds{{{T},contest="lineage"}}': None,
        },
        {
            "UpmNoEvidence": (
                TRAINER | {"phase": "progressing"},
                "main: a rollout goes on, and no evidence for it came in for long",
            )
        },
    ),
    Case(
        "a paused rollout",
        {
            f'upm_rollout_phase{{{T},phase="progressing"}}': late("0", 20, "1"),
            f'upm_rollout_phase{{{T},phase="paused"}}': late("1", 20),
        },
        {"UpmRolloutPaused": (TRAINER | {"phase": "paused"}, "main: the rollout is paused and waits for a person")},
    ),
    Case(
        "a rollback just now",
        {f'upm_rollbacks_total{{{T},by="automatic"}}': late("3", 5, "2")},
        {"UpmRollback": (TRAINER | {"by": "automatic"}, "main: rolled back (automatic)")},
    ),
    Case(
        "syncs that fail",
        {"upm_adapter_sync_success_ratio": "0.98"},
        {"UpmAdapterSyncSuccess": ({}, "only 98% of the latest adapter syncs succeeded")},
    ),
    Case(
        "a worker that gave up",
        {
            f'upm_worker_state{{{W},state="training"}}': None,
            f'upm_worker_state{{{W},state="fatal"}}': "1",
        },
        {"UpmWorkerFailed": (WORKER | {"state": "fatal"}, "trainer-main: fatal, and not started again")},
    ),
    Case(
        "a worker that is down under its supervisor",
        {f"upm_worker_up{{{W}}}": late("0", 10, "1")},
        {"UpmWorkerDown": (WORKER, "trainer-main: down while its supervisor runs")},
    ),
    Case(
        "a worker that says nothing",
        {f"upm_worker_status_timestamp_seconds{{{W}}}": f"{(MINUTES - 10) * 60}"},
        {"UpmWorkerStuck": (WORKER, "trainer-main: runs, and said nothing for 10m 0s")},
    ),
    Case(
        "a worker that comes and goes",
        {f"upm_worker_restarts_total{{{W}}}": f"9x{MINUTES - 11} 10+1x10"},
        {"UpmWorkerRestarts": (WORKER, "trainer-main: started again 11 times within 15 minutes")},
    ),
    Case(
        "a broken ledger",
        {"upm_ledger_verified": "0"},
        {"UpmLedgerBroken": ({}, "the ledger is not as it was written")},
    ),
    Case(
        "a ledger that was checked long ago",
        {"upm_ledger_verified_timestamp_seconds": "-90000"},
        {"UpmLedgerNotVerified": ({}, "the ledger was not verified for a day")},
    ),
    Case(
        "a ledger that was never checked",
        {"upm_ledger_verified": None, "upm_ledger_verified_timestamp_seconds": None},
        {"UpmLedgerNotVerified": ({"version": "1", "python": "3"}, "the ledger was not verified for a day")},
    ),
    Case(
        "a disk that fills",
        {'upm_disk_free_bytes{disk="state"}': "10e9"},
        {"UpmDiskNearlyFull": ({"disk": "state"}, "5% of the disk of the state is free")},
    ),
    Case(
        "a disk that is full",
        {'upm_disk_free_bytes{disk="state"}': "1e9"},
        {
            "UpmDiskNearlyFull": ({"disk": "state"}, "0.5% of the disk of the state is free"),
            "UpmDiskFull": ({"disk": "state"}, "0.5% of the disk of the state is free"),
        },
    ),
    Case(
        "no metrics",
        dict.fromkeys(HEALTHY),
        {"UpmMetricsAbsent": ({}, "nobody exports the metrics of upm")},
    ),
    Case(
        "old metrics",
        {"upm_metrics_collected_timestamp_seconds": f"{(MINUTES - 30) * 60}"},
        {"UpmMetricsOld": ({}, "the metrics were collected 30m 0s ago")},
    ),
    Case(
        "a part that can't be read",
        {'upm_metrics_collect_success{part="state"}': late("0", 15, "1")},
        {"UpmMetricsIncomplete": ({"part": "state"}, "state could not be read, so its metrics are missing")},
    ),
]
SILENT = [
    Case("a healthy project", {}),
    Case(
        "a trainer that was paused on purpose",
        {
            f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': "0",
            f"upm_windows_read_total{{{T}}}": "5",
            f"upm_trainer_lag_seconds{{{T}}}": "9000",
            f'upm_trainer_state{{{T},state="paused"}}': "1",
        },
    ),
    Case(
        "slow snapshots while nothing comes in",
        {
            f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': f"-45+60x{MINUTES}",
            f"upm_windows_read_total{{{T}}}": "5",
        },
    ),
    Case("snapshots of an active trainer have no such level", {
        f'upm_snapshot_created_timestamp_seconds{{{T},mode="shadow"}}': None,
        f'upm_snapshot_created_timestamp_seconds{{{T},mode="active"}}': f"-45+60x{MINUTES}",
    }),
    Case("drift that is over", {f'upm_drift_p95{{{T},range="1h"}}': late("0.19", 1, "0.5")}),
    Case("a limit of another trainer", {'upm_drift_threshold{trainer="other"}': "0.01"}),
    Case("a quarantine of an hour ago", {f'upm_quarantines_total{{{T},reason="seed"}}': late("4", 60, "3")}),
    Case("a rollback of an hour ago", {f'upm_rollbacks_total{{{T},by="automatic"}}': late("3", 60, "2")}),
    Case("a lag that has just begun", {f"upm_trainer_lag_seconds{{{T}}}": late("400", 3)}),
    Case("a quarantine that is looked after soon", {f'upm_trainer_state{{{T},state="quarantined"}}': late("1", 2)}),
    Case("a rollout that was just paused", {f'upm_rollout_phase{{{T},phase="paused"}}': late("1", 3)}),
    Case("old evidence without a rollout", {
        f'upm_evidence_judged_timestamp_seconds{{{T},contest="candidate"}}': "0",
        f'upm_rollout_phase{{{T},phase="progressing"}}': "0",
    }),
    Case("workers of a cron line that has ended", {
        f"upm_worker_up{{{W}}}": "0",
        'upm_worker_up{worker="supervisor",kind="supervisor"}': None,
        f"upm_worker_status_timestamp_seconds{{{W}}}": "0",
    }),
    Case("three restarts", {f"upm_worker_restarts_total{{{W}}}": f"9x{MINUTES - 11} 10x4 11x5"}),
    Case("a large disk", {'upm_disk_free_bytes{disk="state"}': "100e9", 'upm_disk_size_bytes{disk="state"}': "9e12"}),
    Case("a small disk that has room", {
        'upm_disk_free_bytes{disk="state"}': "4e9", 'upm_disk_size_bytes{disk="state"}': "8e9",
    }),
    Case("a part that failed once", {'upm_metrics_collect_success{part="state"}': late("0", 2, "1")}),
    Case("no adapters", {"upm_adapter_sync_success_ratio": None}),
]  # fmt: skip


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is missing in CI: .ci/run installs it (Debian: apt-get install prometheus)")
    if found is None:
        pytest.skip("promtool is missing (Debian: apt-get install prometheus): the alert rules were not tested")
    return found


def test_every_alert_has_a_case_that_fires_it() -> None:
    assert {name for case in FIRING for name in case.fires} == set(RULES)
    assert not any(case.fires for case in SILENT)
    assert all(series in HEALTHY or value is not None for case in FIRING for series, value in case.series.items())


def _test(case: Case) -> dict[str, Any]:
    series = {**HEALTHY, **case.series}
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values if "x" in values else f"{values}x{MINUTES}"}
            for name, values in series.items()
            if values is not None
        ],
        "alert_rule_test": [
            {"eval_time": f"{MINUTES}m", "alertname": name, "exp_alerts": [_expected(name, *case.fires[name])]}
            if name in case.fires
            else {"eval_time": f"{MINUTES}m", "alertname": name, "exp_alerts": []}
            for name in RULES
        ],
    }


def _expected(name: str, labels: dict[str, str], summary: str) -> dict[str, Any]:
    alert = RULES[name]
    return {
        "exp_labels": {**labels, "severity": alert.severity, "code": alert.code},
        "exp_annotations": {"summary": summary, "explain": f"upm explain {alert.code}"},
    }


def test_alerts_fire_when_they_should_and_no_other_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = promtool()
    assert main(["metrics", "alerts"]) == 0
    (tmp_path / "upm-alerts.yaml").write_text(capsys.readouterr().out)
    tests = {"rule_files": ["upm-alerts.yaml"], "evaluation_interval": "5m", "tests": list(map(_test, FIRING + SILENT))}
    (tmp_path / "upm-alerts_test.yaml").write_text(yaml.safe_dump(tests, sort_keys=False))
    for words in (["check", "rules", "upm-alerts.yaml"], ["test", "rules", "upm-alerts_test.yaml"]):
        done = subprocess.run([tool, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
