-- name: list_for
SELECT * FROM evidence WHERE trainer = $trainer ORDER BY kind DESC;

-- name: remove
DELETE FROM evidence WHERE trainer = $trainer AND kind = $kind;

-- name: forget
DELETE FROM evidence WHERE trainer = $trainer;

-- name: update
UPDATE evidence SET
    contest_id = $contest_id, challenger = $challenger, champion = $champion, stage = $stage, verdict = $verdict,
    windows = $windows, first_seq = $first_seq, last_seq = $last_seq, findings = $findings, updated_at = $updated_at
WHERE trainer = $trainer AND kind = $kind;

-- name: insert
INSERT INTO evidence (
    trainer, kind, contest_id, challenger, champion, stage, verdict, windows, first_seq, last_seq, findings,
    updated_at
) VALUES (
    $trainer, $kind, $contest_id, $challenger, $champion, $stage, $verdict, $windows, $first_seq, $last_seq,
    $findings, $updated_at
);
