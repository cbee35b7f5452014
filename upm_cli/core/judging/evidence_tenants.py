"""Who is harmed? Evidence for each tenant of a contest, in columns, so that thousands of them are cheap.

Harm to one tenant of twenty is invisible in the mean of all. Tenants are numbered in the order of their first window;
the j-th is called harmed when its e-value reaches 1 / (alpha * share_j), with shares that add up to 1 over any number
of tenants (`spending.arrival_shares`). A tenant's number is fixed before its losses are seen, so the chance that any
harmless tenant is ever called harmed is at most alpha, though nobody knows how many there will be.
"""

from typing import Any, Self

import numpy as np

from upm_cli.core.judging.blocks import Blocks
from upm_cli.core.judging.evidence_policy import EvidencePolicy
from upm_cli.core.judging.findings import TenantFinding
from upm_cli.core.judging.restarts import RestartingBets
from upm_cli.core.judging.spending import arrival_shares
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import F64Array, I64Array, Strings

POOLED = "(others)"  # stands for the tenants past `max_tenants`


class Tenants:
    """A fold over paired losses by tenant. Windows without a tenant belong to none and are left out."""

    def __init__(self, policy: EvidencePolicy) -> None:
        self._policy = policy
        self._index: dict[str, int] = {}
        self._blocks = Blocks(policy.tenant_block_size, 1, 0)
        self._bets = RestartingBets(policy.scaled(policy.harm_margin), 0)
        self._n = np.zeros(0, np.int64)
        self._total = np.zeros(0)

    @property
    def names(self) -> list[str]:
        """Tenants with evidence of their own, in order of appearance."""
        return list(self._index)

    @property
    def pooled_windows(self) -> int:
        return int(self._n[self._policy.max_tenants]) if self._n.size > self._policy.max_tenants else 0

    def advance(self, tenant: Strings, difference: F64Array) -> None:
        """Take `difference` (n,) of losses, challenger minus champion, each in [-1, 1], in log order."""
        row = self._rows(tenant)
        row, difference = row[row >= 0], difference[row >= 0]
        if not row.size:
            return
        self._n += np.bincount(row, minlength=self._n.size)
        np.add.at(self._total, row, difference)
        stream, means = self._blocks.add(row, difference[:, None])
        clip = self._policy.clip
        self._bets.update(stream, (np.clip(means[:, 0], -clip, clip) + clip) / (2 * clip))

    def _rows(self, tenant: Strings) -> I64Array:
        names, which = tenant.distinct()
        rows = np.array([self._row(name) for name in names], np.int64)[which]
        streams = max(self._n.size, int(rows.max(initial=-1)) + 1)
        if streams > self._n.size:
            new = streams - self._n.size
            self._n = np.concatenate([self._n, np.zeros(new, np.int64)])
            self._total = np.concatenate([self._total, np.zeros(new)])
            self._blocks.grow(streams)
            self._bets.grow(streams)
        return rows

    def _row(self, name: str) -> int:
        """Return the row of a tenant: one of its own, that of all who came too late for one, or -1 for nobody's."""
        row = self._index.get(name)
        if row is None:
            row = -1 if name == "" else self._policy.max_tenants
            if name and len(self._index) < self._policy.max_tenants:
                row = self._index[name] = len(self._index)
        return row

    def findings(self) -> list[TenantFinding]:
        """Return what is known of each tenant, worst first."""
        needed = np.log(1 / (self._policy.harm_share * arrival_shares(self._n.size)))
        found = [
            TenantFinding(
                tenant=name,
                verdict=Verdict.FAIL if self._bets.log_e_max[row] >= needed[row] else Verdict.UNKNOWN,
                n=int(self._n[row]),
                mean=float(self._total[row] / self._n[row]),
                log_e=float(self._bets.log_e_max[row]),
                log_e_threshold=float(needed[row]),
            )
            for row, name in enumerate([*self._index, POOLED][: self._n.size])
        ]
        return sorted(found, key=lambda each: (each.log_e_threshold - each.log_e, -each.mean, each.tenant))

    def counts(self) -> tuple[int, int, bool]:
        """Return how many tenants are harmed, how many have a full block, and whether the pooled ones are harmed.

        The same as counting in `findings`, for whoever asks often.
        """
        needed = np.log(1 / (self._policy.harm_share * arrival_shares(self._n.size)))
        harmed = self._bets.log_e_max >= needed
        judged = self._n >= self._policy.tenant_block_size
        return int(harmed.sum()), int(judged.sum()), bool(harmed[self._policy.max_tenants :].any())

    def mean(self) -> float | None:
        """Return the mean difference with each tenant counting the same, those with evidence of their own."""
        n, total = self._n[: len(self._index)], self._total[: len(self._index)]
        return float((total / n).mean()) if n.size else None

    def arrays(self) -> dict[str, Any]:
        return {
            "tenant_n": self._n.copy(),
            "tenant_total": self._total.copy(),
            "tenant_counts": self._blocks.counts.copy(),
            "tenant_sums": self._blocks.sums.copy(),
            "tenant_log_wealth": self._bets.log_wealth.copy(),
            "tenant_log_e_max": self._bets.log_e_max.copy(),
            "tenant_seen": self._bets.seen.copy(),
        }

    @classmethod
    def load(cls, policy: EvidencePolicy, names: list[str], arrays: dict[str, Any]) -> Self:
        """Return the tenants that `arrays()` and `names` were taken from, exactly."""
        tenants = cls(policy)
        tenants._index = {name: row for row, name in enumerate(names)}
        tenants._n = np.array(arrays["tenant_n"], np.int64)
        tenants._total = np.array(arrays["tenant_total"], np.float64)
        tenants._blocks.counts = np.array(arrays["tenant_counts"], np.int64)
        tenants._blocks.sums = np.array(arrays["tenant_sums"], np.float64)
        tenants._bets.log_wealth = np.array(arrays["tenant_log_wealth"], np.float64)
        tenants._bets.log_e_max = np.array(arrays["tenant_log_e_max"], np.float64)
        tenants._bets.seen = np.array(arrays["tenant_seen"], np.int64)
        return tenants
