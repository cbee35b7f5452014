"""Learning on streams that nobody would send on purpose, in any pieces, with restarts."""

import json
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from upm_cli.core.learning import Learned, LearnerSpec, create, restore
from upm_cli.core.learning.checks import state
from upm_cli.core.learning.model import LinearModel
from upm_cli.core.window import Csr, F32Array

VALUES = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-6, 1e6, 1e25, 1e-45, float("nan"), float("inf"), 3e38])
NUMBERS = st.sampled_from([0.0, 1.0, -2.0, 1e-5, 1e6, 1e11, float("nan"), float("-inf")])
CLASSES = st.sampled_from([0.0, 1.0, 2.0, 5.0, -1.0, 0.5, float("nan")])


@dataclass(frozen=True)
class Case:
    spec: LearnerSpec
    x: Csr
    y: F32Array
    cuts: list[int]  # batches in each piece


@st.composite
def cases(draw: st.DrawFn) -> Case:
    task = draw(st.sampled_from(["binary", "multiclass", "regression", "structured"]))
    optimizer, more = draw(
        st.sampled_from(
            [
                ("adagrad", {}),
                ("adagrad", {"weight_decay": 0.5, "clip": 1.0}),
                ("sgd", {"learning_rate": 0.5}),
                ("sgd", {"momentum": 0.9}),
                ("adam", {"schedule": "inverse_scaling"}),
                ("ftrl", {"l1": 0.1}),
            ]
        )
    )
    spec = LearnerSpec(
        task=task,
        optimizer=optimizer,
        bits=3,
        batch_size=draw(st.integers(1, 4)),
        scaler=draw(st.sampled_from(["max_abs", "none"])),
        outputs=2 if task == "structured" else 0,
        **more,
    )
    features = st.lists(st.tuples(st.integers(0, 2**32 - 1), VALUES), max_size=3)
    rows = draw(st.lists(features, min_size=1, max_size=24))
    label = CLASSES if task in {"binary", "multiclass"} else NUMBERS
    width = 2 if task == "structured" else 1
    y = draw(st.lists(st.lists(label, min_size=width, max_size=width), min_size=len(rows), max_size=len(rows)))
    flat = [feature for row in rows for feature in row]
    x = Csr(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([index for index, _ in flat], np.uint32),
        np.array([value for _, value in flat], np.float32),
    )
    return Case(spec, x, np.array(y, np.float32), draw(st.lists(st.integers(1, 3), max_size=8)))


def pieces(case: Case) -> list[tuple[int, int]]:
    bounds, n = [0], len(case.x)
    for batches in case.cuts:
        bounds.append(min(bounds[-1] + batches * case.spec.batch_size, n))
    return list(zip(bounds, [*bounds[1:], n], strict=True))


@settings(max_examples=400, deadline=None)
@given(case=cases())
def test_any_stream_in_any_pieces_with_restarts_gives_the_same_bytes(case: Case) -> None:
    whole, cut = create(case.spec), create(case.spec)
    expected = whole.learn_many(case.x, case.y)
    parts: list[Learned] = []
    for start, stop in pieces(case):
        parts.append(cut.learn_many(case.x.slice(start, stop), case.y[start:stop]))
        cut = restore(json.loads(json.dumps(cut.meta(), allow_nan=False)), cut.arrays())
    assert state(cut) == state(whole)
    assert np.concatenate([part.losses for part in parts]).tobytes() == expected.losses.tobytes()
    assert np.concatenate([part.reasons for part in parts]).tolist() == expected.reasons.tolist()


@settings(max_examples=400, deadline=None)
@given(case=cases())
def test_nothing_a_stream_can_hold_makes_a_number_that_is_none(case: Case) -> None:
    learner = create(case.spec)
    learned = learner.learn_many(case.x, case.y)
    assert np.isfinite(learned.predictions).all()
    assert np.isfinite(learned.gradient_norms).all()
    assert np.array_equal(np.isnan(learned.losses), learned.rejected)
    assert np.isfinite(learner.predict_many(case.x)).all()
    arrays, meta = learner.model()
    for array in (*learner.arrays().values(), *arrays.values()):
        assert array.size
        assert np.isfinite(array).all()
    assert np.isfinite(LinearModel.load(arrays, meta).predict_many(case.x)).all()


@settings(max_examples=300, deadline=None)
@given(case=cases())
def test_windows_that_were_rejected_might_as_well_not_have_been_in_their_batch(case: Case) -> None:
    learner, without = create(case.spec), create(case.spec)
    size = case.spec.batch_size
    for at in range(0, len(case.x), size):
        stop = min(at + size, len(case.x))
        known = learner.outputs
        learned = learner.learn_many(case.x.slice(at, stop), case.y[at:stop])
        kept = np.flatnonzero(~learned.rejected) + at
        without.learn_many(case.x.take(kept), case.y[kept])
        if learner.outputs == without.outputs:
            assert state(learner) == state(without)
        else:
            assert case.spec.task == "multiclass"  # a class may be known from a window that then exploded
            assert learner.outputs > known
            return
