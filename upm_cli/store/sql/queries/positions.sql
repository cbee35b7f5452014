-- name: trainers
SELECT name, stream, fence, desired, log_position, coalesce(feedback.next_seq, 0) AS served
FROM trainers LEFT JOIN feedback ON feedback.trainer = trainers.name
ORDER BY name;

-- name: streams
SELECT name, next_seq FROM streams;

-- name: rollouts
SELECT trainer FROM rollouts WHERE ended_at IS NULL ORDER BY trainer;

-- name: adapters
SELECT adapter_key FROM adapters LIMIT 1;
