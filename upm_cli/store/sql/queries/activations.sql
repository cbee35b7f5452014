-- name: live
-- The newest epoch of each ring.
SELECT * FROM activations WHERE trainer = $trainer
QUALIFY row_number() OVER (PARTITION BY ring ORDER BY epoch DESC) = 1
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
