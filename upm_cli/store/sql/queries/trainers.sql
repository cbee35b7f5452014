-- name: find
SELECT * FROM trainers WHERE name = $name;

-- name: list_all
SELECT * FROM trainers ORDER BY name;

-- name: names
SELECT name FROM trainers ORDER BY name;

-- name: update
UPDATE trainers SET
    stream = $stream, mode = $mode, tenant_id = $tenant_id, status = $status, desired = $desired,
    pause_reason = $pause_reason, last_window_id = $last_window_id, last_window_fetched_at = $last_window_fetched_at,
    last_loss = $last_loss, drift_score = $drift_score, log_position = $log_position, trained = $trained,
    unlabelled = $unlabelled, dead_letter = $dead_letter, loss_sum = $loss_sum, influence = $influence,
    metrics = $metrics,
    checkpoint_digest = $checkpoint_digest, weights_sha256 = $weights_sha256, last_version = $last_version,
    snapshot_at_trained = $snapshot_at_trained, lineage = $lineage, learner = $learner, epoch = $epoch,
    fence = $fence, config_digest = $config_digest, created_at = $created_at, updated_at = $updated_at,
    metadata = $metadata
WHERE name = $name;

-- name: insert
INSERT INTO trainers (
    name, stream, mode, tenant_id, status, desired, pause_reason, last_window_id, last_window_fetched_at, last_loss,
    drift_score, log_position, trained, unlabelled, dead_letter, loss_sum, influence, metrics, checkpoint_digest,
    weights_sha256, last_version, snapshot_at_trained, lineage, learner, epoch, fence, config_digest, created_at, updated_at, metadata
) VALUES (
    $name, $stream, $mode, $tenant_id, $status, $desired, $pause_reason, $last_window_id, $last_window_fetched_at,
    $last_loss, $drift_score, $log_position, $trained, $unlabelled, $dead_letter, $loss_sum, $influence, $metrics,
    $checkpoint_digest, $weights_sha256, $last_version, $snapshot_at_trained, $lineage, $learner, $epoch, $fence,
    $config_digest, $created_at, $updated_at, $metadata
);

-- name: remove
DELETE FROM trainers WHERE name = $name;
