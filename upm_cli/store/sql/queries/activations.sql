-- name: live
-- The newest epoch of each ring; a ring for tenants that has none left (0 %) serves nothing.
SELECT * FROM (
    SELECT * FROM activations WHERE trainer = $trainer
    QUALIFY row_number() OVER (PARTITION BY ring ORDER BY epoch DESC) = 1
)
WHERE ring = 'shadow' OR percent > 0
ORDER BY epoch;

-- name: history
SELECT * FROM activations WHERE trainer = $trainer ORDER BY epoch, ring;

-- name: insert
INSERT INTO activations (
    trainer, ring, epoch, version, previous_version, percent, kind, decision_id, actor, reason, "at", rest_version, salt
) VALUES (
    $trainer, $ring, $epoch, $version, $previous_version, $percent, $kind, $decision_id, $actor, $reason, $at,
    $rest_version, $salt
);
