"""Arithmetic and decisions: values in, values out. No clock, files, SQL, logging or chance in here."""
