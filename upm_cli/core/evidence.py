"""One challenger against one champion on the same windows: is it harmful, is it not worse, or is that unknown?

Each window gives a difference of losses, challenger minus champion. Means over blocks of windows, cut to +-clip, are
the evidence. Two questions, with different nulls, hence two tests:

- HARM: "it is never worse than harm_margin" (in every block, given the past) is refuted by betting (`restarts`). One
  process for the life of the contest, of mean loss, of bad misses, and of each tenant (`evidence_tenants`).
- PROMOTE: "its average excess so far is at least margin" is refuted by the empirical-Bernstein bound
  (`eb_differences`), which holds for averages of a stream that drifts. It starts anew with each stage.

Both hold at all times at once, so a verdict may be asked for after every window. Everything is a fold in log order.
"""

import math
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.judging.blocks import Blocks
from upm_cli.core.judging.eb import rows_until
from upm_cli.core.judging.eb_differences import DifferenceBounds
from upm_cli.core.judging.evidence_policy import EvidencePolicy
from upm_cli.core.judging.evidence_tenants import POOLED, Tenants
from upm_cli.core.judging.findings import Findings, Measure, TenantFinding
from upm_cli.core.judging.restarts import RestartingBets
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array, I64Array, Strings

__all__ = ["POOLED", "Contest", "EvidencePolicy", "Findings", "Measure", "TenantFinding"]

FORMAT = 1
ENOUGH_TO_EXTRAPOLATE = 5  # blocks; with fewer the estimate supposes that both are equally good
_COUNTS = ("stage", "windows", "fresh_windows", "skipped", "missing", "fresh_missing", "clipped")


class Contest:
    """A fold over the losses of a challenger and a champion; see the module.

    State: O(K) numbers, and O(K) for each of at most `max_tenants` + 1 tenants.
    """

    def __init__(self, policy: EvidencePolicy, stage: int = 0) -> None:
        self.policy = policy
        self.stage = stage
        self.windows = self.fresh_windows = self.skipped = self.missing = self.fresh_missing = self.clipped = 0
        self.first_seq: int | None = None
        self.last_seq: int | None = None
        self._attempts: dict[int, int] = {stage: 1}
        self._total = 0.0
        self._fresh_total = 0.0
        self._blocks = Blocks(policy.block_size, 2)
        self._fresh_blocks = Blocks(policy.block_size, 1)
        self._harm = RestartingBets(policy.scaled(policy.harm_margin))
        self._tail = RestartingBets(policy.scaled(policy.tail_margin))
        self._loss_mean = DifferenceBounds()
        self._tail_mean = DifferenceBounds()
        self._fresh_mean = DifferenceBounds()
        self._tenants = Tenants(policy)

    def advance(self, seq: I64Array, tenant: Strings, challenger: F64Array, champion: F64Array) -> None:
        """Take the next windows of the log: `seq` (n,) int64 growing, losses (n,) in [0, 1], not modified.

        A loss that is not finite can't be scored: its window is skipped and counted. Losses past [0, 1] are cut to it.
        The state after it is the same, to the byte, however the windows are cut into calls. Raises ValueError when
        columns differ in length, or a window was taken before.
        """
        self._check(seq, tenant, challenger, champion)
        if not seq.size:
            return
        self.first_seq = int(seq[0]) if self.first_seq is None else self.first_seq
        self.last_seq = int(seq[-1])
        known = np.isfinite(challenger) & np.isfinite(champion)
        missing = int((np.isfinite(champion) & ~np.isfinite(challenger)).sum())
        rows = np.flatnonzero(known)
        self.skipped += seq.size - rows.size
        self.missing += missing
        self.fresh_missing += missing
        losses = [np.clip(np.asarray(column, np.float64)[rows], 0.0, 1.0) for column in (challenger, champion)]
        self._take(tenant.take(rows), losses[0], losses[1])

    def _check(self, seq: I64Array, tenant: Strings, challenger: F64Array, champion: F64Array) -> None:
        if not seq.size == len(tenant) == challenger.size == champion.size:
            raise ValueError(f"columns differ in length: {seq.size}, {len(tenant)}, {challenger.size}, {champion.size}")
        before = -1 if self.last_seq is None else self.last_seq
        if seq.size and (int(seq[0]) <= before or bool((np.diff(seq) <= 0).any())):
            raise ValueError(f"windows must come once and in log order: {int(seq[0])} after {before}")

    def _take(self, tenant: Strings, challenger: F64Array, champion: F64Array) -> None:
        n = challenger.size
        if not n:
            return
        difference = challenger - champion
        limit = self.policy.tail_threshold
        tail = (challenger >= limit).astype(np.float64) - (champion >= limit)
        self.windows += n
        self.fresh_windows += n
        self._total = _added(self._total, difference)
        self._fresh_total = _added(self._fresh_total, difference)
        one = np.zeros(n, np.int64)
        stream, means = self._blocks.add(one, np.column_stack([difference, tail]))
        self.clipped += int((np.abs(means[:, 0]) > self.policy.clip).sum())
        loss, bad = self._cut(means[:, 0]), self._cut(means[:, 1])
        self._harm.update(stream, (loss + 1) / 2)
        self._tail.update(stream, (bad + 1) / 2)
        self._loss_mean.update(loss)
        self._tail_mean.update(bad)
        self._fresh_mean.update(self._cut(self._fresh_blocks.add(one, difference[:, None])[1][:, 0]))
        self._tenants.advance(tenant, difference)

    def _cut(self, means: F64Array) -> F64Array:
        """Return block means in units of `clip`, cut to [-1, 1]."""
        cut: F64Array = np.clip(means / self.policy.clip, -1.0, 1.0)
        return cut

    def restart_promote(self, stage: int) -> None:
        """Begin `stage` (or begin it again): PROMOTE forgets what it has seen, HARM goes on.

        Each stage has its share of `alpha_promote`, and each attempt at it a part of that share.
        """
        if not 0 <= stage < self.policy.stages:
            raise ValueError(f"stage must lie in 0..{self.policy.stages - 1}, got {stage}")
        self.stage = stage
        self._attempts[stage] = self._attempts.get(stage, 0) + 1
        self.fresh_windows = self.fresh_missing = 0
        self._fresh_total = 0.0
        self._fresh_blocks = Blocks(self.policy.block_size, 1)
        self._fresh_mean = DifferenceBounds()

    @property
    def has_failed(self) -> bool:
        """Whether the verdict is fail; a hundredth of the work of `findings`."""
        log_e = max(float(self._harm.log_e_max[0]), float(self._tail.log_e_max[0]))
        harmed, judged, pooled = self._tenants.counts()
        return log_e >= math.log(1 / self.policy.harm_share) or harmed > self.policy.harmed_share * judged or pooled

    def findings(self) -> Findings:
        """Judge what has been seen so far; may be asked at any time."""
        harm = self._harm_measure("harm", self._harm, self._loss_mean, self.policy.harm_margin)
        tail = self._harm_measure("tail", self._tail, self._tail_mean, self.policy.tail_margin)
        promote = self._promote_measure()
        tenants = self._tenants.findings()
        harmed = tuple(each.tenant for each in tenants if each.verdict is Verdict.FAIL)
        verdict, reasons = self._verdict(harm, tail, promote, tenants, harmed)
        most = max(self.policy.report_tenants, len(harmed))
        return Findings(
            verdict=verdict,
            reasons=reasons,
            harm=harm,
            tail=tail,
            promote=promote,
            tenants=tuple(tenants[:most]),
            harmed=harmed,
            tenants_seen=len(self._tenants.names),
            pooled_windows=self._tenants.pooled_windows,
            stage=self.stage,
            attempt=self._attempts[self.stage],
            windows=self.windows,
            blocks=self._loss_mean.n,
            fresh_windows=self.fresh_windows,
            fresh_blocks=self._fresh_mean.n,
            skipped=self.skipped,
            missing=self.missing,
            clipped=self.clipped,
            mean=self._total / self.windows if self.windows else None,
            tenant_mean=self._tenants.mean(),
            first_seq=self.first_seq,
            last_seq=self.last_seq,
        )

    def _verdict(
        self,
        harm: Measure,
        tail: Measure,
        promote: Measure,
        tenants: list[TenantFinding],
        harmed: tuple[str, ...],
    ) -> tuple[Verdict, tuple[str, ...]]:
        policy = self.policy
        failed = [
            f"{what} is worse by more than {measure.threshold:g}"
            for what, measure in (("mean loss", harm), ("share of bad misses", tail))
            if measure.verdict is Verdict.FAIL
        ]
        judged = sum(each.n >= policy.tenant_block_size for each in tenants)
        if len(harmed) > policy.harmed_share * judged:
            failed.append(f"{len(harmed)} of {judged} tenants are harmed")
        if POOLED in harmed and self._tenants.pooled_windows:
            failed.append(f"tenants past the first {policy.max_tenants} are harmed, and can't be told apart")
        if failed:
            return Verdict.FAIL, tuple(failed)
        open_points = []
        seen = self.fresh_windows + self.fresh_missing
        if self.fresh_missing > policy.max_missing * seen:
            open_points.append(f"the challenger has no loss on {self.fresh_missing} of {seen} windows")
        if promote.verdict is not Verdict.PASS:
            more = "" if promote.needed is None else f"; about {promote.needed} more windows are needed"
            open_points.append(f"that mean loss is worse by less than {policy.margin:g} is not shown yet{more}")
        elif self._fresh_total >= policy.margin * self.fresh_windows:
            open_points.append(
                f"mean loss before cutting blocks to {policy.clip:g} is worse by {policy.margin:g} or more"
            )
        return (Verdict.UNKNOWN if open_points else Verdict.PASS), tuple(open_points)

    def _harm_measure(self, name: str, bets: RestartingBets, mean: DifferenceBounds, margin: float) -> Measure:
        policy, alpha = self.policy, self.policy.harm_share
        log_e, need = float(bets.log_e_max[0]), math.log(1 / alpha)
        verdict = Verdict.FAIL if log_e >= need else Verdict.UNKNOWN
        if verdict is Verdict.UNKNOWN and mean.log_e_below(margin / policy.clip) >= need:
            verdict = Verdict.PASS
        return self._measure(name, verdict, mean, alpha, margin, log_e, need)

    def _promote_measure(self) -> Measure:
        policy, mean = self.policy, self._fresh_mean
        alpha = policy.alpha_stage(self._attempts[self.stage])
        need = math.log(1 / alpha)
        log_e = mean.log_e_below(policy.margin / policy.clip)
        passed = log_e >= need
        needed = None if passed else self._needed(need)
        verdict = Verdict.PASS if passed else Verdict.UNKNOWN
        return self._measure("promote", verdict, mean, alpha, policy.margin, log_e, need, needed)

    def _measure(
        self,
        name: str,
        verdict: Verdict,
        mean: DifferenceBounds,
        alpha: float,
        margin: float,
        log_e: float,
        need: float,
        needed: int | None = None,
    ) -> Measure:
        clip = self.policy.clip
        return Measure(
            name=name,
            verdict=verdict,
            value=None if mean.mean is None else clip * mean.mean,
            n=mean.n * self.policy.block_size,
            low=clip * mean.lower(alpha) if mean.n else None,
            high=clip * mean.upper(alpha) if mean.n else None,
            threshold=margin,
            log_e=log_e,
            log_e_threshold=need,
            needed=needed,
        )

    def _needed(self, need: float) -> int | None:
        """Windows until PROMOTE would be shown, if blocks stay as they are; None when it would not be."""
        mean = self._fresh_mean
        known = mean.mean if mean.mean is not None and mean.n >= ENOUGH_TO_EXTRAPOLATE else 0.0
        variance = mean.variance_above / mean.n if mean.n else 0.0
        blocks = rows_until(self.policy.margin / self.policy.clip - known, variance, need)
        if blocks is None:
            return None
        size = self.policy.block_size
        return max(1, (blocks - mean.n) * size - int(self._fresh_blocks.counts[0]))

    def dump(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return the whole state as arrays and JSON-able values; `load` makes the same contest of them, exactly."""
        means = (self._loss_mean, self._tail_mean, self._fresh_mean)
        arrays: dict[str, npt.NDArray[Any]] = {
            "totals": np.array([self._total, self._fresh_total]),
            "means": np.array([[mean.total, mean.variance_above, mean.variance_below] for mean in means]),
            "sums": self._blocks.sums.copy(),
            "fresh_sums": self._fresh_blocks.sums.copy(),
            "log_wealth": np.concatenate([self._harm.log_wealth, self._tail.log_wealth]),
            "log_e_max": np.concatenate([self._harm.log_e_max, self._tail.log_e_max]),
            **self._tenants.arrays(),
        }
        meta = {
            "format": FORMAT,
            "policy": asdict(self.policy),
            **{name: getattr(self, name) for name in _COUNTS},
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "attempts": [[stage, count] for stage, count in sorted(self._attempts.items())],
            "in_block": [int(self._blocks.counts[0]), int(self._fresh_blocks.counts[0])],
            "blocks": [mean.n for mean in means],
            "tenants": self._tenants.names,
        }
        return arrays, meta

    @classmethod
    def load(cls, arrays: dict[str, npt.NDArray[Any]], meta: dict[str, Any]) -> Self:
        """Return the contest that `dump` was taken from. Raises ValueError for a format this version can't read."""
        if meta.get("format") != FORMAT:
            raise ValueError(f"contest state has format {meta.get('format')}, this version reads {FORMAT}")
        contest = cls(EvidencePolicy(**meta["policy"]))
        for name in (*_COUNTS, "first_seq", "last_seq"):
            setattr(contest, name, meta[name])
        contest._attempts = {int(stage): int(count) for stage, count in meta["attempts"]}
        contest._total, contest._fresh_total = (float(value) for value in arrays["totals"])
        means = (contest._loss_mean, contest._tail_mean, contest._fresh_mean)
        for mean, n, row in zip(means, meta["blocks"], arrays["means"], strict=True):
            mean.n = int(n)
            mean.total, mean.variance_above, mean.variance_below = (float(value) for value in row)
        for blocks, count, sums in zip(
            (contest._blocks, contest._fresh_blocks),
            meta["in_block"],
            (arrays["sums"], arrays["fresh_sums"]),
            strict=True,
        ):
            blocks.counts[0] = count
            blocks.sums[:] = sums
        for row, bets in enumerate((contest._harm, contest._tail)):
            bets.log_wealth[0] = arrays["log_wealth"][row]
            bets.log_e_max[0] = arrays["log_e_max"][row]
            bets.seen[0] = contest._loss_mean.n
        contest._tenants = Tenants.load(contest.policy, meta["tenants"], arrays)
        return contest


def _added(total: float, values: F64Array) -> float:
    """Add `values` to `total` one by one from the left."""
    return float(np.add.accumulate(np.concatenate([[total], values]))[-1])
