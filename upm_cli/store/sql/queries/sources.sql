-- name: list_for
SELECT * FROM sources WHERE stream = $stream ORDER BY path, key;

-- name: update
UPDATE sources SET
    path = $path, "offset" = $offset, size_bytes = $size_bytes, done = $done, updated_at = $updated_at, meta = $meta
WHERE stream = $stream AND key = $key;

-- name: insert
INSERT INTO sources (
    stream, key, path, "offset", size_bytes, done, updated_at, meta
) VALUES (
    $stream, $key, $path, $offset, $size_bytes, $done, $updated_at, $meta
);

-- name: forget
DELETE FROM sources WHERE stream = $stream;
