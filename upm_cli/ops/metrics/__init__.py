"""Collecting the metrics of a project: a read model of numbers, cheap enough to be asked for every few seconds."""
