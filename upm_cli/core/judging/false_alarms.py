"""A budget of false alarms as people write it, `1 per 90d`, and what it leaves for each look."""

import re
from dataclasses import dataclass
from typing import Final, Self

_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_BUDGET: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s+per\s+(\d{1,6}(?:\.\d{1,6})?)\s*([mhdw])")
_SHORTEST_MS: Final = _MS["h"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarmBudget:
    """At most `alarms` false alarms are expected in `per_ms` while nothing changes.

    A mean over time, not the chance of any: over a time t the expected number is alarms * t / per_ms.
    """

    alarms: float
    per_ms: float

    def __post_init__(self) -> None:
        if not (self.alarms > 0 and self.per_ms >= _SHORTEST_MS):
            raise ValueError("needs a number above 0 and a time of at least 1h")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the budget written as `NUMBER per NUMBER(m|h|d|w)`. Raises ValueError saying what is wrong."""
        match = _BUDGET.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(f"{text!r} is no budget of false alarms: write it like '1 per 90d' (m, h, d or w)")
        try:
            return cls(alarms=float(match[1]), per_ms=float(match[2]) * _MS[match[3]])
        except ValueError as exc:
            raise ValueError(f"{text!r} {exc}") from exc

    def share(self, part: float) -> "FalseAlarmBudget":
        """Return the budget of one of several alarms that share this one; `part` in (0, 1]."""
        if not 0 < part <= 1:
            raise ValueError(f"a part lies above 0 and is at most 1, got {part}")
        return FalseAlarmBudget(alarms=self.alarms * part, per_ms=self.per_ms)

    def per_look(self, every_ms: float) -> float:
        """Return the significance of each of the looks that are taken `every_ms`: their expected false alarms add up.

        At most 0.05, however generous the budget.
        """
        return min(0.05, self.alarms * every_ms / self.per_ms)

    def looks(self, every_ms: float) -> float:
        """Return the average run length to a false alarm, in looks taken `every_ms`; at least 1."""
        return max(1.0, self.per_ms / (self.alarms * every_ms))

    def __str__(self) -> str:
        unit = next(unit for unit in ("w", "d", "h", "m") if unit == "m" or self.per_ms % _MS[unit] == 0)
        return f"{self.alarms:g} per {self.per_ms / _MS[unit]:g}{unit}"
