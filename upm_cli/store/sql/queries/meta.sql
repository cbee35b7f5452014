-- name: get
SELECT *, (SELECT coalesce(max(version), 0) FROM migrations) AS schema_version FROM meta;

-- name: advance
UPDATE meta SET
    generation = $generation, ledger_count = $ledger_count, ledger_hash = $ledger_hash,
    ledger_offset = $ledger_offset, outbox_position = $outbox_position;
