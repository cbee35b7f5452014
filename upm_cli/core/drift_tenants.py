"""Drift of each tenant: one that suffers is invisible in the P95 of all."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.drift import DriftPolicy, Rule, Stats, judge, regret_stats, seed_stats
from upm_cli.core.verdict import Verdict

_ORDER = {Verdict.FAIL: 0, Verdict.PASS: 1, Verdict.UNKNOWN: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStats:
    """One tenant's comparisons as one sample. `tenant` is empty for windows without one."""

    tenant: str
    rule: Rule
    stats: Stats
    verdict: Verdict


def by_tenant(tables: Iterable[Comparisons], policy: DriftPolicy) -> tuple[TenantStats, ...]:
    """Return the statistics of each tenant over the given comparisons, worst first."""
    names: dict[int, str] = {}
    scores: dict[int, list[np.ndarray]] = {}
    excess: dict[int, list[np.ndarray]] = {}
    for table in tables:
        known = table.tenant.hashes()
        with np.errstate(invalid="ignore", over="ignore"):
            over = table.brier - table.base_brier
        for key in np.unique(known).tolist():
            rows = np.flatnonzero(known == key)
            names.setdefault(key, table.tenant[int(rows[0])])
            scores.setdefault(key, []).append(table.score[rows])
            excess.setdefault(key, []).append(over[rows])
    found = [_one(names[key], np.concatenate(scores[key]), np.concatenate(excess[key]), policy) for key in names]
    return tuple(sorted(found, key=lambda each: (_ORDER[each.verdict], -(each.stats.p95 or 0.0), each.tenant)))


def _one(tenant: str, scores: np.ndarray, excess: np.ndarray, policy: DriftPolicy) -> TenantStats:
    by_regret = policy.score == "auto" and bool(np.isfinite(excess).any())
    stats = (regret_stats if by_regret else seed_stats)(
        excess if by_regret else scores, policy.drift_threshold, policy.sample_size
    )
    rule = Rule.REGRET if by_regret else Rule.SEED
    return TenantStats(tenant=tenant, rule=rule, stats=stats, verdict=judge(stats, policy))
