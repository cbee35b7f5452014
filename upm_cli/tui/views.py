"""What the parts of a board are: values that were read once, ready to be drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upm_cli.ops.report_chart import Bar

if TYPE_CHECKING:
    from upm_cli.ops.drift_marks import Happened
    from upm_cli.ops.report import Line
    from upm_cli.ops.tenants import Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Who was held against whom, and what came of it. `value` is the mean excess loss: above 0 is worse."""

    kind: str  # lineage | candidate
    contest_id: str
    verdict: str  # pass | fail | unknown
    windows: int
    value: float | None
    low: float | None
    high: float | None
    limit: float
    headline: str
    reasons: tuple[str, ...] = ()
    needed: int | None = None
    judged_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The drift windows of one trainer, oldest first, and what they come to in a sentence."""

    bars: tuple[Bar, ...]
    limit: float
    headline: str
    failing: bool
    happened: "tuple[Happened, ...]" = ()
    lines: "tuple[Line, ...]" = ()  # every window, oldest first
    contests: tuple[Contest, ...] = ()
    features: str = ""  # which features drift, as the monitor last found; empty: none
    sample_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The newest rollout of one trainer; `shown` None: it has none."""

    shown: Mapping[str, Any] | None  # as `upm rollout status --json`
    decisions: tuple[Mapping[str, Any], ...] = ()  # oldest first, as `upm rollout history --json`
    tenants: "tuple[Known, ...]" = ()
    planned: tuple[Mapping[str, Any], ...] = ()  # the stages of one that would start now
