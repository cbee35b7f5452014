"""S9: do stable features stay silent, all hundred of them, and is a changed one seen?

A hundred features: sixty numbers, a third of them often missing, twenty skewed ones, ten categories of two. Judged by
what ships, sketches and all; the rivals look at the same hours.
"""

import numpy as np

from benchmarks.judging.table import Row, each
from upm_cli.core.features.drift import FeatureDrift, FeaturePolicy, Look, Reference, learn_reference
from upm_cli.core.features.psi import distances, ks_p_value, psi, psi_p_value
from upm_cli.core.judging.multiplicity import benjamini_hochberg, holm
from upm_cli.core.window import Csr, WindowBatch

Array = np.ndarray
HOUR = 3_600_000
INDEX = np.arange(100, dtype=np.uint32) * 7919 + 5
ALPHA = 0.05


def make_rows(rng: np.random.Generator, n: int, hour: int, shift: float = 0.0) -> WindowBatch:
    """Return `n` windows of one hour; `shift` moves the first number, in standard deviations."""
    value = rng.standard_normal((n, 100), np.float32)
    present = np.ones((n, 100), bool)
    value[:, 0] += np.float32(shift)
    np.exp(value[:, 60:80], out=value[:, 60:80])
    present[:, :60:3] = value[:, 1:60:3] > -0.5
    first = value[:, 80:90] > 0.3
    present[:, 80:90], present[:, 90:] = first, ~first
    value[:, 80:] = 1
    present[:, 0] = True
    rows = WindowBatch.empty(n)
    rows.start_ms = np.full(n, hour * HOUR)
    index = np.broadcast_to(INDEX, (n, 100))
    rows.x = Csr(np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int64), index[present], value[present])
    return rows


def looks(
    rng: np.random.Generator, reference: Reference, policy: FeaturePolicy, hours: int, n: int, shift: float
) -> tuple[list[Look], FeatureDrift]:
    """Return the looks at `hours` hours of `n` windows each, and the fold after them."""
    fold, found = FeatureDrift(reference, policy), []
    for hour in range(hours + 1):
        found += fold.fold(1_000_000 + hour * n, make_rows(rng, n, hour, shift))
    return found, fold


def make_reference(rng: np.random.Generator, policy: FeaturePolicy) -> Reference:
    rows = make_rows(rng, 10_000, -1)
    reference = learn_reference(lambda: [(0, rows)], policy, 1)
    assert reference is not None
    return reference


def p_values(rng: np.random.Generator, n: int, repeats: int = 3000) -> tuple[float, float, float, float]:
    """Return how often stable samples of `n` against 10,000 have p < .01 by PSI and KS, KS p < .05, and PSI >= .1."""
    before = np.full(10, 1000)
    found = np.empty((repeats, 3))
    for row in found:
        reference = np.sort(rng.standard_normal(10_000))
        edges = reference[np.arange(999, 9000, 1000)]
        now = np.sort(rng.standard_normal(n))
        after = np.bincount(edges.searchsorted(now), minlength=10)
        row[:] = psi_p_value(before, after), ks_p_value(distances(reference, now)[0], 10_000, n), psi(before, after)
    shares = (found[:, 0] < 0.01, found[:, 1] < 0.01, found[:, 1] < 0.05, found[:, 2] >= 0.1)
    small, kolmogorov, loose, large = (float(share.mean()) for share in shares)
    return small, kolmogorov, loose, large


def calibration(rng: np.random.Generator) -> Row:
    sizes = (100, 500, 2000)
    found = np.array([p_values(rng, n) for n in sizes])
    return Row(
        id="S9",
        experiment="share of stable features with p < .01, n = 100 / 500 / 2000 against 10,000",
        criterion="<= .015 from n = 500 on (fewer are not judged)",
        measured=f"PSI {each(found[:, 0])}; KS {each(found[:, 1])}",
        seed=f"PSI >= .1 alone: {each(found[:, 3], '{:.3f}')}",
        t_test=f"KS p < .05: {each(found[:, 2], '{:.3f}')}",
        passed=bool((found[1:, :2] <= 0.015).all()),
    )


def silence(rng: np.random.Generator, references: int = 12, hours: int = 20, n: int = 1000) -> list[Row]:
    """A hundred stable features, hour by hour; several references, as what one has by chance is in all its hours."""
    policy, found, alarms = FeaturePolicy(), [], 0
    for _ in range(references):
        more, fold = looks(rng, make_reference(rng, policy), policy, hours, n, 0.0)
        found += more
        alarms += int((fold.alarms.at >= 0).sum())
    p = np.array([[one.p for one in look.findings] for look in found])
    adjusted = {name: np.array([rule(row) for row in p]) for name, rule in (("Holm", holm), ("BH", benjamini_hochberg))}
    any_flag = {name: float((q.min(axis=1) <= ALPHA).mean()) for name, q in adjusted.items()}
    raw = float((p <= ALPHA).sum(axis=1).mean())
    flags = sum(one.drifted for look in found for one in look.findings)
    return [
        Row(
            id="S9",
            experiment=f"any of 100 stable features flagged in an hour at .05, {references} x {hours} hours of {n}",
            criterion="<= .05 an hour",
            measured=", ".join(f"{name} {share:.3f}" for name, share in any_flag.items()),
            t_test=f"unadjusted: {raw:.1f} flags an hour",
            passed=all(share <= ALPHA for share in any_flag.values()),
        ),
        Row(
            id="S9",
            experiment=f"the same as shipped (budget {policy.budget}): flags, and alarms of the detectors",
            criterion="none",
            measured=f"{flags} flags, {alarms} alarms",
            passed=flags == 0 and alarms == 0,
        ),
    ]


def sight(rng: np.random.Generator, repeats: int = 3, hours: int = 24) -> Row:
    """One number of a hundred moves; in which look is it flagged, and when does its detector alarm?"""
    policy, shifts = FeaturePolicy(), (0.2, 0.3, 0.5, 1.0)
    reference = make_reference(rng, policy)
    slot = int(np.flatnonzero(reference.shape.features == INDEX[0])[0])
    firsts = []
    for shift in shifts:
        waits = []
        for _ in range(repeats):
            found, fold = looks(rng, reference, policy, hours, 1000, shift)
            told = [at for at, look in enumerate(found, 1) if look.findings[slot].drifted]
            told += [at for at, look in enumerate(found, 1) if look.span.last_seq == fold.alarms.at[slot]]
            waits.append(min(told, default=hours + 1))
        firsts.append(float(np.median(waits)))
    return Row(
        id="S9",
        experiment="median hours until a number that moved by .2 / .3 / .5 / 1 sd is told, 1000 windows an hour",
        criterion="<= 24 / 6 / 1 / 1",
        measured=each(firsts, "{:.0f}"),
        passed=all(wait <= limit for wait, limit in zip(firsts, (24, 6, 1, 1), strict=True)),
    )


def s9() -> list[Row]:
    rng = np.random.default_rng(9)
    return [calibration(rng), *silence(rng), sight(rng)]


EXPERIMENTS = {"S9": s9}
