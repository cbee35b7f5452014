"""Every setting of upm: the sections of upm.yaml as frozen dataclasses.

Names and defaults are a contract. Times whose name ends in `_ms` are milliseconds. docs/reference/config.md and
`upm config schema` are made from this table.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from upm_cli.config.fields import setting, specs

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Switches for whole parts of upm."""

    unified_model: bool = setting(True, "Whether training may run at all; false makes `upm train` refuse.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerWorkerSettings:
    """How the log is cut into mini-batches and snapshots."""

    snapshot_interval: int = setting(
        1000, "Windows learned between two automatic snapshots.", at_least=1, at_most=1_000_000_000, learning=True
    )
    learning_rate: float | None = setting(
        None,
        "Step size of the optimizer.",
        above=0,
        at_most=1000,
        nullable="each optimizer has its own (plain SGD: 0.001)",
        learning=True,
    )
    batch_size: int = setting(32, "Windows in one mini-batch.", at_least=1, at_most=65_536, learning=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSettings:
    """What learns. Fixed for a trainer once it has learned its first window."""

    task: str = setting(
        "auto",
        "What is predicted; auto decides from the first 1,000 labels.",
        choices=("auto", "binary", "multiclass", "regression", "structured"),
        learning=True,
    )
    kind: str = setting("linear", "The model.", choices=("linear",), learning=True)
    optimizer: str = setting(
        "adagrad", "How weights are moved.", choices=("sgd", "adagrad", "adam", "ftrl"), learning=True
    )
    loss: str = setting(
        "auto",
        "What is minimised; auto: logistic, softmax or squared, by task.",
        choices=("auto", "logistic", "softmax", "squared", "huber"),
        learning=True,
    )
    bits: int = setting(18, "The model has 2^bits weights for hashed features.", at_least=1, at_most=28, learning=True)
    scaler: str = setting(
        "max_abs", "How feature values are scaled while learning.", choices=("max_abs", "none"), learning=True
    )
    momentum: float = setting(0.0, "Momentum of SGD.", at_least=0, below=1, learning=True)
    weight_decay: float = setting(
        0.0, "Shrinks weights at each step, times the learning rate; not with FTRL.", at_least=0, below=1, learning=True
    )
    l1: float = setting(0.0, "L1 penalty of FTRL.", at_least=0, below=1e6, learning=True)
    l2: float = setting(0.0, "L2 penalty of FTRL.", at_least=0, below=1e6, learning=True)
    huber_delta: float = setting(
        1.0, "Where the Huber loss turns from squared to linear.", above=0, below=1e12, learning=True
    )
    clip: float = setting(
        0.0, "Largest gradient norm of one window; 0: no limit.", at_least=0, below=1e12, learning=True
    )
    schedule: str = setting(
        "constant",
        "How the learning rate changes with the windows learned; not with FTRL.",
        choices=("constant", "inverse_scaling", "cosine"),
        learning=True,
    )
    schedule_power: float = setting(
        0.25, "inverse_scaling divides the rate by (1 + windows) to this power.", above=0, below=4, learning=True
    )
    schedule_windows: int = setting(
        1_000_000, "Windows over which cosine falls to 1 %.", at_least=1, at_most=10**15, learning=True
    )
    warmup_windows: int = setting(
        0, "Windows over which the rate first rises from 0; not with FTRL.", at_least=0, at_most=10**15, learning=True
    )
    max_classes: int = setting(
        1000,
        "Classes a multiclass learner can hold; windows of further ones are refused.",
        at_least=2,
        at_most=65_536,
        learning=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayBufferSettings:
    """How windows that come in disorder are put in order."""

    max_buffer_size: int = setting(
        1000,
        "Windows held back at most; a full buffer releases its oldest early.",
        at_least=1,
        at_most=10_000_000,
    )
    release_delay_ms: int = setting(
        5000, "Disorder that is sorted out, in event time.", at_least=0, at_most=365 * DAY_MS
    )
    late_window_tolerance_ms: int = setting(
        60_000,
        "How late a window may still be trained, in event time; also how long ids are remembered for duplicates.",
        at_least=0,
        at_most=365 * DAY_MS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """How much input is worked on at once. Fixed amounts of input, not of time, so that a log can be made again."""

    chunk_bytes: int = setting(1 << 20, "Input decoded at once, in bytes.", at_least=4096, at_most=1 << 30)
    commit_bytes: int = setting(
        32 << 20, "Input committed at once, in bytes: what a killed worker reads again.", at_least=4096, at_most=1 << 40
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSettings:
    """How predictions of agents and what came of them are brought together."""

    horizon_ms: int = setting(
        7 * DAY_MS,
        "How long a prediction and its outcome wait for each other, by the times in them; what comes later is late.",
        at_least=1,
        at_most=365 * DAY_MS,
    )
    late_windows: str = setting(
        "append",
        "Windows of predictions that come later than replay_buffer tolerates: appended to the log, or kept aside.",
        choices=("append", "ledger"),
    )
    max_waiting: int = setting(
        100_000,
        "Predictions, and outcomes, that wait at most; the one that waits longest gives way.",
        at_least=1,
        at_most=10_000_000,
    )
    max_known: int = setting(
        1_000_000,
        "Answered predictions that are remembered to tell repeats; older outcomes are late.",
        at_least=1,
        at_most=1_000_000_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotManagerSettings:
    """How snapshots are kept."""

    base_path: str = setting(".upm/blobs", "Folder of snapshots and checkpoints; relative to the project.")
    compression: str = setting("zstd", "How snapshots are compressed.", choices=("zstd", "gzip", "none"))
    retention_days: int = setting(30, "Age at which `upm snapshot gc` may remove one.", at_least=0, at_most=36_500)
    require_signature: bool = setting(
        False, "Whether only signed snapshots may reach tenants and agents; see `upm keys`."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftMonitorSettings:
    """When predictions are too far from the truth."""

    window_duration_ms: int = setting(
        3_600_000, "Length of one drift window, in event time.", at_least=1, at_most=365 * DAY_MS
    )
    drift_threshold: float = setting(
        0.2, "P95 drift at which a window fails; in the unit of the label.", above=0, at_most=1e12
    )
    sample_size: int = setting(
        1000, "Comparisons a window needs for a verdict; fewer are unknown.", at_least=1, at_most=1_000_000_000
    )
    quarantine_enabled: bool = setting(True, "Whether a failed window quarantines the snapshot it judged.")
    score: str = setting(
        "auto",
        "auto: regret over blocks of 20 for class labels, |p - y| otherwise; seed: always |p - y|.",
        choices=("auto", "seed"),
    )
    rule: str = setting(
        "both",
        "What may quarantine a snapshot: the seed rule, the evidence rule, or either; both are always reported.",
        choices=("seed", "evidence", "both"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSettings:
    """When a challenger counts as worse than the champion, and when as good enough. Losses lie between 0 and 1."""

    margin: float = setting(0.01, "Mean loss a challenger may lose more than the champion.", above=0, below=0.5)
    harm_margin: float = setting(0.01, "Mean excess loss beyond which it is harm.", above=0, below=0.5)
    alpha_harm: float = setting(
        0.01, "Chance of calling a good challenger harmful, over a whole rollout.", above=0, below=0.5
    )
    alpha_promote: float = setting(
        0.05, "Chance of letting a bad challenger pass, over all stages of a rollout.", above=0, below=0.5
    )
    clip: float = setting(0.1, "Differences of a block are cut to this much.", above=0, at_most=1)
    block_size: int = setting(50, "Windows judged together, as neighbours are alike.", at_least=20, at_most=100_000)
    tenant_block_size: int = setting(20, "The same for the windows of one tenant.", at_least=20, at_most=100_000)
    max_tenants: int = setting(2000, "Tenants judged one by one; further ones together.", at_least=1, at_most=100_000)
    loss_scale: float | None = setting(
        None,
        "Error of a number that counts as a loss of 1, in the unit of the label.",
        above=0,
        at_most=1e12,
        nullable="five times drift_monitor.drift_threshold",
    )
    label_horizon_ms: int = setting(
        0,
        "How long labels may take, in event time; windows younger than that are not judged.",
        at_least=0,
        at_most=365 * DAY_MS,
    )
    min_label_coverage: float = setting(
        0.95,
        "Share of windows that must have a label; below it missing ones count as the worst.",
        at_least=0,
        at_most=1,
    )
    false_alarms: str = setting(
        "1 per 90d", "False alarms that feature drift and the alarm on misses may give together."
    )
    features: int = setting(200, "Features watched for drift, the most frequent first.", at_least=0, at_most=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSettings:
    """How a version reaches the tenants, stage by stage."""

    stages: tuple[str, ...] = setting(
        (
            "shadow",
            "canary 1% for 24h",
            "canary 5% for 24h",
            "canary 10% for 24h",
            "canary 25% for 48h",
            "global 50% for 24h",
            "global 75% for 24h",
            "global 100%",
        ),
        "Stages with their share of tenants and least time; shadow lasts policy.min_shadow_hours at least.",
    )
    automatic: bool = setting(True, "Whether stages follow by themselves; false: each wants `upm rollout promote`.")
    min_tenants: int = setting(1, "Tenants in a canary at least.", at_least=1, at_most=1_000_000)
    holdout_percent: int = setting(
        0, "Share of tenants that stay on the anchor (upm anchor) whatever rollouts do.", at_least=0, at_most=5
    )
    watch_ms: int = setting(
        DAY_MS, "How long a version that reached everybody is still watched.", at_least=0, at_most=365 * DAY_MS
    )
    unknown_deadline_ms: int = setting(
        3 * DAY_MS, "Time without enough evidence after which a rollout pauses.", at_least=1, at_most=365 * DAY_MS
    )
    max_evidence_age_ms: int = setting(
        DAY_MS, "Evidence older than this counts as none.", at_least=1, at_most=365 * DAY_MS
    )
    max_gap_ms: int = setting(
        3_600_000, "Time that counts at most between two looks with a reboot in between.", at_least=0, at_most=DAY_MS
    )
    max_held_share: float = setting(
        0.2, "Share of exposed tenants held back above which the whole rollout fails.", above=0, at_most=1
    )
    on_harm: str = setting("rollback", "What harm leads to.", choices=("rollback", "pause"))
    on_quarantine: str = setting(
        "rollback", "What a quarantine of what serves leads to.", choices=("rollback", "pause", "ignore")
    )
    on_feature_drift: str = setting(
        "report",
        "What feature drift leads to: a warning, or no next step while it lasts or nobody can say.",
        choices=("report", "hold"),
    )
    freeze: tuple[str, ...] = setting(
        (), "When nothing may be exposed further (UTC), as in `2026-12-20..2027-01-05` or `fri 16:00..mon 08:00`."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSyncSettings:
    """How models are handed to agents."""

    sync_batch_size: int = setting(100, "Agents in one batch.", at_least=1, at_most=100_000)
    sync_timeout_ms: int = setting(30_000, "How long one agent may take.", at_least=1, at_most=DAY_MS)
    max_retries: int = setting(3, "Tries after the first before an agent counts as errored.", at_least=0, at_most=1000)
    retry_backoff_ms: int = setting(
        1000, "Longest pause before the first retry; doubled each time, drawn by chance.", at_least=0, at_most=DAY_MS
    )
    max_backoff_ms: int = setting(60_000, "Longest pause before any retry.", at_least=0, at_most=DAY_MS)
    max_parallel: int = setting(16, "Agents that are sent to at the same time.", at_least=1, at_most=256)
    poll_ms: int = setting(500, "How often adapter sync looks for something to send.", at_least=10, at_most=DAY_MS)
    look_ms: int = setting(
        60_000,
        "How often a place that is in sync is asked again what it serves; 0: never.",
        at_least=0,
        at_most=DAY_MS,
    )
    breaker_failures: int = setting(
        5, "Failures in a row after which an endpoint is left alone for a while.", at_least=1, at_most=1000
    )
    breaker_cooldown_ms: int = setting(
        30_000, "How long an endpoint that keeps failing is left alone.", at_least=0, at_most=DAY_MS
    )
    pointer_validity_ms: int = setting(
        7 * DAY_MS,
        "How long agents go on without a word before they say that they are stale; sent anew at half of it. 0: no end.",
        at_least=0,
        at_most=365 * DAY_MS,
    )
    allow_hosts: tuple[str, ...] = setting(
        (), "Hosts and networks (10.1.0.0/16) inside a private network that models may be sent to; loopback always may."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """One trainer that exists without having been added by hand."""

    name: str = setting("default", "Its name: a-z, 0-9, '.', '_' and '-'.")
    mode: str = setting("shadow", "Who sees its snapshots.", choices=("shadow", "canary", "active"))
    tenant_id: str | None = setting(None, "The tenant whose windows it learns.", nullable="the windows of all tenants")
    sources: tuple[str, ...] = setting((), "Files, folders or globs it learns from; relative to the project.")
    outcomes: tuple[str, ...] = setting(
        (), "The same for what agents tell: predictions that were served, and what came of them."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What runs without being asked."""

    enabled: bool = setting(True, "Whether worker processes are watched and restarted; false makes `upm up` refuse.")
    default_trainers: tuple[TrainerSettings, ...] = setting((TrainerSettings(),), "The trainers of this project.")
    max_workers: int | None = setting(
        None,
        "Worker processes of `upm up` at most; what is more shares them, whole trainers at a time.",
        at_least=1,
        at_most=1000,
        nullable="one for each processor core, and at least 4",
    )
    restart_intensity: int = setting(
        3, "Restarts of a worker within restart_window_ms; one more and it is given up.", at_least=0, at_most=1000
    )
    restart_window_ms: int = setting(60_000, "Time in which restarts count together.", at_least=1, at_most=DAY_MS)
    restart_backoff_ms: int = setting(
        1000, "Longest pause before the first restart; doubled with each one in a row.", at_least=0, at_most=DAY_MS
    )
    restart_backoff_most_ms: int = setting(300_000, "Longest pause before any restart.", at_least=0, at_most=DAY_MS)
    healthy_ms: int = setting(
        600_000, "Time after which a running worker's earlier restarts are forgotten.", at_least=1, at_most=DAY_MS
    )
    stuck_ms: int = setting(
        60_000,
        "Time without progress, although there is work, after which a worker is ended and started again.",
        at_least=1000,
        at_most=DAY_MS,
    )
    grace_ms: int = setting(
        20_000, "Time a worker that was asked to end has to finish and commit.", at_least=0, at_most=DAY_MS
    )
    log_bytes: int = setting(
        1 << 20, "Size at which a log file in .upm/run/logs is put aside.", at_least=4096, at_most=1 << 40
    )
    log_files: int = setting(3, "Log files of each worker that are put aside and kept.", at_least=0, at_most=1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who may see what, and when."""

    canary_tenants: tuple[str, ...] = setting((), "Tenants that may be part of a canary; '*' is all of them.")
    min_shadow_hours: int = setting(
        336, "Hours in shadow before a trainer may become active.", at_least=0, at_most=87_600
    )
    admin_roles: tuple[str, ...] = setting(("admin",), "Roles that may override a gate, with a reason.")
    actors: Mapping[str, str] = setting(
        {}, "Role of each operating system user, as in {alice: admin}; with none, the owner of .upm is admin."
    )
    second_approver: bool = setting(False, "Whether an override needs a second person.")
    override_hours: int = setting(24, "Hours an override lasts at most.", at_least=1, at_most=24)
    readiness_share: float = setting(
        0.95, "Share of judged drift windows that must pass before shadow may be left.", above=0, at_most=1
    )
    readiness_quiet_hours: int = setting(
        48, "Hours without a quarantine before shadow may be left.", at_least=0, at_most=8760
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One address that is told what happens."""

    name: str = setting("ops", "Its name: a-z, 0-9, '.', '_' and '-'.")
    url: str = setting("", "Where messages go: https, or http to this machine.")
    format: str = setting("cloudevents", "What is sent.", choices=("cloudevents", "slack"))
    topics: tuple[str, ...] = setting(
        ("quarantine", "rollback", "rollout_aborted", "worker_fatal"),
        "What it is told of; also: rollout_paused, rollout_promoted, activated, feature_drift.",
    )
    secret_file: str | None = setting(
        None, "File (0600) with the secret that messages are signed with.", nullable="messages are not signed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told of what without asking."""

    webhooks: tuple[WebhookSettings, ...] = setting((), "Addresses that are told.")
    timeout_ms: int = setting(10_000, "How long one message may take.", at_least=1, at_most=600_000)
    retry_backoff_ms: int = setting(
        1000, "Longest pause before a message is sent again; doubled each time.", at_least=0, at_most=DAY_MS
    )
    max_backoff_ms: int = setting(300_000, "Longest pause before any retry.", at_least=0, at_most=DAY_MS)
    give_up_ms: int = setting(
        DAY_MS, "Age at which an event is no news any more and is passed over.", at_least=1000, at_most=30 * DAY_MS
    )
    allow_hosts: tuple[str, ...] = setting(
        (), "Hosts and networks (10.1.0.0/16) inside a private network that may be told; loopback always may."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """Where backups go. Says nothing about what is decided, so it is not part of the recorded digest."""

    folder: str | None = setting(
        None,
        "Folder outside the project that `upm backup create` writes to; relative to the project.",
        nullable="it has to be named: --folder DIR",
    )
    keep: int | None = setting(
        None,
        "Backups of this project that `upm backup create` leaves in that folder; older ones are removed.",
        at_least=1,
        at_most=100_000,
        nullable="all of them",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Measurements that the workers keep."""

    enabled: bool = setting(True, "Whether measurements are kept in .upm/telemetry.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings:
    """How the dashboard is drawn. Says nothing about what is decided, so it is not part of the recorded digest."""

    ascii: bool = setting(
        False, "Whether `upm tui` draws with ASCII only, for serial consoles and screen readers; or --ascii."
    )
    theme: str = setting(
        "upm", "Colours of `upm tui`; t in it lists them, ansi-dark and ansi-light are the terminal's."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it."""

    features: Features = field(default_factory=Features)
    trainer_worker: TrainerWorkerSettings = field(default_factory=TrainerWorkerSettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    replay_buffer: ReplayBufferSettings = field(default_factory=ReplayBufferSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    snapshot_manager: SnapshotManagerSettings = field(default_factory=SnapshotManagerSettings)
    drift_monitor: DriftMonitorSettings = field(default_factory=DriftMonitorSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    adapter_sync: AdapterSyncSettings = field(default_factory=AdapterSyncSettings)
    supervisor: SupervisorSettings = field(default_factory=SupervisorSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    backup: BackupSettings = field(default_factory=BackupSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    ui: UiSettings = field(default_factory=UiSettings)

    def value(self, path: str) -> Any:
        """Return the setting, section or all (empty path) at a dotted path, which must exist."""
        found: Any = self
        for name in path.split(".") if path else ():
            found = getattr(found, name)
        return found

    def digest(self) -> str:
        """Return the sha256 over the settings that change what is learned from a given log."""
        return _digest({path: self.value(path) for path, spec in SPECS.items() if spec.learning})

    def full_digest(self) -> str:
        """Return the sha256 over all settings but those of screen and backups: what decisions were made under."""
        return _digest({name: section for name, section in asdict(self).items() if name not in ("ui", "backup")})


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


SPECS = specs(Settings)
SECTIONS = tuple(dict.fromkeys(path.partition(".")[0] for path in SPECS))


def as_dict(settings: Any) -> dict[str, Any]:
    """Return settings, or one section of them, as nested plain values."""
    return asdict(settings)
