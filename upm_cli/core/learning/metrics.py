"""How well a learner predicts before it learns: prequential metrics (Gama, Sebastião & Rodrigues 2013).

All sums are float64, added one window after the other, so they do not depend on how the stream is cut. Everything
is compared with what the labels alone would have predicted: for classes their frequencies so far with one label of
each class added (Laplace), for numbers the mean so far.
"""

from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F32Array, F64Array, I64Array

RECENT: Final = 1000
FADING: Final = 0.999
_FOLD: Final = 32  # losses are faded in by groups of this many, counted from the first window
_POWERS: Final = FADING ** np.arange(_FOLD - 1, -1, -1.0)
_SUMS: Final = {
    "classes": ("loss", "hits", "brier", "base_loss", "base_hits", "base_brier"),
    "numbers": ("loss", "absolute", "squares", "base_absolute", "base_squares"),
}
BoolArray = npt.NDArray[np.bool_]


class Metrics:
    """Accumulators of one trainer, and what they say."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.n = 0
        self._form = "classes" if task in {"binary", "multiclass"} else "numbers"
        self._sums = np.zeros(len(_SUMS[self._form]))
        self._recent = np.zeros(RECENT)
        self._faded = np.zeros(2)  # faded sum of losses and of ones, over whole groups
        self._counts = np.zeros(2 if task == "binary" else 1)  # labels of each class, or of each output
        self._totals = np.zeros(1)  # numbers: sum of the labels of each output
        self._classes = 2 if task == "binary" else 1  # known so far
        self._leader = 0  # the class with most labels; of equals, the first that had so many

    @classmethod
    def begin(cls, task: str) -> Self:
        """Return metrics of nothing."""
        return cls(task)

    def update(self, predictions: F32Array, targets: F32Array, losses: F64Array, ok: BoolArray) -> None:
        """Add the windows that were learned: `ok` (n,) of those with `predictions` and `targets` (n, k)."""
        if not ok.all():
            predictions, targets, losses = predictions[ok], targets[ok], losses[ok]
        if not losses.size:
            return
        if self._form == "classes":
            columns = self._of_classes(predictions, targets[:, 0].astype(np.int64))
        else:
            columns = self._of_numbers(predictions, targets)
        table = np.column_stack([losses, *columns])
        self._sums = np.cumsum(np.vstack([self._sums, table]), axis=0)[-1]
        self._remember(losses)

    def _remember(self, losses: F64Array) -> None:
        """Put losses into the ring of recent ones, and fade in the groups that are complete now."""
        start = self.n % _FOLD
        open_group = self._recent[(self.n - start + np.arange(start)) % RECENT]
        values = np.concatenate([open_group, losses])
        groups = values[: values.size - values.size % _FOLD].reshape(-1, _FOLD)
        weight, group_ones = FADING**_FOLD, float(_POWERS.sum())
        loss, ones = self._faded.tolist()
        for added in (groups * _POWERS).sum(axis=1).tolist():
            loss, ones = loss * weight + added, ones * weight + group_ones
        self._faded[:] = loss, ones
        kept = losses[-RECENT:]
        self._recent[(self.n + losses.size - kept.size + np.arange(kept.size)) % RECENT] = kept
        self.n += losses.size

    def _of_classes(self, predictions: F32Array, truth: I64Array) -> list[F64Array]:
        p = predictions.astype(np.float64)
        rows = np.arange(truth.size)
        if self.task == "binary":
            hits = (p[:, 0] >= 0.5) == (truth == 1)
            brier = (p[:, 0] - truth) ** 2
        else:
            hits = p.argmax(axis=1) == truth
            brier = np.cumsum(p * p, axis=1)[:, -1] - 2 * p[rows, truth] + 1
        own, leaders = self._count(truth)
        classes = np.maximum.accumulate(np.maximum(truth + 1, self._classes))
        total = self.n + rows + classes
        share = own / total
        base_brier = self._squares(own) + classes
        base_brier = base_brier / total**2 - 2 * share + 1
        if self.task == "binary":
            base_brier /= 2  # there it is of one probability, not of two
        self._classes = int(classes[-1])
        self._counts += np.bincount(truth, minlength=self._counts.size)
        return [hits.astype(np.float64), brier, -np.log(share), (leaders == truth).astype(np.float64), base_brier]

    def _count(self, truth: I64Array) -> tuple[F64Array, I64Array]:
        """Return for each row how many labels its class has with it, and which class had most before it."""
        missing = int(truth.max()) + 1 - self._counts.size
        self._counts = np.pad(self._counts, (0, max(0, missing)))
        own = self._own_counts(truth)
        most = np.maximum.accumulate(np.concatenate([[self._counts[self._leader]], own]))[:-1]
        changed = np.maximum.accumulate(np.where(own > most, np.arange(truth.size), -1))
        after = np.where(changed >= 0, truth[changed], self._leader)
        leaders = np.concatenate([[self._leader], after[:-1]])
        self._leader = int(after[-1])
        return own, leaders

    def _own_counts(self, truth: I64Array) -> F64Array:
        """Return for each row how many labels its class has with it."""
        if self.task == "binary":
            ones = np.cumsum(truth)
            zeros = np.arange(1, truth.size + 1) - ones
            return np.asarray(np.where(truth == 1, self._counts[1] + ones, self._counts[0] + zeros))
        order = np.argsort(truth, kind="stable")
        grouped = truth[order]
        own = np.empty(truth.size)
        own[order] = self._counts[grouped] + np.arange(truth.size) - np.searchsorted(grouped, grouped) + 1
        return own

    def _squares(self, own: F64Array) -> F64Array:
        """Return the sum over classes of (labels + 1)^2 before each row, but for 1 of each class known."""
        start = (self._counts * (self._counts + 2)).sum()
        return np.asarray(start + np.concatenate([[0.0], np.cumsum(2 * own + 1)[:-1]]))

    def _of_numbers(self, predictions: F32Array, targets: F32Array) -> list[F64Array]:
        present = ~np.isnan(targets)
        y = np.where(present, targets, 0.0).astype(np.float64)
        if self._counts.size != y.shape[1]:
            self._counts, self._totals = np.zeros(y.shape[1]), np.zeros(y.shape[1])
        counts = np.cumsum(np.vstack([self._counts, present]), axis=0)
        totals = np.cumsum(np.vstack([self._totals, y]), axis=0)
        means = totals[:-1] / np.maximum(counts[:-1], 1)
        self._counts, self._totals = counts[-1], totals[-1]
        columns = []
        for guess in (predictions.astype(np.float64), means):
            gap = np.where(present, np.abs(guess - y), 0.0)
            shares = present.sum(axis=1)
            columns += [np.cumsum(gap, axis=1)[:, -1] / shares, np.cumsum(gap * gap, axis=1)[:, -1] / shares]
        return columns

    def report(self) -> dict[str, Any]:
        """Return what to show, plain JSON values: loss (all, fading 0.999, last 1,000), quality, and the baseline's.

        classes: accuracy, brier, log_loss and base_rate {…} of the same; numbers: mae, rmse and base_rate {…}.
        """
        found: dict[str, Any] = {"n": self.n}
        if not self.n:
            return found
        mean = dict(zip(_SUMS[self._form], (self._sums / self.n).tolist(), strict=True))
        found["loss"] = {"progressive": mean["loss"], "fading": self._fading(), "recent": self._recent_mean()}
        if self._form == "classes":
            base = {"accuracy": mean["base_hits"], "brier": mean["base_brier"], "log_loss": mean["base_loss"]}
            quality = {"accuracy": mean["hits"], "brier": mean["brier"], "log_loss": mean["loss"]}
        else:
            base = {"mae": mean["base_absolute"], "rmse": mean["base_squares"] ** 0.5}
            quality = {"mae": mean["absolute"], "rmse": mean["squares"] ** 0.5}
        return {**found, **quality, "base_rate": base}

    def _recent_mean(self) -> float:
        size = min(self.n, RECENT)
        return float(np.cumsum(self._recent[(self.n - size + np.arange(size)) % RECENT])[-1]) / size

    def _fading(self) -> float:
        loss, ones = self._faded.tolist()
        start = self.n % _FOLD
        for value in self._recent[(self.n - start + np.arange(start)) % RECENT].tolist():
            loss, ones = loss * FADING + value, ones * FADING + 1
        return float(loss / ones)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the accumulators."""
        return {
            "sums": self._sums.copy(),
            "recent": self._recent.copy(),
            "faded": self._faded.copy(),
            "counts": self._counts.copy(),
            "totals": self._totals.copy(),
        }

    def meta(self) -> dict[str, Any]:
        """Return the rest as plain JSON values."""
        return {"task": self.task, "n": self.n, "classes": self._classes, "leader": self._leader}

    @classmethod
    def from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> Self:
        """Return the metrics that `arrays` and `meta` were taken of. Raises KeyError or ValueError for others."""
        metrics = cls(meta["task"])
        metrics.n, metrics._classes, metrics._leader = (int(meta[name]) for name in ("n", "classes", "leader"))
        for name in ("sums", "recent", "faded", "counts", "totals"):
            found = arrays[name].astype(np.float64)
            if name in {"sums", "recent", "faded"} and found.shape != getattr(metrics, f"_{name}").shape:
                raise ValueError(f"metrics array {name!r} has the shape {found.shape}")
            setattr(metrics, f"_{name}", found)
        return metrics
