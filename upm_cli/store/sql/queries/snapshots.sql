-- name: find
SELECT * FROM snapshots WHERE trainer = $trainer AND version = $version;

-- name: list_for
SELECT * FROM snapshots WHERE trainer = $trainer ORDER BY version;

-- name: update
UPDATE snapshots SET
    mode = $mode, digest = $digest, file_digest = $file_digest, codec = $codec, path = $path,
    size_bytes = $size_bytes, raw_bytes = $raw_bytes, status = $status, tenant_id = $tenant_id, parent = $parent,
    first_seq = $first_seq, last_seq = $last_seq, windows = $windows, checkpoint_digest = $checkpoint_digest,
    quarantined = $quarantined, quarantine_reason = $quarantine_reason, pinned = $pinned, note = $note,
    created_at = $created_at, activated_at = $activated_at, metrics = $metrics, manifest = $manifest,
    signatures = $signatures
WHERE trainer = $trainer AND version = $version;

-- name: insert
INSERT INTO snapshots (
    trainer, version, mode, digest, file_digest, codec, path, size_bytes, raw_bytes, status, tenant_id, parent,
    first_seq, last_seq, windows, checkpoint_digest, quarantined, quarantine_reason, pinned, note, created_at,
    activated_at, metrics, manifest, signatures
) VALUES (
    $trainer, $version, $mode, $digest, $file_digest, $codec, $path, $size_bytes, $raw_bytes, $status, $tenant_id,
    $parent, $first_seq, $last_seq, $windows, $checkpoint_digest, $quarantined, $quarantine_reason, $pinned, $note,
    $created_at, $activated_at, $metrics, $manifest, $signatures
);

-- name: remove
DELETE FROM snapshots WHERE trainer = $trainer AND version = $version;

-- name: sign
UPDATE snapshots SET signatures = fresh.signatures
FROM (
    SELECT unnest($trainers) AS trainer, unnest($versions) AS version, unnest($digests) AS digest,
        unnest($signatures) AS signatures
) AS fresh
WHERE snapshots.trainer = fresh.trainer AND snapshots.version = fresh.version AND snapshots.digest = fresh.digest;

-- name: paths
SELECT DISTINCT path FROM snapshots ORDER BY path;

-- name: names
SELECT trainer, version FROM snapshots ORDER BY trainer, version DESC;
