"""What is kept of the features of many windows: counts over fixed cells and a fair sample of the values.

A feature is followed by its hash. In a window that does not have it, it is missing; a categorical `k=v` is a feature
whose only value is 1, so it is either 1 or missing. Cells of a feature, fixed by its reference values: ten between its
deciles, the outer ones open; or one for each value, when there are at most ten of them, and one for any other (`NEW`);
and one for missing.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.features.frequent import Frequent
from upm_cli.core.features.reservoir import Reservoir, priorities
from upm_cli.core.window import Csr, F32Array, F64Array, I64Array, U32Array

VALUES: Final = 10  # cells for values
NEW: Final = VALUES
MISSING: Final = VALUES + 1
CELLS: Final = VALUES + 2
_OTHERS: Final = 4096  # features counted besides those followed

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The followed features and their cells.

    `features` (f,) sorted; `edges` (f, 10) float32, padded with infinity: the values of a discrete feature, else up to
    nine deciles, of which a value belongs below the first that it does not exceed; `discrete` (f,).
    """

    features: U32Array
    edges: F32Array
    discrete: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, features: U32Array, values: list[F64Array]) -> Self:
        """Choose the cells of each of `features` (f,) sorted by its sorted reference `values`."""
        edges = np.full((features.size, VALUES), np.inf, np.float32)
        discrete = np.zeros(features.size, bool)
        for at, ordered in enumerate(values):
            levels = np.unique(ordered)
            discrete[at] = levels.size <= VALUES
            found = levels if discrete[at] else _deciles(ordered)
            edges[at, : found.size] = found
        return cls(features=features, edges=edges, discrete=discrete)

    def cells(self, slot: I64Array, value: F32Array) -> I64Array:
        """Return the cell of each value (n,) of the feature in `slot` (n,)."""
        edges = self.edges[slot]
        cell: I64Array = (edges < value[:, None]).sum(axis=1, dtype=np.int64)
        exact = edges[np.arange(slot.size), np.minimum(cell, VALUES - 1)] == value
        cell[self.discrete[slot] & ~exact] = NEW
        return cell

    def dump(self) -> Arrays:
        """Return the whole of it."""
        return {"features": self.features, "edges": self.edges, "discrete": self.discrete}


def _deciles(ordered: F64Array) -> F64Array:
    """Return the distinct deciles of a sorted sample, without its maximum, above which nothing would lie."""
    at = (np.arange(1, VALUES) * ordered.size) // VALUES
    found = np.unique(ordered[at - 1])
    return np.asarray(found[found < ordered[-1]], np.float64)


class Sketch:
    """Counts and samples of the windows that were added; the same whatever their order, cuts and merges."""

    def __init__(self, shape: Shape, *, sample_size: int, salt: int) -> None:
        self.shape, self.salt = shape, salt
        self.windows = 0
        self._counts: I64Array = np.zeros((shape.features.size, CELLS), np.int64)  # missing is worked out at the end
        self.sample = Reservoir(shape.features.size, sample_size)
        self.others = Frequent(_OTHERS)  # of the features that are not followed

    def add(self, x: Csr, seq: I64Array) -> None:
        """Add windows with features `x`, at log rows `seq` (n,)."""
        others = np.zeros(0, np.int64)
        row = np.repeat(np.arange(len(x)), np.diff(x.indptr))
        features = self.shape.features
        if features.size:
            slot = np.minimum(features.searchsorted(x.index), features.size - 1)
            followed = features[slot] == x.index
            others = np.flatnonzero(~followed)
            at = np.flatnonzero(followed)
            row_of, slot_of, value = _summed(row[at], slot[at], x.value[at])
            cell = self.shape.cells(slot_of, value)
            self._counts += np.bincount(slot_of * CELLS + cell, minlength=self._counts.size).reshape(-1, CELLS)
            self._offer(seq[row_of], slot_of, value)
            x = Csr(np.searchsorted(others, x.indptr).astype(np.int64), x.index[others], x.value[others])
        self.others.add(x)
        self.windows += len(x)

    def _offer(self, seq: I64Array, slot: I64Array, value: F32Array) -> None:
        """Offer values to the sample; those of discrete features are known from the counts."""
        at = np.flatnonzero(~self.shape.discrete[slot])
        slot = slot[at]
        priority = priorities(self.salt, seq[at], self.shape.features[slot].astype(np.uint64))
        self.sample.add(slot, priority, value[at])

    def merge(self, other: "Sketch") -> None:
        """Add what another sketch of the same shape holds of other windows."""
        self.windows += other.windows
        self._counts += other._counts
        self.sample.merge(other.sample)
        self.others.merge(other.others)

    def counts(self) -> I64Array:
        """Return the windows of each cell, (f, CELLS); each row adds up to all windows."""
        counts = self._counts.copy()
        counts[:, MISSING] = self.windows - counts.sum(axis=1)
        return counts

    def dump(self) -> Arrays:
        """Return the whole state but the shape."""
        found: Arrays = {"windows": np.array([self.windows], np.int64), "cells": self._counts}
        found |= {f"sample.{name}": array for name, array in self.sample.dump().items()}
        return found | {f"others.{name}": array for name, array in self.others.dump().items()}

    @classmethod
    def load(cls, shape: Shape, arrays: Arrays, *, sample_size: int, salt: int) -> Self:
        """Return the sketch that was dumped."""
        found = cls(shape, sample_size=sample_size, salt=salt)
        found.windows = int(arrays["windows"][0])
        found._counts = arrays["cells"].copy()
        found.sample = Reservoir.load(shape.features.size, sample_size, part(arrays, "sample"))
        found.others = Frequent.load(_OTHERS, part(arrays, "others"))
        return found


def part(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with `prefix` and a dot, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _summed(row: I64Array, slot: I64Array, value: F32Array) -> tuple[I64Array, I64Array, F32Array]:
    """Return (row, slot, value) with the values of a feature that occurs twice in a row added up."""
    order = np.lexsort((slot, row))
    row, slot, value = row[order], slot[order], value[order]
    first = np.ones(row.size, bool)
    first[1:] = (row[1:] != row[:-1]) | (slot[1:] != slot[:-1])
    if first.all():
        return row, slot, value
    starts = np.flatnonzero(first)
    return row[starts], slot[starts], np.add.reduceat(value, starts)
