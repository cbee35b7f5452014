"""Every learner passes the public checks, whatever its task, optimizer and scaling."""

import numpy as np
import pytest

from upm_cli.core.learning import LearnerSpec
from upm_cli.core.learning.checks import CHECKS, Check

SPECS = [
    LearnerSpec(task=task, optimizer=optimizer, learning_rate=rate, bits=10, outputs=outputs, **more)
    for task, outputs in (("binary", 0), ("multiclass", 0), ("regression", 0), ("structured", 3))
    for optimizer, rate, more in (
        ("adagrad", None, {}),
        ("sgd", 0.01, {}),
        ("sgd", 0.002, {"momentum": 0.9, "weight_decay": 1e-3}),
        ("adam", None, {}),
        ("ftrl", None, {"l1": 0.01, "l2": 0.01}),
    )
] + [
    LearnerSpec(task="binary", bits=10, batch_size=1),
    LearnerSpec(task="binary", bits=10, scaler="none", learning_rate=0.1),
    LearnerSpec(task="multiclass", bits=3, batch_size=7, clip=1.0, schedule="inverse_scaling"),
    LearnerSpec(task="regression", bits=10, loss="huber", weight_decay=1e-4, schedule="cosine", warmup_windows=100),
    LearnerSpec(task="structured", outputs=1, bits=10, optimizer="sgd", learning_rate=0.01, scaler="none"),
]


def describe(spec: LearnerSpec) -> str:
    return f"{spec.task}-{spec.optimizer}-{spec.scaler}-{spec.batch_size}-{spec.momentum}-{spec.loss}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", SPECS, ids=describe)
def test_a_learner_passes_the_conformance_check(spec: LearnerSpec, check: Check) -> None:
    check(spec, np.random.default_rng(7))
