"""Per-step parity with scikit-learn's stochastic gradient descent, one window at a time."""

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor

from upm_cli.core.learning import Learner, LearnerSpec, create
from upm_cli.core.learning.model import LinearModel
from upm_cli.core.window import Csr

FEATURES = 5
IDENTITY = Csr(np.arange(FEATURES + 1), np.arange(FEATURES, dtype=np.uint32), np.ones(FEATURES, np.float32))


def csr(x: np.ndarray) -> Csr:
    n = len(x)
    index = np.tile(np.arange(FEATURES, dtype=np.uint32), n)
    return Csr(np.arange(n + 1) * FEATURES, index, x.astype(np.float32).ravel())


def margins(learner: Learner) -> tuple[list[float], float]:
    """Return the weight of each feature and the bias, read through the model agents load."""
    model = LinearModel.load(*learner.model())
    bias = float(model.margins(Csr.empty(1))[0, 0])
    return (model.margins(IDENTITY)[:, 0] - bias).tolist(), bias


@pytest.mark.parametrize(
    ("loss", "penalty", "schedule"),
    [
        ("logistic", 0.0, "constant"),
        ("logistic", 0.02, "constant"),
        ("logistic", 0.0, "inverse_scaling"),
        ("squared", 0.0, "constant"),
        ("squared", 0.02, "inverse_scaling"),
        ("huber", 0.0, "constant"),
    ],
)
def test_each_step_is_that_of_scikit_learn(loss: str, penalty: float, schedule: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, FEATURES))
    truth = x @ rng.normal(size=FEATURES) + 0.5
    y = (truth > 0).astype(float) if loss == "logistic" else truth
    theirs_loss = {"logistic": "log_loss", "squared": "squared_error", "huber": "huber"}[loss]
    kind = SGDClassifier if loss == "logistic" else SGDRegressor
    theirs = kind(
        loss=theirs_loss,
        penalty="l2",
        alpha=penalty,
        learning_rate={"constant": "constant", "inverse_scaling": "invscaling"}[schedule],
        eta0=0.05,
        power_t=0.25,
        shuffle=False,
        epsilon=0.7,
    )
    ours = create(
        LearnerSpec(
            task="binary" if loss == "logistic" else "regression",
            loss=loss,
            optimizer="sgd",
            learning_rate=0.05,
            weight_decay=penalty,
            schedule=schedule,
            schedule_power=0.25,
            huber_delta=0.7,
            batch_size=1,
            scaler="none",
            bits=8,
        )
    )
    more = {"classes": [0, 1]} if loss == "logistic" else {}
    for row in range(200):
        theirs.partial_fit(x[row : row + 1], y[row : row + 1], **more)
        ours.learn_many(csr(x[row : row + 1]), y[row : row + 1].astype(np.float32))
        weights, bias = margins(ours)
        assert weights == pytest.approx(theirs.coef_.ravel().tolist(), rel=1e-4, abs=1e-5), f"after window {row}"
        assert bias == pytest.approx(float(theirs.intercept_[0]), rel=1e-4, abs=1e-5), f"after window {row}"
