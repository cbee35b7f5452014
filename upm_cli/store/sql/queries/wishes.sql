-- name: list_all
SELECT * FROM wishes ORDER BY serial;

-- name: clear
DELETE FROM wishes;

-- name: update
UPDATE wishes SET
    desired = $desired, serial = $serial, actor = $actor, reason = $reason, "at" = $at
WHERE worker = $worker;

-- name: insert
INSERT INTO wishes (
    worker, desired, serial, actor, reason, "at"
) VALUES (
    $worker, $desired, $serial, $actor, $reason, $at
);
