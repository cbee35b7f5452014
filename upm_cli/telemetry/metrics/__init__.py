"""The metrics for Prometheus: their table, their text form, and the dashboard and alert rules made from tables."""
