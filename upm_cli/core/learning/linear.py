"""The linear learner: one hashed weight for each feature and output, moved batch by batch."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.blocks import Block, Floats, blocks
from upm_cli.core.learning.guards import GRADIENT_LIMIT, far_classes, far_numbers, long_steps
from upm_cli.core.learning.label_scale import LabelScale
from upm_cli.core.learning.losses import make_loss
from upm_cli.core.learning.model import finite, linear_model
from upm_cli.core.learning.optimizers import IntpArray, Rate, Scratch, make_optimizer
from upm_cli.core.learning.protocol import Learned, Reject
from upm_cli.core.learning.scaling import UNSEEN, MaxAbs, Scaler, Unscaled
from upm_cli.core.learning.schedules import rate_at
from upm_cli.core.learning.spec import LearnerSpec
from upm_cli.core.learning.targets import Targets, read_targets
from upm_cli.core.learning.weights import Weights
from upm_cli.core.learning.work import Work, joined
from upm_cli.core.window import Csr, F32Array
from upm_cli.errors import IntegrityError

STATE_VERSION: Final = 1
SMALLEST_SHRINK: Final = 2.0**-20  # weight decay's common factor is multiplied in before it gets smaller
SMALLEST_FACTOR: Final = 2.0**-10  # of weight decay for one window
SMALLEST_RATE: Final = 1e-30
_NONE: Final = np.zeros(0, np.intp)


class LinearLearner:
    """A linear model learned online; docs/reference/learning.md has the arithmetic.

    A batch is looked at for scales, new classes and (for numbers) the spread of labels, then predicted, then
    learned. Windows that can't be learned from are found before anything moves; the rest is learned as if they
    had not been there.
    """

    def __init__(self, spec: LearnerSpec) -> None:
        self.spec = spec
        self._outputs = spec.outputs or 1
        self._is_flat = spec.task in {"binary", "regression"} or spec.outputs == 1
        self._loss = make_loss(spec.loss_name, spec.huber_delta)
        self._optimizer = make_optimizer(spec)
        self._weights = Weights((1 << spec.bits) + 1, self._outputs, self._optimizer)
        is_scaled = spec.scaler == "max_abs"
        self._scaler: Scaler = MaxAbs(self._weights, self._optimizer) if is_scaled else Unscaled()
        self._is_number = spec.task in {"regression", "structured"}
        self._is_unit_free = is_scaled and spec.optimizer in {"adagrad", "adam"}
        self._sets_bias = self._is_unit_free and self._is_number
        self._labels = LabelScale.begin(self._outputs)
        self._rate = spec.rate
        self._is_steady = spec.schedule == "constant" and not spec.warmup_windows
        self._has_long_steps = spec.optimizer == "sgd"
        self._is_bounded = is_scaled and self._loss.is_bounded  # a gradient can't be larger than its window's count
        self._scratch = Scratch()
        self._learned = 0  # windows
        self._steps = 0  # batches
        self._shrink = 1.0  # weight decay: what all weights but the bias are still to be multiplied by

    @property
    def outputs(self) -> int:
        """How many numbers a prediction has."""
        return self._outputs

    def predict_many(self, x: Csr) -> F32Array:
        """Return (n, outputs) predictions; changes nothing."""
        margins = np.zeros((len(x), self._outputs), np.float32)
        with np.errstate(all="ignore"):
            for first, block in blocks(x, self.spec.bits, self.spec.batch_size):
                block.x = self._scaler.scale(block)
                for batch in range(len(block.rows) - 1):
                    rows = slice(block.rows[batch] + first, block.rows[batch + 1] + first)
                    margins[rows] = self._margins(block, batch, self._places(block, batch)).reshape(-1, self._outputs)
            return self._loss.predict(finite(margins))

    def learn_many(self, x: Csr, y: F32Array) -> Learned:
        """Predict, then learn, n windows in batches; see `Learner`. Raises ValueError for labels of a wrong shape."""
        targets = read_targets(y, len(x), self.spec)
        self._weights.make_room(max(self._outputs, targets.outputs))
        parts = []
        with np.errstate(all="ignore"):
            for first, block in blocks(x, self.spec.bits, self.spec.batch_size):
                parts.append(self._learn_block(block, targets.slice(first, first + len(block))))
        return joined(parts, self._outputs)

    def _learn_block(self, block: Block, targets: Targets) -> Learned:
        work = Work.begin(block, targets, self._loss, self._outputs, is_flat=self._is_flat)
        self._scaler.until = 0
        for batch, width in enumerate(work.widths):
            self._outputs = width
            while not self._learn_batch(work, batch):
                self._scaler.undo(block, batch)
        return work.finish(self._loss)

    def _learn_batch(self, work: Work, batch: int) -> bool:
        """Predict and learn one batch; false when windows were rejected before anything moved: then do it again."""
        block, rows = work.block, work.rows[batch]
        if batch >= self._scaler.until:
            self._scaler.prepare(block, batch)
        at = self._places(block, batch)
        margins = self._margins(block, batch, at, work.margins[rows] if self._is_flat else None)
        delta = work.deltas[rows] if self._is_flat else np.empty_like(margins)
        self._loss.gradient(margins, work.aux[rows], delta)
        learned = len(margins)
        if block.has_unfit:
            delta[block.unfit[rows]] = 0
            learned -= int(np.count_nonzero(block.unfit[rows]))
        rate = self._rate if self._is_steady else rate_at(self.spec, self._learned)
        labels = self._labels.after(work.targets.y[rows]) if self._is_number else self._labels
        if self._rejects(work, rows, margins, delta, rate):
            return False
        fresh = self._labels.fresh(labels) if self._sets_bias else _NONE
        if fresh.size:
            delta.reshape(-1, self._outputs)[:, fresh] = 0
        if self.spec.clip:
            _clip(delta, block.norms[rows], self.spec.clip)
        g = self._elements(work, batch, delta)
        if learned and not self._is_bounded and not np.dot(g, g) < GRADIENT_LIMIT**2:
            work.reject(rows, ~block.unfit[rows], Reject.STEP)
            return False
        if not self._is_flat:
            work.keep(rows, self._outputs, margins, delta)
        if learned:
            self._labels = labels
            self._scaler.count(block, batch, learned)
            self._move(at, g, rate, learned)
            if fresh.size:
                self._weights.bias[fresh] = labels.centres[fresh] / self._shrink
        return True

    def _rejects(self, work: Work, rows: slice, margins: F32Array, delta: F32Array, rate: float) -> bool:
        """Reject the windows of a batch that are beyond a bound; true when there are any that were not yet rejected."""
        far = far_numbers(margins, work.targets.y[rows], self._labels) if self._is_number else far_classes(margins)
        if far is None and self._has_long_steps:
            far = long_steps(delta, work.block.norms[rows], rate)
        if far is None:
            return False
        far &= ~work.block.unfit[rows]
        if far.any():
            work.reject(rows, far, Reject.EXPLODING)
            return True
        return False

    def _places(self, block: Block, batch: int) -> IntpArray:
        """Return the flat weight positions of a batch's elements, (e,) or (e * outputs,)."""
        at = block.at[block.spans[batch] : block.spans[batch + 1]]
        return at if self._is_flat else np.add.outer(at * self._weights.stride, np.arange(self._outputs)).ravel()

    def _margins(self, block: Block, batch: int, at: IntpArray, out: F32Array | None = None) -> F32Array:
        """Return the margins of a batch, (b,) for a single output, else (b, outputs); in `out` if it is given."""
        x = block.x[block.spans[batch] : block.spans[batch + 1]]
        starts = block.offsets[block.rows[batch] : block.rows[batch + 1]]
        parts = self._weights.w.take(at, None, self._scratch.first(at.size), "clip")
        if self._is_flat:
            np.multiply(parts, x, parts)
            margins = np.add.reduceat(parts, starts, 0, None, out)
        else:
            table = parts.reshape(x.size, -1)
            np.multiply(table, x[:, None], table)
            margins = np.add.reduceat(table, starts, axis=0)
        if self._shrink != 1:
            margins *= np.float32(self._shrink)
        return margins

    def _elements(self, work: Work, batch: int, delta: F32Array) -> F32Array:
        """Return the gradient of each place of a batch: the window's delta times the element's value."""
        span = slice(work.block.spans[batch], work.block.spans[batch + 1])
        x, row = work.block.x[span], work.block.row[span]
        if self._is_flat:
            g = work.deltas.take(row, None, self._scratch.first(x.size), "clip")
            return np.multiply(g, x, g)
        g = delta[row - work.block.rows[batch]]
        np.multiply(g, x[:, None], g)
        return g.ravel()

    def _move(self, at: IntpArray, g: F32Array, rate: float, learned: int) -> None:
        """Let the optimizer move the weights, after weight decay has shrunk them."""
        self._learned += learned
        self._steps += 1
        if self.spec.weight_decay:
            self._decay(rate, learned)
        step = rate / self._shrink
        if self._is_unit_free:
            step *= self._scaler.factor
        by_output: Rate = step
        if self._sets_bias:
            spreads = np.maximum(step * self._labels.spreads, SMALLEST_RATE)
            by_output = float(spreads[0]) if self._is_flat else spreads
        self._optimizer.update(self._weights.state, self._weights.w, at, g, by_output, self._steps, self._scratch)

    def _decay(self, rate: float, learned: int) -> None:
        """Multiply all weights but the bias by (1 - rate * decay) for each window learned."""
        factor = max(1 - rate * self.spec.weight_decay, SMALLEST_FACTOR) ** learned
        self._shrink *= factor
        bias = self._weights.bias
        bias /= np.float32(factor)
        if self._shrink < SMALLEST_SHRINK:
            self._weights.w *= np.float32(self._shrink)
            self._shrink = 1.0

    def _used(self) -> IntpArray:
        if isinstance(self._scaler, MaxAbs):
            return self._weights.used(self._scaler.scales > UNSEEN)
        return self._weights.used(np.zeros(self._weights.slots, np.bool_))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of the state, for the slots in use: `slots` (m,) uint32, weights and state (m, outputs)."""
        slots = self._used()
        arrays: dict[str, npt.NDArray[Any]] = {"slots": slots.astype(np.uint32)}
        arrays |= self._weights.take(slots, self._outputs)
        if isinstance(self._scaler, MaxAbs):
            arrays["scales"] = self._scaler.scales[slots]
        return arrays | (self._labels.arrays() if self._is_number else {})

    def meta(self) -> dict[str, Any]:
        """Return the specification and the counters."""
        found = {
            "kind": "linear",
            "format": STATE_VERSION,
            "spec": asdict(self.spec),
            "outputs": self._outputs,
            "learned": self._learned,
            "steps": self._steps,
            "shrink": self._shrink,
        }
        if isinstance(self._scaler, MaxAbs):
            found |= {"norms": self._scaler.norms, "windows": self._scaler.windows}
        return found

    @classmethod
    def restore(cls, meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return the learner that `meta` and `arrays` were taken of. Raises IntegrityError when they do not fit."""
        try:
            if meta["format"] != STATE_VERSION:
                raise ValueError(f"format {meta['format']!r} is not {STATE_VERSION}")
            learner = cls(LearnerSpec.from_meta(meta["spec"]))
            learner._put(meta, arrays)
        except (KeyError, ValueError, IndexError, TypeError) as exc:
            raise IntegrityError(
                f"the learner's checkpoint can't be read: {exc}",
                hint="restore one that was made with this version of upm",
                code="UPM-E096",
            ) from exc
        return learner

    def _put(self, meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        slots = arrays["slots"].astype(np.intp)
        self._outputs = int(meta["outputs"])
        self._weights.put(slots, self._outputs, arrays)
        self._learned, self._steps, self._shrink = int(meta["learned"]), int(meta["steps"]), float(meta["shrink"])
        if isinstance(self._scaler, MaxAbs):
            self._scaler.scales[slots] = arrays["scales"]
            self._scaler.norms, self._scaler.windows = float(meta["norms"]), int(meta["windows"])
        if self._is_number:
            self._labels = LabelScale.from_arrays(arrays)

    def model(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return arrays and meta of the model for agents, see `upm_cli.core.learning.model`."""
        slots = self._used()
        weights = self._weights.take(slots, self._outputs)["weights"] * np.float32(self._shrink)
        limits = self._scaler.scales[slots] if isinstance(self._scaler, MaxAbs) else None
        spec = self.spec
        return linear_model(slots, weights, limits, bits=spec.bits, task=spec.task, loss=spec.loss_name)


def _clip(delta: F32Array, squares: Floats, limit: float) -> None:
    """Shrink each window's delta, (b,) or (b, k), so that its gradient has at most the norm `limit`."""
    table = delta.reshape(squares.size, -1)
    norms = np.sqrt((table * table).sum(axis=1) * squares)
    table *= np.minimum(1, limit / np.maximum(norms, 1e-30))[:, None]
