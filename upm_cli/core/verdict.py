"""What can be said of a window or a gate. Apart from what judges them, so that who reads a verdict needs no NumPy."""

from enum import StrEnum


class Verdict(StrEnum):
    """What a window's samples say. `unknown` is not good news: it never counts as a pass."""

    PASS = "pass"  # noqa: S105 (not a password)
    FAIL = "fail"
    UNKNOWN = "unknown"
