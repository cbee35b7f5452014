-- What adapter sync delivered, hour by hour: the service level is worked out from it.

CREATE TABLE sync_tallies (
    hour TIMESTAMP PRIMARY KEY,                       -- its beginning
    tries BIGINT NOT NULL CHECK (tries >= 0),         -- single tries at single adapters
    tries_ok BIGINT NOT NULL CHECK (tries_ok >= 0),   -- of them, those that were confirmed
    ended BIGINT NOT NULL CHECK (ended >= 0),         -- pointers that were confirmed or given up
    ended_ok BIGINT NOT NULL CHECK (ended_ok >= 0)
);
