"""S3, S4: how long until harm is seen, and until a good challenger passes?"""

import numpy as np

from benchmarks.judging import folds, streams
from benchmarks.judging.table import Row, each
from upm_cli.core.evidence import EvidencePolicy
from upm_cli.core.judging.eb import rows_until

ALPHA = 0.05
EXCESSES = (0.005, 0.01, 0.02, 0.05)
HARM_LIMITS = (2900, 920, 410, 160)
PROMOTE_LIMITS = (4200, 1450, 540, 180)
SHIPPED_LIMITS = (5500, 6500, 13_000)  # windows a stage takes as shipped, for sd .03 / .08 / .2


def fixed_n(excess: float, sd: float = streams.SD) -> float:
    """Windows that one look at a z-test needs for power 0.8, when the effect is known beforehand."""
    return ((1.6449 + 0.8416) * sd / excess) ** 2


def median(alarms: np.ndarray) -> float:
    """Return the median of the alarms; infinite when half of them never came."""
    return float(np.median(np.where(alarms > 0, alarms, np.inf)))


def s3() -> list[Row]:
    """Median windows to a HARM alarm."""
    rng = np.random.default_rng(3)
    found, peeked, passed = [], [], True
    for excess, limit in zip(EXCESSES, HARM_LIMITS, strict=True):
        d = np.clip(streams.normal(rng, 0.01 + excess, 1000, 5 * limit), -1, 1)
        m = (0.01 + 1) / 2
        alarms = folds.betting((d + 1) / 2, m, ALPHA)
        found.append(median(alarms))
        peeked.append(median(folds.peeked_t(d, 0.01)))
        passed &= found[-1] <= limit and folds.agrees((d + 1) / 2, alarms, "betting", m, ALPHA)
    return [
        Row(
            id="S3",
            experiment="median windows to harm, excess over the margin .005 / .01 / .02 / .05, sd .08",
            criterion="<= " + each(HARM_LIMITS, "{:.0f}"),
            measured=each(found, "{:.0f}")
            + f" (one look, effect known: {each([fixed_n(x) for x in EXCESSES], '{:.0f}')})",
            t_test=each(peeked, "{:.0f}") + ", with S1's false alarms",
            passed=passed,
        )
    ]


def s4() -> list[Row]:
    """Median windows until an equal challenger passes; also with the settings that ship."""
    rng = np.random.default_rng(4)
    found, shipped, passed = [], [], True
    for margin, limit in zip(EXCESSES, PROMOTE_LIMITS, strict=True):
        y = np.clip(streams.normal(rng, 0.0, 1000, 4 * limit), -0.5, 0.5) + 0.5
        alarms = folds.bernstein(1 - y, 0.5 - margin, ALPHA)
        found.append(median(alarms))
        passed &= found[-1] <= limit and folds.agrees(1 - y, alarms, "bernstein", 0.5 - margin, ALPHA)
        alarms = folds.not_worse(2 * y - 1, 2 * margin, ALPHA)
        shipped.append(median(alarms))
        passed &= shipped[-1] <= limit and folds.agrees(2 * y - 1, alarms, "not worse", 2 * margin, ALPHA)
    rows = [
        Row(
            id="S4",
            experiment="median windows until an equal challenger passes, margin .005 / .01 / .02 / .05, sd .08",
            criterion="<= " + each(PROMOTE_LIMITS, "{:.0f}"),
            measured=each(found, "{:.0f}") + f" mapped to [0, 1]; {each(shipped, '{:.0f}')} as differences, as shipped",
            passed=passed,
        )
    ]
    policy = EvidencePolicy()
    alpha = policy.alpha_stage(1)
    waits, expected = [], []
    for sd, limit in zip((0.03, 0.08, 0.2), SHIPPED_LIMITS, strict=True):
        size, clip = policy.block_size, policy.clip
        blocks = np.clip(rng.standard_normal((500, 3 * limit // size)) * sd / np.sqrt(size), -clip, clip)
        waits.append(size * median(folds.not_worse(blocks / clip, policy.margin / clip, alpha)))
        told = rows_until(policy.margin / clip, (sd / np.sqrt(size) / clip) ** 2, np.log(1 / alpha))
        expected.append(float((told or 0) * size))
    rows.append(
        Row(
            id="S4",
            experiment="the same for one of 8 stages as shipped, margin .01, sd .03 / .08 / .2",
            criterion="<= " + each(SHIPPED_LIMITS, "{:.0f}"),
            measured=each(waits, "{:.0f}") + f" (told beforehand: {each(expected, '{:.0f}')})",
            passed=all(wait <= limit for wait, limit in zip(waits, SHIPPED_LIMITS, strict=True)),
        )
    )
    return rows


EXPERIMENTS = {"S3": s3, "S4": s4}
