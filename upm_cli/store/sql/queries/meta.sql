-- name: get
SELECT generation, schema_version, ledger_count, ledger_hash, ledger_offset, outbox_position FROM meta;

-- name: advance
UPDATE meta SET
    generation = $generation, ledger_count = $ledger_count, ledger_hash = $ledger_hash,
    ledger_offset = $ledger_offset, outbox_position = $outbox_position;

-- name: set_schema
UPDATE meta SET schema_version = $version;
