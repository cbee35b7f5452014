"""Comparisons: one row for each prediction whose ground truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from upm_cli.core.window import F32Array, F64Array, I64Array, Strings


@dataclass(slots=True)
class Comparisons:
    """n comparisons in columns, in log order.

    `seq` (n,) int64 log position · `start_ms` (n,) int64 event time · `window_id`, `tenant` Strings ·
    `prediction` (n,) float32: value, probability of the positive class, or probability given to the true class
    (multiclass); NaN for structured · `truth` (n,) float64: number, 0/1, class number; NaN for structured ·
    `score` (n,) float32 seed drift score, NaN when it could not be made · `brier`, `base_brier` (n,) float32: squared
    error of the class probabilities of the model and of the base rate known before the window; NaN without classes ·
    `base_score` (n,) float32 seed drift score of the trivial baseline: of the base rate (binary), of the most frequent
    class (multiclass), or of the mean of the labels before the window; NaN where there were none, and in comparisons
    that were written before there was a baseline.
    """

    seq: I64Array
    start_ms: I64Array
    window_id: Strings
    tenant: Strings
    prediction: F32Array
    truth: F64Array
    score: F32Array
    brier: F32Array
    base_brier: F32Array
    base_score: F32Array

    def __len__(self) -> int:
        return self.seq.size

    @classmethod
    def empty(cls) -> Self:
        none = np.zeros(0, np.float32)
        nothing = np.zeros(0, np.int64)
        return cls(nothing, nothing, Strings.empty(0), Strings.empty(0), none, np.zeros(0), none, none, none, none)

    def slice(self, start: int, stop: int) -> Self:
        """Return rows `start` to `stop`, sharing memory where possible."""
        columns = (getattr(self, name) for name in self.__slots__)
        cut: list[Any] = [c.slice(start, stop) if isinstance(c, Strings) else c[start:stop] for c in columns]
        return type(self)(*cut)

    def take(self, rows: I64Array) -> Self:
        """Return a copy of `rows`, in that order."""
        columns = (getattr(self, name) for name in self.__slots__)
        picked: list[Any] = [c.take(rows) if isinstance(c, Strings) else c[rows] for c in columns]
        return type(self)(*picked)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        if not parts:
            return cls.empty()
        if len(parts) == 1:
            return parts[0]
        columns: list[Any] = []
        for name in cls.__slots__:
            pieces = [getattr(part, name) for part in parts]
            first = pieces[0]
            columns.append(Strings.concat(pieces) if isinstance(first, Strings) else np.concatenate(pieces))
        return cls(*columns)
