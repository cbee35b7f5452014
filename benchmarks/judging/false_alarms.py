"""S1, S2: how often is a challenger at the edge of harmless called harmful, or one at the edge of worse let pass?"""

import numpy as np

from benchmarks.judging import folds, streams
from benchmarks.judging.table import Row, each
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging.exceedance import exceed_bounds

ALPHA, MARGIN = 0.05, 0.01
N, LENGTH = 2000, 20_000


def holds(alarms: int, n: int, alpha: float = ALPHA) -> bool:
    """Say whether a false alarm rate may be at most alpha: its 99.9 % Clopper-Pearson lower bound is."""
    return exceed_bounds(alarms, n, 0.001)[0] <= alpha


def both(d: np.ndarray, margin: float, clip: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the alarms of HARM and PROMOTE on differences `d` whose mean is `margin`, and whether these agree."""
    x = np.clip(d / clip, -1, 1)
    m = (margin / clip + 1) / 2
    harm = folds.betting((x + 1) / 2, m, ALPHA)
    promote = folds.not_worse(x, margin / clip, ALPHA)
    agree = folds.agrees((x + 1) / 2, harm, "betting", m, ALPHA, 1)
    return harm, promote, agree and folds.agrees(x, promote, "not worse", margin / clip, ALPHA, 1)


def seed_rule(rng: np.random.Generator, rate: float = 0.045) -> float:
    """Share of healthy models (4.5 % of scores over the threshold, limit 5 %) quarantined within 20 windows of 1000."""
    hits = rng.binomial(1000, rate, (N, LENGTH // 1000))
    return float((hits >= 50).any(axis=1).mean())


def s1() -> list[Row]:
    """At the boundary, looked at after every window."""
    rng = np.random.default_rng(1)
    cases = [*((name, make, 1.0 if name == "skewed" else 0.5) for name, make in streams.KINDS.items())]
    rates: dict[str, list[float]] = {"bet": [], "eb": [], "t": []}
    passed = True
    for _, make, clip in [*cases, ("seasonal", streams.seasonal, 0.5)]:
        d = make(rng, MARGIN, N, LENGTH)
        harm, promote, agree = both(d, MARGIN, clip)
        if make is streams.seasonal:  # its average is below the margin, so a pass would be right: use the other wave
            swinging = streams.swinging(rng, MARGIN, N, LENGTH)
            promote = both(swinging, MARGIN, clip)[1]
        rates["bet"].append(float((harm > 0).mean()))
        rates["eb"].append(float((promote > 0).mean()))
        rates["t"].append(float((folds.peeked_t(d, MARGIN) > 0).mean()))
        passed &= agree and holds(int((harm > 0).sum()), N) and holds(int((promote > 0).sum()), N)
    seed = seed_rule(rng)
    named = "iid, heavy, skewed, seasonal"
    return [
        Row(
            id="S1",
            experiment=f"false alarms at the boundary, {named}; {N} x {LENGTH}, every window",
            criterion="each <= .05 (99.9 % bound)",
            measured=f"harm {each(rates['bet'])}; promote {each(rates['eb'])}",
            seed=f"{seed:.3f} (healthy, 4.5 % of scores bad)",
            t_test=each(rates["t"], "{:.3f}"),
            passed=passed,
        )
    ]


def s2() -> list[Row]:
    """The same when windows remember the one before, judged by block means."""
    rng = np.random.default_rng(2)
    policy = EvidencePolicy()
    rows = []
    for size, clip in ((100, 0.5), (policy.block_size, policy.clip)):
        harms, promotes, ts, passed = [], [], [], True
        for rho in (0.3, 0.6, 0.9):
            means = streams.autoregressive_blocks(rng, rho, N, LENGTH, size)
            harm, promote, agree = both(MARGIN + np.clip(means, MARGIN - clip, clip - MARGIN), MARGIN, clip)
            harms.append(float((harm > 0).mean()))
            promotes.append(float((promote > 0).mean()))
            ts.append(float((folds.peeked_t(means, 0.0) > 0).mean()))
            passed &= agree and holds(int((harm > 0).sum()), N) and holds(int((promote > 0).sum()), N)
        shipped = ", as shipped" if size == policy.block_size else ""
        rows.append(
            Row(
                id="S2",
                experiment=f"false alarms, memory .3 / .6 / .9, blocks of {size} cut at {clip:g}{shipped}",
                criterion="each <= .05 (99.9 % bound)",
                measured=f"harm {each(harms)}; promote {each(promotes)}",
                t_test=each(ts, "{:.3f}"),
                passed=passed,
            )
        )
    return rows


EXPERIMENTS = {"S1": s1, "S2": s2}
