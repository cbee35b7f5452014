-- name: find
SELECT * FROM dwells WHERE trainer = $trainer;

-- name: forget
DELETE FROM dwells WHERE trainer = $trainer;

-- name: update
UPDATE dwells SET
    shadow_s = $shadow_s, wall = $wall, monotonic_s = $monotonic_s, era = $era
WHERE trainer = $trainer;

-- name: insert
INSERT INTO dwells (
    trainer, shadow_s, wall, monotonic_s, era
) VALUES (
    $trainer, $shadow_s, $wall, $monotonic_s, $era
);
