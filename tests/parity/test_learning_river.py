"""Progressive loss beside River's same learners, on the phishing data that ships with River."""

import numpy as np
import pytest
from river import linear_model, metrics, optim
from river.datasets import Phishing

from upm_cli.core.hashing import hash_name
from upm_cli.core.learning import LearnerSpec, create
from upm_cli.core.window import Csr

RULES = [
    (LearnerSpec(task="binary", optimizer="sgd", learning_rate=0.05), optim.SGD(0.05)),
    (LearnerSpec(task="binary", optimizer="sgd", learning_rate=0.02, momentum=0.9), optim.Momentum(0.02, rho=0.9)),
    (LearnerSpec(task="binary", optimizer="adagrad", learning_rate=0.2), optim.AdaGrad(0.2)),
    (LearnerSpec(task="binary", optimizer="adam", learning_rate=0.01), optim.Adam(0.01)),
    (
        LearnerSpec(task="binary", optimizer="ftrl", learning_rate=0.3, l1=0.1, l2=0.1),
        optim.FTRLProximal(alpha=0.3, beta=1.0, l1=0.1, l2=0.1),
    ),
]


@pytest.mark.parametrize(("spec", "optimizer"), RULES, ids=lambda value: type(value).__name__)
def test_progressive_loss_is_within_one_percent_of_river(spec: LearnerSpec, optimizer: optim.base.Optimizer) -> None:
    rows = [({**x, "bias": 1.0}, bool(y)) for x, y in Phishing()]
    theirs, river = metrics.LogLoss(), linear_model.LogisticRegression(optimizer, intercept_lr=0.0)
    for x, y in rows:
        theirs.update(y, river.predict_proba_one(x))
        river.learn_one(x, y)
    features = [[(hash_name(name), value) for name, value in x.items() if name != "bias"] for x, _ in rows]
    indptr = np.cumsum([0, *map(len, features)]).astype(np.int64)
    index = np.array([h & 0xFFFFFFFF for row in features for h, _ in row], np.uint32)
    value = np.array([v for row in features for _, v in row], np.float32)
    one_by_one = LearnerSpec.from_meta({**vars_of(spec), "batch_size": 1, "scaler": "none"})
    learned = create(one_by_one).learn_many(Csr(indptr, index, value), np.array([y for _, y in rows], np.float32))
    assert len(rows) == 1250
    assert float(learned.losses.mean()) == pytest.approx(theirs.get(), rel=0.01)


def test_the_default_learner_untuned_is_better_than_rivers_defaults() -> None:
    rows = list(Phishing())
    theirs, river = metrics.LogLoss(), linear_model.LogisticRegression()
    for x, y in rows:
        theirs.update(y, river.predict_proba_one(x))
        river.learn_one(x, y)
    names = sorted(rows[0][0])
    index = np.array([hash_name(name) & 0xFFFFFFFF for name in names], np.uint32)
    value = np.array([[x[name] for name in names] for x, _ in rows], np.float32)
    x = Csr(np.arange(len(rows) + 1) * len(names), np.tile(index, len(rows)), value.ravel())
    learned = create(LearnerSpec(task="binary")).learn_many(x, np.array([y for _, y in rows], np.float32))
    assert float(learned.losses.mean()) < theirs.get()


def vars_of(spec: LearnerSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__slots__}
