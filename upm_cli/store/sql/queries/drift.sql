-- name: list_for
SELECT * FROM drift_windows WHERE trainer = $trainer AND ($since IS NULL OR closed_at > $since) ORDER BY started_at, window_id;

-- name: update
UPDATE drift_windows SET
    version = $version, started_at = $started_at, closed_at = $closed_at, status = $status, verdict = $verdict,
    threshold = $threshold, n = $n, mean = $mean, p95 = $p95, max = $max, recommendation = $recommendation,
    tenant_id = $tenant_id, first_seq = $first_seq, last_seq = $last_seq, metadata = $metadata
WHERE trainer = $trainer AND window_id = $window_id;

-- name: insert
INSERT INTO drift_windows (
    trainer, window_id, version, started_at, closed_at, status, verdict, threshold, n, mean, p95, max, recommendation,
    tenant_id, first_seq, last_seq, metadata
) VALUES (
    $trainer, $window_id, $version, $started_at, $closed_at, $status, $verdict, $threshold, $n, $mean, $p95, $max,
    $recommendation, $tenant_id, $first_seq, $last_seq, $metadata
);

-- name: known
SELECT window_id FROM drift_windows WHERE trainer = $trainer AND window_id IN (SELECT unnest($ids));

-- name: insert_all
INSERT INTO drift_windows (
    trainer, window_id, version, started_at, closed_at, status, verdict, threshold, n, mean, p95, max, recommendation,
    tenant_id, first_seq, last_seq, metadata
) SELECT
    unnest($trainer), unnest($window_id), unnest(CAST($version AS BIGINT[])), unnest($started_at),
    unnest($closed_at), unnest($status), unnest($verdict), unnest($threshold), unnest($n),
    unnest(CAST($mean AS DOUBLE[])), unnest(CAST($p95 AS DOUBLE[])), unnest(CAST($max AS DOUBLE[])),
    unnest(CAST($recommendation AS VARCHAR[])), unnest(CAST($tenant_id AS VARCHAR[])), unnest($first_seq),
    unnest($last_seq), unnest($metadata);

-- name: find_all
SELECT * FROM drift_windows WHERE trainer = $trainer AND window_id IN (SELECT unnest($ids)) ORDER BY first_seq;

-- name: newest
SELECT * FROM drift_windows WHERE trainer = $trainer ORDER BY first_seq DESC LIMIT $limit;

-- name: forget
DELETE FROM drift_windows WHERE trainer = $trainer;

-- name: prune
DELETE FROM drift_windows WHERE trainer = $trainer AND first_seq <= (
    SELECT first_seq FROM drift_windows WHERE trainer = $trainer ORDER BY first_seq DESC OFFSET $keep LIMIT 1
);
