-- name: find
SELECT * FROM feedback WHERE trainer = $trainer;

-- name: update
UPDATE feedback SET
    read = $read, predictions = $predictions, outcomes = $outcomes, duplicate = $duplicate,
    dead_letter = $dead_letter, elsewhere = $elsewhere, compared = $compared, waiting = $waiting, late = $late,
    open = $open, forgotten = $forgotten, windows = $windows, labelled = $labelled, parked = $parked,
    unused = $unused, next_seq = $next_seq, newest = $newest, state_digest = $state_digest, updated_at = $updated_at
WHERE trainer = $trainer;

-- name: insert
INSERT INTO feedback (
    trainer, read, predictions, outcomes, duplicate, dead_letter, elsewhere, compared, waiting, late, open, forgotten,
    windows, labelled, parked, unused, next_seq, newest, state_digest, updated_at
) VALUES (
    $trainer, $read, $predictions, $outcomes, $duplicate, $dead_letter, $elsewhere, $compared, $waiting, $late, $open,
    $forgotten, $windows, $labelled, $parked, $unused, $next_seq, $newest, $state_digest, $updated_at
);

-- name: forget
DELETE FROM feedback WHERE trainer = $trainer;
