-- name: list_all
SELECT * FROM freezes ORDER BY trainer;

-- name: remove
DELETE FROM freezes WHERE trainer = $trainer;

-- name: update
UPDATE freezes SET
    reason = $reason, actor = $actor, "at" = $at, until = $until
WHERE trainer = $trainer;

-- name: insert
INSERT INTO freezes (
    trainer, reason, actor, "at", until
) VALUES (
    $trainer, $reason, $actor, $at, $until
);
