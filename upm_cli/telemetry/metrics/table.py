"""The table of all metrics.

Names are a contract. docs/reference/metrics.md is made from this table; whatever is exported is checked against it.
Instants are Unix seconds (`_timestamp_seconds`): how old something is, is for whoever asks to say, as a number that
was an age when a file was written is wrong when the file is read.
"""

from collections.abc import Mapping
from typing import Final

from upm_cli.telemetry.metrics.families import Family, Fold, Kind, Origin

_G, _C, _S, _H = Kind.GAUGE, Kind.COUNTER, Kind.SUMMARY, Kind.HISTOGRAM
_STATE, _LEDGER, _TELEMETRY = Origin.STATE, Origin.LEDGER, Origin.TELEMETRY
_STATUS, _SETTINGS, _MACHINE, _EXPORTER = Origin.STATUS, Origin.SETTINGS, Origin.MACHINE, Origin.EXPORTER
_SUM, _MAX, _MIN, _DROP = Fold.SUM, Fold.MAX, Fold.MIN, Fold.DROP
_T, _ST = ("trainer",), ("stream",)

#: heading → its metrics, in the order they are exported and documented
SECTIONS: Final[Mapping[str, tuple[Family, ...]]] = {
    "Trainers": (
        Family("upm_trainers", _G, _STATE, "Trainers, by mode and state.", ("mode", "state")),
        Family(
            "upm_trainer_info",
            _G,
            _STATE,
            "1; the labels are what is to be known.",
            ("trainer", "mode", "stream"),
            _DROP,
        ),
        Family(
            "upm_trainer_state",
            _G,
            _STATE,
            "State set: quarantined, errored, paused, training or idle.",
            ("trainer", "state"),
        ),
        Family("upm_trainer_epoch", _G, _STATE, "Grows with every activation and rollback.", _T, _DROP),
        Family("upm_active_version", _G, _STATE, "Live version, by ring.", ("trainer", "ring"), _DROP),
        Family(
            "upm_active_tenants_ratio",
            _G,
            _STATE,
            "Share of tenants that get the live version, by ring; 1 is all.",
            ("trainer", "ring"),
            _DROP,
        ),
        Family("upm_shadow_seconds", _G, _STATE, "Accumulated time of the lineage in shadow.", _T, _MIN),
    ),
    "Learning": (
        Family(
            "upm_training_loss",
            _S,
            _STATE,
            "Loss of each window before it was learned; sum over count is the progressive loss.",
            _T,
        ),
        Family("upm_training_loss_last", _G, _STATE, "Mean loss of the last batch.", _T, _MAX),
        Family("upm_windows_read_total", _C, _STATE, "Windows read from sources.", _T),
        Family(
            "upm_windows_total",
            _C,
            _STATE,
            "Windows by what became of them; with upm_windows_pending they add up to those read.",
            ("trainer", "fate"),
        ),
        Family(
            "upm_windows_pending", _G, _STATE, "Windows in the replay buffer, or in the log and not learned yet.", _T
        ),
        Family(
            "upm_trainer_windows_per_second",
            _G,
            _STATUS,
            "Windows learned each second, as a running worker sees it.",
            _T,
        ),
        Family("upm_trainer_lag_rows", _G, _STATE, "Log rows that the trainer has not learned yet.", _T),
        Family(
            "upm_trainer_lag_seconds",
            _G,
            _STATE,
            "How long the oldest row of the log that is not learned has waited; 0 when there is none.",
            _T,
            _MAX,
        ),
        Family(
            "upm_trainer_commit_duration_seconds",
            _S,
            _TELEMETRY,
            "Time between the beginning and the commit of what was learned.",
            _T,
        ),
    ),
    "Snapshots": (
        Family(
            "upm_snapshot_freshness_seconds",
            _G,
            _STATE,
            "Age of the newest snapshot when this was collected.",
            ("trainer", "mode"),
            _MAX,
        ),
        Family(
            "upm_snapshot_created_timestamp_seconds",
            _G,
            _STATE,
            "When the newest snapshot was made.",
            ("trainer", "mode"),
            _MIN,
        ),
        Family("upm_snapshot_version", _G, _STATE, "Newest version.", _T, _DROP),
        Family("upm_snapshot_size_bytes", _G, _STATE, "Size of the newest snapshot, compressed.", _T, _MAX),
        Family("upm_snapshots", _G, _STATE, "Snapshots that are kept.", _T),
        Family("upm_snapshots_quarantined", _G, _STATE, "Snapshots that are kept and barred from activation.", _T),
        Family("upm_snapshots_made_total", _C, _STATE, "Snapshots ever made.", _T),
    ),
    "Drift and evidence": (
        Family(
            "upm_drift_p95",
            _G,
            _STATE,
            "P95 of drift in the last hour, or day, of event time, counted back from the newest judged window.",
            ("trainer", "range"),
            _MAX,
        ),
        Family("upm_drift_mean", _G, _STATE, "Mean drift of the same windows.", ("trainer", "range"), _MAX),
        Family("upm_drift_max", _G, _STATE, "Largest drift of the same windows.", ("trainer", "range"), _MAX),
        Family("upm_drift_samples", _G, _STATE, "Comparisons in the same windows.", ("trainer", "range")),
        Family(
            "upm_drift_threshold",
            _G,
            _STATE,
            "P95 that makes a window fail: of the newest judged one, or as configured.",
            _T,
            _MIN,
        ),
        Family(
            "upm_drift_verdict",
            _G,
            _STATE,
            "State set: verdict of the newest window; unknown means too few comparisons.",
            ("trainer", "verdict"),
        ),
        Family(
            "upm_drift_window_end_timestamp_seconds", _G, _STATE, "End of the newest window, in event time.", _T, _MIN
        ),
        Family(
            "upm_drift_windows_judged_total",
            _C,
            _TELEMETRY,
            "Drift windows judged, by verdict; one that grew after it was judged counts again.",
            ("trainer", "verdict"),
        ),
        Family("upm_quarantines_total", _C, _LEDGER, "Quarantines, by the rule that failed.", ("trainer", "reason")),
        Family(
            "upm_evidence_verdict",
            _G,
            _STATE,
            "State set: verdict of the contest of the lineage, or of the candidate.",
            ("trainer", "contest", "verdict"),
        ),
        Family(
            "upm_evidence_windows",
            _G,
            _STATE,
            "Windows the contest has counted since its stage began.",
            ("trainer", "contest"),
            _MIN,
        ),
        Family(
            "upm_evidence_judged_timestamp_seconds",
            _G,
            _STATE,
            "When the contest last counted a window.",
            ("trainer", "contest"),
            _MIN,
        ),
        Family(
            "upm_evidence_max_age_seconds",
            _G,
            _SETTINGS,
            "Age at which evidence counts as none (rollout.max_evidence_age_ms).",
        ),
        Family(
            "upm_feature_drift_verdict",
            _G,
            _STATE,
            "State set: whether features drift; unknown means that nobody can say.",
            ("trainer", "verdict"),
        ),
        Family("upm_features_drifting", _G, _STATE, "Features that drift now.", _T),
        Family("upm_features_judged_timestamp_seconds", _G, _STATE, "When features were last judged.", _T, _MIN),
    ),
    "Release": (
        Family("upm_rollout_phase", _G, _STATE, "State set: phase of the newest rollout.", ("trainer", "phase")),
        Family("upm_rollout_stage", _G, _STATE, "Number of its stage; 0 is shadow.", _T, _DROP),
        Family(
            "upm_rollout_tenants_ratio", _G, _STATE, "Share of tenants its candidate has reached; 1 is all.", _T, _DROP
        ),
        Family(
            "upm_rollout_candidate_version",
            _G,
            _STATE,
            "The version it takes along, once it has left shadow.",
            _T,
            _DROP,
        ),
        Family("upm_rollouts_total", _C, _STATE, "Rollouts ever begun.", _T),
        Family(
            "upm_rollbacks_total",
            _C,
            _LEDGER,
            "Rollbacks, and candidates taken out of the rings, by who did it.",
            ("trainer", "by"),
        ),
    ),
    "Streams": (
        Family("upm_replay_buffer_windows", _G, _STATE, "Windows in the replay buffer.", _ST),
        Family("upm_replay_buffer_limit_windows", _G, _SETTINGS, "Windows a replay buffer holds at most."),
        Family(
            "upm_replay_buffer_late_arrivals_total",
            _C,
            _STATE,
            "Windows that came after their place was released, and were learned.",
            _ST,
        ),
        Family(
            "upm_replay_buffer_early_releases_total", _C, _STATE, "Windows released early as the buffer was full.", _ST
        ),
        Family("upm_stream_gaps_total", _C, _STATE, "Holes in event time.", _ST),
        Family(
            "upm_stream_labels_total",
            _C,
            _STATE,
            "Labels that came apart from their window, by what became of them.",
            ("stream", "fate"),
        ),
        Family(
            "upm_stream_watermark_timestamp_seconds",
            _G,
            _STATE,
            "Event time before which no window is expected any more.",
            _ST,
            _MIN,
        ),
    ),
    "Agents": (
        Family("upm_adapters", _G, _STATE, "Adapters, by status.", ("trainer", "status")),
        Family(
            "upm_adapters_behind",
            _G,
            _STATE,
            "Adapters, by how many versions they are behind.",
            ("trainer", "versions"),
        ),
        Family("upm_adapter_sync_success_ratio", _G, _STATE, "Share of the latest syncs that succeeded."),
        Family("upm_adapter_sync_objective_ratio", _G, _SETTINGS, "Share that should: the service level."),
        Family("upm_adapter_sync_successes_total", _C, _TELEMETRY, "Syncs that an adapter confirmed.", _T),
        Family("upm_adapter_sync_failures_total", _C, _TELEMETRY, "Tries that failed.", _T),
        Family("upm_adapter_sync_retries_total", _C, _TELEMETRY, "Failed tries that were not the first.", _T),
        Family("upm_adapter_sync_duration_seconds", _S, _TELEMETRY, "How long syncs took that succeeded.", _T),
    ),
    "Workers": (
        Family("upm_worker_up", _G, _STATUS, "Whether the worker runs: it holds its lease.", ("worker", "kind"), _MIN),
        Family("upm_worker_state", _G, _STATUS, "1 for the state it last told.", ("worker", "kind", "state")),
        Family("upm_worker_status_timestamp_seconds", _G, _STATUS, "When it last told.", ("worker", "kind"), _MIN),
        Family("upm_worker_restarts_total", _C, _STATUS, "How often it was started again.", ("worker", "kind")),
        Family("upm_worker_resident_memory_bytes", _G, _MACHINE, "Memory of the running worker.", ("worker", "kind")),
    ),
    "Record and machine": (
        Family("upm_ledger_entries_total", _C, _STATE, "Entries of the ledger."),
        Family(
            "upm_ledger_verified", _G, _EXPORTER, "1 when the last check found the whole chain good, 0 when it did not."
        ),
        Family("upm_ledger_verified_timestamp_seconds", _G, _EXPORTER, "When that check was made."),
        Family("upm_state_generation", _G, _STATE, "Grows by one with every commit."),
        Family("upm_state_size_bytes", _G, _MACHINE, "Size of the state."),
        Family(
            "upm_disk_free_bytes",
            _G,
            _MACHINE,
            "Free space for an ordinary user, where the state is and where snapshots are.",
            ("disk",),
        ),
        Family("upm_disk_size_bytes", _G, _MACHINE, "Size of the same file systems.", ("disk",)),
        Family("upm_build_info", _G, _EXPORTER, "1; the labels are versions.", ("version", "python")),
        Family(
            "upm_metrics_collect_success",
            _G,
            _EXPORTER,
            "Whether a part of the metrics could be read; what could not is absent.",
            ("part",),
        ),
        Family("upm_metrics_collected_timestamp_seconds", _G, _EXPORTER, "When all of this was collected."),
        Family("upm_metrics_collect_duration_seconds", _H, _EXPORTER, "How long collecting took."),
    ),
}

FAMILIES: Final[Mapping[str, Family]] = {family.name: family for section in SECTIONS.values() for family in section}
