-- How far each webhook has been told.
CREATE TABLE notifiers (
    name VARCHAR PRIMARY KEY,
    position BIGINT NOT NULL CHECK (position >= 0),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    next_attempt_at TIMESTAMP,
    sent BIGINT NOT NULL CHECK (sent >= 0),
    failures BIGINT NOT NULL CHECK (failures >= 0),
    given_up BIGINT NOT NULL CHECK (given_up >= 0),
    last_sent_at TIMESTAMP,
    last_error VARCHAR,
    updated_at TIMESTAMP NOT NULL
);
