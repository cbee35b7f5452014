-- name: live
SELECT * FROM pins WHERE trainer = $trainer ORDER BY ring;

-- name: update
UPDATE pins SET
    version = $version, reason = $reason, actor = $actor, "at" = $at
WHERE trainer = $trainer AND ring = $ring;

-- name: insert
INSERT INTO pins (
    trainer, ring, version, reason, actor, "at"
) VALUES (
    $trainer, $ring, $version, $reason, $actor, $at
);

-- name: remove
DELETE FROM pins WHERE trainer = $trainer AND ring = $ring;
