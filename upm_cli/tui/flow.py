"""How fast windows come in: the sum over the trainers, remembered while the dashboard runs."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

_KEPT: Final = 240  # looks, one a second
_APART_MS: Final = 500


class Flow:
    """The rates of the last looks, oldest first."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=_KEPT)
        self._noted_ms: int | None = None

    def note(self, overview: Mapping[str, Any], at_ms: int) -> None:
        """Remember the rate of one look at `at_ms`; of looks in a hurry, as keys cause, only the first."""
        if self._noted_ms is None or abs(at_ms - self._noted_ms) >= _APART_MS:
            self._noted_ms = at_ms
            self._rates.append(sum(row["windows_per_s"] for row in overview["trainers"]))

    @property
    def now(self) -> float:
        """Windows a second in all, over the last few looks."""
        newest = list(self._rates)[-3:]
        return sum(newest) / len(newest) if newest else 0.0

    def recent(self, count: int) -> tuple[float, ...]:
        """Return the newest `count` rates, oldest first."""
        return tuple(self._rates)[-count:]
