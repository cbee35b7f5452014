-- Rollouts, what they are decided from, and what people have said about them.

-- What tenants outside the share of a global activation get; none: nothing.
ALTER TABLE activations ADD COLUMN rest_version BIGINT;
-- What tenants are drawn into the share with; stays the same while the share of a version grows.
ALTER TABLE activations ADD COLUMN salt VARCHAR DEFAULT '';

CREATE TABLE rollouts (
    rollout_id VARCHAR PRIMARY KEY,
    trainer VARCHAR NOT NULL,
    number BIGINT NOT NULL CHECK (number >= 1),       -- of this trainer's rollouts, from 1
    phase VARCHAR NOT NULL
        CHECK (phase IN ('pending', 'progressing', 'paused', 'promoted', 'aborted', 'degraded')),
    version BIGINT,                                   -- the candidate; none before shadow is left
    champion BIGINT,                                  -- what it replaces; none: nothing served before
    stage INTEGER NOT NULL CHECK (stage >= 0),
    state JSON NOT NULL,                              -- all of it, as core/rollout.py decides from it
    actor VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP
);

CREATE TABLE evidence (
    trainer VARCHAR NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('lineage', 'candidate')),
    contest_id VARCHAR NOT NULL,
    challenger BIGINT,                                -- none: the lineage as it learns
    champion BIGINT,                                  -- none: the trivial baseline
    stage INTEGER NOT NULL CHECK (stage >= 0),        -- the stage its fresh part belongs to
    verdict VARCHAR NOT NULL CHECK (verdict IN ('pass', 'fail', 'unknown')),
    windows BIGINT NOT NULL CHECK (windows >= 0),
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    findings JSON NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    PRIMARY KEY (trainer, kind)
);

CREATE TABLE tenant_rules (
    trainer VARCHAR NOT NULL,
    tenant_id VARCHAR NOT NULL,
    rule VARCHAR NOT NULL CHECK (rule IN ('allow', 'deny', 'hold')),
    rollout_id VARCHAR NOT NULL,                      -- '' = for every rollout
    reason VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    PRIMARY KEY (trainer, tenant_id, rule)
);

CREATE TABLE overrides (
    override_id VARCHAR PRIMARY KEY,
    trainer VARCHAR NOT NULL,
    gate VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    approver VARCHAR,
    "at" TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL
);

CREATE TABLE signoffs (
    trainer VARCHAR NOT NULL,
    item VARCHAR NOT NULL CHECK (item IN ('dashboard', 'runbook')),
    note VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    PRIMARY KEY (trainer, item)
);

CREATE TABLE freezes (
    trainer VARCHAR PRIMARY KEY,                      -- '' = all trainers
    reason VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL,
    until TIMESTAMP                                   -- none: until it is lifted
);

CREATE TABLE dwells (
    trainer VARCHAR PRIMARY KEY,
    shadow_s DOUBLE NOT NULL CHECK (shadow_s >= 0),   -- accumulated time of the lineage in shadow
    wall TIMESTAMP NOT NULL,                          -- when it was last looked at
    monotonic_s DOUBLE NOT NULL,
    era VARCHAR NOT NULL                              -- boot the monotonic seconds belong to
);

CREATE TABLE feature_watches (
    trainer VARCHAR PRIMARY KEY,
    version BIGINT,                                   -- live when the reference was learned; none: nothing was
    first_seq BIGINT NOT NULL,                        -- log rows of the reference, both included
    last_seq BIGINT NOT NULL,
    terms VARCHAR NOT NULL,                           -- digest of the policy that it goes by
    position BIGINT NOT NULL CHECK (position >= 0),   -- next log row to take in
    reference_digest VARCHAR,                         -- blobs; none: there was nothing to learn from
    state_digest VARCHAR,
    verdict VARCHAR NOT NULL CHECK (verdict IN ('pass', 'fail', 'unknown')),
    reason VARCHAR NOT NULL,                          -- why it is unknown
    drifting JSON NOT NULL,                           -- features that the newest look found drifting
    looks BIGINT NOT NULL CHECK (looks >= 0),         -- judged ones since the reference
    windows BIGINT NOT NULL CHECK (windows >= 0),     -- that the newest look is made of
    look_start TIMESTAMP,                             -- event time of the newest look
    look_end TIMESTAMP,
    looked_at TIMESTAMP,                              -- when it was judged
    updated_at TIMESTAMP NOT NULL
);
