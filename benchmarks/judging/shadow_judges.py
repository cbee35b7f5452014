"""Six judges of a simulated shadow: when does each roll the challenger back, and is it promoted at the end?

Ours is `Contest` as shipped, laid out for speed; `tests/unit/core/test_shadow_experiment.py` holds both against each
other. A tenant held back counts as a rollback for it: harm to one is found, and a healthy challenger held back anywhere
is a wrong rollback. The rivals look once an hour and promote whatever they did not roll back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.judging.shadow_world import NIGHT, TENANTS, Shadow, World
from upm_cli.config.schema import Settings
from upm_cli.core.judging.betting import bets
from upm_cli.core.judging.eb_differences import DifferenceBounds
from upm_cli.core.judging.evidence_policy import EvidencePolicy
from upm_cli.core.judging.restarts import FIRST, log_added
from upm_cli.core.judging.spending import arrival_shares
from upm_cli.core.records import Trainer
from upm_cli.ops.evidence import Terms

Array = np.ndarray
MOST = 1e200  # decided long before: it must not overflow
STREAMS = 400  # at once: small enough for the cache
THRESHOLD, SAMPLES = np.float32(0.2), 1000
OURS = "upm evidence"
RIVALS = (
    "seed rule: P95 ≥ 0.2 in an hour",
    "Mann-Whitney each hour, as Kayenta",
    "mean excess > margin in 4 hours, as Argo",
    "t-test each hour: worse at all",
    "t-test each hour: worse than margin",
)
JUDGES = (OURS, *RIVALS)


def shipped_policy() -> EvidencePolicy:
    """Return what a regression trainer is judged by when nothing is configured."""
    return Terms.of(Settings(), Trainer(name="simulated", stream="simulated")).base


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`rolled_back`: hour, infinite for never; `promoted`: at the end. Neither: held, as nothing is shown yet."""

    rolled_back: float
    promoted: bool


def judge(world: World, shadows: Sequence[Shadow], policy: EvidencePolicy) -> list[dict[str, Judged]]:
    """Return what each judge did with each shadow."""
    found = ours(world, shadows, policy)
    return [{OURS: own} | rivals(world, shadow, policy) for own, shadow in zip(found, shadows, strict=True)]


def ours(world: World, shadows: Sequence[Shadow], policy: EvidencePolicy) -> list[Judged]:
    """Judge many shadows at once."""
    parts = [_blocks(shadow, policy) for shadow in shadows]
    size, alpha, m = policy.block_size, policy.harm_share, policy.scaled(policy.harm_margin)
    mean = restarting(np.stack([_scaled(part[0], policy) for part in parts]), m, alpha)
    tail_m = policy.scaled(policy.tail_margin)
    tail = restarting(np.stack([_scaled(part[1], policy) for part in parts]), tail_m, alpha)
    tenants = np.zeros((len(parts), TENANTS), np.int64)
    shares = arrival_shares(TENANTS)
    for share in np.unique(shares):
        which = np.flatnonzero(shares == share)
        y = np.concatenate([_scaled(part[2][which], policy) for part in parts])
        tenants[:, which] = restarting(y, m, alpha * share).reshape(len(parts), -1)
    named = tenants * policy.tenant_block_size * TENANTS  # windows of all when the tenant's block was full
    times = np.column_stack([world.when(mean * size), world.when(tail * size), world.when(named)]).min(axis=1)
    passed = [_passes(shadow, part[0], policy) for shadow, part in zip(shadows, parts, strict=True)]
    return [
        Judged(rolled_back=float(time), promoted=bool(np.isinf(time) and ok))
        for time, ok in zip(times, passed, strict=True)
    ]


def restarting(y: Array, m: float, alpha: float) -> Array:
    """Return when `RestartingBets` on "above m" reaches 1/alpha, for each of y (streams, n): 1-based, 0 for never."""
    grid, added = bets(m)[:, None], np.exp(log_added(np.arange(1, y.shape[1] + 1)))
    alarms = np.zeros(y.shape[0], np.int64)
    for top in range(0, y.shape[0], STREAMS):
        gains = np.ascontiguousarray(y[top : top + STREAMS].T) - m
        wealth = np.full((grid.size, gains.shape[1]), FIRST)
        found = np.zeros(gains.shape[1], np.int64)
        for at, gain in enumerate(gains):
            wealth += added[at]
            wealth *= 1 + grid * gain
            raised = (wealth.mean(axis=0) >= 1 / alpha) & (found == 0)
            found[raised] = at + 1
            np.minimum(wealth, MOST, out=wealth)
        alarms[top : top + STREAMS] = found
    return alarms


def _blocks(shadow: Shadow, policy: EvidencePolicy) -> tuple[Array, Array, Array]:
    """Return block means of the difference of losses, of that of bad misses, and of each tenant's losses."""
    challenger, champion = (losses.astype(np.float64) for losses in (shadow.challenger, shadow.champion))
    difference = challenger - champion
    tail = (challenger >= policy.tail_threshold).astype(np.float64) - (champion >= policy.tail_threshold)
    return (
        _means(difference.ravel()[None], policy.block_size)[0],
        _means(tail.ravel()[None], policy.block_size)[0],
        _means(np.ascontiguousarray(difference.T), policy.tenant_block_size),
    )


def _means(values: Array, size: int) -> Array:
    n = values.shape[1] // size
    return values[:, : n * size].reshape(values.shape[0], n, size).mean(axis=2)


def _scaled(means: Array, policy: EvidencePolicy) -> Array:
    return (np.clip(means / policy.clip, -1, 1) + 1) / 2


def _passes(shadow: Shadow, means: Array, policy: EvidencePolicy) -> bool:
    """Return whether "not worse by `margin` on average" is shown at the end."""
    bounds = DifferenceBounds()
    bounds.update(np.clip(means / policy.clip, -1, 1))
    shown = bounds.log_e_below(policy.margin / policy.clip) >= np.log(1 / policy.alpha_stage(1))
    plain = float(np.mean(shadow.challenger, dtype=np.float64) - np.mean(shadow.champion, dtype=np.float64))
    return bool(shown and plain < policy.margin)


def rivals(world: World, shadow: Shadow, policy: EvidencePolicy) -> dict[str, Judged]:
    """Judge one shadow by the five rules that others use."""
    windows = world.rows * TENANTS
    difference = (shadow.challenger - shadow.champion).astype(np.float64)
    total, squares = world.per_hour(difference), world.per_hour(difference * difference)
    over = total / windows > policy.margin
    hours = (
        seed_rule(world.per_hour(shadow.challenger >= THRESHOLD).astype(np.int64), windows),
        mann_whitney(minutes(world, shadow.challenger), minutes(world, shadow.champion)),
        _first(np.cumsum(over) > 3),
        _first(_t(total, squares, windows, 0.0)),
        _first(_t(total, squares, windows, policy.margin)),
    )
    return {
        name: Judged(rolled_back=hour, promoted=bool(np.isinf(hour))) for name, hour in zip(RIVALS, hours, strict=True)
    }


def _first(raised: Array) -> float:
    """Return the end of the first hour in which an alarm was raised."""
    return float(raised.argmax() + 1) if raised.any() else np.inf


def seed_rule(misses: Array, windows: Array) -> float:
    """Return when P95 >= 0.2; hours with fewer than 1000 scores go on into the next, as in upm."""
    held = held_misses = 0
    for hour, (n, bad) in enumerate(zip(windows.tolist(), misses.tolist(), strict=True), 1):
        held, held_misses = held + n, held_misses + bad
        if held >= SAMPLES:
            if held_misses >= held - min(95 * held // 100, held - 1):
                return float(hour)
            held = held_misses = 0
    return np.inf


def minutes(world: World, losses: Array) -> Array:
    """Return the mean loss of each minute, (hours, 60)."""
    each_day = losses.reshape(world.days, -1)
    nights = world.rows[0] * TENANTS * NIGHT
    night = each_day[:, :nights].reshape(world.days, NIGHT, 60, -1).mean(axis=3)
    day = each_day[:, nights:].reshape(world.days, 24 - NIGHT, 60, -1).mean(axis=3)
    return np.concatenate([night, day], axis=1).reshape(world.hours, 60)


def mann_whitney(experiment: Array, control: Array) -> float:
    """Return the first hour in which minutes of the challenger are higher, (hours, 60) each.

    Outliers (beyond three interquartile ranges) are removed first. The lower end of the 98 % interval of the shift
    must exceed a quarter of the shift itself: in the normal approximation z (1 - 1/4) > 2.326.
    """
    kept, control_kept = _inside(experiment), _inside(control)
    values = np.concatenate([np.where(kept, experiment, np.inf), np.where(control_kept, control, np.inf)], axis=1)
    ranks = values.argsort(axis=1).argsort(axis=1) + 1.0
    n, m = kept.sum(axis=1), control_kept.sum(axis=1)
    u = (ranks[:, : experiment.shape[1]] * kept).sum(axis=1) - n * (n + 1) / 2
    z = (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)
    return _first(z * 0.75 > 2.326)


def _inside(values: Array) -> Array:
    low, high = np.quantile(values, (0.25, 0.75), axis=1, keepdims=True)
    return (values >= low - 3 * (high - low)) & (values <= high + 3 * (high - low))


def _t(total: Array, squares: Array, windows: Array, margin: float) -> Array:
    """Return in which hours the windows so far are worse than `margin`, one-sided at 5 %."""
    n, s = np.cumsum(windows), np.cumsum(total)
    variance = np.cumsum(squares) / n - (s / n) ** 2
    return (s / n - margin) / np.sqrt(variance / n) > 1.645
