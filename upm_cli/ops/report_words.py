"""Words and numbers that every form of a drift report uses."""

from collections.abc import Mapping
from typing import Final

#: A symbol and a word for each level, so that colour is never needed.
LEVELS: Final = {
    "pass": ("✓", "pass"),
    "near": ("!", "near"),
    "fail": ("✗", "fail"),
    "resolved": ("○", "resolved"),
    "unknown": ("?", "unknown"),
}
RULES: Final = {
    "seed": "|prediction − truth| of each comparison (maps: mean over shared keys; names: 0 or 1)",
    "regret": "max(0, Brier of the model − Brier of the base rate) of each block of 20 comparisons",
}


def score(value: float | None) -> str:
    """Return a score with three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def share(numbers: Mapping[str, float | None]) -> str:
    """Return an exceed share with its interval, in percent."""
    if numbers["share"] is None:
        return "–"
    low, high = numbers["low"] or 0.0, numbers["high"] or 0.0
    return f"{100 * numbers['share']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
