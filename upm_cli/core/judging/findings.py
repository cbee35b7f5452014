"""What a contest has shown so far, as plain values that survive JSON."""

from dataclasses import dataclass
from typing import Any, Self

from upm_cli.core.plain import from_plain, to_plain
from upm_cli.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number of a contest with its interval, the limit it is held against, and the evidence."""

    name: str
    verdict: Verdict
    value: float | None  # challenger minus champion over full blocks, each cut to +-clip; above 0 is worse
    n: int  # windows in these blocks
    low: float | None  # confidence bounds of what `value` estimates, each valid at all times at its alpha
    high: float | None
    threshold: float  # the limit of `value`
    log_e: float  # evidence for the verdict that counts here: worse than the limit (harm), below it (promote)
    log_e_threshold: float  # where that evidence suffices
    needed: int | None = None  # about this many more windows until it does, if they are like those so far


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFinding:
    """One tenant's part of a contest. Its verdict is fail or unknown: a pass is never claimed for one tenant."""

    tenant: str
    verdict: Verdict
    n: int
    mean: float  # challenger minus champion over all its windows
    log_e: float  # highest log e-value so far that it is harmed
    log_e_threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The verdict on a challenger with everything it rests on. `reasons` say what stands between it and a pass."""

    verdict: Verdict
    reasons: tuple[str, ...]
    harm: Measure  # mean loss, over the whole contest
    tail: Measure  # share of bad misses, over the whole contest
    promote: Measure  # mean loss, over the windows since the stage began
    tenants: tuple[TenantFinding, ...]  # worst first; at most `report_tenants` and all that are harmed
    harmed: tuple[str, ...]
    tenants_seen: int  # with evidence of their own
    pooled_windows: int  # windows of tenants past `max_tenants`
    stage: int
    attempt: int  # how often this stage was begun
    windows: int  # with a loss of both
    blocks: int
    fresh_windows: int  # of them, those since the stage began
    fresh_blocks: int
    skipped: int  # windows without a loss of one or both
    missing: int  # of them, those where only the challenger has none
    clipped: int  # blocks whose difference went past +-clip
    mean: float | None  # challenger minus champion, each window counting the same
    tenant_mean: float | None  # the same, each tenant counting the same
    first_seq: int | None
    last_seq: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` gives the same findings back, also after a trip through JSON text."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        return from_plain(cls, plain)
