"""The trainer as a pure fold over log rows: predict, compare, learn, and say where a snapshot may be due.

What comes out depends on the rows, their order and the learner's specification only. Rows may be handed
over in pieces of any size: batches of `batch_size` labelled rows are cut by their place in the log, an END row
flushes a short batch, and rows that wait for their batch to fill stay unconsumed (`position` does not pass
them), so a restart reads them again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.comparing import Comparer
from upm_cli.core.comparisons import Comparisons
from upm_cli.core.learning import Learner, LearnerSpec, create, restore
from upm_cli.core.learning.labels import Encoded, LabelCodec
from upm_cli.core.learning.metrics import Metrics
from upm_cli.core.learning.protocol import REJECT_TEXT, Reject
from upm_cli.core.window import Acted, I64Array, Influence, LabelKind, RowKind, WindowBatch

SPAN_ROWS = 8192  # learned in one call, rounded to whole batches: bounds memory, changes nothing else


@dataclass(frozen=True, slots=True)
class Refused:
    """A window the learner would not take: where it is and why."""

    seq: int
    window_id: str
    reason: str


@dataclass(slots=True)
class Step:
    """What one stretch of the log did. `cut` is true at its mark (CUT, END), where a snapshot may be due."""

    comparisons: Comparisons
    refused: list[Refused]
    cut: bool


@dataclass(slots=True)
class Tally:
    """Windows over the life of the trainer; each consumed window is in exactly one of them."""

    trained: int = 0
    unlabelled: int = 0
    dead_letter: int = 0
    loss_sum: float = 0.0
    last_loss: float | None = None  # mean of the last batch
    last_window_id: str = ""
    influence: dict[int, list[int]] = field(
        default_factory=dict
    )  # version → trained windows it was asked about, by Acted

    def count_influence(self, influence: Influence) -> None:
        """Count trained windows that a model was asked about."""
        asked = influence.version != 0
        if not asked.any():
            return
        pairs = np.column_stack([influence.version[asked], influence.acted[asked]])
        for (version, acted), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            self.influence.setdefault(int(version), [0] * len(Acted))[int(acted)] += int(count)


@dataclass(slots=True)
class Fold:
    """Everything a trainer knows, and how it goes on. `position` is the seq of the first row not yet consumed."""

    learner: Learner
    codec: LabelCodec
    metrics: Metrics
    comparer: Comparer
    tally: Tally = field(default_factory=Tally)
    position: int = 0
    _waiting: WindowBatch = field(default_factory=WindowBatch.empty)

    @classmethod
    def begin(cls, spec: LearnerSpec, codec: LabelCodec, position: int = 0) -> Self:
        """Start from nothing at log row `position`; the task is already decided in `spec` and `codec`."""
        return cls(create(spec), codec, Metrics.begin(spec.task), Comparer(), position=position)

    @property
    def next_seq(self) -> int:
        """The seq of the row to hand over next: after the consumed ones and the ones that wait."""
        return self.position + len(self._waiting)

    def advance(self, rows: WindowBatch) -> Iterator[Step]:
        """Consume the log rows that follow; yields after each mark (END, CUT) and after the rows behind the last one.

        Use it up: the fold is between two steps only where it yields, and the model goes on changing after that.
        """
        for start, stop in _stretches(rows):
            yield self._advance_to_mark(rows.slice(start, stop))

    def _advance_to_mark(self, rows: WindowBatch) -> Step:
        """Consume rows of which only the last may be a mark: what is known at a mark does not depend on later rows."""
        batch = WindowBatch.concat([self._waiting, rows]) if len(self._waiting) else rows
        base, n, mark = self.position, len(batch), RowKind(int(batch.kind[-1]))
        labels = self.codec.encode(batch)
        usable, size = labels.usable, self.learner.spec.batch_size
        ready = usable.size if mark is RowKind.END else usable.size - usable.size % size
        parts, refused = [], []
        for start, stop in _spans(ready, size):
            part, rejected = self._learn(batch, base, labels, usable[start:stop])
            parts.append(part)
            refused += rejected
        refused += self._consume(batch, base, labels, int(usable[ready]) if ready < usable.size else n)
        self._waiting = batch.slice(self.position - base, n)
        return Step(Comparisons.concat(parts), refused, cut=mark >= RowKind.END)

    def _learn(
        self, batch: WindowBatch, base: int, labels: Encoded, rows: I64Array
    ) -> tuple[Comparisons, list[Refused]]:
        whole = rows.size == rows[-1] - rows[0] + 1
        part = batch.slice(int(rows[0]), int(rows[-1]) + 1) if whole else batch.take(rows)
        target = labels.targets[rows]
        result = self.learner.learn_many(part.x, target)
        ok = ~result.rejected
        self.metrics.update(result.predictions, target, result.losses, ok)
        self.tally.trained += int(ok.sum())
        self.tally.unlabelled -= int((part.kind[ok] == RowKind.LABEL).sum())
        if part.influence is not None:
            self.tally.count_influence(part.influence.take(np.flatnonzero(ok)))
        good = result.losses[ok]
        if good.size:
            self.tally.loss_sum = float(np.cumsum(np.concatenate([[self.tally.loss_sum], good]), dtype=np.float64)[-1])
            self.tally.last_loss = _of_last_batch(result.losses, ok, self.learner.spec.batch_size)
        compared = self.comparer.compare(rows + base, part, result.predictions, target, self.learner.spec.task)
        if ok.all():
            return compared, []
        bad = np.flatnonzero(~ok)
        self.tally.dead_letter += int((part.kind[bad] == RowKind.WINDOW).sum())
        refused = [
            Refused(int(rows[i]) + base, part.window_id[i], REJECT_TEXT[Reject(int(result.reasons[i]))])
            for i in bad.tolist()
        ]
        return compared.take(np.flatnonzero(ok)), refused

    def _consume(self, batch: WindowBatch, base: int, labels: Encoded, stop: int) -> list[Refused]:
        """Move `position` past the rows before `stop`, counting those that are not learned from."""
        start = self.position - base
        if stop <= start:
            return []
        rows = slice(start, stop)
        is_window = batch.kind[rows] == RowKind.WINDOW
        self.tally.unlabelled += int((is_window & (batch.label_kind[rows] == LabelKind.NONE)).sum())
        refused = np.flatnonzero(labels.reasons[rows] != 0) + start
        self.tally.dead_letter += int((batch.kind[refused] == RowKind.WINDOW).sum())
        windows = np.flatnonzero(is_window)
        if windows.size:
            self.tally.last_window_id = batch.window_id[int(windows[-1]) + start]
        self.position = base + stop
        return [Refused(base + i, batch.window_id[i], self.codec.why(int(labels.reasons[i]))) for i in refused.tolist()]

    def manifest_fields(self) -> dict[str, Any]:
        """Return what a snapshot's manifest says of how far this model has learned."""
        return {
            "log": {"first_seq": 0, "last_seq": self.position - 1},
            "windows": self.tally.trained,
            "metrics": self.metrics.report(),
            "labels": self.codec.meta(),
        }

    def to_parts(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return everything needed to go on besides the tally: arrays by name, and the rest as plain values."""
        arrays = {f"learner.{name}": value for name, value in self.learner.arrays().items()}
        arrays |= {f"metrics.{name}": value for name, value in self.metrics.arrays().items()}
        arrays |= {"counts": self.comparer.counts, "totals": self.comparer.totals}
        meta = {"learner": self.learner.meta(), "labels": self.codec.meta(), "metrics": self.metrics.meta()}
        return arrays, meta

    @classmethod
    def from_parts(cls, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> Self:
        """Return the fold that `to_parts` was called on, at log row 0 and with nothing counted.

        Raises KeyError or ValueError when the parts do not belong together.
        """

        def part(prefix: str) -> dict[str, npt.NDArray[Any]]:
            return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

        return cls(
            restore(meta["learner"], part("learner.")),
            LabelCodec.from_meta(meta["labels"]),
            Metrics.from_parts(part("metrics."), meta["metrics"]),
            _comparer(arrays),
        )


def _comparer(arrays: Mapping[str, npt.NDArray[Any]]) -> Comparer:
    """Return the comparer of a checkpoint; one from before there were means of numbers counts those anew."""
    if "totals" in arrays:
        return Comparer(arrays["counts"].astype(np.float64), arrays["totals"].astype(np.float64))
    return Comparer(arrays["counts"].astype(np.float64))


def _stretches(rows: WindowBatch) -> Iterator[tuple[int, int]]:
    """Cut `rows` behind each mark; the last stretch may have none."""
    start = 0
    for mark in np.flatnonzero(rows.kind >= RowKind.END).tolist():
        yield start, mark + 1
        start = mark + 1
    if start < len(rows):
        yield start, len(rows)


def _of_last_batch(losses: npt.NDArray[np.floating[Any]], ok: npt.NDArray[np.bool_], batch_size: int) -> float:
    """Return the mean of `losses` over the last batch in which a row is `ok`; rows begin with a whole batch."""
    first = int(np.flatnonzero(ok)[-1]) // batch_size * batch_size
    batch = slice(first, first + batch_size)
    return float(losses[batch][ok[batch]].mean())


def _spans(count: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Cut 0…count into spans of whole batches; only the last may be shorter."""
    size = max(1, SPAN_ROWS // batch_size) * batch_size
    for at in range(0, count, size):
        yield at, min(at + size, count)
