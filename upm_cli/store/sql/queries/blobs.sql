-- name: referenced
-- Every blob that some row needs. A table that gets a column with a digest gets a line here.
SELECT digest FROM snapshots
UNION SELECT checkpoint_digest FROM snapshots
UNION SELECT checkpoint_digest FROM trainers
UNION SELECT state_digest FROM streams
UNION SELECT state_digest FROM monitors
UNION SELECT state_digest FROM feedback
UNION SELECT reference_digest FROM feature_watches
UNION SELECT state_digest FROM feature_watches;
