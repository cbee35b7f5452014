"""S10: are tenants' places nested, uniform, independent between rollouts, and the same everywhere?"""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.judging.table import Row
from upm_cli.core.rollouts.exposure import Exposure, bucket, exposed

ROOT = Path(__file__).resolve().parents[2]
PERCENTS = (1, 5, 10, 25, 50, 75, 100)
NAMES = [f"tenant-{i}" for i in range(20_000)]
ASK = """
import sys
from upm_cli.core.rollouts.exposure import bucket
print(f"{sys.version_info[0]}.{sys.version_info[1]}", [bucket(f"tenant-{i}", "rollout-0001").hex() for i in range(200)])
"""


def places(salt: str, names: list[str] = NAMES) -> np.ndarray:
    return np.array([bucket(name, salt) for name in names])


def uniform_p(values: np.ndarray) -> float:
    """Return the p-value of Kolmogorov's test against the uniform law, by its limiting distribution.

    P(sqrt(n) D > x) = 2 sum (-1)^(k-1) exp(-2 k^2 x^2) (Kolmogorov 1933), with Stephens' correction for n.
    """
    n, ordered = values.size, np.sort(values)
    steps = np.arange(1, n + 1) / n
    distance = max((steps - ordered).max(), (ordered - steps + 1 / n).max())
    x = (n**0.5 + 0.12 + 0.11 / n**0.5) * distance
    k = np.arange(1, 101)
    return float(np.clip(2 * np.sum((-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)), 0, 1))


def largest_correlation(salts: list[str]) -> float:
    """Return the largest |correlation| of places between two of the salts."""
    found = np.corrcoef(np.stack([places(salt) for salt in salts]))
    return float(np.abs(found[~np.eye(len(salts), dtype=bool)]).max())


def is_nested(salt: str) -> bool:
    inside = [exposed(NAMES[:2000], Exposure(salt=salt, percent=percent)) for percent in PERCENTS]
    return all(before <= after for before, after in pairwise(inside)) and len(inside[-1]) == 2000


def answers() -> tuple[list[str], set[str]]:
    """Return the versions of Python that answered under three hash seeds each, and all that was said."""
    pythons = [sys.executable, *filter(None, map(shutil.which, ("python3.12", "python3.13", "python3.14")))]
    versions, said = set(), set()
    for python in pythons:
        for seed in ("0", "1", "4242"):
            environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
            done = subprocess.run(
                [python, "-c", ASK], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:  # a Python that is only named in the path can't say anything
                version, _, found = done.stdout.partition(" ")
                versions.add(version)
                said.add(found)
    return sorted(versions, key=lambda version: int(version.partition(".")[2])), said


def run() -> list[Row]:
    p_values = [uniform_p(places(f"rollout-{i:04}")) for i in range(20)]
    correlation = largest_correlation([f"rollout-{i:04}" for i in range(10)])
    versions, said = answers()
    nested = all(is_nested(f"rollout-{i:04}") for i in range(20))
    golden = bucket("tenant-0", "rollout-0001") == 0.025449044161718556
    return [
        Row(
            id="S10",
            experiment="1 to 100 % of 2000 tenants, 20 rollouts",
            criterion="each share is part of the next",
            measured="nested" if nested else "not nested",
            passed=nested,
        ),
        Row(
            id="S10",
            experiment="places of 20,000 tenants are uniform, smallest of 20 rollouts",
            criterion="p > .001",
            measured=f"p = {min(p_values):.3f} (rollout-0001: {p_values[1]:.2f})",
            passed=min(p_values) > 0.001,
        ),
        Row(
            id="S10",
            experiment="places of a tenant in two of 10 rollouts, largest correlation by size",
            criterion="< .03",
            measured=f"{correlation:.3f}",
            passed=correlation < 0.03,
        ),
        Row(
            id="S10",
            experiment=f"places in other processes, three hash seeds, Python {', '.join(versions)}; a published one",
            criterion="the same bits",
            measured="the same" if len(said) == 1 and golden else "different",
            passed=len(said) == 1 and golden,
        ),
    ]


EXPERIMENTS = {"S10": run}
