"""Lines of one known shape, read as columns: fixed bytes are compared, values are parsed in bulk."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from upm_cli.core.hashing import hash_bytes, hash_pairs
from upm_cli.core.window import (
    Csr,
    F32Array,
    F64Array,
    I64Array,
    LabelKind,
    RowKind,
    Strings,
    U8Array,
    U32Array,
    WindowBatch,
)
from upm_cli.sources.base import MAX_ID_BYTES
from upm_cli.sources.block import Block, BoolArray, Lines
from upm_cli.sources.frame import Comparer, Frame, Places, as_columns, copy_spans
from upm_cli.sources.instants import parse_instants
from upm_cli.sources.numbers import BAD, BOOLEAN, NULL, Numbers, parse_numbers
from upm_cli.sources.skeleton import PIECE, Role, Skeleton

_WORD: Final = 8


@dataclass(slots=True)
class Told:
    """Features whose names may be new: `index` (n,), and where in the block the text lies that follows `prefix`.

    The text is a name, the value that belongs to a prefix `k=`, or a key and its value as they stand in JSON.
    """

    prefix: bytes
    index: U32Array
    starts: I64Array
    ends: I64Array

    def names(self, block: Block, rows: I64Array) -> list[bytes]:
        """Return the names of some of them as people read them."""
        spans = zip(self.starts[rows].tolist(), self.ends[rows].tolist(), strict=True)
        return [self.prefix + _join(block.text[block.begin + start : block.begin + end]) for start, end in spans]


@dataclass(slots=True)
class Part:
    """What was read of a frame: `rows` (n,) of it as `batch`, and text features whose names may be new."""

    rows: I64Array
    batch: WindowBatch
    told: list[Told]


def _join(text: bytes) -> bytes:
    """Turn `k":"v` into `k=v`; other text stays as it is."""
    key, quote, rest = text.partition(b'"')
    return key + b"=" + rest.rpartition(b'"')[2] if quote else key


class _Spans:
    """Where the values of some roles begin and end."""

    def __init__(self, shape: Skeleton, *roles: Role) -> None:
        values = [value for value in shape.values if value.role in roles]
        self.names = [value.name for value in values]
        self.roles = [value.role for value in values]
        self._starts = Places([value.start for value in values])
        self._ends = Places([value.end for value in values])

    def __len__(self) -> int:
        return len(self.names)

    def of(self, frame: Frame) -> tuple[I64Array, I64Array]:
        """Return starts and ends, (n, k) each."""
        return self._starts.of(frame), self._ends.of(frame)


class Reader:
    """Reads lines of the shape of one skeleton.

    `names` and `name_hashes` are those of its numbers; names of text features depend on the text.
    """

    def __init__(self, shape: Skeleton) -> None:
        self.shape = shape
        self._short = Comparer([piece for piece in shape.fixed if len(piece.text) <= _WORD], _WORD)
        self._long = Comparer([piece for piece in shape.fixed if len(piece.text) > _WORD], PIECE)
        self._ids = [_Spans(shape, Role.WINDOW_ID), _Spans(shape, Role.TENANT)]
        self._times = [_Spans(shape, Role.START), _Spans(shape, Role.END)]
        self._label = _Spans(shape, Role.LABEL_TEXT)
        self._numbers = _Spans(shape, Role.FEATURE_NUMBER, Role.LABEL_NUMBER, Role.OTHER_NUMBER)
        self._texts = _Spans(shape, Role.FEATURE_TEXT)
        features = [value for value in shape.values if value.role in (Role.FEATURE_NUMBER, Role.FEATURE_TEXT)]
        self._keys = np.array([hash_bytes(value.name.encode()) for value in features], np.uint64)
        is_text = np.array([value.role is Role.FEATURE_TEXT for value in features], bool)
        self._text_columns = np.flatnonzero(is_text)
        self._number_columns = as_columns(np.flatnonzero(~is_text).tolist())
        wanted = [at for at, role in enumerate(self._numbers.roles) if role is Role.FEATURE_NUMBER]
        self._feature_numbers = as_columns(wanted)
        self.names = [self._numbers.names[at] for at in wanted]
        self.name_hashes = self._keys[~is_text].astype(np.uint32)

    def fits(self, lines: Lines) -> BoolArray:
        """Say which lines have the number of quotation marks that this shape needs."""
        fitting: BoolArray = lines.marks == self.shape.marks
        return fitting

    def frame(self, block: Block, lines: Lines, numbers: I64Array) -> Frame:
        """Return the lines with these `numbers`, which must fit."""
        first = lines.first[numbers]
        marks = block.quotes[first[:, None] + np.arange(self.shape.marks)]
        return Frame(marks, lines.starts[numbers], lines.ends[numbers], first, first)

    def read(self, block: Block, frame: Frame) -> Part:
        """Read the lines of `frame` that have this shape and whose every value can be read in columns."""
        same = self._short.same(block, frame)
        same &= self._long.same(block, frame)
        same &= frame.marks[:, 0] - self.shape.lead == frame.starts
        rows = np.flatnonzero(same)
        if not rows.size:
            return Part(rows, WindowBatch.empty(), [])
        if rows.size < same.size:
            frame = frame.take(rows)
        good = np.ones(rows.size, bool)
        numbers = self._parse(block, frame, good)
        window_id, tenant = (_identifiers(block, spans, frame, good) for spans in self._ids)
        start_ms, end_ms = self._instants(block, frame, good)
        label = self._labels(block, frame, numbers, good)
        x, told = self._features(block, frame, numbers, good)
        kind = np.full(rows.size, self.shape.kind, np.uint8)
        batch = WindowBatch(kind, window_id, tenant, start_ms, end_ms, *label, x)
        if good.all():
            return Part(rows, batch, told)
        kept = np.flatnonzero(good)
        return Part(rows[kept], batch.take(kept), told)

    def _parse(self, block: Block, frame: Frame, good: BoolArray) -> Numbers:
        if not len(self._numbers):
            return Numbers(np.zeros((frame.ends.size, 0)), None)
        numbers = parse_numbers(block, *self._numbers.of(frame))
        if numbers.state is not None:
            good &= (numbers.state != BAD).all(axis=1)
        for at, role in enumerate(self._numbers.roles):
            if role is not Role.FEATURE_NUMBER:
                good &= np.abs(numbers.value[:, at]) < np.inf
        return numbers

    def _instants(self, block: Block, frame: Frame, good: BoolArray) -> tuple[I64Array, I64Array]:
        """Return start and end of every window; zeros for ground truth."""
        count = frame.ends.size
        if self.shape.kind is RowKind.LABEL:
            return np.zeros(count, np.int64), np.zeros(count, np.int64)
        spans = [times.of(frame) for times in self._times]
        starts, ends = (np.concatenate([span[at][:, 0] for span in spans]) for at in (0, 1))
        ms, known = parse_instants(block, starts, ends)
        good &= known[:count]
        good &= known[count:]
        good &= ms[:count] <= ms[count:]
        return ms[:count], ms[count:]

    def _labels(
        self, block: Block, frame: Frame, numbers: Numbers, good: BoolArray
    ) -> tuple[U8Array, F64Array, Strings]:
        """Return kind, value and text of every label."""
        count = frame.ends.size
        kind, value, text = np.zeros(count, np.uint8), np.full(count, np.nan), Strings.empty(count)
        if Role.LABEL_NUMBER in self._numbers.roles:
            at = self._numbers.roles.index(Role.LABEL_NUMBER)
            value = numbers.value[:, at] + 0.0
            kind[:] = LabelKind.NUMBER
            if numbers.state is not None:
                state = numbers.state[:, at]
                kind[state == BOOLEAN] = LabelKind.BOOL
                kind[state == NULL] = LabelKind.NONE
                value[state == NULL] = np.nan
        elif len(self._label):
            starts, ends = (span[:, 0] for span in self._label.of(frame))
            good &= (ends > starts) & (ends - starts <= MAX_ID_BYTES)
            text = copy_spans(block, starts, ends)
            kind[:] = LabelKind.CLASS
        if self.shape.kind is RowKind.LABEL:
            good &= kind != LabelKind.NONE
        return kind, value, text

    def _features(self, block: Block, frame: Frame, numbers: Numbers, good: BoolArray) -> tuple[Csr, list[Told]]:
        """Return the features of every line, and those with text values."""
        shape = (frame.ends.size, self._keys.size)
        index, value = np.empty(shape, np.uint32), np.ones(shape, np.float32)
        index[:] = self._keys.astype(np.uint32)
        value[:, self._number_columns] = to_float32(numbers.value[:, self._feature_numbers], good)
        told = []
        starts, ends = self._texts.of(frame)
        for at, (column, key) in enumerate(zip(self._text_columns.tolist(), self._texts.names, strict=True)):
            start, end = starts[:, at], ends[:, at]
            hashes = hash_pairs(self._keys[column : column + 1], block.hashes(start, end - start)).astype(np.uint32)
            index[:, column] = hashes
            told.append(Told(key.encode() + b"=", hashes[good], start[good], end[good]))
        indptr = np.arange(shape[0] + 1, dtype=np.int64) * shape[1]
        if numbers.state is None or not (numbers.state == NULL).any():
            return Csr(indptr, index.ravel(), value.ravel()), told
        present = np.ones(shape, bool)
        present[:, self._number_columns] = numbers.state[:, self._feature_numbers] != NULL
        np.cumsum(present.sum(axis=1), out=indptr[1:])
        return Csr(indptr, index[present], value[present]), told


def to_float32(value: F64Array, good: BoolArray) -> F32Array:
    """Return `value` (n, k) in float32 without negative zeros; rows where one is out of range are no longer `good`."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = value.astype(np.float32)
    narrow += np.float32(0)
    finite = np.isfinite(narrow)
    if not finite.all():
        good &= finite.all(axis=1)
    return narrow


def _identifiers(block: Block, spans: _Spans, frame: Frame, good: BoolArray) -> Strings:
    """Return the ids of one role; lines with one that the strict decoder has to look at are no longer `good`."""
    if not len(spans):
        return Strings.empty(frame.ends.size)
    starts, ends = (span[:, 0] for span in spans.of(frame))
    good &= (ends > starts) & (ends - starts <= MAX_ID_BYTES)
    if not block.plain:
        good &= ~block.has_odd_bytes(starts, ends)
    return copy_spans(block, starts, ends)
