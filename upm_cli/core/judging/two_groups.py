"""Two groups that were served by different models, compared at any time.

The windows of the groups are not the same ones, so nothing is paired: each group has bounds of its own running mean
loss that hold at all times at once (`eb.EmpiricalBernstein`, over means of blocks of its windows), and the difference
lies between the differences of these bounds. Each of the four one-sided bounds has a quarter of `alpha`.

It bounds what the two groups were served on average. That this is what the models differ by rests on the draw of
tenants: of a few that were drawn, their being other tenants than the rest shows as well. So below `TENANTS` in either
group the verdict is unknown, whatever the bounds say.
"""

from dataclasses import dataclass, field

import numpy as np

from upm_cli.core.judging.blocks import Blocks
from upm_cli.core.judging.eb import EmpiricalBernstein
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array, I64Array, Strings

PARTS = 4  # one-sided bounds that share alpha
TENANTS = 5  # in a group, at least


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFinding:
    """One group: `n` windows with a loss, of `tenants`; `mean` loss with bounds of those in full blocks."""

    n: int
    tenants: int
    mean: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How much more the rest loses than the hold-out; `fail`: the anchor is better."""

    rest: GroupFinding
    held: GroupFinding
    value: float | None
    low: float
    high: float
    margin: float
    alpha: float
    verdict: Verdict
    reason: str  # why it is unknown whatever the bounds say; empty where these decide


@dataclass(slots=True)
class _Group:
    blocks: Blocks
    mean: EmpiricalBernstein = field(default_factory=EmpiricalBernstein)
    n: int = 0
    total: float = 0.0
    tenants: set[str] = field(default_factory=set)

    def take(self, losses: F64Array, tenants: Strings) -> None:
        self.n += losses.size
        self.total = float(np.add.accumulate(np.concatenate([[self.total], losses]))[-1])  # the same however it is cut
        self.tenants.update(tenants.to_list())
        _, means = self.blocks.add(np.zeros(losses.size, np.int64), losses[:, None])
        self.mean.update(means[:, 0])

    def finding(self, alpha: float) -> GroupFinding:
        return GroupFinding(
            n=self.n,
            tenants=len(self.tenants),
            mean=self.total / self.n if self.n else None,
            low=self.mean.lower(alpha),
            high=self.mean.upper(alpha),
        )


class TwoGroups:
    """A fold over the losses of a hold-out and of the rest, in the order in which they became known."""

    def __init__(self, *, block_size: int, alpha: float, margin: float) -> None:
        if not (0 < alpha < 1 and 0 < margin < 1 and block_size >= 1):
            raise ValueError(f"alpha and margin must lie in (0, 1), got {alpha} and {margin}")
        self.alpha, self.margin = alpha, margin
        self.skipped = 0  # windows without a loss
        self._held, self._rest = _Group(Blocks(block_size, 1)), _Group(Blocks(block_size, 1))

    def advance(self, losses: F64Array, tenants: Strings, *, held: I64Array, rest: I64Array) -> None:
        """Take the next windows: `losses` (n,), NaN where there is none; `held` and `rest` are rows, in order."""
        for group, rows in ((self._held, held), (self._rest, rest)):
            known = rows[np.isfinite(losses[rows])]
            self.skipped += rows.size - known.size
            group.take(np.clip(losses[known], 0.0, 1.0), tenants.take(known))

    def compare(self) -> Comparison:
        """Return what is known so far; may be asked at any time."""
        rest, held = (group.finding(self.alpha / PARTS) for group in (self._rest, self._held))
        low, high = rest.low - held.high, rest.high - held.low
        value = None if rest.mean is None or held.mean is None else rest.mean - held.mean
        verdict = Verdict.FAIL if low > self.margin else Verdict.PASS if high < self.margin else Verdict.UNKNOWN
        reason = self._too_few()
        return Comparison(
            rest=rest,
            held=held,
            value=value,
            low=low,
            high=high,
            margin=self.margin,
            alpha=self.alpha,
            verdict=Verdict.UNKNOWN if reason else verdict,
            reason=reason,
        )

    def _too_few(self) -> str:
        """Return what there is too little of for any verdict."""
        groups = {"held out": self._held, "other": self._rest}
        for name, group in groups.items():
            if len(group.tenants) < TENANTS:
                return f"{len(group.tenants)} {name} tenants with outcomes, at least {TENANTS} are needed"
            if not group.mean.n:
                return f"{group.n} outcomes of {name} tenants, at least {group.blocks.size} are needed"
        return ""
