"""What is durable. The only place that knows DuckDB, Arrow files, fsync and locks."""
