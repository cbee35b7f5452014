-- What the metrics are made of: each block reads one table for all trainers at once.

-- name: snapshots
SELECT trainer, count(*) AS kept, count(*) FILTER (WHERE quarantined) AS barred, max(version) AS version,
    arg_max(created_at, version) AS created_at, arg_max(size_bytes, version) AS size_bytes,
    list(version) FILTER (WHERE quarantined) AS barred_versions
FROM snapshots GROUP BY trainer;

-- name: live
-- The newest epoch of each ring; a ring for tenants that has none left (0 %) serves nothing.
SELECT trainer, ring, version, percent FROM (
    SELECT trainer, ring, version, percent FROM activations
    QUALIFY row_number() OVER (PARTITION BY trainer, ring ORDER BY epoch DESC) = 1
)
WHERE ring = 'shadow' OR percent > 0;

-- name: drift
-- The judged windows of the last day of event time of each trainer, with the scores of the rule they were judged by.
SELECT trainer, closed_at, n, mean, p95, max, threshold, rule,
    CAST(json_extract(metadata, '$.' || rule || '.scores') AS BIGINT) AS scores,
    CAST(json_extract(metadata, '$.' || rule || '.exceed') AS DOUBLE) AS exceed
FROM (
    SELECT *, json_extract_string(metadata, '$.rule') AS rule FROM drift_windows
    WHERE verdict <> 'unknown' AND p95 IS NOT NULL
    QUALIFY closed_at > max(closed_at) OVER (PARTITION BY trainer) - INTERVAL 24 HOUR
)
ORDER BY trainer, first_seq;

-- name: newest_drift
SELECT trainer, arg_max(verdict, first_seq) AS verdict, max(closed_at) AS closed_at,
    bool_or(status = 'quarantined') AS is_breached
FROM drift_windows GROUP BY trainer;

-- name: evidence
-- As for the gates, a row that does not say when it was judged was judged when it was written.
SELECT trainer, kind, verdict, windows,
    coalesce(CAST(json_extract(findings, '$.judged_at_ms') AS BIGINT), epoch_ms(updated_at)) AS judged_at_ms
FROM evidence ORDER BY trainer, kind;

-- name: features
SELECT trainer, verdict, json_array_length(drifting) AS drifting, looked_at FROM feature_watches;

-- name: rollouts
SELECT trainer, number, phase, stage, version, CAST(json_extract(state, '$.percent') AS BIGINT) AS percent
FROM rollouts QUALIFY row_number() OVER (PARTITION BY trainer ORDER BY number DESC) = 1;

-- name: dwells
SELECT trainer, shadow_s FROM dwells;

-- name: waiting
-- The segment in which the part of the log begins that a trainer has not learned, and when the next one was written.
SELECT trainers.name AS trainer, log_position, first_seq, last_seq, logged.created_at, next_at
FROM trainers JOIN (
    SELECT owner, first_seq, last_seq, created_at,
        lead(created_at) OVER (PARTITION BY owner ORDER BY first_seq) AS next_at
    FROM segments WHERE kind = 'log'
) AS logged
    ON logged.owner = trainers.stream AND logged.last_seq >= trainers.log_position
QUALIFY row_number() OVER (PARTITION BY trainers.name ORDER BY first_seq) = 1;
