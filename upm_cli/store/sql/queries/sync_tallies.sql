-- name: list_since
SELECT * FROM sync_tallies WHERE hour >= $since ORDER BY hour;

-- name: update
UPDATE sync_tallies SET
    tries = $tries, tries_ok = $tries_ok, ended = $ended, ended_ok = $ended_ok
WHERE hour = $hour;

-- name: insert
INSERT INTO sync_tallies (
    hour, tries, tries_ok, ended, ended_ok
) VALUES (
    $hour, $tries, $tries_ok, $ended, $ended_ok
);

-- name: forget_before
DELETE FROM sync_tallies WHERE hour < $before;
