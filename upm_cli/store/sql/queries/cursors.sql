-- name: find
SELECT position FROM cursors WHERE name = $name;

-- name: find_some
SELECT name, position FROM cursors WHERE name IN ($first, $second, $third);

-- name: update
UPDATE cursors SET position = $position WHERE name = $name;

-- name: insert
INSERT INTO cursors (name, position) VALUES ($name, $position);
