"""The rows of dashboard UPM-001 that are seen first: how it stands, and the six panels it is named for."""

from typing import Final

from upm_cli.telemetry.metrics.panels import STAT, WIDE_STAT, Panel, Row, ask

GLANCE: Final = Row(
    "At a glance",
    (
        Panel(
            title="Trainers by mode",
            about="How many trainers there are, by mode. upm status lists them.",
            queries=(ask("sum by (mode) (upm_trainers{AT})", "{{mode}}"),),
            **STAT,
            base="blue",
        ),
        Panel(
            title="Quarantined trainers",
            about="What they serve, or made last, is barred. upm quarantine list says why.",
            queries=(ask('sum(upm_trainer_state{OF,state="quarantined"})', "quarantined"),),
            **STAT,
            limits=((1, "red"),),
            explain="UPM-A007",
        ),
        Panel(
            title="Alerts firing",
            about="Alerts that fire now; 0 as well when the rules of upm metrics alerts are not loaded.",
            queries=(ask('count(ALERTS{alertname=~"Upm.*",alertstate="firing"}) or vector(0)', "firing"),),
            **STAT,
            limits=((1, "red"),),
        ),
        Panel(
            title="Live version",
            about="The version each ring serves.",
            queries=(ask("max by (trainer, ring) (upm_active_version{OF})", "{{trainer}} {{ring}}"),),
            **WIDE_STAT,
            base="blue",
        ),
        Panel(
            title="Newest version",
            about="The newest snapshot of each trainer.",
            queries=(ask("max by (trainer) (upm_snapshot_version{OF})", "{{trainer}}"),),
            **WIDE_STAT,
            base="blue",
        ),
    ),
)

SEED: Final = Row(
    "UPM-001",
    (
        Panel(
            title="1 Snapshot freshness",
            about=(
                "Time since the newest snapshot. The service levels are 30 s in shadow and 10 s in canary while "
                "windows come in."
            ),
            queries=(
                ask(
                    "time() - max by (trainer, mode) (upm_snapshot_created_timestamp_seconds{OF})",
                    "{{trainer}} ({{mode}})",
                ),
            ),
            unit="s",
            limits=((7200, "red"),),
            explain="UPM-A003",
            lowest=0,
        ),
        Panel(
            title="2 Drift P95",
            about="P95 of drift in the last hour and day of event time, and the limit that quarantines.",
            queries=(
                ask("max by (trainer, range) (upm_drift_p95{OF})", "{{trainer}} {{range}}"),
                ask("min by (trainer) (upm_drift_threshold{OF})", "{{trainer}} limit"),
            ),
            limits=((0.2, "red"),),
            explain="UPM-A001",
            lowest=0,
        ),
        Panel(
            title="3 Training loss",
            about="Loss of windows before they were learned: over the life of the trainer, and of the last batch.",
            queries=(
                ask(
                    "sum by (trainer) (upm_training_loss_sum{OF}) / sum by (trainer) (upm_training_loss_count{OF})",
                    "{{trainer}} progressive",
                ),
                ask("max by (trainer) (upm_training_loss_last{OF})", "{{trainer}} last batch"),
            ),
        ),
        Panel(
            title="4 Adapter sync success",
            about="Share of the latest syncs that an adapter confirmed. The service level is 99.5 %.",
            queries=(
                ask("min(upm_adapter_sync_success_ratio{AT})", "success"),
                ask("max(upm_adapter_sync_objective_ratio{AT})", "objective"),
            ),
            unit="percentunit",
            base="red",
            limits=((0.995, "green"),),
            explain="UPM-A005",
            highest=1,
        ),
        Panel(
            title="5 Quarantines",
            about="Quarantines of the last day, by the rule that failed. upm quarantine list shows what is barred.",
            queries=(
                ask("sum by (trainer, reason) (increase(upm_quarantines_total{OF}[24h]))", "{{trainer}} {{reason}}"),
                ask("sum by (trainer) (upm_snapshots_quarantined{OF})", "{{trainer}} barred snapshots"),
            ),
            limits=((1, "red"),),
            explain="UPM-A006",
            lowest=0,
        ),
        Panel(
            title="6 Replay buffer",
            about=(
                "Windows that wait to be put in order, the most within an hour, and how many there may be. A "
                "full buffer releases early."
            ),
            queries=(
                ask("sum by (stream) (upm_replay_buffer_windows{AT})", "{{stream}}"),
                ask("sum by (stream) (max_over_time(upm_replay_buffer_windows{AT}[1h]))", "{{stream}} most in 1 h"),
                ask("max(upm_replay_buffer_limit_windows{AT})", "limit"),
            ),
            lowest=0,
        ),
    ),
)
