-- What agents predicted and what came of it: how far it was read, and the snapshot that some tenants stay on.

-- Windows learned that a model had been asked about, by its version: [not known, no, yes] whether that acted.
ALTER TABLE trainers ADD COLUMN influence JSON DEFAULT '{}';

-- read = predictions + outcomes + duplicate + dead_letter + elsewhere; outcomes = compared + waiting + late.
CREATE TABLE feedback (
    trainer VARCHAR PRIMARY KEY,
    read BIGINT NOT NULL CHECK (read >= 0),                -- lines
    predictions BIGINT NOT NULL CHECK (predictions >= 0),
    outcomes BIGINT NOT NULL CHECK (outcomes >= 0),
    duplicate BIGINT NOT NULL CHECK (duplicate >= 0),
    dead_letter BIGINT NOT NULL CHECK (dead_letter >= 0),
    elsewhere BIGINT NOT NULL CHECK (elsewhere >= 0),      -- lines of other trainers
    compared BIGINT NOT NULL CHECK (compared >= 0),        -- outcomes, as are waiting and late
    waiting BIGINT NOT NULL CHECK (waiting >= 0),
    late BIGINT NOT NULL CHECK (late >= 0),
    open BIGINT NOT NULL CHECK (open >= 0),                -- predictions, as is forgotten
    forgotten BIGINT NOT NULL CHECK (forgotten >= 0),
    windows BIGINT NOT NULL CHECK (windows >= 0),          -- handed to the stream
    labelled BIGINT NOT NULL CHECK (labelled >= 0),        -- compared outcomes that became labels, as are the next two
    parked BIGINT NOT NULL CHECK (parked >= 0),
    unused BIGINT NOT NULL CHECK (unused >= 0),
    next_seq BIGINT NOT NULL CHECK (next_seq >= 0),        -- number of the next served comparison
    newest TIMESTAMP,
    state_digest VARCHAR,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE anchors (
    trainer VARCHAR PRIMARY KEY,
    version BIGINT NOT NULL CHECK (version >= 1),
    since_seq BIGINT NOT NULL CHECK (since_seq >= 0),      -- served comparisons from here on count
    reason VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL
);
