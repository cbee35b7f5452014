"""How far served answers were from the truth: the same scores as for shadow predictions (core/scores.py).

The baseline is the served labels' own: the base rate or the mean of those that were compared before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from upm_cli.core.comparing import Comparer
from upm_cli.core.feedback.join import Match
from upm_cli.core.feedback.lines import Label, task_of
from upm_cli.core.feedback.served import Served
from upm_cli.core.learning.labels import LabelCodec
from upm_cli.core.window import Csr, F32Array, LabelKind, RowKind, Strings, WindowBatch

MAX_CLASSES = 65_536  # what a learner can have at most


@dataclass(frozen=True, slots=True)
class Incomparable:
    """A match, by its place among those that were to be scored, and why it can't be."""

    place: int
    reason: str


@dataclass(slots=True)
class ServedScorer:
    """Scores matches in their order. The task is that of the first one, and fixed then."""

    codec: LabelCodec | None = None
    comparer: Comparer = field(default_factory=Comparer)

    def score(self, matches: Sequence[Match], labels: WindowBatch, first_seq: int) -> tuple[Served, list[Incomparable]]:
        """Return the comparisons of `matches`, numbered from `first_seq` on, and those that can't be made.

        `labels` are their `label_rows`.
        """
        if not matches:
            return Served.empty(), []
        if self.codec is None:
            self.codec = _codec(matches[0].prediction.answer)
        refused = {}
        for place, match in enumerate(matches):
            task = task_of(match.prediction.answer)
            if task != self.codec.task:
                refused[place] = f"the prediction is {task}, those before were {self.codec.task}"
        for match in matches if self.codec.task == "multiclass" else ():
            self._learn_classes(match.prediction.answer)
        encoded = self.codec.encode(labels)
        for place in np.flatnonzero(encoded.reasons).tolist():
            refused.setdefault(place, self.codec.why(int(encoded.reasons[place])))
        kept = np.array([place for place in range(len(matches)) if place not in refused], np.int64)
        some, rows = [matches[place] for place in kept.tolist()], labels.take(kept)
        seq = np.arange(first_seq, first_seq + kept.size, dtype=np.int64)
        answers = self._answers(some)
        table = self.comparer.compare(seq, rows, answers, encoded.targets[kept], self.codec.task)
        made = [match.prediction for match in some]
        served = Served(
            table=table,
            prediction_id=Strings.of(each.prediction_id for each in made),
            version=np.array([each.version for each in made], np.int64),
            digest=Strings.of(each.digest for each in made),
            epoch=np.array([each.epoch for each in made], np.int64),
            agent=Strings.of(each.agent for each in made),
            acted=np.array([match.outcome.acted for match in some], np.bool_),
            predicted_ms=np.array([each.predicted_at_ms for each in made], np.int64),
            observed_ms=np.array([match.outcome.observed_at_ms for match in some], np.int64),
            task=Strings.of([self.codec.task] * len(some)),
            label_kind=rows.label_kind,
            label_text=rows.label_text,
        )
        return served, [Incomparable(place, reason) for place, reason in sorted(refused.items())]

    def _learn_classes(self, answer: Mapping[str, Any]) -> None:
        """Give the classes that a model knows their numbers, in its own order, so that ties fall the same way."""
        assert self.codec is not None
        known = set(self.codec.classes)
        fresh = [name for name in answer.get("probabilities", ()) if name not in known]
        if fresh:
            self.codec.encode(label_columns([Label(LabelKind.CLASS, float("nan"), name) for name in fresh]))

    def _answers(self, matches: Sequence[Match]) -> F32Array:
        """Return what was answered as a learner gives it, (n, outputs)."""
        assert self.codec is not None
        answers = [match.prediction.answer for match in matches]
        if self.codec.task == "binary":
            return np.array([[each["probability"]] for each in answers], np.float32).reshape(-1, 1)
        if self.codec.task == "regression":
            return np.array([[each["prediction"]] for each in answers], np.float32).reshape(-1, 1)
        names, inside, missing = self.codec.names, "prediction", np.nan
        if self.codec.task == "multiclass":
            names, inside, missing = tuple(self.codec.classes), "probabilities", 0.0
        rows = [[each[inside].get(name, missing) for name in names] for each in answers]
        return np.array(rows, np.float32).reshape(-1, len(names))

    def to_plain(self) -> dict[str, Any]:
        """Return the state as what JSON knows."""
        return {
            "codec": self.codec and self.codec.meta(),
            "counts": self.comparer.counts.tolist(),
            "totals": self.comparer.totals.tolist(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        codec = plain["codec"] and LabelCodec.from_meta(plain["codec"])
        return cls(codec or None, Comparer(np.array(plain["counts"], float), np.array(plain["totals"], float)))


def _codec(answer: Mapping[str, Any]) -> LabelCodec:
    task = task_of(answer)
    names = tuple(answer["prediction"]) if task == "structured" else ()
    return LabelCodec.begin(task, names, MAX_CLASSES)


def label_columns(labels: Sequence[Label]) -> WindowBatch:
    """Return labels as rows that have nothing else."""
    n = len(labels)
    rows = WindowBatch.empty(n, RowKind.LABEL)
    rows.label_kind = np.array([label.kind for label in labels], np.uint8)
    rows.label_value = np.array([label.value for label in labels], np.float64)
    rows.label_text = Strings.of(label.text for label in labels)
    return rows


def label_rows(matches: Sequence[Match]) -> WindowBatch:
    """Return the outcomes of `matches` as rows of kind LABEL, with the window and tenant they are about."""
    made = [match.prediction for match in matches]
    labels = label_columns([match.outcome.label for match in matches])
    return WindowBatch(
        labels.kind,
        Strings.of(each.window_id for each in made),
        Strings.of(each.tenant for each in made),
        np.array([each.start_ms for each in made], np.int64),
        np.array([each.end_ms for each in made], np.int64),
        labels.label_kind,
        labels.label_value,
        labels.label_text,
        Csr.empty(len(made)),
    )
