"""What a metric is: its name, kind, labels, where it comes from, and what stands for it when there are too many."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    SUMMARY = "summary"  # only its sum and count
    HISTOGRAM = "histogram"


class Fold(StrEnum):
    """What stands for the trainers, streams or workers that are not named as there are too many."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    DROP = "drop"  # nothing could


class Origin(StrEnum):
    """Where the numbers come from. All but the last survive a restart of whoever exports them."""

    STATE = "state"
    LEDGER = "ledger"
    TELEMETRY = "telemetry"
    STATUS = "status files"
    SETTINGS = "settings"
    MACHINE = "machine"
    EXPORTER = "exporter"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. A `state set` has a sample for each value of its last label: 1 for the one that holds, else 0."""

    name: str
    kind: Kind
    origin: Origin
    doc: str
    labels: tuple[str, ...] = ()
    fold: Fold = Fold.SUM


VERDICTS: Final = ("pass", "fail", "unknown")
STATES: Final = ("quarantined", "errored", "paused", "training", "idle")
PHASES: Final = ("pending", "progressing", "paused", "promoted", "aborted", "degraded")
FATES: Final = ("trained", "unlabelled", "duplicate", "late", "dead_letter")
REASONS: Final = ("seed", "regret", "evidence")
ROLLED_BACK_BY: Final = ("automatic", "person")
STATUSES: Final = ("pending", "syncing", "synced", "errored")
BEHIND: Final = ("0", "1", "2", "3+", "unknown")
RANGES: Final[Mapping[str, int]] = {"1h": 3_600_000, "24h": 86_400_000}  # name → milliseconds of event time
BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
