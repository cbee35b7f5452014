"""Losses: gradients against finite differences, values against closed forms and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from upm_cli.core.learning.losses import Loss, make_loss
from upm_cli.core.window import F32Array

MARGIN = st.floats(-8, 8, width=32)


def gradient(loss: Loss, m: F32Array, y: F32Array) -> F32Array:
    """Return the gradient, (n, k), through the flat form where there is one output and the loss has one."""
    is_flat = m.shape[1] == 1 and type(loss).__name__ != "Softmax"
    margins = m[:, 0].copy() if is_flat else m
    out = np.empty_like(margins)
    loss.gradient(margins, loss.prepare(y), out)
    return out.reshape(m.shape)


def slope(loss: Loss, m: F32Array, y: F32Array, k: int, step: float = 2.0**-7) -> float:
    """Return d value / d m[0, k] by a central difference."""
    up, down = m.copy(), m.copy()
    up[0, k] += step
    down[0, k] -= step
    return float((loss.value(up, y)[0] - loss.value(down, y)[0]) / (2 * step))


@given(m=MARGIN, y=st.sampled_from([0.0, 1.0]))
def test_the_logistic_gradient_is_the_slope_of_its_value(m: float, y: float) -> None:
    margin, label = np.array([[m]], np.float32), np.array([[y]], np.float32)
    loss = make_loss("logistic")
    assert gradient(loss, margin, label)[0, 0] == pytest.approx(slope(loss, margin, label, 0), abs=2e-5)


@given(m=st.lists(MARGIN, min_size=1, max_size=6), data=st.data())
def test_the_softmax_gradient_is_the_slope_of_its_value(m: list[float], data: st.DataObject) -> None:
    margins = np.array([m], np.float32)
    label = np.array([[data.draw(st.integers(0, len(m) - 1))]], np.float32)
    loss = make_loss("softmax")
    found = gradient(loss, margins, label)[0]
    assert found == pytest.approx([slope(loss, margins, label, k) for k in range(len(m))], abs=5e-5)


@given(m=MARGIN, y=MARGIN, name=st.sampled_from(["squared", "huber"]))
def test_the_gradient_of_numbers_is_the_slope_of_their_loss(m: float, y: float, name: str) -> None:
    margin, label = np.array([[m]], np.float32), np.array([[y]], np.float32)
    loss = make_loss(name, huber_delta=1.5)
    assert gradient(loss, margin, label)[0, 0] == pytest.approx(slope(loss, margin, label, 0), abs=5e-3)


def test_missing_numbers_have_neither_loss_nor_gradient() -> None:
    m, y = np.array([[1, 5, -2]], np.float32), np.array([[0, np.nan, 2]], np.float32)
    for name, value in (("squared", 0.5 + 8.0), ("huber", 0.5 + 3.5)):
        loss = make_loss(name, huber_delta=1.0)
        assert loss.value(m, y).tolist() == [value]
        assert gradient(loss, m, y)[0, 1] == 0


def test_huber_is_squared_up_to_its_delta_and_linear_beyond() -> None:
    loss = make_loss("huber", huber_delta=2.0)
    m, y = np.array([[0.0], [2.0], [2.5], [-10.0]], np.float32), np.zeros((4, 1), np.float32)
    assert loss.value(m, y).tolist() == [0.0, 2.0, 2.0 * 1.5, 2.0 * 9.0]
    assert gradient(loss, m, y)[:, 0].tolist() == [0.0, 2.0, 2.0, -2.0]


def test_log_losses_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    m, y = rng.normal(size=(200, 4)).astype(np.float32), rng.integers(0, 4, (200, 1)).astype(np.float32)
    softmax = make_loss("softmax")
    p = softmax.predict(m).astype(np.float64)
    expected = log_loss(y[:, 0], p / p.sum(axis=1, keepdims=True), labels=range(4))
    assert softmax.value(m, y).mean() == pytest.approx(expected, rel=1e-5)
    logistic, truth = make_loss("logistic"), (y > 1).astype(np.float32)
    expected = log_loss(truth[:, 0], logistic.predict(m[:, :1])[:, 0].astype(np.float64))
    assert logistic.value(m[:, :1], truth).mean() == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:overflow")
def test_saturated_margins_have_exact_losses() -> None:
    m, y = np.array([[1000.0], [1000.0], [-1000.0]], np.float32), np.array([[1.0], [0.0], [1.0]], np.float32)
    loss = make_loss("logistic")
    assert loss.value(m, y).tolist() == [0.0, 1000.0, 1000.0]
    assert gradient(loss, m, y)[:, 0].tolist() == [0.0, 1.0, -1.0]


def test_a_class_that_is_not_known_yet_has_no_probability() -> None:
    softmax = make_loss("softmax")
    m = np.array([[0.0, math.log(3), -np.inf]], np.float32)
    assert softmax.predict(m)[0].tolist() == pytest.approx([0.25, 0.75, 0.0])
    assert softmax.value(m, np.zeros((1, 1), np.float32))[0] == pytest.approx(math.log(4), rel=1e-6)
