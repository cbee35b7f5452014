"""Losses between 0 and 1, against arithmetic done by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.judging.paired import bad_miss, of_comparisons, of_predictions
from upm_cli.core.window import Strings

NAN = np.float32(np.nan)


def f32(*rows: object) -> np.ndarray:
    return np.array(rows, np.float32)


def test_binary_and_class_predictions_lose_their_brier_score() -> None:
    found = of_predictions(f32([0.25], [0.5], [1.0], [0.5]), f32([1], [0], [1], [NAN]), "binary", 1.0)
    np.testing.assert_allclose(found, [0.5625, 0.25, 0.0, np.nan])
    classes = of_predictions(f32([0.5, 0.25, 0.25], [1, 0, 0], [0, 1, 0]), f32([0], [1], [7]), "multiclass", 1.0)
    np.testing.assert_allclose(classes, [(0.25 + 0.0625 + 0.0625) / 2, 1.0, 1.0])  # class 7 was not known: all wrong


def test_numbers_and_maps_lose_their_score_in_units_of_the_scale() -> None:
    found = of_predictions(f32([1.0], [4.0], [np.inf]), f32([1.5], [0.0], [1.0]), "regression", 2.0)
    np.testing.assert_allclose(found, [0.25, 1.0, np.nan])
    maps = of_predictions(f32([1, 0], [0, 0], [0, 0]), f32([1.5, NAN], [1, 0.5], [NAN, NAN]), "structured", 2.0)
    np.testing.assert_allclose(maps, [0.25, 0.375, np.nan])


def test_comparisons_have_the_loss_of_the_model_and_of_the_baseline() -> None:
    text = Strings.empty(2)
    table = Comparisons(
        np.arange(2), np.arange(2), text, text, f32(0, 0), np.zeros(2), f32(0.5, NAN), f32(0.5, 1.0), f32(0.25, NAN),
        f32(3.0, 0.5),
    )  # fmt: skip
    assert of_comparisons(table, "binary", 1.0)[0].tolist() == [0.5, 1.0]
    model, base = of_comparisons(table, "multiclass", 1.0)
    np.testing.assert_allclose(model, [0.25, 0.5])
    np.testing.assert_allclose(base, [0.125, np.nan])
    model, base = of_comparisons(table, "regression", 2.0)
    np.testing.assert_allclose(model, [0.25, np.nan])
    np.testing.assert_allclose(base, [1.0, 0.25])


@given(
    p=st.floats(0, 1, width=32), y=st.integers(0, 1), value=st.floats(-1e6, 1e6), scale=st.floats(0.01, 100),
)  # fmt: skip
def test_every_loss_lies_between_0_and_1(p: float, y: int, value: float, scale: float) -> None:
    found = [
        of_predictions(f32([p]), f32([y]), "binary", scale)[0],
        of_predictions(f32([p, 1 - p]), f32([y]), "multiclass", scale)[0],
        of_predictions(f32([value]), f32([0.0]), "regression", scale)[0],
    ]
    assert all(-1e-6 <= loss <= 1 + 1e-6 for loss in found)


def test_a_bad_miss_is_where_the_seed_score_reaches_the_threshold_or_a_class_is_wrong() -> None:
    assert bad_miss("regression", 0.2, 1.0, by_score=False) == 0.2
    assert bad_miss("structured", 5.0, 2.0, by_score=False) == 1.0
    assert bad_miss("binary", 0.2, 1.0, by_score=False) == 0.25
    assert bad_miss("binary", 0.2, 1.0, by_score=True) == pytest.approx(0.04)
