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
class SnapshotManagerSettings:
    """How snapshots are kept."""

    base_path: str = setting(".upm/blobs", "Folder of snapshots and checkpoints; relative to the project.")
    compression: str = setting("zstd", "How snapshots are compressed.", choices=("zstd", "gzip", "none"))
    retention_days: int = setting(30, "Age at which `upm snapshot gc` may remove one.", at_least=0, at_most=36_500)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSyncSettings:
    """How models are handed to agents."""

    sync_batch_size: int = setting(100, "Agents in one batch.", at_least=1, at_most=100_000)
    sync_timeout_ms: int = setting(30_000, "How long one agent may take.", at_least=1, at_most=DAY_MS)
    max_retries: int = setting(3, "Tries after the first before an agent counts as errored.", at_least=0, at_most=1000)
    retry_backoff_ms: int = setting(
        1000, "Pause before the first retry; doubled each time.", at_least=0, at_most=DAY_MS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerSettings:
    """One trainer that exists without having been added by hand."""

    name: str = setting("default", "Its name: a-z, 0-9, '.', '_' and '-'.")
    mode: str = setting("shadow", "Who sees its snapshots.", choices=("shadow", "canary", "active"))
    tenant_id: str | None = setting(None, "The tenant whose windows it learns.", nullable="the windows of all tenants")
    sources: tuple[str, ...] = setting((), "Files, folders or globs it learns from; relative to the project.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSettings:
    """What runs without being asked."""

    enabled: bool = setting(True, "Whether worker processes are watched and restarted.")
    default_trainers: tuple[TrainerSettings, ...] = setting((TrainerSettings(),), "The trainers of this project.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who may see what, and when."""

    canary_tenants: tuple[str, ...] = setting((), "Tenants that may be part of a canary.")
    min_shadow_hours: int = setting(
        336, "Hours in shadow before a trainer may become active.", at_least=0, at_most=87_600
    )
    admin_roles: tuple[str, ...] = setting(("admin",), "Roles that may override a gate, with a reason.")
    actors: Mapping[str, str] = setting({}, "Role of each operating system user, as in {alice: admin}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Measurements that the workers keep."""

    enabled: bool = setting(True, "Whether measurements are kept in .upm/telemetry.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it."""

    features: Features = field(default_factory=Features)
    trainer_worker: TrainerWorkerSettings = field(default_factory=TrainerWorkerSettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    replay_buffer: ReplayBufferSettings = field(default_factory=ReplayBufferSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    snapshot_manager: SnapshotManagerSettings = field(default_factory=SnapshotManagerSettings)
    drift_monitor: DriftMonitorSettings = field(default_factory=DriftMonitorSettings)
    adapter_sync: AdapterSyncSettings = field(default_factory=AdapterSyncSettings)
    supervisor: SupervisorSettings = field(default_factory=SupervisorSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)

    def value(self, path: str) -> Any:
        """Return the setting, section or all (empty path) at a dotted path, which must exist."""
        found: Any = self
        for name in path.split(".") if path else ():
            found = getattr(found, name)
        return found

    def digest(self) -> str:
        """Return the sha256 over the settings that change what is learned from a given log."""
        learning = {path: self.value(path) for path, spec in SPECS.items() if spec.learning}
        return hashlib.sha256(json.dumps(learning, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


SPECS = specs(Settings)
SECTIONS = tuple(dict.fromkeys(path.partition(".")[0] for path in SPECS))


def as_dict(settings: Any) -> dict[str, Any]:
    """Return settings, or one section of them, as nested plain values."""
    return asdict(settings)
