"""S10 in short: places are uniform, independent between rollouts, and the same in every process."""

import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from upm_cli.core.rollouts.exposure import bucket

NAMES = [f"tenant-{i}" for i in range(5000)]


def places(salt: str) -> np.ndarray:
    return np.array([bucket(name, salt) for name in NAMES])


def test_places_are_uniform() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert min(stats.kstest(places(f"rollout-{i}"), "uniform").pvalue for i in range(5)) > 0.001


def test_a_tenants_places_in_two_rollouts_have_nothing_to_do_with_each_other() -> None:
    found = [places(f"rollout-{i}") for i in range(5)]
    limit = 4.5 / len(NAMES) ** 0.5  # of the normal law of a correlation of independent values
    assert max(abs(np.corrcoef(one, other)[0, 1]) for one, other in combinations(found, 2)) < limit


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_places_do_not_depend_on_the_process(seed: str) -> None:
    ask = "from upm_cli.core.rollouts.exposure import bucket; print([bucket(f't{i}', 'r').hex() for i in range(100)])"
    environ = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([bucket(f"t{i}", "r").hex() for i in range(100)])
