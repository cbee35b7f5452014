-- name: find
SELECT * FROM overrides WHERE override_id = $override_id;

-- name: list_for
SELECT * FROM overrides WHERE trainer = $trainer ORDER BY "at", override_id;

-- name: forget
DELETE FROM overrides WHERE trainer = $trainer;

-- name: update
UPDATE overrides SET
    trainer = $trainer, gate = $gate, reason = $reason, actor = $actor, approver = $approver, "at" = $at,
    expires_at = $expires_at
WHERE override_id = $override_id;

-- name: insert
INSERT INTO overrides (
    override_id, trainer, gate, reason, actor, approver, "at", expires_at
) VALUES (
    $override_id, $trainer, $gate, $reason, $actor, $approver, $at, $expires_at
);
