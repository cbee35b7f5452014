"""Labels as people write them ↔ labels as a learner takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.learning.spec import TASKS
from upm_cli.core.learning.task import TaskVote, decide_task, numbers_of
from upm_cli.core.window import F32Array, I64Array, LabelKind, U8Array, WindowBatch
from upm_cli.errors import IntegrityError

__all__ = ["Encoded", "LabelCodec", "LabelReason", "TaskVote", "decide_task"]


class LabelReason(IntEnum):
    """Why a label was refused."""

    NONE = 0
    KIND = 1
    NOT_BINARY = 2
    NOT_FINITE = 3
    TOO_MANY_CLASSES = 4
    NO_KNOWN_NAME = 5


_ALLOWED: Final[Mapping[str, tuple[LabelKind, ...]]] = {
    "binary": (LabelKind.NUMBER, LabelKind.BOOL),
    "multiclass": (LabelKind.CLASS,),
    "regression": (LabelKind.NUMBER,),
    "structured": (LabelKind.MAP,),
}
_LARGEST: Final = 1e12


@dataclass(slots=True)
class Encoded:
    """Labels of n rows: `targets` (n, outputs) float32, NaN where there is none, and `reasons` (n,) LabelReason."""

    targets: F32Array
    reasons: U8Array
    labelled: npt.NDArray[np.bool_]

    @property
    def usable(self) -> I64Array:
        """The rows that can be learned from, in order."""
        return np.flatnonzero(self.labelled & (self.reasons == 0)).astype(np.int64)


@dataclass(slots=True)
class LabelCodec:
    """How labels of one trainer become numbers. The task is fixed; classes get the next number when they first come.

    `names` are the outputs of structured labels, `classes` in the order of the log. `truth` remembers whether
    binary labels were written as booleans or numbers, so that predictions are written the same way.
    """

    task: str
    names: tuple[str, ...] = ()
    max_classes: int = 1000
    classes: list[str] = field(default_factory=list)
    truth: str = ""  # "boolean" | "number" once a binary label was seen
    _numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(cls, task: str, names: Sequence[str] = (), max_classes: int = 1000) -> Self:
        """Return a codec that has seen nothing. Raises ValueError when task and names do not go together."""
        if task not in TASKS or (task == "structured") != bool(names):
            raise ValueError(f"labels of task {task!r} can't have the names {list(names)!r}")
        return cls(task, tuple(names), max_classes)

    @property
    def outputs(self) -> int:
        """How many numbers a label has: of structured labels the number of names, else 1."""
        return len(self.names) or 1

    def encode(self, rows: WindowBatch) -> Encoded:
        """Return the labels of `rows`; new classes are given their numbers. The same rows twice change nothing."""
        n = len(rows)
        labelled = rows.label_kind != LabelKind.NONE
        right = np.isin(rows.label_kind, _ALLOWED[self.task])
        reasons = np.where(labelled & ~right, LabelReason.KIND, LabelReason.NONE).astype(np.uint8)
        targets = np.full((n, self.outputs), np.nan, np.float32)
        where = np.flatnonzero(right)
        if self.task == "structured":
            self._encode_maps(rows, where, targets, reasons)
        elif self.task == "multiclass":
            self._encode_classes(rows, where, targets, reasons)
        else:
            self._encode_numbers(rows, where, targets, reasons)
        return Encoded(targets, reasons, labelled)

    def _encode_numbers(self, rows: WindowBatch, where: I64Array, targets: F32Array, reasons: U8Array) -> None:
        values = rows.label_value[where]
        finite = np.abs(values) <= _LARGEST
        reasons[where[~finite]] = LabelReason.NOT_FINITE
        if self.task == "binary":
            finite_not_binary = finite & ~np.isin(values, (0.0, 1.0))
            reasons[where[finite_not_binary]] = LabelReason.NOT_BINARY
            if not self.truth and where.size:
                self.truth = "boolean" if rows.label_kind[where[0]] == LabelKind.BOOL else "number"
        good = reasons[where] == LabelReason.NONE
        targets[where[good], 0] = values[good]

    def _encode_classes(self, rows: WindowBatch, where: I64Array, targets: F32Array, reasons: U8Array) -> None:
        texts = rows.label_text.take(where).to_list()
        for row, text in zip(where.tolist(), texts, strict=True):
            number = self._numbers.get(text, -1)
            if number < 0:
                if len(self.classes) >= self.max_classes:
                    reasons[row] = LabelReason.TOO_MANY_CLASSES
                    continue
                number = self._numbers[text] = len(self.classes)
                self.classes.append(text)
            targets[row, 0] = number

    def _encode_maps(self, rows: WindowBatch, where: I64Array, targets: F32Array, reasons: U8Array) -> None:
        column = {name: k for k, name in enumerate(self.names)}
        texts = rows.label_text.take(where).to_list()
        for row, text in zip(where.tolist(), texts, strict=True):
            known = [(column[name], number) for name, number in numbers_of(text).items() if name in column]
            if not known:
                reasons[row] = LabelReason.NO_KNOWN_NAME
            elif any(abs(number) > _LARGEST for _, number in known):
                reasons[row] = LabelReason.NOT_FINITE
            else:
                for k, number in known:
                    targets[row, k] = number

    def why(self, reason: int) -> str:
        """Return in words why a label was refused."""
        return {
            LabelReason.NONE: "",
            LabelReason.KIND: f"the label is of another kind than {self.task} labels are",
            LabelReason.NOT_BINARY: "the label is neither 0 nor 1",
            LabelReason.NOT_FINITE: "the label is not finite or beyond 1e12",
            LabelReason.TOO_MANY_CLASSES: f"the label is a new class, and {self.max_classes} are the most there may be",
            LabelReason.NO_KNOWN_NAME: f"the label has none of the numbers {', '.join(self.names[:5])}",
        }[LabelReason(reason)]

    def decode(self, predictions: F32Array) -> list[dict[str, Any]]:
        """Return predictions (n, outputs) in the words of the labels, ready for JSON.

        binary {prediction, probability (of 1)} · multiclass {prediction, probability, probabilities} · regression
        {prediction} · structured {prediction: {name: value}}. Numbers have 7 digits, which is what float32 holds.
        """
        rows = [[float(f"{value:.7g}") for value in row] for row in predictions.tolist()]
        if self.task == "binary":
            yes_no = (True, False) if self.truth == "boolean" else (1, 0)
            return [{"prediction": yes_no[0] if p >= 0.5 else yes_no[1], "probability": p} for (p,) in rows]
        if self.task == "multiclass":
            return [self._decode_classes(row) for row in rows]
        if self.task == "regression":
            return [{"prediction": value} for (value,) in rows]
        return [{"prediction": dict(zip(self.names, row, strict=True))} for row in rows]

    def _decode_classes(self, row: list[float]) -> dict[str, Any]:
        shares = dict(zip(self.classes, row, strict=False))
        best = max(shares, key=shares.__getitem__, default=None)
        return {"prediction": best, "probability": shares.get(best, 0.0) if best else 0.0, "probabilities": shares}

    def meta(self) -> dict[str, Any]:
        """Return the codec as plain JSON values."""
        return {
            "task": self.task,
            "names": list(self.names),
            "classes": list(self.classes),
            "max_classes": self.max_classes,
            "truth": self.truth,
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """Return the codec that `meta` was called on. Raises IntegrityError when it is not one's."""
        try:
            codec = cls.begin(meta["task"], meta["names"], int(meta["max_classes"]))
            codec.classes, codec.truth = [str(name) for name in meta["classes"]], str(meta["truth"])
        except (KeyError, ValueError, TypeError) as exc:
            raise IntegrityError(
                f"the description of the labels can't be read: {exc!r}",
                hint="it belongs to another version of upm; use that one",
                code="UPM-E094",
            ) from exc
        codec._numbers = {name: number for number, name in enumerate(codec.classes)}
        return codec
