-- name: trainers
SELECT name, stream, fence, desired, log_position FROM trainers ORDER BY name;

-- name: streams
SELECT name, next_seq FROM streams;

-- name: rollouts
SELECT trainer FROM rollouts WHERE ended_at IS NULL ORDER BY trainer;
