"""Scaling: units do not matter, and the default learner is what its formula says."""

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.learning import LearnerSpec, create
from upm_cli.core.learning.checks import Sample, make_sample
from upm_cli.core.window import Csr


def slow_default_learner(sample: Sample, batch: int, rate: float) -> list[float]:
    """Progressive predictions of the default binary learner, window by window with dicts, in float64.

    Ross, Mineiro & Langford 2013, algorithm NAG, with the batch's sums in place of one window's.
    """
    s: defaultdict[int, float] = defaultdict(float)
    v: defaultdict[int, float] = defaultdict(float)
    n: defaultdict[int, float] = defaultdict(lambda: 1e-20)
    s[-1], total, seen, found = 1.0, 0.0, 0, []
    rows = []
    for i in range(len(sample)):
        a, b = sample.x.indptr[i : i + 2]
        row = [(-1, 1.0), *zip(sample.x.index[a:b].tolist(), sample.x.value[a:b].astype(float).tolist(), strict=True)]
        rows.append((row, float(sample.y.ravel()[i])))
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        old = dict(s)
        for row, _ in part:
            for name, value in row:
                s[name] = max(s[name], abs(value))
        for name in s:
            if old.get(name, 0) and s[name] > old[name]:
                n[name] = max(1e-20, n[name] * (old[name] / s[name]) ** 2)
        steps = []
        for row, y in part:
            scaled = [(name, value / s[name] if s[name] else 0.0) for name, value in row]
            p = 1 / (1 + math.exp(-sum(v[name] * x for name, x in scaled)))
            found.append(p)
            total += sum(x * x for _, x in scaled)
            steps += [(name, (p - y) * x) for name, x in scaled]
        seen += len(part)
        for name, g in steps:
            n[name] += g * g
        for name, g in steps:
            v[name] -= rate * math.sqrt(seen / total) * g / math.sqrt(n[name])
    return found


@pytest.mark.parametrize("batch", [1, 5, 32])
def test_the_default_learner_is_nag_on_batches(batch: int) -> None:
    spec = LearnerSpec(task="binary", batch_size=batch, bits=20)
    sample = make_sample(spec, np.random.default_rng(4), 700)
    found = create(spec).learn_many(sample.x, sample.y).predictions[:, 0]
    assert found.tolist() == pytest.approx(slow_default_learner(sample, batch, spec.rate), abs=2e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam", "ftrl"])
@pytest.mark.parametrize("power", range(-6, 7))
def test_a_feature_in_another_unit_gives_the_same_predictions(optimizer: str, power: int) -> None:
    spec = LearnerSpec(task="binary", optimizer=optimizer, bits=20)
    sample = make_sample(spec, np.random.default_rng(8), 640)
    factor = np.where(sample.x.index % 3 == 0, 10.0**power, 1.0)
    other = Csr(sample.x.indptr, sample.x.index, (sample.x.value * factor).astype(np.float32))
    first = create(spec).learn_many(sample.x, sample.y).predictions
    second = create(spec).learn_many(other, sample.y).predictions
    assert second.ravel().tolist() == pytest.approx(first.ravel().tolist(), rel=1e-5)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_numbers_in_another_unit_give_the_same_predictions_in_that_unit(optimizer: str, unit: float) -> None:
    spec = LearnerSpec(task="regression", optimizer=optimizer, bits=20)
    sample = make_sample(spec, np.random.default_rng(8), 640)
    first = create(spec).learn_many(sample.x, sample.y).predictions
    second = create(spec).learn_many(sample.x, sample.y * np.float32(unit)).predictions / unit
    assert np.abs(second - first).max() < 2e-3 * np.abs(first).max()


def test_the_first_batch_of_numbers_sets_the_bias_to_their_mean_and_nothing_else() -> None:
    learner = create(LearnerSpec(task="structured", outputs=2, bits=4, batch_size=4))
    x = Csr(np.arange(9), np.full(8, 3, np.uint32), np.arange(1, 9, dtype=np.float32))
    first = np.array([[1e6 + 2, np.nan], [1e6, np.nan], [1e6 - 2, np.nan], [1e6 + 4, np.nan]], np.float32)
    learner.learn_many(x.slice(0, 4), first)
    assert learner.arrays()["weights"].tolist() == [[0.0, 0.0], [1e6 + 1, 0.0]]
    learner.learn_many(x.slice(4, 8), np.array([[np.nan, 5.0]] * 4, np.float32))  # the other output begins
    assert learner.arrays()["weights"].tolist() == [[0.0, 0.0], [1e6 + 1, 5.0]]


@st.composite
def magnitudes(draw: st.DrawFn) -> Sample:
    """Windows whose features take few magnitudes, so that scales grow sometimes in one batch and sometimes in many."""
    rows = draw(
        st.lists(
            st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, -1.0, 2.0, 8.0])), max_size=4),
            min_size=1,
            max_size=60,
        )
    )
    labels = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(rows), max_size=len(rows)))
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    flat = [feature for row in rows for feature in row]
    index, value = np.array([i for i, _ in flat], np.uint32), np.array([v for _, v in flat], np.float32)
    return Sample(Csr(indptr, index, value), np.array(labels, np.float32))


@settings(max_examples=200, deadline=None)
@given(sample=magnitudes(), batch=st.integers(1, 5))
def test_growing_scales_for_many_batches_at_once_is_growing_them_one_by_one(sample: Sample, batch: int) -> None:
    spec = LearnerSpec(task="binary", bits=4, batch_size=batch)
    whole, single = create(spec), create(spec)
    for _ in range(3):  # the second and third time more batches are tried at once
        expected = [
            single.learn_many(sample.x.slice(a, min(a + batch, len(sample))), sample.y[a : a + batch]).losses
            for a in range(0, len(sample), batch)
        ]
        assert whole.learn_many(sample.x, sample.y).losses.tobytes() == np.concatenate(expected).tobytes()
    assert {k: a.tobytes() for k, a in whole.arrays().items()} == {k: a.tobytes() for k, a in single.arrays().items()}


def test_a_larger_value_than_ever_seen_counts_as_the_largest_seen() -> None:
    learner = create(LearnerSpec(task="binary", bits=4))
    x = Csr(np.arange(65), np.ones(64, np.uint32), np.tile(np.array([2.0, -2.0], np.float32), 32))
    learner.learn_many(x, np.tile(np.array([1.0, 0.0], np.float32), 32))
    at_limit, beyond = (Csr(np.array([0, 1]), np.ones(1, np.uint32), np.array([v], np.float32)) for v in (2.0, 2e6))
    assert learner.predict_many(beyond).tolist() == learner.predict_many(at_limit).tolist()
    assert learner.predict_many(at_limit)[0, 0] > 0.8


def test_a_feature_of_zeros_leaves_nothing_behind() -> None:
    learner = create(LearnerSpec(task="binary", bits=4))
    learner.learn_many(Csr(np.arange(4), np.full(3, 7, np.uint32), np.zeros(3, np.float32)), np.ones(3, np.float32))
    assert learner.arrays()["slots"].tolist() == [16] or learner.arrays()["weights"][0, 0] == 0


def test_a_checkpoint_holds_only_the_slots_in_use() -> None:
    learner = create(LearnerSpec(task="multiclass", bits=20))
    learner.learn_many(
        Csr(np.array([0, 1, 2]), np.array([5, 9], np.uint32), np.ones(2, np.float32)), np.array([0, 2], np.float32)
    )
    arrays = learner.arrays()
    assert arrays["slots"].tolist() == [5, 9, 1 << 20]
    assert arrays["weights"].shape == arrays["squares"].shape == (3, 3)


def test_classes_that_come_later_get_an_output_and_a_share_before_they_are_learned() -> None:
    learner = create(LearnerSpec(task="multiclass", bits=4, batch_size=4))
    result = learner.learn_many(Csr.empty(8), np.array([0, 1, 0, 1, 1, 5, 0, 0], np.float32))
    assert learner.outputs == 6
    assert result.predictions[:4, 2:].tolist() == [[0.0] * 4] * 4
    assert result.predictions.sum(axis=1).tolist() == pytest.approx([1.0] * 8)
    assert 0 < result.predictions[5, 5] < 0.3
