"""The records of the control state, as plain values. The store turns rows into these and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    SHADOW = "shadow"
    CANARY = "canary"
    ACTIVE = "active"


class Ring(StrEnum):
    """Where an activation is seen: by nobody, by some tenants, by all."""

    SHADOW = "shadow"
    CANARY = "canary"
    GLOBAL = "global"


RING_OF_MODE: Mapping[Mode, Ring] = {Mode.SHADOW: Ring.SHADOW, Mode.CANARY: Ring.CANARY, Mode.ACTIVE: Ring.GLOBAL}


class TrainerStatus(StrEnum):
    IDLE = "idle"
    TRAINING = "training"
    PAUSED = "paused"
    ERRORED = "errored"


class SnapshotStatus(StrEnum):
    CREATED = "created"
    ACTIVATED = "activated"
    ROLLED_BACK = "rolled_back"
    ARCHIVED = "archived"


class DriftStatus(StrEnum):
    OPEN = "open"
    QUARANTINED = "quarantined"
    RESOLVED = "resolved"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One event log and what its ingest worker has done so far. Counts are over the life of the stream.

    `read = released + pending + duplicate + late + dead_letter`; `released` are the WINDOW rows in the log.
    `late_arrivals` (appended though late), `early` (released early as the buffer was full) and `gaps` are
    sub-counts of released. `labels_*` count separate ground-truth events.
    """

    name: str
    next_seq: int = 0  # the seq the next log row gets
    read: int = 0
    released: int = 0
    pending: int = 0
    duplicate: int = 0
    late: int = 0
    dead_letter: int = 0
    late_arrivals: int = 0
    early: int = 0
    gaps: int = 0
    labels_read: int = 0
    labels_joined: int = 0
    labels_orphan: int = 0
    watermark_ms: int | None = None
    epoch: int = 0  # fencing: grows with each ingest worker that takes the lease
    state_digest: str | None = None  # blob with the replay buffer and dedup horizon
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """How far one file has been read. `key` identifies the file by inode and prefix hash."""

    stream: str
    key: str
    path: str
    offset: int = 0  # bytes (lines formats) or rows (Parquet) already committed
    size_bytes: int = 0
    done: bool = False
    updated_at_ms: int = 0
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One immutable file of bulk facts. `kind`: log | names | dead | late | comparisons | telemetry."""

    kind: str
    owner: str  # stream or trainer
    first_seq: int
    last_seq: int  # inclusive
    rows: int
    path: str  # relative to the project's .upm folder
    size_bytes: int
    digest: str  # sha256 of the file
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """One named trainer. `log_position` is the seq of the next log row it has not yet consumed."""

    name: str
    stream: str
    mode: Mode = Mode.SHADOW
    tenant_id: str | None = None
    status: TrainerStatus = TrainerStatus.IDLE
    desired: str = "run"  # run | pause
    pause_reason: str | None = None
    last_window_id: str | None = None
    last_window_fetched_at_ms: int | None = None
    last_loss: float | None = None
    drift_score: float | None = None
    log_position: int = 0
    trained: int = 0
    unlabelled: int = 0
    dead_letter: int = 0  # windows whose label or step the learner refused
    loss_sum: float = 0.0  # progressive loss, summed over trained windows
    influence: Mapping[str, Any] = field(
        default_factory=dict
    )  # version → trained windows it was asked about, see Tally
    metrics: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_digest: str | None = None
    weights_sha256: str | None = None
    last_version: int = 0  # newest snapshot version ever made
    snapshot_at_trained: int = 0  # `trained` when the last automatic snapshot was made
    lineage: tuple[Mapping[str, Any], ...] = ()  # rewinds: {at_seq, to_version, skipped_from_seq, reason}
    learner: Mapping[str, Any] = field(default_factory=dict)  # resolved learner spec, fixed once task is known
    epoch: int = 0  # grows with every activation and rollback
    fence: int = 0  # grows with every training worker that takes the lease
    config_digest: str | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One immutable model for agents. `digest` is over the canonical (uncompressed) bytes."""

    trainer: str
    version: int
    mode: Mode
    digest: str
    file_digest: str  # sha256 of the stored (compressed) bytes
    codec: str  # zstd | gzip | none
    path: str
    size_bytes: int
    raw_bytes: int
    status: SnapshotStatus = SnapshotStatus.CREATED
    tenant_id: str | None = None
    parent: int | None = None
    first_seq: int = 0
    last_seq: int = 0
    windows: int = 0  # trained windows in the model
    checkpoint_digest: str | None = None  # trainer state at the same position, to go back to
    quarantined: bool = False
    quarantine_reason: str | None = None
    pinned: bool = False
    note: str | None = None
    created_at_ms: int = 0
    activated_at_ms: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    signatures: tuple[Mapping[str, str], ...] = ()  # of its statement: {keyid, sig}


class AdapterStatus(StrEnum):
    PENDING = "pending"
    SYNCING = "syncing"
    SYNCED = "synced"
    ERRORED = "errored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One place that models are handed to for one tenant: which snapshot is to be there, and which is.

    `serial` grows with each pointer that is made for it; what is to be there is (`version`, `epoch`, `serial`), what
    the other side has confirmed is (`acked_version`, `acked_epoch`, `acked_serial`).
    """

    adapter_key: str
    tenant_id: str  # "" = windows without a tenant
    trainer: str
    kind: str  # directory | http
    location: str  # absolute path, or URL
    mode: Mode  # by the ring that its snapshot comes from
    status: AdapterStatus = AdapterStatus.PENDING
    version: int | None = None  # None: nothing is live for this tenant
    digest: str | None = None
    epoch: int = 0
    serial: int = 0
    pointer: str | None = None  # the envelope to send, as it was signed
    acked_version: int | None = None
    acked_digest: str | None = None
    acked_epoch: int = 0
    acked_serial: int = 0
    attempts: int = 0  # at sending the newest pointer
    failures: int = 0  # in a row, of the whole adapter
    next_attempt_at_ms: int | None = None
    last_error: str | None = None
    last_error_at_ms: int | None = None
    last_synced_at_ms: int | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)  # token_file, ca_file, what the agent told of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One move of the pointer (trainer, ring). The newest epoch of a ring is what is live there."""

    trainer: str
    ring: Ring
    epoch: int
    version: int
    previous_version: int | None
    percent: int
    kind: str  # activate | rollback
    decision_id: str
    actor: str
    reason: str
    at_ms: int
    rest_version: int | None = None  # what tenants outside `percent` get (ring global); None: nothing
    salt: str = ""  # what tenants are drawn into `percent` with; stays while the share of a version grows


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftWindow:
    """One closed or open event-time window of comparisons, judged by the seed's rule."""

    trainer: str
    window_id: str  # "<trainer>/<log position of its first comparison>"
    version: int | None  # the snapshot that was newest while it was scored
    started_at_ms: int
    closed_at_ms: int
    status: DriftStatus
    verdict: str  # pass | fail | unknown
    threshold: float
    n: int
    mean: float | None
    p95: float | None
    max: float | None
    recommendation: str | None = None  # rollback | pause
    tenant_id: str | None = None
    first_seq: int = 0
    last_seq: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Why a rollback happened and what is still to look at."""

    incident_id: str
    trainer: str
    from_version: int | None
    to_version: int | None
    reason: str
    actor: str
    at_ms: int
    suspect_first_seq: int | None = None
    suspect_last_seq: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent:
    """An event that was committed with the change it tells of (CloudEvents names)."""

    event_id: str
    type: str  # ai.upm.snapshot.created, …
    source: str  # /trainers/<name>
    at_ms: int
    data: Mapping[str, Any]
    position: int = 0  # set by the store, gap-free


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """How far the drift monitor of a trainer has read its comparisons, and its open window."""

    trainer: str
    position: int = 0  # next seq to read
    state_digest: str | None = None  # blob with the open windows' scores
    compared: int = 0  # comparisons scored so far
    fence: int = 0
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Keeps a (trainer, ring) on a version: nothing automatic may move it until it is lifted."""

    trainer: str
    ring: Ring
    version: int
    reason: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRow:
    """One rollout of a trainer. `state` is all of it in plain values (core/rollout.py); the rest is for reading."""

    rollout_id: str
    trainer: str
    number: int  # of this trainer's rollouts, from 1
    phase: str  # pending | progressing | paused | promoted | aborted | degraded
    version: int | None  # the candidate; None before shadow is left
    champion: int | None  # what it replaces; None: nothing served before
    stage: int
    state: Mapping[str, Any]
    actor: str
    reason: str
    started_at_ms: int
    updated_at_ms: int
    ended_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the drift monitor last found in one contest of a trainer."""

    trainer: str
    kind: str  # lineage | candidate
    contest_id: str
    challenger: int | None  # None: the lineage as it learns
    champion: int | None  # None: the trivial baseline
    stage: int  # the stage its fresh part belongs to
    verdict: str  # pass | fail | unknown
    windows: int
    first_seq: int
    last_seq: int
    findings: Mapping[str, Any]  # core/evidence.py
    updated_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRule:
    """A tenant that is always in, never in, or held back from a candidate that harms it."""

    trainer: str
    tenant_id: str
    rule: str  # allow | deny | hold
    rollout_id: str  # "" = for every rollout
    reason: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A recorded, expiring exception to one gate."""

    override_id: str
    trainer: str
    gate: str
    reason: str
    actor: str
    approver: str | None
    at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Signoff:
    """A named person's word that something the readiness criteria ask for is there."""

    trainer: str
    item: str  # dashboard | runbook
    note: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """While it lasts nothing is exposed further. `trainer` is empty for all of them."""

    trainer: str
    reason: str
    actor: str
    at_ms: int
    until_ms: int | None = None  # None: until it is lifted


@dataclass(frozen=True, slots=True, kw_only=True)
class Dwell:
    """How long a lineage has been in shadow: accumulated time, and the clocks when it was last looked at."""

    trainer: str
    shadow_s: float
    wall_ms: int
    monotonic_s: float
    era: str  # the boot that the monotonic seconds belong to


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureWatch:
    """What the drift monitor last found of a trainer's features, and where it goes on."""

    trainer: str
    version: int | None  # live when the reference was learned; None: nothing was
    first_seq: int  # log rows of the reference, both included
    last_seq: int
    terms: str  # digest of the policy that it goes by
    position: int  # next log row to take in
    reference_digest: str | None  # blobs; None: there was nothing to learn from
    state_digest: str | None
    verdict: str  # pass | fail | unknown
    reason: str  # why it is unknown
    drifting: tuple[Mapping[str, Any], ...]  # feature, p, effect; found by the newest look, worst first
    looks: int  # judged ones since the reference
    windows: int  # that the newest look is made of
    look_start_ms: int | None  # event time of the newest look; None: there was none
    look_end_ms: int | None
    looked_at_ms: int | None  # when it was judged
    updated_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """How far one webhook has been told, and how that goes."""

    name: str
    position: int  # of the last event in the outbox that is dealt with
    attempts: int = 0  # at the next event
    next_attempt_at_ms: int | None = None
    sent: int = 0
    failures: int = 0  # tries that were not taken
    given_up: int = 0  # events that became too old
    last_sent_at_ms: int | None = None
    last_error: str | None = None
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What was read of the predictions and outcomes of one trainer, over its life.

    `read = predictions + outcomes + duplicate + dead_letter + elsewhere`, `outcomes = compared + waiting + late`.
    `open` and `forgotten` are predictions without an outcome: those still waited for, and those that are not.
    `labelled`, `parked` and `unused` are compared outcomes: those that became the label of a window, those whose
    window has not come yet, and those whose window never came.
    """

    trainer: str
    read: int = 0  # lines
    predictions: int = 0
    outcomes: int = 0
    duplicate: int = 0  # lines whose prediction_id had come with such a line before
    dead_letter: int = 0
    elsewhere: int = 0  # lines of other trainers
    compared: int = 0
    waiting: int = 0
    late: int = 0
    open: int = 0
    forgotten: int = 0
    windows: int = 0  # handed to the stream
    labelled: int = 0
    parked: int = 0
    unused: int = 0
    next_seq: int = 0  # number of the next served comparison
    newest_ms: int | None = None  # newest instant that a line has told
    state_digest: str | None = None  # blob with what waits
    updated_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The snapshot that the hold-out of a trainer stays on."""

    trainer: str
    version: int
    since_seq: int  # served comparisons from this number on count
    reason: str
    actor: str
    at_ms: int
