"""The rows of dashboard UPM-001 about what goes out, to whom, and what it runs on."""

from typing import Final

from upm_cli.telemetry.metrics.panels import STAT, Panel, Row, ask

RELEASE: Final = Row(
    "Release",
    (
        Panel(
            title="Rollout phase",
            about="Where the newest rollout of each trainer stands. upm rollout status shows its gates.",
            queries=(ask("max by (trainer, phase) (upm_rollout_phase{OF}) == 1", "{{trainer}} {{phase}}"),),
            kind="state-timeline",
            base="blue",
            explain="UPM-A013",
        ),
        Panel(
            title="Tenants reached",
            about="Share of tenants that get what each ring serves, and that the candidate has reached.",
            queries=(
                ask("max by (trainer, ring) (upm_active_tenants_ratio{OF})", "{{trainer}} {{ring}}"),
                ask("max by (trainer) (upm_rollout_tenants_ratio{OF})", "{{trainer}} candidate"),
            ),
            unit="percentunit",
            lowest=0,
            highest=1,
        ),
        Panel(
            title="Stage and epoch",
            about="Stage of the rollout (0 is shadow), and the epoch, which grows with every activation and rollback.",
            queries=(
                ask("max by (trainer) (upm_rollout_stage{OF})", "{{trainer}} stage"),
                ask("max by (trainer) (upm_trainer_epoch{OF})", "{{trainer}} epoch"),
            ),
            lowest=0,
        ),
        Panel(
            title="Rollbacks",
            about=(
                "Rollbacks of the last day, automatic or by a person. upm audit list --type "
                "'snapshot.rollback' says why."
            ),
            queries=(ask("sum by (trainer, by) (increase(upm_rollbacks_total{OF}[24h]))", "{{trainer}} {{by}}"),),
            limits=((1, "orange"),),
            explain="UPM-A014",
            lowest=0,
        ),
        Panel(
            title="Snapshots",
            about="Snapshots made in the last hour, and how many are kept.",
            queries=(
                ask("sum by (trainer) (increase(upm_snapshots_made_total{OF}[1h]))", "{{trainer}} made"),
                ask("sum by (trainer) (upm_snapshots{OF})", "{{trainer}} kept"),
            ),
            lowest=0,
        ),
        Panel(
            title="Size of the newest snapshot",
            about="Compressed, as agents load it.",
            queries=(ask("max by (trainer) (upm_snapshot_size_bytes{OF})", "{{trainer}}"),),
            unit="bytes",
            lowest=0,
        ),
    ),
)

AGENTS: Final = Row(
    "Agents",
    (
        Panel(
            title="Adapters by status",
            about="How many have what they should. upm status names those that are not.",
            queries=(ask("sum by (status) (upm_adapters{OF})", "{{status}}"),),
            is_stacked=True,
            lowest=0,
        ),
        Panel(
            title="Versions behind",
            about="Adapters by how many versions they are behind what they should have.",
            queries=(ask("sum by (versions) (upm_adapters_behind{OF})", "{{versions}} behind"),),
            is_stacked=True,
            lowest=0,
        ),
        Panel(
            title="Syncs",
            about="Syncs that were confirmed, tries that failed, and retries, within 5 minutes.",
            queries=(
                ask("sum by (trainer) (increase(upm_adapter_sync_successes_total{OF}[5m]))", "{{trainer}} confirmed"),
                ask("sum by (trainer) (increase(upm_adapter_sync_failures_total{OF}[5m]))", "{{trainer}} failed"),
                ask("sum by (trainer) (increase(upm_adapter_sync_retries_total{OF}[5m]))", "{{trainer}} retries"),
                ask(
                    "sum by (trainer) (upm_adapter_sync_duration_seconds_sum{OF})"
                    " / sum by (trainer) (upm_adapter_sync_duration_seconds_count{OF})",
                    "{{trainer}} seconds each",
                ),
            ),
            lowest=0,
        ),
    ),
)

MACHINE: Final = Row(
    "Workers, record and machine",
    (
        Panel(
            title="Workers",
            about="1 while the worker runs. upm status shows them.",
            queries=(ask("max by (worker) (upm_worker_up{AT})", "{{worker}}"),),
            explain="UPM-A009",
            lowest=0,
            highest=1,
        ),
        Panel(
            title="Memory",
            about="Resident memory of running workers.",
            queries=(ask("max by (worker) (upm_worker_resident_memory_bytes{AT})", "{{worker}}"),),
            unit="bytes",
            lowest=0,
        ),
        Panel(
            title="Restarts",
            about="How often workers were started again within an hour, and what they do.",
            queries=(
                ask("sum by (worker) (increase(upm_worker_restarts_total{AT}[1h]))", "{{worker}} restarts"),
                ask("max by (worker, state) (upm_worker_state{AT})", "{{worker}}: {{state}}"),
            ),
            explain="UPM-A009",
            lowest=0,
        ),
        Panel(
            title="Ledger",
            about="1 when the last check found the whole chain good. upm audit verify says where it is not.",
            queries=(ask("min(upm_ledger_verified{AT})", "verified"),),
            **STAT,
            base="red",
            limits=((1, "green"),),
            explain="UPM-A011",
        ),
        Panel(
            title="Last check of the ledger",
            about="How long ago the whole chain was proved.",
            queries=(ask("time() - min(upm_ledger_verified_timestamp_seconds{AT})", "ago"),),
            **STAT,
            unit="s",
            limits=((86_400, "red"),),
            explain="UPM-A011",
        ),
        Panel(
            title="Commits",
            about="Commits within 5 minutes: generations of the state.",
            queries=(ask("sum by (instance) (delta(upm_state_generation{AT}[5m]))", "{{instance}}"),),
            lowest=0,
            height=4,
        ),
        Panel(
            title="Disk free",
            about="Free space where the state is and where snapshots are.",
            queries=(
                ask(
                    "min by (disk) (upm_disk_free_bytes{AT} / upm_disk_size_bytes{AT})",
                    "{{disk}}",
                ),
            ),
            unit="percentunit",
            base="red",
            limits=((0.03, "orange"), (0.1, "green")),
            explain="UPM-A012",
            lowest=0,
            highest=1,
            height=4,
        ),
        Panel(
            title="Collecting",
            about="How long collecting these numbers takes, and the parts that could not be read.",
            queries=(
                ask("histogram_quantile(0.95, sum by (le) (upm_metrics_collect_duration_seconds_bucket{AT}))", "P95"),
                ask("sum by (part) (1 - upm_metrics_collect_success{AT})", "{{part}} missing"),
            ),
            unit="s",
            explain="UPM-A018",
            lowest=0,
            height=4,
        ),
    ),
)
