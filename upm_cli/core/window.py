"""Feature windows, one at a time for people and in columns for the hot path."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from upm_cli.core.hashing import U64Array, hash_spans

I32Array = npt.NDArray[np.int32]
I64Array = npt.NDArray[np.int64]
F32Array = npt.NDArray[np.float32]
F64Array = npt.NDArray[np.float64]
U8Array = npt.NDArray[np.uint8]
U32Array = npt.NDArray[np.uint32]


class RowKind(IntEnum):
    """What one row of the log is. Values are stored."""

    WINDOW = 0  # a feature window, with or without its label
    LABEL = 1  # ground truth that came after its window was released; carries the window's features
    END = 2  # end of a declared-complete input: the learner flushes its short batch here
    CUT = 3  # end of one commit of the ingest worker: at most one snapshot is made per cut


class LabelKind(IntEnum):
    """What a label is. Values are stored."""

    NONE = 0
    NUMBER = 1
    BOOL = 2
    CLASS = 3  # a name, in `label_text`
    MAP = 4  # name → number, as canonical JSON (sorted keys, no spaces) in `label_text`


def _joined(bounds: Sequence[I64Array]) -> I64Array:
    """Return the bounds of the parts laid end to end; each (n+1,), the result begins at 0."""
    pieces = [np.zeros(1, np.int64)]
    end = 0
    for bound in bounds:
        pieces.append(bound[1:] + (end - bound[0]))
        end += int(bound[-1] - bound[0])
    return np.concatenate(pieces)


@dataclass(slots=True)
class Strings:
    """n UTF-8 strings held flat: `offsets` (n+1,) int64 into `data` (m,) uint8."""

    offsets: I64Array
    data: U8Array

    @classmethod
    def of(cls, texts: Iterable[str | bytes]) -> Self:
        raw = [text.encode() if isinstance(text, str) else text for text in texts]
        offsets = np.zeros(len(raw) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, raw), np.int64, len(raw)), out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(raw), np.uint8))

    @classmethod
    def empty(cls, n: int) -> Self:
        """Return `n` empty strings."""
        return cls(np.zeros(n + 1, np.int64), np.zeros(0, np.uint8))

    @classmethod
    def from_spans(cls, data: U8Array, starts: I64Array, lengths: I64Array) -> Self:
        """Copy the spans `data[starts[i] : starts[i] + lengths[i]]` into one flat column."""
        offsets = np.zeros(starts.size + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        where = np.arange(offsets[-1], dtype=np.int64)
        where += np.repeat(starts - offsets[:-1], lengths)
        return cls(offsets, data[where])

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __getitem__(self, row: int) -> str:
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes().decode()

    def lengths(self) -> I64Array:
        return np.diff(self.offsets)

    def take(self, rows: I64Array) -> Self:
        """Return the strings of `rows`, in that order."""
        return self.from_spans(self.data, self.offsets[:-1][rows], self.lengths()[rows])

    def slice(self, start: int, stop: int) -> Self:
        offsets = self.offsets[start : stop + 1]
        return type(self)(offsets - offsets[0], self.data[offsets[0] : offsets[-1]])

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        if not parts:
            return cls.empty(0)
        offsets = _joined([part.offsets for part in parts])
        return cls(offsets, np.concatenate([part.data[part.offsets[0] : part.offsets[-1]] for part in parts]))

    def to_list(self) -> list[str]:
        raw = self.data.tobytes()
        return [raw[a:b].decode() for a, b in zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist(), strict=True)]

    def distinct(self) -> tuple[list[str], I64Array]:
        """Return the distinct strings in the order in which they first occur, and which of them each row is, (n,)."""
        if not len(self):
            return [], np.zeros(0, np.int64)
        _, first, which = np.unique(self.hashes(), return_index=True, return_inverse=True)
        again = self.take(first[which])
        here = self.data[self.offsets[0] : self.offsets[-1]]
        if not (np.array_equal(again.lengths(), self.lengths()) and np.array_equal(again.data, here)):
            # two strings of one hash
            known: dict[str, int] = {}
            rows = [known.setdefault(text, len(known)) for text in self.to_list()]
            return list(known), np.array(rows, np.int64)
        order = first.argsort()
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        return [self[row] for row in first[order].tolist()], rank[which]

    def hashes(self) -> U64Array:
        """Return the stable 64-bit hash of each string, (n,) uint64."""
        return hash_spans(self.data, self.offsets[:-1], self.lengths())


@dataclass(slots=True)
class Csr:
    """Sparse features of n windows: row i is `index[indptr[i]:indptr[i+1]]` with the same slice of `value`.

    `indptr` (n+1,) int64; `index` (nnz,) uint32, low 32 bits of the feature hash; `value` (nnz,) float32,
    finite. An index may occur twice in a row: its values add up.
    """

    indptr: I64Array
    index: U32Array
    value: F32Array

    @classmethod
    def empty(cls, n: int) -> Self:
        return cls(np.zeros(n + 1, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return self.indptr.size - 1

    def take(self, rows: I64Array) -> Self:
        lengths = np.diff(self.indptr)[rows]
        indptr = np.zeros(rows.size + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        where = np.arange(indptr[-1], dtype=np.int64)
        where += np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths)
        return type(self)(indptr, self.index[where], self.value[where])

    def slice(self, start: int, stop: int) -> Self:
        indptr = self.indptr[start : stop + 1]
        a, b = int(indptr[0]), int(indptr[-1])
        return type(self)(indptr - a, self.index[a:b], self.value[a:b])

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        if not parts:
            return cls.empty(0)
        indptr = _joined([part.indptr for part in parts])
        spans = [slice(int(part.indptr[0]), int(part.indptr[-1])) for part in parts]
        return cls(
            indptr,
            np.concatenate([part.index[span] for part, span in zip(parts, spans, strict=True)]),
            np.concatenate([part.value[span] for part, span in zip(parts, spans, strict=True)]),
        )


class Acted(IntEnum):
    """Whether a served prediction had an influence on what happened. Values are stored."""

    UNKNOWN = 0  # nobody has said so yet
    NO = 1
    YES = 2


@dataclass(slots=True)
class Influence:
    """Which of n rows a model was asked about: `version` (n,) int32, 0 where none was, and `acted` (n,) uint8 Acted."""

    version: I32Array
    acted: U8Array

    @classmethod
    def none(cls, n: int) -> Self:
        """Return the influence on `n` rows that no model was asked about."""
        return cls(np.zeros(n, np.int32), np.zeros(n, np.uint8))

    def __len__(self) -> int:
        return self.version.size

    def take(self, rows: I64Array) -> Self:
        return type(self)(self.version[rows], self.acted[rows])

    def slice(self, start: int, stop: int) -> Self:
        return type(self)(self.version[start:stop], self.acted[start:stop])

    def put(self, rows: I64Array, other: Self) -> Self:
        """Return a copy with `rows[i]` as in `other[i]`, where that is any influence at all."""
        known = other.version != 0
        version, acted = self.version.copy(), self.acted.copy()
        version[rows[known]], acted[rows[known]] = other.version[known], other.acted[known]
        return type(self)(version, acted)

    @classmethod
    def concat(cls, parts: Sequence[Self | None], sizes: Sequence[int]) -> Self | None:
        """Return the parts laid end to end, of `sizes`; a part that is None has no influence. None when all are."""
        if all(part is None for part in parts):
            return None
        whole = [cls.none(n) if part is None else part for part, n in zip(parts, sizes, strict=True)]
        return cls(np.concatenate([part.version for part in whole]), np.concatenate([part.acted for part in whole]))


@dataclass(slots=True)
class WindowBatch:
    """n rows in columns: what sources make, the replay buffer orders, the log keeps and the trainer reads.

    `kind` (n,) uint8 RowKind · `window_id`, `tenant` Strings ("" = no tenant) · `start_ms`, `end_ms` (n,) int64
    Unix milliseconds · `label_kind` (n,) uint8 LabelKind · `label_value` (n,) float64 (0/1 for booleans, NaN where
    none) · `label_text` Strings (class name, or canonical JSON of a map) · `x` features as Csr · `influence`: which
    model was asked about each window, None where none was about any.
    Rows are in arrival order until the replay buffer releases them; then in log order.
    """

    kind: U8Array
    window_id: Strings
    tenant: Strings
    start_ms: I64Array
    end_ms: I64Array
    label_kind: U8Array
    label_value: F64Array
    label_text: Strings
    x: Csr
    influence: Influence | None = None

    @classmethod
    def empty(cls, n: int = 0, kind: RowKind = RowKind.WINDOW) -> Self:
        """Return `n` rows of `kind` with nothing in them; marks (END, CUT) are such rows."""
        return cls(
            np.full(n, kind, np.uint8),
            Strings.empty(n),
            Strings.empty(n),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
            np.zeros(n, np.uint8),
            np.full(n, np.nan),
            Strings.empty(n),
            Csr.empty(n),
        )

    def __len__(self) -> int:
        return self.kind.size

    def take(self, rows: I64Array) -> Self:
        """Return a copy of `rows`, in that order."""
        columns = (getattr(self, field.name) for field in fields(self))
        taken: list[Any] = [
            c[rows] if isinstance(c, np.ndarray) else None if c is None else c.take(rows) for c in columns
        ]
        return type(self)(*taken)

    def slice(self, start: int, stop: int) -> Self:
        """Return rows `start` to `stop`, sharing memory where possible."""
        columns = (getattr(self, field.name) for field in fields(self))
        cut: list[Any] = [
            c[start:stop] if isinstance(c, np.ndarray) else None if c is None else c.slice(start, stop) for c in columns
        ]
        return type(self)(*cut)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        columns: list[Any] = []
        for field in fields(cls)[:-1]:
            pieces = [getattr(part, field.name) for part in parts]
            first = pieces[0]
            columns.append(np.concatenate(pieces) if isinstance(first, np.ndarray) else type(first).concat(pieces))
        columns.append(Influence.concat([part.influence for part in parts], [len(part) for part in parts]))
        return cls(*columns)
