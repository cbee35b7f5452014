"""Served comparisons: what agents answered against what came of it, in columns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.window import I64Array, Strings, U8Array


@dataclass(slots=True)
class Served:
    """n served comparisons, in the order in which outcomes met their predictions.

    `table` the scores; its `seq` numbers the served comparisons of a trainer from 0 without holes · `prediction_id`,
    `digest`, `agent` Strings · `version`, `epoch` (n,) int64 of the model that answered · `acted` (n,) bool, whether
    that had an influence · `predicted_ms`, `observed_ms` (n,) int64 · `task` Strings · `label_kind` (n,) uint8 and
    `label_text` Strings: the label as it was told; its number is the truth in `table`, for classes `label_text`.
    """

    table: Comparisons
    prediction_id: Strings
    version: I64Array
    digest: Strings
    epoch: I64Array
    agent: Strings
    acted: npt.NDArray[np.bool_]
    predicted_ms: I64Array
    observed_ms: I64Array
    task: Strings
    label_kind: U8Array
    label_text: Strings

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def empty(cls) -> Self:
        none, text = np.zeros(0, np.int64), Strings.empty(0)
        flags, kinds = np.zeros(0, np.bool_), np.zeros(0, np.uint8)
        return cls(Comparisons.empty(), text, none, text, none, text, flags, none, none, text, kinds, text)

    def take(self, rows: I64Array) -> Self:
        """Return a copy of `rows`, in that order."""
        columns = (getattr(self, field.name) for field in fields(self))
        picked: list[Any] = [c[rows] if isinstance(c, np.ndarray) else c.take(rows) for c in columns]
        return type(self)(*picked)

    def slice(self, start: int, stop: int) -> Self:
        """Return rows `start` to `stop`, sharing memory where possible."""
        columns = (getattr(self, field.name) for field in fields(self))
        cut: list[Any] = [c[start:stop] if isinstance(c, np.ndarray) else c.slice(start, stop) for c in columns]
        return type(self)(*cut)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        if not parts:
            return cls.empty()
        columns: list[Any] = []
        for field in fields(cls):
            pieces = [getattr(part, field.name) for part in parts]
            first = pieces[0]
            columns.append(np.concatenate(pieces) if isinstance(first, np.ndarray) else type(first).concat(pieces))
        return cls(*columns)
