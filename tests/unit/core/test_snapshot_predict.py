"""What a snapshot predicts, against the learner it was made of and against an obvious loop."""

from typing import Any

import numpy as np
import pytest

from upm_cli.core.learning import LearnerSpec, create
from upm_cli.core.predict import model_predict, open_model
from upm_cli.core.snapshot import SnapshotFormatError, decode, encode
from upm_cli.core.window import Csr
from upm_cli.errors import IntegrityError

BITS = 8


def make_windows(n: int, seed: int) -> Csr:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 6, n)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    index = rng.integers(0, 1 << 32, indptr[-1], dtype=np.uint32) % 400
    return Csr(indptr.astype(np.int64), index, (rng.normal(size=index.size) * 50).astype(np.float32))


def trained(task: str, classes: int) -> Any:
    learner = create(LearnerSpec(task=task, bits=BITS))
    x = make_windows(600, seed=1)
    y = np.random.default_rng(2).integers(0, classes, len(x)).astype(np.float32)
    learner.learn_many(x, y * 7 if task == "regression" else y)
    return learner


def snapshot_of(learner: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays, meta = learner.model()
    return decode(encode(arrays, {"schema_version": 1, "model": meta}))


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 4), ("regression", 5)])
def test_a_snapshot_predicts_what_its_learner_does(task: str, classes: int) -> None:
    learner = trained(task, classes)
    x = make_windows(200, seed=3)
    found = model_predict(*snapshot_of(learner), x)
    expected = learner.predict_many(x)
    assert found.dtype == np.float32
    # Scaling is folded into the weights, which moves the last bit or two.
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multiclass", 4), ("regression", 5)])
def test_storing_a_model_does_not_change_a_bit_of_what_it_predicts(task: str, classes: int) -> None:
    arrays, meta = trained(task, classes).model()
    x = make_windows(200, seed=4)
    before = model_predict(arrays, {"model": meta}, x)
    arrays, manifest = decode(encode(arrays, {"schema_version": 1, "model": meta}))
    assert model_predict(arrays, manifest, x).tobytes() == before.tobytes()


def test_a_binary_model_is_the_documented_arithmetic() -> None:
    arrays, manifest = snapshot_of(trained("binary", 2))
    x = make_windows(50, seed=5)
    weight = dict(zip(arrays["slots"].tolist(), arrays["weights"][:, 0].tolist(), strict=True))
    limit = dict(zip(arrays["slots"].tolist(), arrays["limits"].tolist(), strict=True))
    for row, predicted in enumerate(model_predict(arrays, manifest, x)[:, 0].tolist()):
        margin = weight[1 << BITS] * min(1.0, limit[1 << BITS])
        for at in range(x.indptr[row], x.indptr[row + 1]):
            slot = int(x.index[at]) % (1 << BITS)
            bound = limit.get(slot, 0.0)
            margin += weight.get(slot, 0.0) * min(max(float(x.value[at]), -bound), bound)
        assert predicted == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-5)


def test_a_snapshot_without_a_known_model_is_refused() -> None:
    arrays, manifest = snapshot_of(trained("binary", 2))
    with pytest.raises(SnapshotFormatError, match="no model"):
        open_model(arrays, {})
    with pytest.raises(IntegrityError):
        open_model(arrays, {"model": {**manifest["model"], "kind": "forest"}})
