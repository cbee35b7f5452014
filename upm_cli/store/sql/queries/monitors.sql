-- name: find
SELECT * FROM monitors WHERE trainer = $trainer;

-- name: update
UPDATE monitors SET
    position = $position, state_digest = $state_digest, compared = $compared, fence = $fence, updated_at = $updated_at
WHERE trainer = $trainer;

-- name: insert
INSERT INTO monitors (
    trainer, position, state_digest, compared, fence, updated_at
) VALUES (
    $trainer, $position, $state_digest, $compared, $fence, $updated_at
);

-- name: forget
DELETE FROM monitors WHERE trainer = $trainer;
