-- name: list_for
SELECT * FROM segments WHERE kind = $kind AND owner = $owner AND last_seq >= $from_seq ORDER BY first_seq, last_seq;

-- name: insert
INSERT INTO segments (
    kind, owner, first_seq, last_seq, rows, path, size_bytes, digest, created_at
) VALUES (
    $kind, $owner, $first_seq, $last_seq, $rows, $path, $size_bytes, $digest, $created_at
);

-- name: last
SELECT * FROM segments WHERE kind = $kind AND owner = $owner ORDER BY last_seq DESC LIMIT 1;

-- name: list_all
SELECT * FROM segments ORDER BY path;

-- name: owners
SELECT DISTINCT owner FROM segments WHERE kind = $kind ORDER BY owner;

-- name: paths
SELECT path FROM segments ORDER BY path;

-- name: remove
DELETE FROM segments WHERE kind = $kind AND owner = $owner AND first_seq = $first_seq AND last_seq = $last_seq;
