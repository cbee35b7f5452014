-- Agents: where models are handed to, and what they were signed with.

-- Signatures of the snapshot's statement, [{keyid, sig}].
ALTER TABLE snapshots ADD COLUMN signatures JSON DEFAULT '[]';

-- Nothing has used this table before: it is made anew with what a delivery needs.
DROP TABLE adapters;
CREATE TABLE adapters (
    adapter_key VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,                       -- '' = windows without a tenant
    trainer VARCHAR NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('directory', 'http')),
    location VARCHAR NOT NULL,                        -- absolute path, or URL
    mode VARCHAR NOT NULL CHECK (mode IN ('shadow', 'canary', 'active')),
    status VARCHAR NOT NULL CHECK (status IN ('pending', 'syncing', 'synced', 'errored')),
    version BIGINT,                                   -- that is to be there; none: nothing is live for the tenant
    digest VARCHAR,
    epoch BIGINT NOT NULL CHECK (epoch >= 0),
    serial BIGINT NOT NULL CHECK (serial >= 0),       -- grows with each pointer
    pointer VARCHAR,                                  -- the envelope to send, as it was signed
    acked_version BIGINT,                             -- that the other side confirmed
    acked_digest VARCHAR,
    acked_epoch BIGINT NOT NULL CHECK (acked_epoch >= 0),
    acked_serial BIGINT NOT NULL CHECK (acked_serial >= 0),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),   -- at sending the newest pointer
    failures BIGINT NOT NULL CHECK (failures >= 0),   -- in a row
    next_attempt_at TIMESTAMP,
    last_error VARCHAR,
    last_error_at TIMESTAMP,
    last_synced_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    metadata JSON NOT NULL,
    PRIMARY KEY (adapter_key, tenant_id)
);

-- How far each consumer has read the outbox.
CREATE TABLE cursors (
    name VARCHAR PRIMARY KEY,
    position BIGINT NOT NULL CHECK (position >= 0)
);
