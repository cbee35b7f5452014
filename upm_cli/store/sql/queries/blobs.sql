-- name: referenced
-- Every blob that some row needs, or those of $among. A table that gets a column with a digest
-- gets a line here.
SELECT DISTINCT digest FROM (
    SELECT digest FROM snapshots
    UNION ALL SELECT checkpoint_digest FROM snapshots
    UNION ALL SELECT checkpoint_digest FROM trainers
    UNION ALL SELECT state_digest FROM streams
    UNION ALL SELECT state_digest FROM monitors
    UNION ALL SELECT state_digest FROM feedback
    UNION ALL SELECT reference_digest FROM feature_watches
    UNION ALL SELECT state_digest FROM feature_watches
)
WHERE digest IS NOT NULL AND ($among IS NULL OR list_contains($among, digest));
