"""Some whole lines, few enough for the processor's cache and enough for NumPy, and how they are looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.hashing import IntArray, U64Array, hash_spans
from upm_cli.core.window import I64Array, U8Array

BLOCK_BYTES: Final = 1536 << 10
SLACK: Final = 64  # bytes that may be loaded past the end of a block

BoolArray = npt.NDArray[np.bool_]

QUOTE, COLON, NEWLINE, BACKSLASH, DEL = 34, 58, 10, 92, 127


class Scratch:
    """Two byte arrays that blocks use in turn for what is only looked at once: new memory each time would cost more."""

    def __init__(self, size: int = BLOCK_BYTES) -> None:
        self._bytes = np.empty((2, size), np.uint8)

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Return both arrays, (2, size)."""
        if size > self._bytes.shape[1]:
            return np.empty((2, size), np.uint8)
        return self._bytes[:, :size]


class Block:
    """Lines as bytes: `data` (m,) uint8 ends with a newline and is followed by `SLACK` bytes that may be read."""

    def __init__(self, text: bytes, begin: int, end: int, scratch: Scratch) -> None:
        self.text, self.begin, self.end = text, begin, end
        if len(text) < end + SLACK or text[end - 1] != NEWLINE:
            newline = b"" if text[end - 1] == NEWLINE else b"\n"
            self.text, self.begin, self.end = text[begin:end] + newline + bytes(SLACK), 0, end - begin + len(newline)
        self.data: U8Array = np.frombuffer(self.text, np.uint8, self.end - self.begin, self.begin)
        self._bytes, other = scratch.take(self.data.size)
        self._flags, self._more_flags = self._bytes.view(bool), other.view(bool)

    def loads(self, width: int) -> npt.NDArray[Any]:
        """Return the `width` bytes that begin at each byte of the block, (m,) void."""
        return np.ndarray((self.data.size,), f"V{width}", self.text, self.begin, (1,))

    def find(self, text: bytes) -> bool:
        return self.text.find(text, self.begin, self.end) >= 0

    def where(self, byte: int) -> I64Array:
        """Return where `byte` is."""
        return np.flatnonzero(np.equal(self.data, byte, out=self._flags))

    @cached_property
    def quotes(self) -> I64Array:
        return self.where(QUOTE)

    @cached_property
    def newlines(self) -> I64Array:
        flags = np.equal(self.data, NEWLINE, out=self._flags)
        whole = flags.size & ~7
        words = np.flatnonzero(flags[:whole].view(np.uint64) != 0)  # few of them: eight bytes at a time
        where = (words[:, None] * 8 + np.arange(8))[flags[:whole].reshape(-1, 8)[words]]
        return np.append(where, whole + np.flatnonzero(flags[whole:]))

    @cached_property
    def special_count(self) -> int:
        """How many bytes are a quotation mark, a control character or not ASCII; one pass tells."""
        np.bitwise_xor(self.data, 2, out=self._bytes)  # moves the quotation mark to 32
        return int(np.count_nonzero(np.less_equal(self._bytes.view(np.int8), 32, out=self._flags)))

    @cached_property
    def controls(self) -> int:
        """How many control characters there are, newlines included."""
        return int(np.count_nonzero(np.less(self.data, 32, out=self._flags)))

    @cached_property
    def plain(self) -> bool:
        """Say whether all bytes are ASCII."""
        return bool(self.data.max() <= DEL)

    def has_odd_bytes(self, starts: IntArray, ends: IntArray) -> BoolArray:
        """Say for each span whether it holds DEL or anything but ASCII."""
        odd = np.flatnonzero(self.data >= DEL)
        found: BoolArray = np.searchsorted(odd, starts) != np.searchsorted(odd, ends)
        return found

    def hashes(self, starts: IntArray, lengths: IntArray) -> U64Array:
        """Return the feature hash of each span."""
        room = np.frombuffer(self.text, np.uint8, self.data.size + SLACK, self.begin)
        return hash_spans(room, starts, lengths)

    @cached_property
    def loose_points(self) -> I64Array:
        """Where a "." comes after a digit but before none; number parsers let this pass and JSON does not."""
        points, others = self._flags[:-1], self._more_flags[1:]
        np.subtract(self.data, ord("0"), out=self._bytes)
        np.greater(self._bytes[1:], 9, out=others)
        np.equal(self.data[:-1], ord("."), out=points)
        points &= others
        if not points.any():
            return np.zeros(0, np.int64)
        at = np.flatnonzero(points)
        before: U8Array = self.data[np.maximum(at - 1, 0)] - np.uint8(ord("0"))
        return at[before <= 9]


def blocks(text: bytes, scratch: Scratch, size: int = BLOCK_BYTES) -> Iterator[tuple[Block, int]]:
    """Cut `text` after newlines into blocks of about `size` bytes; yield each with where it begins.

    A block is to be done with before the next one is asked for: all share `scratch`.
    """
    begin = 0
    while begin < len(text):
        end = len(text)
        if end - begin > size:
            end = text.rfind(b"\n", begin, begin + size) + 1 or text.find(b"\n", begin + size) + 1 or len(text)
        yield Block(text, begin, end, scratch), begin
        begin = end


@dataclass(slots=True)
class Lines:
    """The lines of a block, n of them: `starts` and `ends` (the newline), and for each its quotation marks.

    `first` is the number of its first mark in the block, `marks` how many it has; `clean` lines hold no backslash,
    no control character, and only good UTF-8.
    """

    starts: I64Array
    ends: I64Array
    first: I64Array
    marks: I64Array
    clean: BoolArray


def find_lines(block: Block) -> Lines:
    """Return the lines of `block`."""
    ends = block.newlines
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    before = np.searchsorted(block.quotes, ends)
    first = np.concatenate([np.zeros(1, np.int64), before[:-1]])
    clean = np.ones(ends.size, bool)
    data = block.data
    if block.find(b"\\"):
        clean[np.searchsorted(ends, np.flatnonzero(data == BACKSLASH))] = False
    if block.controls != ends.size:
        clean[np.searchsorted(ends, np.flatnonzero((data < 32) & (data != NEWLINE)))] = False
    if not block.plain and not _is_utf8(block):
        clean[np.searchsorted(ends, np.flatnonzero(data >= 128))] = False
    return Lines(starts, ends, first, before - first, clean)


def _is_utf8(block: Block) -> bool:
    try:
        block.text[block.begin : block.end].decode()
    except UnicodeDecodeError:
        return False
    return True
