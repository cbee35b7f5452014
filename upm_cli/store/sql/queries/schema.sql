-- name: create
CREATE TABLE migrations (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL);

-- name: applied
SELECT version, name, applied_at FROM migrations ORDER BY version;

-- name: record
INSERT INTO migrations VALUES ($version, $name, $applied_at);

-- name: tables
SELECT table_name FROM duckdb_tables()
WHERE database_name = current_database() AND NOT internal
ORDER BY table_name;

-- name: scan
-- Reads every column of every row, so that a damaged block is met.
SELECT count(*) AS rows, bit_xor(hash(t)) AS fingerprint FROM query_table($table) AS t;
