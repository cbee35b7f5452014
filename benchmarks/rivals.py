"""The Python learners, each in a process of its own: one pass over a file, test-then-train, model saved at the end.

    python benchmarks/rivals.py river|sklearn FILE [--rows N]

Prints {"windows", "loss", "loop_cpu_s"}; `loss` is the progressive log loss (nats) and `loop_cpu_s` leaves out the
imports, which is what a comparison with a short run should look at.
"""

import argparse
import json
import math
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

FLOOR = 1e-7  # of a probability, so that one sure mistake doesn't cost the whole mean
SKLEARN_BATCH = 1000


def river(path: Path, rows: int | None) -> dict[str, float]:
    """River's linear AdaGrad logistic regression, one window at a time."""
    from river import linear_model, optim

    model = linear_model.LogisticRegression(optim.AdaGrad(lr=0.1), intercept_lr=0.1)
    total, seen = 0.0, 0
    begun = time.process_time()
    for x, y in islice(examples(path), rows):
        total += log_loss(model.predict_proba_one(x).get(True, 0.5), y)
        model.learn_one(x, y)
        seen += 1
    with tempfile.TemporaryFile() as file:
        pickle.dump(model, file)
    return {"windows": seen, "loss": total / seen, "loop_cpu_s": time.process_time() - begun}


def sklearn(path: Path, rows: int | None) -> dict[str, float]:
    """scikit-learn's FeatureHasher and SGDClassifier.partial_fit, a thousand windows at a time."""
    import joblib
    import numpy as np
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    hasher = FeatureHasher(2**20, alternate_sign=False)
    model = SGDClassifier(loss="log_loss", learning_rate="adaptive", eta0=0.02, alpha=1e-7)
    total, seen = 0.0, 0
    begun = time.process_time()
    stream = islice(examples(path), rows)
    while chunk := list(islice(stream, SKLEARN_BATCH)):
        x = hasher.transform([features for features, _ in chunk])
        y = np.fromiter((label for _, label in chunk), bool, len(chunk))
        chance = model.predict_proba(x)[:, 1] if seen else np.full(len(chunk), 0.5)
        total += sum(map(log_loss, chance.tolist(), y.tolist()))
        model.partial_fit(x, y, classes=[False, True])
        seen += len(chunk)
    with tempfile.TemporaryFile() as file:
        joblib.dump(model, file)
    return {"windows": seen, "loss": total / seen, "loop_cpu_s": time.process_time() - begun}


def examples(path: Path) -> Iterator[tuple[dict[str, float], bool]]:
    """Read JSON lines into what a Python user would hand over: numbers by name, and `name=text` for categories."""
    import orjson

    with path.open("rb") as lines:
        for line in lines:
            window = orjson.loads(line)
            x = {f"{k}={v}" if isinstance(v, str) else k: 1 if isinstance(v, str) else v
                 for k, v in window["features"].items()}  # fmt: skip
            yield x, bool(window["label"])


def log_loss(chance: float, happened: bool) -> float:
    return -math.log(max(chance if happened else 1.0 - chance, FLOOR))


RIVALS: dict[str, Callable[[Path, int | None], dict[str, float]]] = {"river": river, "sklearn": sklearn}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rival", choices=sorted(RIVALS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    print(json.dumps(RIVALS[options.rival](options.file, options.rows)))


if __name__ == "__main__":
    main()
