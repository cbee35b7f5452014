"""Deciding from the first labels what there is to learn."""

import json
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import F64Array, LabelKind, U8Array, WindowBatch

VOTING_LABELS: Final = 1000
_LARGEST_FLOAT: Final = float(np.finfo(np.float64).max)


def decide_task(kinds: U8Array, values: F64Array) -> str | None:
    """Return the task that labels stand for, or None when there is no label.

    `kinds` (n,) LabelKind, `values` (n,) of numbers and booleans. The most frequent form wins (numbers and booleans
    are one form; a tie goes to numbers, then names): names are multiclass, maps are structured, booleans and the
    numbers 0 and 1 are binary, and a single other number among them makes it regression.
    """
    is_number = (kinds == LabelKind.NUMBER) | (kinds == LabelKind.BOOL)
    votes = [int(is_number.sum()), int((kinds == LabelKind.CLASS).sum()), int((kinds == LabelKind.MAP).sum())]
    if not any(votes):
        return None
    form = int(np.argmax(votes))
    if form:
        return ("multiclass", "structured")[form - 1]
    numbers = values[is_number]
    return "binary" if np.isin(numbers, (0.0, 1.0)).all() else "regression"


@dataclass(slots=True)
class TaskVote:
    """Counts the first labels of a log, at most `VOTING_LABELS`. The same rows in other pieces give the same vote."""

    kinds: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    values: list[F64Array] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    count: int = 0

    def take(self, rows: WindowBatch) -> None:
        """Look at the labels among `rows`, the log rows that follow those seen before."""
        labelled = np.flatnonzero(rows.label_kind != LabelKind.NONE)[: VOTING_LABELS - self.count]
        if not labelled.size:
            return
        self.kinds.append(rows.label_kind[labelled])
        self.values.append(rows.label_value[labelled])
        self.count += labelled.size
        for row in labelled[rows.label_kind[labelled] == LabelKind.MAP].tolist():
            self.keys |= numbers_of(rows.label_text[row]).keys()

    @property
    def is_complete(self) -> bool:
        """Whether further rows would change nothing."""
        return self.count >= VOTING_LABELS

    @property
    def task(self) -> str | None:
        """What the labels seen so far say, or None when there is none."""
        if not self.count:
            return None
        return decide_task(np.concatenate(self.kinds), np.concatenate(self.values))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers in the maps seen so far, sorted."""
        return tuple(sorted(self.keys))


def numbers_of(text: str) -> dict[str, float]:
    """Return the finite numbers in the JSON object `text` by name; an empty dict when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: float(number) for name, number in value.items() if _is_finite_number(number)}


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST_FLOAT
