-- name: attach
ATTACH $path AS state (READ_ONLY);

-- name: use
USE state;

-- name: paths
SELECT path FROM segments WHERE kind = $kind ORDER BY owner, first_seq;

-- name: log_view
CREATE TEMP VIEW log AS SELECT owner AS stream, * EXCLUDE (owner) FROM log_files;

-- name: names_view
CREATE TEMP VIEW names AS SELECT owner AS stream, * EXCLUDE (owner) FROM names_files;

-- name: comparisons_view
CREATE TEMP VIEW comparisons AS SELECT owner AS trainer, * EXCLUDE (owner) FROM comparisons_files;
