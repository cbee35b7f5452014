-- name: list_for
SELECT * FROM incidents WHERE trainer = $trainer ORDER BY "at", incident_id;

-- name: insert
INSERT INTO incidents (
    incident_id, trainer, from_version, to_version, reason, actor, "at", suspect_first_seq, suspect_last_seq, details
) VALUES (
    $incident_id, $trainer, $from_version, $to_version, $reason, $actor, $at, $suspect_first_seq, $suspect_last_seq,
    $details
);
