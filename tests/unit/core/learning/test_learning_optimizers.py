"""Optimizers against the formulas of their papers, one weight after the other in float64."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from upm_cli.core.learning import LearnerSpec
from upm_cli.core.learning.optimizers import Scratch, make_optimizer

WEIGHTS = 6
RATE = 0.1
Slow = Callable[[dict[str, float], float, list[float], int], float]


def sgd(state: dict[str, float], w: float, g: list[float], step: int) -> float:
    return w - RATE * sum(g)


def momentum(state: dict[str, float], w: float, g: list[float], step: int) -> float:
    state["v"] = 0.9 * state.get("v", 0.0) + sum(g)
    return w - RATE * state["v"]


def adagrad(state: dict[str, float], w: float, g: list[float], step: int) -> float:
    state["n"] = state.get("n", 1e-20) + sum(x * x for x in g)
    return w - RATE * sum(g) / math.sqrt(state["n"])


def adam(state: dict[str, float], w: float, g: list[float], step: int) -> float:
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * sum(g)
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * sum(g) ** 2
    mean, variance = state["m"] / (1 - 0.9**step), state["v"] / (1 - 0.999**step)
    return w - RATE * mean / (math.sqrt(variance) + 1e-8)


def ftrl(state: dict[str, float], w: float, g: list[float], step: int) -> float:
    """McMahan et al. 2013, algorithm 1, with lambda1 = 0.05, lambda2 = 0.2, beta = 1."""
    n = state.get("n", 0.0)
    grown = n + sum(x * x for x in g)
    state["z"] = state.get("z", 0.0) + sum(g) - (math.sqrt(grown) - math.sqrt(n)) / RATE * w
    state["n"] = grown
    if abs(state["z"]) <= 0.05:
        return 0.0
    return -(state["z"] - math.copysign(0.05, state["z"])) / ((1 + math.sqrt(grown)) / RATE + 0.2)


RULES = [
    (LearnerSpec(optimizer="sgd"), sgd),
    (LearnerSpec(optimizer="sgd", momentum=0.9), momentum),
    (LearnerSpec(optimizer="adagrad"), adagrad),
    (LearnerSpec(optimizer="adam"), adam),
    (LearnerSpec(optimizer="ftrl", l1=0.05, l2=0.2), ftrl),
]


@pytest.mark.parametrize(("spec", "slow"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_rule_moves_weights_as_its_formula_says(spec: LearnerSpec, slow: Slow) -> None:
    rng = np.random.default_rng(5)
    optimizer, scratch = make_optimizer(spec), Scratch()
    state, w = optimizer.init(WEIGHTS), np.zeros(WEIGHTS, np.float32)
    expected, memories = [0.0] * WEIGHTS, [dict[str, float]() for _ in range(WEIGHTS)]
    for step in range(1, 40):
        at = rng.integers(0, WEIGHTS - 1, 9)  # many occur twice, the last weight never does
        g = rng.normal(size=9).astype(np.float32)
        for slot in set(at.tolist()):
            expected[slot] = slow(memories[slot], expected[slot], g[at == slot].astype(float).tolist(), step)
        optimizer.update(state, w, at, g.copy(), RATE, step, scratch)
        assert w.tolist() == pytest.approx(expected, rel=2e-4, abs=2e-5)
    assert w[-1] == 0


@pytest.mark.parametrize(("spec", "slow"), RULES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_rate_for_each_output_is_that_rate_for_its_weights(spec: LearnerSpec, slow: Slow) -> None:
    rng = np.random.default_rng(6)
    rates = np.array([0.1, 0.4])
    together, scratch = make_optimizer(spec), Scratch()
    state, w = together.init(2 * WEIGHTS), np.zeros(2 * WEIGHTS, np.float32)
    alone = [(make_optimizer(spec), make_optimizer(spec).init(WEIGHTS), np.zeros(WEIGHTS, np.float32)) for _ in rates]
    for step in range(1, 10):
        slots, g = rng.integers(0, WEIGHTS, 5), rng.normal(size=(5, 2)).astype(np.float32)
        flat = (slots[:, None] * 2 + np.arange(2)).ravel()
        together.update(state, w, flat, g.ravel().copy(), rates, step, scratch)
        for k, (optimizer, own, weights) in enumerate(alone):
            optimizer.update(own, weights, slots, g[:, k].copy(), float(rates[k]), step, Scratch())
    for k, (_, _, weights) in enumerate(alone):
        assert w.reshape(-1, 2)[:, k].tolist() == pytest.approx(weights.tolist(), rel=1e-5, abs=1e-7)


def test_l1_leaves_weights_without_evidence_at_exactly_zero() -> None:
    optimizer = make_optimizer(LearnerSpec(optimizer="ftrl", l1=1.0))
    state, w = optimizer.init(2), np.zeros(2, np.float32)
    for step in range(1, 6):
        g = np.array([0.15 * (-1) ** step, -0.5], np.float32)
        optimizer.update(state, w, np.arange(2), g, RATE, step, Scratch())
    assert w[0] == 0
    assert w[1] > 0
