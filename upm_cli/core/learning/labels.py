"""Labels as they come → targets as learners take them, and back.

The task is decided once, from the first labels in the log: numbers 0/1 and booleans are binary, names are classes,
maps are structured, other numbers are regression. From then on a label of another kind is refused, not guessed at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F32Array, LabelKind, RowKind, U8Array, WindowBatch

VOTES: Final = 1000  # labels that decide the task


class LabelRefusal(IntEnum):
    """Why a label can't be learned from."""

    NONE = 0
    KIND = 1  # of another kind than the trainer's task
    VALUE = 2  # not 0 or 1 for a binary task, or not finite
    CLASSES = 3  # one class more than the learner may have
    KEYS = 4  # a map with none of the outputs that were fixed


_TEXT: Final = {
    LabelRefusal.KIND: "the label is of another kind than this trainer learns ({task})",
    LabelRefusal.VALUE: "the label is not a value that {task} can learn from",
    LabelRefusal.CLASSES: "the label is a new class and there are {limit} already",
    LabelRefusal.KEYS: "the label has none of the outputs {names}",
}


@dataclass(slots=True)
class TaskVote:
    """Looks at the first labels of a log until they decide the task. `ended`: the input was declared complete."""

    kinds: set[int] = field(default_factory=set)
    counts: dict[int, int] = field(default_factory=dict)
    all_binary: bool = True
    names: set[str] = field(default_factory=set)
    seen: int = 0
    ended: bool = False

    def take(self, rows: WindowBatch) -> None:
        """Look at the log rows that follow; those after the vote is decided change nothing."""
        labelled = np.flatnonzero((rows.label_kind != LabelKind.NONE) & (rows.kind < RowKind.END))
        used = labelled[: VOTES - self.seen]
        self.seen += used.size
        kinds = rows.label_kind[used]
        for kind in np.unique(kinds).tolist():
            self.counts[kind] = self.counts.get(kind, 0) + int((kinds == kind).sum())
        numbers = rows.label_value[used[kinds == LabelKind.NUMBER]]
        self.all_binary = self.all_binary and bool(np.isin(numbers, (0.0, 1.0)).all())
        for row in used[kinds == LabelKind.MAP].tolist():
            self.names |= json.loads(rows.label_text[row]).keys()
        self.ended = self.ended or bool((rows.kind == RowKind.END).any())

    @property
    def is_decided(self) -> bool:
        """Whether enough labels were seen, or the input ended with at least one."""
        return self.seen >= VOTES or (self.ended and self.seen > 0)

    def task(self) -> str:
        """Return the task of most of the labels; of equally many, the first of map, name, number, boolean."""
        order = (LabelKind.MAP, LabelKind.CLASS, LabelKind.NUMBER, LabelKind.BOOL)
        numeric = self.counts.get(LabelKind.NUMBER, 0) + self.counts.get(LabelKind.BOOL, 0)
        votes = {**self.counts, LabelKind.NUMBER: numeric, LabelKind.BOOL: 0}
        winner = max(order, key=lambda kind: (votes.get(kind, 0), -order.index(kind)))
        if winner == LabelKind.MAP:
            return "structured"
        if winner == LabelKind.CLASS:
            return "multiclass"
        return "binary" if self.all_binary else "regression"

    def outputs(self) -> list[str]:
        """Return the names of a structured label's numbers, sorted."""
        return sorted(self.names)


@dataclass(slots=True)
class LabelCodec:
    """Turns labels into targets and predictions into labels. `classes` grow as they are met, in log order."""

    task: str
    classes: list[str] = field(default_factory=list)
    names: Sequence[str] = ()
    max_classes: int = 1000

    def encode(self, rows: WindowBatch) -> tuple[F32Array, U8Array]:
        """Return targets (n, k) float32 as `Learner.learn_many` takes them, and reasons (n,) uint8 LabelRefusal.

        Rows without a label and refused ones have target 0 (structured: NaN); only refused ones have a reason.
        """
        n, kind = len(rows), rows.label_kind
        reasons = np.zeros(n, np.uint8)
        labelled = kind != LabelKind.NONE
        if self.task == "structured":
            return self._encode_maps(rows, labelled, reasons)
        if self.task == "multiclass":
            return self._encode_classes(rows, labelled, reasons)
        reasons[labelled & (kind != LabelKind.NUMBER) & (kind != LabelKind.BOOL)] = LabelRefusal.KIND
        value = np.where(labelled & (reasons == 0), rows.label_value, 0.0)
        bad = ~np.isin(value, (0.0, 1.0)) if self.task == "binary" else ~np.isfinite(value)
        reasons[labelled & bad] = LabelRefusal.VALUE
        with np.errstate(over="ignore"):
            target = np.where(bad, 0.0, value).astype(np.float32)
        return target.reshape(n, 1), reasons

    def _encode_classes(
        self, rows: WindowBatch, labelled: npt.NDArray[np.bool_], reasons: U8Array
    ) -> tuple[F32Array, U8Array]:
        target = np.zeros((len(rows), 1), np.float32)
        reasons[labelled & (rows.label_kind != LabelKind.CLASS)] = LabelRefusal.KIND
        number = {name: at for at, name in enumerate(self.classes)}
        usable = np.flatnonzero(labelled & (reasons == 0))
        texts = rows.label_text.take(usable).to_list()
        for row, name in zip(usable.tolist(), texts, strict=True):
            at = number.get(name)
            if at is None and len(self.classes) < self.max_classes:
                at = number[name] = len(self.classes)
                self.classes.append(name)
            if at is None:
                reasons[row] = LabelRefusal.CLASSES
            else:
                target[row, 0] = at
        return target, reasons

    def _encode_maps(
        self, rows: WindowBatch, labelled: npt.NDArray[np.bool_], reasons: U8Array
    ) -> tuple[F32Array, U8Array]:
        target = np.full((len(rows), len(self.names)), np.nan, np.float32)
        reasons[labelled & (rows.label_kind != LabelKind.MAP)] = LabelRefusal.KIND
        for row in np.flatnonzero(labelled & (reasons == 0)).tolist():
            values = json.loads(rows.label_text[row])
            target[row] = [values.get(name, np.nan) for name in self.names]
            if np.isnan(target[row]).all():
                reasons[row] = LabelRefusal.KEYS
        return target, reasons

    def text(self, reason: int) -> str:
        """Return a reason of `encode` in words."""
        names = ", ".join(self.names)
        return _TEXT[LabelRefusal(reason)].format(task=self.task, limit=self.max_classes, names=names)

    def decode(self, predictions: F32Array) -> list[dict[str, Any]]:
        """Return predictions (n, k) as people read them.

        binary: {prediction 0|1, probability}; multiclass: {prediction, probability, probabilities}; regression:
        {prediction}; structured: {prediction: {name: value}}.
        """
        rows = predictions.astype(np.float64).tolist()
        if self.task == "binary":
            return [{"prediction": int(p >= 0.5), "probability": p} for (p,) in rows]
        if self.task == "regression":
            return [{"prediction": value} for (value,) in rows]
        if self.task == "structured":
            return [{"prediction": dict(zip(self.names, row, strict=True))} for row in rows]
        return [self._decode_classes(row) for row in rows]

    def _decode_classes(self, row: list[float]) -> dict[str, Any]:
        named = dict(zip(self.classes, row, strict=False))
        best = max(named, key=lambda name: named[name]) if named else None
        return {"prediction": best, "probability": named.get(best or "", 0.0), "probabilities": named}

    def meta(self) -> dict[str, Any]:
        """Return the codec as plain JSON values."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "names": list(self.names),
            "max_classes": self.max_classes,
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """Return the codec that `meta` was called on. Raises KeyError or TypeError."""
        return cls(meta["task"], list(meta["classes"]), tuple(meta["names"]), int(meta["max_classes"]))
