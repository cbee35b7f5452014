"""S7, S8: many candidates one after the other, and one tenant among many."""

import numpy as np

from benchmarks.judging import folds, streams
from benchmarks.judging.table import Row, each
from upm_cli.core.evidence import Contest, EvidencePolicy
from upm_cli.core.judging.spending import candidate_alpha
from upm_cli.core.verdict import Verdict
from upm_cli.core.window import Strings


def s7() -> list[Row]:
    """Fifty candidates, each exactly `margin` worse: is any of them let pass?"""
    rng = np.random.default_rng(7)
    families, candidates, n, margin = 400, 50, 3000, 0.01
    any_e, any_plain, any_t = (np.zeros(families, bool) for _ in range(3))
    for candidate in range(1, candidates + 1):
        d = streams.normal(rng, margin, families, n)
        x = np.clip(2 * d, -1, 1)
        any_e |= folds.not_worse(x, 2 * margin, candidate_alpha(0.05, candidate, 0)) > 0
        any_plain |= folds.not_worse(x, 2 * margin, 0.05) > 0
        any_t |= folds.peeked_t(-d, -margin) > 0
    return [
        Row(
            id="S7",
            experiment=f"any of {candidates} candidates at the margin let pass, {families} families of {n} windows",
            criterion="<= .05",
            measured=f"{any_e.mean():.4f} (each at .05: {any_plain.mean():.4f})",
            t_test=f"{any_t.mean():.3f}",
            passed=bool(any_e.mean() <= 0.05),
        )
    ]


def s8() -> list[Row]:
    """One tenant of twenty is harmed (+.08) while all others gain (-.004)."""
    rng = np.random.default_rng(8)
    runs, n, tenants = 100, 30_000, 20
    policy = EvidencePolicy()
    names = [f"tenant-{k}" for k in range(tenants)]
    found, wrong, passes, seed, peeked = 0, 0, 0, 0, 0
    for _ in range(runs):
        who = rng.integers(0, tenants, n)
        champion, challenger = np.clip(0.2 + streams.SD / np.sqrt(2) * rng.standard_normal((2, n)), 0, 0.9)
        challenger += np.where(who == 7, 0.08, -0.004)
        d = challenger - champion
        contest = Contest(policy)
        contest.advance(np.arange(n), Strings.of([names[k] for k in who]), challenger, champion)
        findings = contest.findings()
        found += "tenant-7" in findings.harmed
        wrong += any(name != "tenant-7" for name in findings.harmed)
        passes += findings.verdict is Verdict.PASS
        hourly = (challenger.reshape(-1, 1500) >= 0.35).sum(axis=1)  # a limit that 0.4 % of a good model's reach
        seed += bool((hourly >= 75).any())
        peeked += bool((folds.peeked_t(d[None, :], policy.margin) > 0).any())
    return [
        Row(
            id="S8",
            experiment=f"1 of {tenants} tenants worse by .08, the others better by .004, {n} windows",
            criterion=">= .95 found, no other named",
            measured=f"{found / runs:.2f} found, {wrong / runs:.2f} another named, {passes / runs:.2f} passed else",
            seed=each([seed / runs], "{:.2f}"),
            t_test=each([peeked / runs], "{:.2f}") + " (all tenants as one)",
            passed=found / runs >= 0.95 and wrong == 0,
        )
    ]


EXPERIMENTS = {"S7": s7, "S8": s8}
