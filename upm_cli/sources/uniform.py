"""Lines of one known shape, read as columns: fixed bytes are compared, values are parsed in bulk."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from upm_cli.core.hashing import IntArray, hash_bytes, hash_pairs
from upm_cli.core.window import (
    Csr,
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
from upm_cli.sources.block import DEL, QUOTE, Block, BoolArray, Lines
from upm_cli.sources.frame import Comparer, Frame, Places, as_columns, copy_spans
from upm_cli.sources.instants import parse_instants
from upm_cli.sources.numbers import BAD, BOOLEAN, NULL, Numbers, parse_features, parse_integers, parse_numbers
from upm_cli.sources.skeleton import PIECE, Role, Skeleton, Value
from upm_cli.sources.times import MAX_MS

_WORD: Final = 8
TEXT_ROLES: Final = (Role.WINDOW_ID, Role.TENANT, Role.START, Role.END, Role.LABEL_TEXT, Role.FEATURE_TEXT)


@dataclass(slots=True)
class Told:
    """Features whose names may be new: `index` (n,), and where in the block their text lies.

    The text is a name, or a key and its value as they stand in JSON; or, where there are `keys`, a value: of each key
    in turn.
    """

    index: U32Array
    starts: IntArray
    ends: IntArray
    keys: list[str] = field(default_factory=list)

    def names(self, block: Block, rows: I64Array) -> Strings:
        """Return the names of some of them as people read them."""
        texts = copy_spans(block, self.starts[rows], self.ends[rows])
        if self.keys:
            keys = [self.keys[row % len(self.keys)] for row in rows.tolist()]
            return Strings.of(f"{key}={text}" for key, text in zip(keys, texts.to_list(), strict=True))
        if (texts.data == QUOTE).any():
            return Strings.of(map(_join, texts.to_list()))
        return texts


@dataclass(slots=True)
class Part:
    """What was read of a frame: `rows` (n,) of it as `batch`, and text features whose names may be new."""

    rows: I64Array
    batch: WindowBatch
    told: list[Told]


def _join(text: str) -> str:
    """Turn `k":"v` into `k=v`; other text stays as it is."""
    key, quote, rest = text.partition('"')
    return f"{key}={rest.rpartition(chr(QUOTE))[2]}" if quote else key


@dataclass(slots=True)
class Texts:
    """Where the texts of each line are: one column of `starts` and `ends` (n, k) for each of `roles`."""

    values: list[Value]
    starts: IntArray
    ends: IntArray

    @property
    def roles(self) -> list[Role]:
        return [value.role for value in self.values]

    def is_text(self, role: Role) -> bool:
        return self.values[self.roles.index(role)].is_text

    def of(self, role: Role) -> tuple[IntArray, IntArray]:
        """Return starts and ends of the one text with this role."""
        at = self.roles.index(role)
        return self.starts[:, at], self.ends[:, at]

    def all_of(self, role: Role) -> tuple[IntArray, IntArray]:
        """Return starts and ends of all texts with this role."""
        columns = as_columns([at for at, other in enumerate(self.roles) if other is role])
        return self.starts[:, columns], self.ends[:, columns]


class Reader:
    """Reads lines of the shape of one skeleton.

    `names` and `name_hashes` are those of its numbers; names of text features depend on the text.
    """

    def __init__(self, shape: Skeleton) -> None:
        self.shape = shape
        self._short = Comparer([piece for piece in shape.fixed if len(piece.text) <= _WORD], _WORD)
        self._long = Comparer([piece for piece in shape.fixed if len(piece.text) > _WORD], PIECE)
        self._numbers = shape.with_role(Role.FEATURE_NUMBER)
        self._others = shape.with_role(Role.LABEL_NUMBER, Role.OTHER_NUMBER)
        self._texts = shape.with_role(*TEXT_ROLES)
        parts = [
            self._short.places,
            self._long.places,
            [place for value in self._numbers for place in (value.start, value.end)],
            [place for value in self._others for place in (value.start, value.end)],
            [value.start for value in self._texts],
            [value.end for value in self._texts],
        ]
        self._places = Places(shape, [place for part in parts for place in part])
        self._cuts = np.cumsum([len(part) for part in parts])[:-1]
        features = shape.with_role(Role.FEATURE_NUMBER, Role.FEATURE_TEXT)
        self._keys = np.array([hash_bytes(value.name.encode()) for value in features], np.uint64)
        self._tiled = np.zeros((0, 0), np.uint32)
        is_text = np.array([value.role is Role.FEATURE_TEXT for value in features], bool)
        self._text_columns = as_columns(np.flatnonzero(is_text).tolist())
        self._number_columns = as_columns(np.flatnonzero(~is_text).tolist())
        self._text_keys = self._keys[is_text]
        self._text_names = [v.name for v in features if v.role is Role.FEATURE_TEXT]
        self.names = Strings.of(value.name for value in self._numbers)
        self.name_hashes = self._keys[~is_text].astype(np.uint32)

    def fits(self, lines: Lines) -> BoolArray:
        """Say which lines have the number of quotation marks that this shape needs."""
        fitting: BoolArray = lines.marks == self.shape.marks
        return fitting

    def frame(self, block: Block, lines: Lines, numbers: I64Array) -> Frame:
        """Return the lines with these `numbers`, which must fit."""
        first = lines.first[numbers]
        marks = block.quotes[first[:, None] + np.arange(self.shape.marks)]
        return Frame(marks, lines.starts[numbers], lines.ends[numbers])

    def read(self, block: Block, frame: Frame) -> Part:
        """Read the lines of `frame` that have this shape and whose every value can be read in columns."""
        short, long, *rest = np.split(self._places.of(frame), self._cuts, axis=1)
        same = self._short.same(block, short)
        same &= self._long.same(block, long)
        if not frame.by_colons:
            same &= frame.marks[:, 0] - self.shape.lead == frame.starts
        elif not same.all():
            return Part(np.zeros(0, np.int64), WindowBatch.empty(), [])
        rows = np.flatnonzero(same)
        if not rows.size:
            return Part(rows, WindowBatch.empty(), [])
        if rows.size < same.size:
            frame, rest = frame.take(rows), [places[rows] for places in rest]
        spans, other_spans, starts, ends = rest
        good = np.ones(rows.size, bool)
        others = self._parse_others(block, other_spans, good)
        texts = Texts(self._texts, starts, ends)
        window_id = _identifiers(block, texts, Role.WINDOW_ID, good)
        tenant = _identifiers(block, texts, Role.TENANT, good)
        start_ms, end_ms = self._instants(block, texts, good)
        label = self._labels(block, texts, others, good)
        x, told = self._features(block, frame, texts, spans, good)
        kind = np.full(rows.size, self.shape.kind, np.uint8)
        batch = WindowBatch(kind, window_id, tenant, start_ms, end_ms, *label, x)
        if good.all():
            return Part(rows, batch, told)
        kept = np.flatnonzero(good)
        return Part(rows[kept], batch.take(kept), told)

    def _parse_others(self, block: Block, spans: IntArray, good: BoolArray) -> Numbers:
        """Read the numbers that are no features."""
        if not self._others:
            return Numbers(np.zeros(spans.shape), None)
        numbers = parse_numbers(block, spans)
        fine = np.abs(numbers.value) < np.inf
        if numbers.state is not None:
            fine |= numbers.state == NULL
            fine &= numbers.state != BAD
        good &= fine.all(axis=1)
        return numbers

    def _instants(self, block: Block, texts: Texts, good: BoolArray) -> tuple[I64Array, I64Array]:
        """Return start and end of every window; zeros for ground truth."""
        if self.shape.kind is RowKind.LABEL:
            return np.zeros(good.size, np.int64), np.zeros(good.size, np.int64)
        if texts.is_text(Role.START) and texts.is_text(Role.END):
            first, second = texts.of(Role.START), texts.of(Role.END)
            ms, known = parse_instants(block, np.append(first[0], second[0]), np.append(first[1], second[1]))
            start_ms, end_ms = ms[: good.size], ms[good.size :]
            good &= known[: good.size]
            good &= known[good.size :]
        else:
            start_ms, end_ms = (_instants(block, texts, role, good) for role in (Role.START, Role.END))
        good &= start_ms <= end_ms
        return start_ms, end_ms

    def _labels(
        self, block: Block, texts: Texts, others: Numbers, good: BoolArray
    ) -> tuple[U8Array, F64Array, Strings]:
        """Return kind, value and text of every label."""
        kind, value, text = np.zeros(good.size, np.uint8), np.full(good.size, np.nan), Strings.empty(good.size)
        roles = [value.role for value in self._others]
        if Role.LABEL_NUMBER in roles:
            at = roles.index(Role.LABEL_NUMBER)
            value = others.value[:, at] + 0.0
            kind[:] = LabelKind.NUMBER
            if others.state is not None:
                state = others.state[:, at]
                kind[state == BOOLEAN] = LabelKind.BOOL
                kind[state == NULL] = LabelKind.NONE
                value[state == NULL] = np.nan
        elif Role.LABEL_TEXT in texts.roles:
            starts, ends = texts.of(Role.LABEL_TEXT)
            good &= (ends > starts) & (ends - starts <= MAX_ID_BYTES)
            text = copy_spans(block, starts, ends)
            kind[:] = LabelKind.CLASS
        if self.shape.kind is RowKind.LABEL:
            good &= kind != LabelKind.NONE
        return kind, value, text

    def _index_rows(self, count: int) -> U32Array:
        """Return the hash of every key for `count` lines; tiled once and copied, which is faster than to fill."""
        if self._tiled.shape[0] < count:
            self._tiled = np.tile(self._keys.astype(np.uint32), (count, 1))
        return self._tiled[:count].copy()

    def _features(
        self, block: Block, frame: Frame, texts: Texts, spans: IntArray, good: BoolArray
    ) -> tuple[Csr, list[Told]]:
        """Return the features of every line, and those with text values."""
        shape = (good.size, self._keys.size)
        index, value, state = self._index_rows(good.size), np.ones(shape, np.float32), None
        if self._numbers:
            value[:, self._number_columns], state = parse_features(block, spans)
        if state is not None:
            good &= (state != BAD).all(axis=1)
        told = []
        if self._text_keys.size:
            starts, ends = texts.all_of(Role.FEATURE_TEXT)
            hashes = block.hashes(starts.ravel(), (ends - starts).ravel()).reshape(starts.shape)
            pairs = hash_pairs(self._text_keys, hashes).astype(np.uint32)
            index[:, self._text_columns] = pairs
            kept = slice(None) if good.all() else good
            told.append(Told(pairs[kept].ravel(), starts[kept].ravel(), ends[kept].ravel(), self._text_names))
        indptr = np.arange(shape[0] + 1, dtype=np.int64) * shape[1]
        if state is None or not (state == NULL).any():
            return Csr(indptr, index.ravel(), value.ravel()), told
        present = np.ones(shape, bool)
        present[:, self._number_columns] = state != NULL
        np.cumsum(present.sum(axis=1), out=indptr[1:])
        return Csr(indptr, index[present], value[present]), told


def _instants(block: Block, texts: Texts, role: Role, good: BoolArray) -> I64Array:
    ms, known = (parse_instants if texts.is_text(role) else parse_integers)(block, *texts.of(role))
    good &= known
    good &= ms <= MAX_MS
    return ms


def _identifiers(block: Block, texts: Texts, role: Role, good: BoolArray) -> Strings:
    """Return the ids of one role; lines with one that the strict decoder has to look at are no longer `good`."""
    if role not in texts.roles:
        return Strings.empty(good.size)
    starts, ends = texts.of(role)
    if not texts.is_text(role):
        good &= parse_integers(block, starts, ends)[1]
    lengths = ends - starts
    good &= (lengths > 0) & (lengths <= MAX_ID_BYTES)
    identifiers = copy_spans(block, starts, ends)
    if identifiers.data.max(initial=0) >= DEL:
        good &= ~block.has_odd_bytes(starts, ends)
    return identifiers
