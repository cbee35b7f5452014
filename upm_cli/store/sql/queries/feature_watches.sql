-- name: find
SELECT * FROM feature_watches WHERE trainer = $trainer;

-- name: forget
DELETE FROM feature_watches WHERE trainer = $trainer;

-- name: update
UPDATE feature_watches SET
    version = $version, first_seq = $first_seq, last_seq = $last_seq, terms = $terms, position = $position,
    reference_digest = $reference_digest, state_digest = $state_digest, verdict = $verdict, reason = $reason,
    drifting = $drifting, looks = $looks, windows = $windows, look_start = $look_start, look_end = $look_end,
    looked_at = $looked_at, updated_at = $updated_at
WHERE trainer = $trainer;

-- name: insert
INSERT INTO feature_watches (
    trainer, version, first_seq, last_seq, terms, position, reference_digest, state_digest, verdict, reason, drifting,
    looks, windows, look_start, look_end, looked_at, updated_at
) VALUES (
    $trainer, $version, $first_seq, $last_seq, $terms, $position, $reference_digest, $state_digest, $verdict, $reason,
    $drifting, $looks, $windows, $look_start, $look_end, $looked_at, $updated_at
);
