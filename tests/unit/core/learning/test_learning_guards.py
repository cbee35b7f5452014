"""What is not learned from, and that it leaves nothing behind."""

import numpy as np
import pytest

from upm_cli.core.learning import Learner, LearnerSpec, Reject, create
from upm_cli.core.learning.checks import Sample, make_sample, state
from upm_cli.core.window import Csr


def window(*features: tuple[int, float]) -> Csr:
    index, value = zip(*features, strict=True) if features else ((), ())
    return Csr(np.array([0, len(features)]), np.array(index, np.uint32), np.array(value, np.float32))


def trained(spec: LearnerSpec, windows: int = 2048) -> tuple[Learner, Sample]:
    sample = make_sample(spec, np.random.default_rng(1), windows)
    learner = create(spec)
    learner.learn_many(sample.x, sample.y)
    return learner, sample


def with_row(sample: Sample, place: int, x: Csr, y: float) -> Sample:
    rows = Csr.concat([sample.x.slice(0, place), x, sample.x.slice(place, len(sample))])
    return Sample(rows, np.insert(sample.y, place, y, axis=0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e30])
def test_a_feature_that_is_not_a_usable_number_rejects_its_window_only(value: float) -> None:
    learner, sample = trained(LearnerSpec(task="binary", bits=10))
    result = learner.learn_many(with_row(sample.slice(0, 31), 5, window((7, value)), 1.0).x, np.ones(32, np.float32))
    assert np.flatnonzero(result.reasons == Reject.VALUE).tolist() == [5]
    assert np.isnan(result.losses).tolist() == result.rejected.tolist()
    assert result.gradient_norms[5] == 0


def test_a_window_that_is_not_a_number_is_predicted_as_one_without_features() -> None:
    learner, _ = trained(LearnerSpec(task="binary", bits=10))
    empty = learner.predict_many(Csr.empty(1))
    assert learner.predict_many(window((7, np.nan), (8, 1.0))).tolist() == empty.tolist()


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("binary", [0.5, np.nan, -1.0, 2.0]),
        ("multiclass", [0.5, np.nan, -1.0, 1000.0]),
        ("regression", [np.nan, np.inf, 2e12]),
    ],
)
def test_labels_that_are_not_of_the_task_are_rejected(task: str, labels: list[float]) -> None:
    learner, _ = trained(LearnerSpec(task=task, bits=10))
    before = state(learner)
    result = learner.learn_many(Csr.empty(len(labels)), np.array(labels, np.float32))
    assert set(result.reasons.tolist()) == {Reject.LABEL}
    assert np.isfinite(result.predictions).all()
    assert state(learner) == before


def test_labels_of_a_wrong_shape_are_a_mistake_of_the_caller() -> None:
    learner = create(LearnerSpec(task="structured", outputs=2, bits=4))
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        learner.learn_many(Csr.empty(3), np.zeros((3, 1), np.float32))


@pytest.mark.parametrize("optimizer", ["adagrad", "sgd", "adam", "ftrl"])
def test_an_outlier_among_labels_is_rejected_and_leaves_no_trace(optimizer: str) -> None:
    """It also brings a larger feature than ever seen, whose scale has to be taken back."""
    spec = LearnerSpec(task="regression", bits=10, optimizer=optimizer)
    (dirty, sample), (clean, _) = trained(spec), trained(spec)
    good = sample.slice(0, 31)
    largest = int(np.abs(good.x.value).argmax())
    outlier = window((int(good.x.index[largest]), 1e4), (12345, 3.0))
    for place in (0, 13, 31):
        bad = with_row(good, place, outlier, 1e11)
        result = dirty.learn_many(bad.x, bad.y)
        clean.learn_many(good.x, good.y)
        assert np.flatnonzero(result.reasons == Reject.EXPLODING).tolist() == [place]
        assert state(dirty) == state(clean)


def test_a_rejection_in_a_long_chunk_does_not_reach_other_batches() -> None:
    """The chunk is prepared many batches at once; the rejected window's scale has to be found and taken back."""
    spec = LearnerSpec(task="regression", bits=10)
    (dirty, sample), (clean, _) = trained(spec), trained(spec)
    x = Csr(sample.x.indptr, sample.x.index, np.ones_like(sample.x.value))  # one magnitude: done in one go
    slots = np.random.default_rng(2).integers(0, 2**32, 40, dtype=np.uint32)
    index = slots[np.random.default_rng(3).integers(0, 40, x.index.size)]  # new features come all the time
    place, early = 500, int(x.indptr[3])  # the rejected window is in batch 15
    index[early] = 777  # grows in the first batch, and comes again only in the window that is rejected
    for learner in (dirty, clean):  # nothing grows here, so from now on many batches are tried at once
        known = Csr(x.indptr, slots[np.arange(x.index.size) % 40], x.value)
        learner.learn_many(known, sample.y)
    rest = Sample(Csr(x.indptr, index, x.value), sample.y).slice(0, 1023)
    bad = with_row(rest, place, window((777, 1.0), (int(slots[0]), 1.0), (99, 1.0)), 1e11)
    result = dirty.learn_many(bad.x, bad.y)
    assert np.flatnonzero(result.rejected).tolist() == [place]
    start, stop = place // 32 * 32, (place // 32 + 1) * 32
    for first, last in ((0, start), (start, stop - 1), (stop - 1, 1023)):
        part = rest.slice(first, last)
        clean.learn_many(part.x, part.y)
    assert state(dirty) == state(clean)


def test_gradient_descent_on_raw_large_values_is_stopped_before_it_moves() -> None:
    learner = create(LearnerSpec(task="binary", optimizer="sgd", scaler="none", bits=6))
    before = state(learner)
    result = learner.learn_many(window((1, 1e6)), np.ones(1, np.float32))
    assert result.reasons.tolist() == [Reject.EXPLODING]
    assert state(learner) == before


def test_a_batch_whose_gradient_is_beyond_all_bounds_is_taken_back_as_a_whole() -> None:
    learner = create(LearnerSpec(task="binary", scaler="none", bits=6))
    before = state(learner)
    x = Csr.concat([window((1, 1.0)), window((2, 1e20)), window((3, 1.0))])
    result = learner.learn_many(x, np.ones(3, np.float32))
    assert result.reasons.tolist() == [Reject.STEP] * 3
    assert result.predictions.tolist() == [[0.5]] * 3
    assert state(learner) == before


def test_a_learner_that_diverges_rejects_windows_and_predicts_finite_numbers() -> None:
    spec = LearnerSpec(task="regression", optimizer="sgd", scaler="none", learning_rate=0.9, bits=6)
    learner = create(spec)
    x = Csr(np.arange(3001) * 2, np.tile(np.array([1, 2], np.uint32), 3000), np.full(6000, 2.0, np.float32))
    result = learner.learn_many(x, np.ones(3000, np.float32))
    assert result.rejected.any()
    assert np.isfinite(result.predictions).all()
    assert all(np.isfinite(array).all() for array in learner.arrays().values())


def test_clipping_limits_what_one_window_can_do() -> None:
    moved = {}
    for clip in (0.0, 0.5):
        learner = create(
            LearnerSpec(task="regression", optimizer="sgd", learning_rate=0.1, scaler="none", clip=clip, bits=6)
        )
        result = learner.learn_many(window((1, 3.0)), np.full(1, -10, np.float32))
        moved[clip] = learner.arrays()["weights"][:, 0], float(result.gradient_norms[0])
    assert moved[0.0][1] == pytest.approx(10 * np.sqrt(10.0))
    assert moved[0.5][1] == pytest.approx(0.5)
    assert np.linalg.norm(moved[0.5][0]) == pytest.approx(0.1 * 0.5)
    assert moved[0.5][0] / np.linalg.norm(moved[0.5][0]) == pytest.approx(moved[0.0][0] / np.linalg.norm(moved[0.0][0]))
