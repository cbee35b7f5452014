"""The dashboard: shows what `ops.status` reads, acts through the same ops as the command line."""
