-- name: after
SELECT * FROM outbox WHERE position > $position ORDER BY position LIMIT $limit;

-- name: append
-- All events of one commit at once, in columns: a statement costs as much for one row as for a hundred.
INSERT INTO outbox (position, event_id, type, source, "at", data)
SELECT unnest($position), unnest($event_id), unnest($type), unnest($source), unnest($at), unnest($data);

-- name: trim
DELETE FROM outbox WHERE position <= $position;
