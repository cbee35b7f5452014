"""How many windows have their label, counted by the hour in which they were predicted.

Labels may come late, and those that come early are not like the rest (a fraud is reported sooner than a payment is
found to be fine). So a window counts only once its label had the time that labels take: an hour of event time is
mature when the newest window of the log began at least `horizon_ms` after its end. Without a horizon a window
counts at once.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import I64Array

COHORT_MS: Final = 3_600_000
BoolArray = npt.NDArray[np.bool_]
AT_ONCE: Final = -(2**63)


def due_ms(start_ms: I64Array, horizon_ms: int) -> I64Array:
    """Return how far the newest window must have begun for windows that began at `start_ms` (n,) to be mature."""
    if not horizon_ms:
        return np.full(start_ms.size, AT_ONCE, np.int64)
    return (start_ms // COHORT_MS + 1) * COHORT_MS + horizon_ms


@dataclass(slots=True)
class Coverage:
    """Counts windows from log row `from_seq` on that began after `floor_ms`, and how many of them have a label.

    `floor_ms` is when the newest window before `from_seq` began (None: there was none). A label that comes later has
    its window's start, so both are counted, or neither.
    """

    from_seq: int
    floor_ms: int | None
    windows: int = 0  # mature ones
    labelled: int = 0
    young: dict[int, list[int]] = field(default_factory=dict)  # due time → [windows, labelled]

    def advance(
        self,
        start_ms: I64Array,
        windows: BoolArray,
        labelled: BoolArray,
        horizon_ms: int,
        newest_ms: int,
    ) -> None:
        """Count the next rows of the log, (n,) each: which are windows (not labels), and which bring a usable label."""
        due = due_ms(start_ms, horizon_ms)
        for at in np.unique(due).tolist():
            here = due == at
            counts = self.young.setdefault(at, [0, 0])
            counts[0] += int((here & windows).sum())
            counts[1] += int((here & labelled).sum())
        for at in sorted(at for at in self.young if at <= newest_ms):
            counts = self.young.pop(at)
            self.windows += counts[0]
            self.labelled += counts[1]

    @property
    def share(self) -> float | None:
        """Share of the mature windows that have a label; None without any."""
        return min(1.0, self.labelled / self.windows) if self.windows else None

    @property
    def waiting(self) -> int:
        """Windows that are too young to count."""
        return sum(windows for windows, _ in self.young.values())

    def dump(self) -> dict[str, Any]:
        return {
            "from_seq": self.from_seq,
            "floor_ms": self.floor_ms,
            "windows": self.windows,
            "labelled": self.labelled,
            "young": [[at, *counts] for at, counts in sorted(self.young.items())],
        }

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Self:
        young = {int(at): [int(windows), int(labelled)] for at, windows, labelled in plain["young"]}
        return cls(**{**plain, "young": young})


def worst_case(value: float | None, share: float, worst: float) -> float:
    """Return the mean over all windows when the labelled `share` has mean `value` and all others have `worst`."""
    return share * (worst if value is None else value) + (1 - share) * worst
