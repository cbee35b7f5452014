-- What somebody wants of the supervisor or of one of its workers. The newest of each counts.

CREATE TABLE wishes (
    worker VARCHAR PRIMARY KEY,          -- 'supervisor', or a process or job of it
    desired VARCHAR NOT NULL CHECK (desired IN ('run', 'stop', 'drain', 'restart')),
    serial BIGINT NOT NULL CHECK (serial >= 1),  -- grows over all workers: the supervisor remembers how far it has come
    actor VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    "at" TIMESTAMP NOT NULL
);
