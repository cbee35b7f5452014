"""Lines with as many quotation marks each, and columns of places in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from upm_cli.core.hashing import IntArray, U64Array
from upm_cli.core.window import I64Array, Strings
from upm_cli.sources.base import MAX_LINE_BYTES
from upm_cli.sources.block import BACKSLASH, COLON, NEWLINE, Block, BoolArray
from upm_cli.sources.skeleton import LINE_END, Fixed, Skeleton

_MANY_RUNS: Final = 4  # from here on one gather is faster than a copy for each run


@dataclass(slots=True)
class Frame:
    """n lines: `marks` (n, m) where their quotation marks are, `starts` and `ends` (the newline) of each.

    Of a shape with a hole, `marks` has those outside of it; those inside are numbers `hole_starts` to `hole_stops` (n,)
    of the block. With `by_colons`, `marks` are the colons instead.
    """

    marks: IntArray
    starts: IntArray
    ends: IntArray
    hole_starts: IntArray | None = None
    hole_stops: IntArray | None = None
    by_colons: bool = False

    def take(self, rows: I64Array) -> "Frame":
        starts, stops = (None if hole is None else hole[rows] for hole in (self.hole_starts, self.hole_stops))
        return Frame(self.marks[rows], self.starts[rows], self.ends[rows], starts, stops, self.by_colons)


def frame_whole(block: Block, shape: Skeleton) -> Frame | None:
    """Return all lines of `block`, by their colons, if judged by counts and line ends all can have this shape.

    Only if all of them turn out to have it is it certain that no value holds a quotation mark, a control character or
    anything but ASCII: as many of these as there are belong to the fixed bytes.
    """
    colons = shape.colons
    if colons is None or block.data.size > MAX_LINE_BYTES or block.find(bytes([BACKSLASH])):
        return None
    where = block.where(COLON)
    count, odd = divmod(where.size, colons.count)
    if odd or not count or count * (shape.marks + 1) != block.special_count:
        return None
    marks = where.astype(np.int32).reshape(count, colons.count)
    starts = marks[:, 0] - np.int32(colons.lead)
    ends = np.append(starts[1:], np.int32(block.data.size)) - np.int32(1)
    if starts[0] != 0 or (ends < 0).any() or (block.data.take(ends) != NEWLINE).any():
        return None
    return Frame(marks, starts, ends, by_colons=True)


class Places:
    """Bytes of a line told as (quotation mark, bytes after it); the same ones in every line of a frame."""

    def __init__(self, shape: Skeleton, places: Sequence[tuple[int, int]]) -> None:
        self._by_marks = _Columns(places)
        self._by_colons: _Columns | None = None
        if shape.colons is not None:
            found = [(LINE_END, 0) if mark == LINE_END else shape.colons.marks[mark] for mark, _ in places]
            moved = [(colon, delta + more) for (colon, delta), (_, more) in zip(found, places, strict=True)]
            self._by_colons = _Columns(moved)

    def of(self, frame: Frame) -> IntArray:
        """Return where these bytes are in every line of `frame`, (n, k)."""
        return self._by_colons.of(frame) if frame.by_colons and self._by_colons else self._by_marks.of(frame)


class _Columns:
    def __init__(self, places: Sequence[tuple[int, int]]) -> None:
        self._ends = [at for at, (mark, _) in enumerate(places) if mark == LINE_END]
        self._marks = np.array([max(mark, 0) for mark, _ in places], np.int64)
        self._deltas = np.array([delta for _, delta in places], np.int32)
        self._runs = _runs(self._marks)

    def of(self, frame: Frame) -> IntArray:
        if len(self._runs) > _MANY_RUNS:
            at = frame.marks.take(self._marks, axis=1)
            at += self._deltas
        else:
            at = np.empty((frame.ends.size, self._marks.size), frame.marks.dtype)
            for columns, marks in self._runs:
                np.add(frame.marks[:, marks], self._deltas[columns], out=at[:, columns])
        for column in self._ends:
            np.add(frame.ends, self._deltas[column], out=at[:, column])
        return at


class Comparer:
    """Compares bytes that must be the same in every line; `width` (a multiple of 8) are loaded at each place."""

    def __init__(self, pieces: Sequence[Fixed], width: int) -> None:
        self.places = [(piece.mark, piece.delta) for piece in pieces]
        self._width = width
        self._expected = _words([piece.text for piece in pieces], width)
        self._mask = _words([b"\xff" * len(piece.text) for piece in pieces], width)

    def same(self, block: Block, at: IntArray) -> BoolArray:
        """Return for every line whether all bytes, which begin at `at` (n, k) for `places`, are as expected."""
        if not self._expected.size:
            return np.ones(at.shape[0], bool)
        if at[0].min() < 0 or at[-1].max() >= block.data.size:
            at = np.clip(at, 0, block.data.size - 1)
        words = block.loads(self._width)[at].view(np.uint64)
        words &= self._mask
        same = words == self._expected
        return np.ones(at.shape[0], bool) if same.all() else same.all(axis=1)


def as_columns(numbers: Sequence[int]) -> slice | I64Array:
    """Return column numbers as a slice if they are one: NumPy is much faster with these."""
    runs = _runs(np.array(numbers, np.int64))
    return runs[0][1] if len(runs) == 1 else np.array(numbers, np.int64)


def _runs(marks: I64Array) -> list[tuple[slice, slice]]:
    """Cut `marks` into runs of equal steps: where each run is in it, and the marks of it."""
    runs: list[tuple[slice, slice]] = []
    start = 0
    while start < marks.size:
        step = int(marks[start + 1] - marks[start]) if start + 1 < marks.size else 1
        stop = start + 1
        while step > 0 and stop < marks.size and marks[stop] - marks[stop - 1] == step:
            stop += 1
        runs.append((slice(start, stop), slice(int(marks[start]), int(marks[stop - 1]) + 1, max(step, 1))))
        start = stop
    return runs


def copy_spans(block: Block, starts: IntArray, ends: IntArray) -> Strings:
    """Copy text out of `block`."""
    lengths = ends - starts
    width = int(lengths[0]) if lengths.size else 0
    if not 0 < width <= 32 or (lengths != width).any():
        return Strings.from_spans(block.data, starts.astype(np.int64), lengths.astype(np.int64))
    return Strings(np.arange(lengths.size + 1, dtype=np.int64) * width, block.loads(width)[starts].view(np.uint8))


def _words(texts: Sequence[bytes], width: int) -> U64Array:
    return np.frombuffer(b"".join(text.ljust(width, b"\0") for text in texts), np.uint64)
