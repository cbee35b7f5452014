-- name: attach
ATTACH $path AS state (READ_ONLY);

-- name: use
USE state;

-- name: paths
SELECT path FROM segments
WHERE kind = $kind AND (owner LIKE '%:served') = $is_served ORDER BY owner, first_seq;

-- name: log_view
CREATE TEMP VIEW log AS SELECT owner AS stream, * EXCLUDE (owner) FROM log_files;

-- name: names_view
CREATE TEMP VIEW names AS SELECT owner AS stream, * EXCLUDE (owner) FROM names_files;

-- name: comparisons_view
CREATE TEMP VIEW comparisons AS SELECT owner AS trainer, * EXCLUDE (owner) FROM comparisons_files;

-- name: served_view
-- What agents served against what came of it; prediction_id is the agent's, seq numbers them within a trainer.
CREATE TEMP VIEW served AS
SELECT regexp_replace(owner, ':served$', '') AS trainer, * EXCLUDE (owner) FROM served_files;

-- name: shadow_delta_view
-- The comparisons in the words of the event ai.upm.shadow_delta; ground_truth is the number that was compared with.
CREATE TEMP VIEW shadow_delta AS
SELECT
    trainer AS trainer_id,
    seq || '/' || window_id AS prediction_id,
    CASE WHEN isnan(prediction) THEN NULL ELSE prediction END AS shadow_prediction,
    CASE WHEN isnan(truth) THEN NULL ELSE truth END AS ground_truth,
    CASE WHEN isnan(score) THEN NULL ELSE score END AS drift_score,
    window_start AS "timestamp",
    tenant_id,
    seq
FROM comparisons;
