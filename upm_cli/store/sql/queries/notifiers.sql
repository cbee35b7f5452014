-- name: list_all
SELECT * FROM notifiers ORDER BY name;

-- name: find
SELECT * FROM notifiers WHERE name = $name;

-- name: update
UPDATE notifiers SET
    position = $position, attempts = $attempts, next_attempt_at = $next_attempt_at, sent = $sent,
    failures = $failures, given_up = $given_up, last_sent_at = $last_sent_at, last_error = $last_error,
    updated_at = $updated_at
WHERE name = $name;

-- name: insert
INSERT INTO notifiers (
    name, position, attempts, next_attempt_at, sent, failures, given_up, last_sent_at, last_error, updated_at
) VALUES (
    $name, $position, $attempts, $next_attempt_at, $sent, $failures, $given_up, $last_sent_at, $last_error, $updated_at
);
