"""Contests: the parts of core/evidence.py and core/detectors.py, and the fold over a log that runs them."""
