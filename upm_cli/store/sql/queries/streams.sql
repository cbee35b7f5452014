-- name: find
SELECT * FROM streams WHERE name = $name;

-- name: list_all
SELECT * FROM streams ORDER BY name;

-- name: update
UPDATE streams SET
    next_seq = $next_seq, read = $read, released = $released, pending = $pending, duplicate = $duplicate,
    late = $late, dead_letter = $dead_letter, late_arrivals = $late_arrivals, early = $early, gaps = $gaps,
    labels_read = $labels_read, labels_joined = $labels_joined, labels_orphan = $labels_orphan,
    watermark = $watermark, epoch = $epoch, state_digest = $state_digest, updated_at = $updated_at
WHERE name = $name;

-- name: insert
INSERT INTO streams (
    name, next_seq, read, released, pending, duplicate, late, dead_letter, late_arrivals, early, gaps, labels_read,
    labels_joined, labels_orphan, watermark, epoch, state_digest, updated_at
) VALUES (
    $name, $next_seq, $read, $released, $pending, $duplicate, $late, $dead_letter, $late_arrivals, $early, $gaps,
    $labels_read, $labels_joined, $labels_orphan, $watermark, $epoch, $state_digest, $updated_at
);
