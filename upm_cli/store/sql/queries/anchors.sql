-- name: find
SELECT * FROM anchors WHERE trainer = $trainer;

-- name: update
UPDATE anchors SET version = $version, since_seq = $since_seq, reason = $reason, actor = $actor, "at" = $at
WHERE trainer = $trainer;

-- name: insert
INSERT INTO anchors (trainer, version, since_seq, reason, actor, "at")
VALUES ($trainer, $version, $since_seq, $reason, $actor, $at);

-- name: forget
DELETE FROM anchors WHERE trainer = $trainer;
