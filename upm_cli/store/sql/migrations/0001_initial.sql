-- The control state: small, copied with every commit. Instants are UTC, mappings JSON. There are no foreign keys and
-- no secondary indexes (both have open faults in DuckDB); a table is read by its primary key or whole.

CREATE TABLE meta (
    generation BIGINT NOT NULL,          -- grows by one with every commit
    schema_version INTEGER NOT NULL,     -- number of the newest migration applied
    ledger_count BIGINT NOT NULL,        -- entries of ledger.jsonl that are committed
    ledger_hash VARCHAR NOT NULL,        -- hash of the last of them
    ledger_offset BIGINT NOT NULL,       -- bytes of ledger.jsonl up to its end
    outbox_position BIGINT NOT NULL      -- position of the newest event
);
INSERT INTO meta VALUES (0, 1, 0, '', 0, 0);

CREATE TABLE streams (
    name VARCHAR PRIMARY KEY,
    next_seq BIGINT NOT NULL CHECK (next_seq >= 0),
    read BIGINT NOT NULL CHECK (read >= 0),
    released BIGINT NOT NULL CHECK (released >= 0),
    pending BIGINT NOT NULL CHECK (pending >= 0),
    duplicate BIGINT NOT NULL CHECK (duplicate >= 0),
    late BIGINT NOT NULL CHECK (late >= 0),
    dead_letter BIGINT NOT NULL CHECK (dead_letter >= 0),
    late_arrivals BIGINT NOT NULL CHECK (late_arrivals >= 0),
    early BIGINT NOT NULL CHECK (early >= 0),
    gaps BIGINT NOT NULL CHECK (gaps >= 0),
    labels_read BIGINT NOT NULL CHECK (labels_read >= 0),
    labels_joined BIGINT NOT NULL CHECK (labels_joined >= 0),
    labels_orphan BIGINT NOT NULL CHECK (labels_orphan >= 0),
    watermark TIMESTAMP,
    epoch BIGINT NOT NULL,
    state_digest VARCHAR,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE sources (
    stream VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    "offset" BIGINT NOT NULL CHECK ("offset" >= 0),
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    done BOOLEAN NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    meta JSON NOT NULL,
    PRIMARY KEY (stream, key)
);

CREATE TABLE segments (
    kind VARCHAR NOT NULL CHECK (kind IN ('log', 'names', 'dead', 'late', 'comparisons', 'telemetry')),
    owner VARCHAR NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    rows BIGINT NOT NULL CHECK (rows >= 0),
    path VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    digest VARCHAR NOT NULL CHECK (length(digest) = 64),
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (kind, owner, first_seq, last_seq),
    CHECK (last_seq >= first_seq)
);

CREATE TABLE trainers (
    name VARCHAR PRIMARY KEY,
    stream VARCHAR NOT NULL,
    mode VARCHAR NOT NULL CHECK (mode IN ('shadow', 'canary', 'active')),
    tenant_id VARCHAR,
    status VARCHAR NOT NULL CHECK (status IN ('idle', 'training', 'paused', 'errored')),
    desired VARCHAR NOT NULL CHECK (desired IN ('run', 'pause')),
    pause_reason VARCHAR,
    last_window_id VARCHAR,
    last_window_fetched_at TIMESTAMP,
    last_loss DOUBLE,
    drift_score DOUBLE,
    log_position BIGINT NOT NULL CHECK (log_position >= 0),
    trained BIGINT NOT NULL CHECK (trained >= 0),
    unlabelled BIGINT NOT NULL CHECK (unlabelled >= 0),
    dead_letter BIGINT NOT NULL CHECK (dead_letter >= 0),
    loss_sum DOUBLE NOT NULL,
    metrics JSON NOT NULL,
    checkpoint_digest VARCHAR,
    weights_sha256 VARCHAR,
    last_version BIGINT NOT NULL CHECK (last_version >= 0),
    snapshot_at_trained BIGINT NOT NULL CHECK (snapshot_at_trained >= 0),
    lineage JSON NOT NULL,
    learner JSON NOT NULL,
    epoch BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    config_digest VARCHAR,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    metadata JSON NOT NULL
);

CREATE TABLE snapshots (
    trainer VARCHAR NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    mode VARCHAR NOT NULL CHECK (mode IN ('shadow', 'canary', 'active')),
    digest VARCHAR NOT NULL CHECK (length(digest) = 64),
    file_digest VARCHAR NOT NULL CHECK (length(file_digest) = 64),
    codec VARCHAR NOT NULL CHECK (codec IN ('zstd', 'gzip', 'none')),
    path VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    raw_bytes BIGINT NOT NULL CHECK (raw_bytes >= 0),
    status VARCHAR NOT NULL CHECK (status IN ('created', 'activated', 'rolled_back', 'archived')),
    tenant_id VARCHAR,
    parent BIGINT,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    windows BIGINT NOT NULL CHECK (windows >= 0),
    checkpoint_digest VARCHAR,
    quarantined BOOLEAN NOT NULL,
    quarantine_reason VARCHAR,
    pinned BOOLEAN NOT NULL,
    note VARCHAR,
    created_at TIMESTAMP NOT NULL,
    activated_at TIMESTAMP,
    metrics JSON NOT NULL,
    manifest JSON NOT NULL,
    PRIMARY KEY (trainer, version)
);

CREATE TABLE activations (
    trainer VARCHAR NOT NULL,
    ring VARCHAR NOT NULL CHECK (ring IN ('shadow', 'canary', 'global')),
    epoch BIGINT NOT NULL,
    version BIGINT NOT NULL,
    previous_version BIGINT,
    percent INTEGER NOT NULL CHECK (percent BETWEEN 0 AND 100),
    kind VARCHAR NOT NULL CHECK (kind IN ('activate', 'rollback')),
    decision_id VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    PRIMARY KEY (trainer, ring, epoch)
);

CREATE TABLE adapters (
    adapter_key VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,          -- '' = every tenant
    mode VARCHAR NOT NULL CHECK (mode IN ('shadow', 'canary', 'active')),
    status VARCHAR NOT NULL CHECK (status IN ('pending', 'syncing', 'synced', 'errored')),
    trainer VARCHAR,
    version BIGINT,
    last_synced_at TIMESTAMP,
    metadata JSON NOT NULL,
    PRIMARY KEY (adapter_key, tenant_id)
);

CREATE TABLE drift_windows (
    trainer VARCHAR NOT NULL,
    window_id VARCHAR NOT NULL,
    version BIGINT,
    started_at TIMESTAMP NOT NULL,
    closed_at TIMESTAMP NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('open', 'quarantined', 'resolved', 'closed')),
    verdict VARCHAR NOT NULL CHECK (verdict IN ('pass', 'fail', 'unknown')),
    threshold DOUBLE NOT NULL,
    n BIGINT NOT NULL CHECK (n >= 0),
    mean DOUBLE,
    p95 DOUBLE,
    max DOUBLE,
    recommendation VARCHAR CHECK (recommendation IN ('rollback', 'pause')),
    tenant_id VARCHAR,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    metadata JSON NOT NULL,
    PRIMARY KEY (trainer, window_id)
);

CREATE TABLE monitors (
    trainer VARCHAR PRIMARY KEY,
    position BIGINT NOT NULL CHECK (position >= 0),
    state_digest VARCHAR,
    compared BIGINT NOT NULL CHECK (compared >= 0),
    fence BIGINT NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE incidents (
    incident_id VARCHAR PRIMARY KEY,
    trainer VARCHAR NOT NULL,
    from_version BIGINT,
    to_version BIGINT,
    reason VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    suspect_first_seq BIGINT,
    suspect_last_seq BIGINT,
    details JSON NOT NULL
);

CREATE TABLE pins (
    trainer VARCHAR NOT NULL,
    ring VARCHAR NOT NULL CHECK (ring IN ('shadow', 'canary', 'global')),
    version BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    PRIMARY KEY (trainer, ring)
);

CREATE TABLE outbox (
    position BIGINT PRIMARY KEY CHECK (position >= 1),
    event_id VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    data JSON NOT NULL
);
