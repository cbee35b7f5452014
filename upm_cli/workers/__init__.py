"""Processes and loops. What they do is in ops; when and how often is here."""
