"""S5, S6: how seldom does the change detector cry wolf, and how soon does it see a change?"""

import numpy as np

from benchmarks.judging import folds
from benchmarks.judging.table import Row, each

M0 = 0.05
DELAY_LIMITS = {0.5: 20, 0.2: 100, 0.15: 180, 0.1: 550, 0.07: 2500}
LEVEL = 504_000  # one false alarm in 14 days at 1500 scores an hour
HOUR = 1500


def run_lengths(rng: np.random.Generator, streams: int, kind: str, level: float, most: int) -> np.ndarray:
    """Return when each stream of Bernoulli(m0) alarms, (streams,); `most` for those that ran longer."""
    fold = folds.Change(streams, M0, kind)
    alive, length = np.arange(streams), np.full(streams, most)
    for at in range(1, most + 1):
        done = fold.step((rng.random(alive.size) < M0).astype(float)) >= level
        if done.any():
            length[alive[done]] = at
            alive = alive[~done]
            fold.keep(~done)
            if not alive.size:
                break
    return length


def agrees(rng: np.random.Generator, kind: str) -> bool:
    """Say whether the detector that ships alarms on the same rows as the fold over many streams."""
    y = (rng.random((4, 3000)) < np.where(np.arange(3000) < 2000, M0, 0.2)).astype(float)
    fold = folds.Change(4, M0, kind)
    statistics = np.stack([fold.step(column) for column in y.T], axis=1)
    return folds.change_agrees(y, M0, 1000.0, kind, folds.first(statistics >= 1000.0))


def s5() -> list[Row]:
    """Average run length at the boundary, stated as 1000."""
    rng = np.random.default_rng(5)
    rows = []
    windows = rng.binomial(1000, M0, (3000, 20)) >= 50
    seed = float(np.where(windows.any(axis=1), windows.argmax(axis=1) + 1, 20).mean() * 1000)
    for kind, streams, most in (("shiryaev-roberts", 3000, 60_000), ("cusum", 300, 100_000)):
        lengths = run_lengths(rng, streams, kind, 1000.0, most)
        mean, error = float(lengths.mean()), float(lengths.std() / np.sqrt(streams))
        peeked = ""
        if kind == "shiryaev-roberts":
            y = (rng.random((1000, 20_000)) < M0).astype(float)
            alarms = folds.peeked_t(y, M0)
            peeked = f"{np.median(np.where(alarms > 0, alarms, 20_000)):.0f} median, {(alarms > 0).mean():.2f} alarm"
        rows.append(
            Row(
                id="S5",
                experiment=f"average run length at the boundary, stated 1000, {kind}, {streams} streams",
                criterion="mean - 3 SE >= 1000",
                measured=f"{mean:.0f} (SE {error:.0f})",
                seed=f"{seed:.0f} whatever is wished" if kind == "shiryaev-roberts" else "",
                t_test=peeked,
                passed=mean - 3 * error >= 1000 and agrees(rng, kind),
            )
        )
    return rows


def seed_delay(rng: np.random.Generator, rate: float, streams: int) -> float:
    """Median scores until the seed's rule fails an hour, when the change falls anywhere in an hour."""
    delays = []
    for offset in rng.integers(0, HOUR, streams).tolist():
        hits, end = rng.binomial(offset, 0.02) + rng.binomial(HOUR - offset, rate), HOUR - offset
        while hits < HOUR - HOUR * 95 // 100 and end < 100 * HOUR:
            hits, end = rng.binomial(HOUR, rate), end + HOUR
        delays.append(end)
    return float(np.median(delays))


def s6() -> list[Row]:
    """Delay after a change from 2 % to more, with one false alarm in 14 days at most."""
    rng = np.random.default_rng(6)
    streams, before = 300, 10_000
    fold = folds.Change(streams, M0)
    false = np.zeros(streams, bool)
    for _ in range(before):
        false |= fold.step((rng.random(streams) < 0.02).astype(float)) >= LEVEL
    start = fold.r
    found, seeds, peeked = [], [], []
    for rate, limit in DELAY_LIMITS.items():
        fold.r, delays = start, np.full(streams, np.inf)
        for at in range(1, 8 * limit + 1):
            raised = fold.step((rng.random(streams) < rate).astype(float)) >= LEVEL
            delays = np.where(raised & np.isinf(delays), at, delays)
        found.append(float(np.median(delays)))
        seeds.append(seed_delay(rng, rate, streams))
        after = (rng.random((streams, 30 * limit)) < rate).astype(float)
        whole = np.concatenate([(rng.random((streams, before)) < 0.02).astype(float), after], axis=1)
        alarms = folds.peeked_t(whole, M0)
        peeked.append(float(np.median(np.where(alarms > 0, alarms - before, np.inf))))
    limits = list(DELAY_LIMITS.values())
    return [
        Row(
            id="S6",
            experiment="median scores until a change is seen, 2 % to 50/20/15/10/7 %, one false alarm in 14 days",
            criterion="<= " + each(limits, "{:.0f}") + "; none before",
            measured=each(found, "{:.0f}") + f"; {int(false.sum())} before",
            seed=each(seeds, "{:.0f}"),
            t_test=each(peeked, "{:.0f}"),
            passed=not false.any() and all(delay <= limit for delay, limit in zip(found, limits, strict=True)),
        )
    ]


EXPERIMENTS = {"S5": s5, "S6": s6}
