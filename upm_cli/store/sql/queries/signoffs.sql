-- name: list_for
SELECT * FROM signoffs WHERE trainer = $trainer ORDER BY item;

-- name: remove
DELETE FROM signoffs WHERE trainer = $trainer AND item = $item;

-- name: forget
DELETE FROM signoffs WHERE trainer = $trainer;

-- name: update
UPDATE signoffs SET
    note = $note, actor = $actor, "at" = $at
WHERE trainer = $trainer AND item = $item;

-- name: insert
INSERT INTO signoffs (
    trainer, item, note, actor, "at"
) VALUES (
    $trainer, $item, $note, $actor, $at
);
