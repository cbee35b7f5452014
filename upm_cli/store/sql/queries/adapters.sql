-- name: list_all
SELECT * FROM adapters ORDER BY adapter_key, tenant_id;

-- name: find
SELECT * FROM adapters WHERE adapter_key = $adapter_key ORDER BY tenant_id;

-- name: replace_many
-- In columns: a statement costs as much for one row as for a thousand.
INSERT INTO adapters (
    adapter_key, tenant_id, trainer, kind, location, mode, status, version, digest, epoch, serial, pointer,
    acked_version, acked_digest, acked_epoch, acked_serial, attempts, failures, next_attempt_at, last_error,
    last_error_at, last_synced_at, created_at, updated_at, metadata
)
SELECT
    unnest($adapter_key::VARCHAR[]), unnest($tenant_id::VARCHAR[]), unnest($trainer::VARCHAR[]),
    unnest($kind::VARCHAR[]), unnest($location::VARCHAR[]), unnest($mode::VARCHAR[]), unnest($status::VARCHAR[]),
    unnest($version::BIGINT[]), unnest($digest::VARCHAR[]), unnest($epoch::BIGINT[]), unnest($serial::BIGINT[]),
    unnest($pointer::VARCHAR[]), unnest($acked_version::BIGINT[]), unnest($acked_digest::VARCHAR[]),
    unnest($acked_epoch::BIGINT[]), unnest($acked_serial::BIGINT[]), unnest($attempts::BIGINT[]),
    unnest($failures::BIGINT[]), unnest($next_attempt_at::TIMESTAMP[]), unnest($last_error::VARCHAR[]),
    unnest($last_error_at::TIMESTAMP[]), unnest($last_synced_at::TIMESTAMP[]), unnest($created_at::TIMESTAMP[]),
    unnest($updated_at::TIMESTAMP[]), unnest($metadata::VARCHAR[])::JSON
ON CONFLICT (adapter_key, tenant_id) DO UPDATE SET
    trainer = excluded.trainer, kind = excluded.kind, location = excluded.location, mode = excluded.mode,
    status = excluded.status, version = excluded.version, digest = excluded.digest, epoch = excluded.epoch,
    serial = excluded.serial, pointer = excluded.pointer, acked_version = excluded.acked_version,
    acked_digest = excluded.acked_digest, acked_epoch = excluded.acked_epoch, acked_serial = excluded.acked_serial,
    attempts = excluded.attempts, failures = excluded.failures, next_attempt_at = excluded.next_attempt_at,
    last_error = excluded.last_error, last_error_at = excluded.last_error_at,
    last_synced_at = excluded.last_synced_at, created_at = excluded.created_at, updated_at = excluded.updated_at,
    metadata = excluded.metadata;

-- name: remove
DELETE FROM adapters WHERE adapter_key = $adapter_key AND tenant_id = $tenant_id;
