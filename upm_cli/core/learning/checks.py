"""What any learner must do, as checks to run on a specification. Public: run them on learners of your own.

    for check in CHECKS:
        check(LearnerSpec(task="binary", optimizer="ftrl"), numpy.random.default_rng(7))

A check raises AssertionError saying what went wrong. Chance comes from the generator that is handed in, so a
failure can be repeated. Rates far from an optimizer's default may fail the checks on learning.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from upm_cli.core.learning import Learned, Learner, LearnerSpec, create, restore
from upm_cli.core.learning.metrics import Metrics
from upm_cli.core.learning.model import LinearModel
from upm_cli.core.window import Csr, F32Array

Check = Callable[[LearnerSpec, np.random.Generator], None]
_FEATURES: Final = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """Windows `x` with labels `y` that a linear model can learn."""

    x: Csr
    y: F32Array

    def slice(self, start: int, stop: int) -> "Sample":
        return Sample(self.x.slice(start, stop), self.y[start:stop])

    def __len__(self) -> int:
        return len(self.x)


def make_sample(spec: LearnerSpec, rng: np.random.Generator, windows: int) -> Sample:
    """Return windows with some of twelve features each, and labels of the task that follow from them."""
    present = rng.random((windows, _FEATURES)) < 0.7
    values = rng.normal(size=(windows, _FEATURES)).astype(np.float32)
    names = rng.integers(0, 2**32, _FEATURES, dtype=np.uint32)
    indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
    x = Csr(indptr, np.broadcast_to(names, present.shape)[present], values[present])
    outputs = {"multiclass": 4, "structured": spec.outputs}.get(spec.task, 1)
    truth = np.where(present, values, 0) @ rng.normal(size=(_FEATURES, outputs)).astype(np.float32)
    if spec.task == "binary":
        return Sample(x, (truth > 0).astype(np.float32))
    if spec.task == "multiclass":
        return Sample(x, truth.argmax(axis=1).astype(np.float32)[:, None])
    y = truth.astype(np.float32)
    if spec.task == "structured":
        y[(rng.random(y.shape) < 0.2) & (np.arange(outputs) > 0)] = np.nan
    return Sample(x, y)


def learn(learner: Learner, sample: Sample, step: int) -> list[Learned]:
    """Hand over `sample` in pieces of `step` windows."""
    pieces = [sample.slice(at, min(at + step, len(sample))) for at in range(0, len(sample), step)]
    return [learner.learn_many(piece.x, piece.y) for piece in pieces]


def state(learner: Learner) -> tuple[str, dict[str, bytes]]:
    """Return everything a learner knows, to compare."""
    meta = json.dumps(learner.meta(), sort_keys=True, allow_nan=False)
    return meta, {name: values.tobytes() for name, values in learner.arrays().items()}


def check_two_runs_are_equal(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """The same windows give the same bytes."""
    sample = make_sample(spec, rng, 500)
    first, second = create(spec), create(spec)
    assert [r.losses.tobytes() for r in learn(first, sample, 500)] == [
        r.losses.tobytes() for r in learn(second, sample, 500)
    ], "two runs gave different losses"
    assert state(first) == state(second), "two runs gave different states"


def check_cuts_do_not_matter(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """Pieces of any number of whole batches give the bytes of one piece."""
    sample = make_sample(spec, rng, 40 * spec.batch_size + 3)
    whole = create(spec)
    expected = np.concatenate([r.losses for r in learn(whole, sample, len(sample))])
    for batches in (1, 3, 17):
        cut = create(spec)
        losses = np.concatenate([r.losses for r in learn(cut, sample, batches * spec.batch_size)])
        assert losses.tobytes() == expected.tobytes(), f"losses differ in pieces of {batches} batches"
        assert state(cut) == state(whole), f"states differ in pieces of {batches} batches"


def check_restoring_goes_on_equally(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """A learner saved and restored between two batches ends with the bytes of one that was not."""
    sample = make_sample(spec, rng, 12 * spec.batch_size)
    straight, learner = create(spec), create(spec)
    for at in range(0, len(sample), spec.batch_size):
        piece = sample.slice(at, at + spec.batch_size)
        straight.learn_many(piece.x, piece.y)
        learner = restore(json.loads(json.dumps(learner.meta())), learner.arrays())
        learner.learn_many(piece.x, piece.y)
        assert state(learner) == state(straight), f"restoring at window {at} changed the state after the next batch"


def check_predicting_changes_nothing(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """Predictions are repeatable, and neither the state nor the input knows of them."""
    sample = make_sample(spec, rng, 300)
    learner = create(spec)
    learn(learner, sample, 300)
    before, x = state(learner), sample.x
    copies = b"".join(column.tobytes() for column in (x.indptr, x.index, x.value, sample.y))
    first, second = learner.predict_many(x), learner.predict_many(x)
    assert first.tobytes() == second.tobytes(), "two predictions differ"
    assert state(learner) == before, "predicting changed the state"
    learner.learn_many(x, sample.y)
    after = b"".join(column.tobytes() for column in (x.indptr, x.index, x.value, sample.y))
    assert after == copies, "the input was modified"


def check_it_learns(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """On windows that a linear model can tell apart the loss falls, and is soon below the base rate's."""
    sample = make_sample(spec, rng, 400 * max(8, spec.batch_size))
    learner, metrics = create(spec), Metrics.begin(spec.task)
    losses = []
    for at in range(0, len(sample), 4096 // spec.batch_size * spec.batch_size):
        piece = sample.slice(at, min(at + 4096 // spec.batch_size * spec.batch_size, len(sample)))
        result = learner.learn_many(piece.x, piece.y)
        metrics.update(result.predictions, piece.y, result.losses, ~result.rejected)
        losses.append(result.losses)
    loss, report = np.concatenate(losses), metrics.report()
    tenth = loss.size // 10
    early, late = float(np.nanmean(loss[:tenth])), float(np.nanmean(loss[-tenth:]))
    assert late < 0.9 * early, f"the loss went from {early:.4g} to {late:.4g}"
    quality = "brier" if "brier" in report else "mae"
    ours, base = report[quality], report["base_rate"][quality]
    assert ours < 0.97 * base, f"{quality} {ours:.4g} is not below the base rate's {base:.4g}"


def check_shuffled_labels_teach_nothing(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """Where labels have nothing to do with features, predictions are not better than the base rate."""
    sample = make_sample(spec, rng, 200 * max(8, spec.batch_size))
    shuffled = Sample(sample.x, sample.y[rng.permutation(len(sample))])
    learner, metrics = create(spec), Metrics.begin(spec.task)
    for result, at in zip(
        learn(learner, shuffled, spec.batch_size), range(0, len(sample), spec.batch_size), strict=True
    ):
        metrics.update(
            result.predictions, shuffled.y[at : at + spec.batch_size], result.losses, np.logical_not(result.rejected)
        )
    report = metrics.report()
    quality = "brier" if "brier" in report else "rmse"
    ours, base = report[quality], report["base_rate"][quality]
    assert ours > 0.97 * base, f"{quality} {ours:.4g} beats the base rate's {base:.4g} on labels without meaning"


def check_hostile_input_stays_finite(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """NaN, infinite, huge and tiny values, empty windows and repeated features never lead to a prediction of NaN."""
    sample = make_sample(spec, rng, 60 * spec.batch_size)
    learner = create(spec)
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e-45, -0.0, 1e9], np.float32)
    for at in range(0, len(sample), spec.batch_size):
        piece = sample.slice(at, at + spec.batch_size)
        value, y = piece.x.value.copy(), piece.y.copy()
        if value.size:
            value[rng.integers(0, value.size, 2)] = rng.choice(values, 2)
        y[rng.integers(0, len(y), 1)] = rng.choice(np.array([np.nan, np.inf, -1e30, 7.5, 0.0], np.float32))
        x = Csr.concat([Csr(piece.x.indptr, piece.x.index, value).slice(0, len(y) - 1), Csr.empty(1)])
        result = learner.learn_many(x, y)
        assert np.isfinite(result.predictions).all(), f"window {at}…: a prediction made while learning is not finite"
        assert np.isfinite(result.losses[~result.rejected]).all(), f"window {at}…: a loss is not finite"
        assert np.isfinite(learner.predict_many(x)).all(), f"window {at}…: a prediction is not finite"
    for name, array in learner.arrays().items():
        assert np.isfinite(array).all(), f"the state {name!r} is not finite"


def check_rejected_windows_leave_no_trace(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """A batch with windows that are rejected leaves the state of the batch without them."""
    sample = make_sample(spec, rng, 8 * spec.batch_size)
    with_bad, without = create(spec), create(spec)
    for at in range(0, len(sample), spec.batch_size):
        good = sample.slice(at, at + spec.batch_size - 1)
        if not len(good):
            continue
        bad = Csr(np.array([0, 2]), rng.integers(0, 2**32, 2, dtype=np.uint32), np.array([5e3, np.nan], np.float32))
        place = int(rng.integers(0, len(good) + 1))
        x = Csr.concat([good.x.slice(0, place), bad, good.x.slice(place, len(good))])
        y = np.concatenate([good.y[:place], good.y[:1], good.y[place:]])
        result = with_bad.learn_many(x, y)
        without.learn_many(good.x, good.y)
        assert np.flatnonzero(result.rejected).tolist() == [place], f"window {at + place} was not the one rejected"
        assert state(with_bad) == state(without), f"the rejected window {at + place} left a trace"


def check_order_of_features_does_not_matter(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """Windows with their features in another order get the same predictions, up to rounding."""
    sample = make_sample(spec, rng, 600)
    order = np.concatenate(
        [rng.permutation(np.arange(a, b)) for a, b in zip(sample.x.indptr, sample.x.indptr[1:], strict=False)]
    )
    other = Sample(Csr(sample.x.indptr, sample.x.index[order], sample.x.value[order]), sample.y)
    first = np.concatenate([r.predictions for r in learn(create(spec), sample, 600)])
    second = np.concatenate([r.predictions for r in learn(create(spec), other, 600)])
    largest = float(np.abs(first).max())
    assert np.allclose(first, second, rtol=1e-3, atol=1e-3 * largest), "the order of features changed predictions"


def check_model_predicts_like_the_learner(spec: LearnerSpec, rng: np.random.Generator) -> None:
    """What agents load predicts as the learner does, also features and magnitudes it never saw; and can be stored."""
    sample = make_sample(spec, rng, 600)
    learner = create(spec)
    learn(learner, sample, 600)
    arrays, meta = learner.model()
    for name, array in {**arrays, **learner.arrays()}.items():
        assert array.size and np.isfinite(array).all(), f"array {name!r} is empty or not finite"
    json.dumps(meta, allow_nan=False)
    strange = make_sample(spec, rng, 50).x
    strange = Csr(strange.indptr, strange.index, strange.value * np.float32(100))
    larger = Csr(sample.x.indptr, sample.x.index, sample.x.value * np.float32(3))
    model = LinearModel.load(arrays, meta)
    for x in (sample.x, strange, larger, Csr.empty(3)):
        ours, theirs = learner.predict_many(x), model.predict_many(x)
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5), "the model for agents predicts something else"


CHECKS: Final[tuple[Check, ...]] = (
    check_two_runs_are_equal,
    check_cuts_do_not_matter,
    check_restoring_goes_on_equally,
    check_predicting_changes_nothing,
    check_it_learns,
    check_shuffled_labels_teach_nothing,
    check_hostile_input_stays_finite,
    check_rejected_windows_leave_no_trace,
    check_order_of_features_does_not_matter,
    check_model_predicts_like_the_learner,
)
