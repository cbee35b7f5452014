-- name: find
SELECT * FROM rollouts WHERE rollout_id = $rollout_id;

-- name: list_for
SELECT * FROM rollouts WHERE trainer = $trainer ORDER BY number;

-- name: newest
SELECT * FROM rollouts WHERE trainer = $trainer ORDER BY number DESC LIMIT 1;

-- name: forget
DELETE FROM rollouts WHERE trainer = $trainer;

-- name: update
UPDATE rollouts SET
    trainer = $trainer, number = $number, phase = $phase, version = $version, champion = $champion, stage = $stage,
    state = $state, actor = $actor, reason = $reason, started_at = $started_at, updated_at = $updated_at,
    ended_at = $ended_at
WHERE rollout_id = $rollout_id;

-- name: insert
INSERT INTO rollouts (
    rollout_id, trainer, number, phase, version, champion, stage, state, actor, reason, started_at, updated_at,
    ended_at
) VALUES (
    $rollout_id, $trainer, $number, $phase, $version, $champion, $stage, $state, $actor, $reason, $started_at,
    $updated_at, $ended_at
);
