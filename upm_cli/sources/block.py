"""About half a megabyte of whole lines, small enough for the processor's cache, and how it is looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.hashing import IntArray, U64Array, hash_spans
from upm_cli.core.window import I64Array, U8Array

BLOCK_BYTES: Final = 512 << 10
SLACK: Final = 64  # bytes that may be loaded past the end of a block

BoolArray = npt.NDArray[np.bool_]

QUOTE, COLON, NEWLINE, BACKSLASH = 34, 58, 10, 92


class Block:
    """Lines as bytes: `data` (m,) uint8 ends with a newline and is followed by `SLACK` bytes that may be read."""

    def __init__(self, text: bytes, begin: int, end: int) -> None:
        self.text, self.begin, self.end = text, begin, end
        if len(text) < end + SLACK or text[end - 1] != NEWLINE:
            newline = b"" if text[end - 1] == NEWLINE else b"\n"
            self.text, self.begin, self.end = text[begin:end] + newline + bytes(SLACK), 0, end - begin + len(newline)
        self.data: U8Array = np.frombuffer(self.text, np.uint8, self.end - self.begin, self.begin)

    def loads(self, width: int) -> npt.NDArray[Any]:
        """Return the `width` bytes that begin at each byte of the block, (m,) void."""
        return np.ndarray((self.data.size,), f"V{width}", self.text, self.begin, (1,))

    def find(self, text: bytes) -> bool:
        return self.text.find(text, self.begin, self.end) >= 0

    @cached_property
    def quotes(self) -> I64Array:
        """Where the quotation marks are."""
        return np.flatnonzero(self.data == QUOTE)

    @cached_property
    def quote_count(self) -> int:
        return int(np.count_nonzero(self.data == QUOTE))

    @cached_property
    def colons(self) -> I64Array:
        return np.flatnonzero(self.data == COLON)

    @cached_property
    def newlines(self) -> I64Array:
        return np.flatnonzero(self.data == NEWLINE)

    @cached_property
    def controls(self) -> int:
        """How many control characters there are, newlines included."""
        return int(np.count_nonzero(self.data < 32))

    @cached_property
    def plain(self) -> bool:
        """Say whether all bytes are ASCII and none is DEL."""
        return bool(self.data.max() < 127)

    def has_odd_bytes(self, starts: IntArray, ends: IntArray) -> BoolArray:
        """Say for each span whether it holds DEL or anything but ASCII."""
        odd = np.flatnonzero(self.data >= 127)
        found: BoolArray = np.searchsorted(odd, starts) != np.searchsorted(odd, ends)
        return found

    def hashes(self, starts: IntArray, lengths: IntArray) -> U64Array:
        """Return the feature hash of each span."""
        room = np.frombuffer(self.text, np.uint8, self.data.size + SLACK, self.begin)
        return hash_spans(room, starts, lengths)

    @cached_property
    def points_before_e(self) -> I64Array:
        """Where a digit, "." and "e" follow each other, which number parsers let pass and JSON does not."""
        if not any(self._pairs_hold(b"." + e) for e in (b"e", b"E") if self.find(e)):
            return np.zeros(0, np.int64)
        at = np.flatnonzero((self.data[:-1] == ord(".")) & ((self.data[1:] | 32) == ord("e")))
        before: U8Array = self.data[np.maximum(at - 1, 0)] - np.uint8(ord("0"))
        return at[before <= 9]

    def _pairs_hold(self, pair: bytes) -> bool:
        """Say whether two bytes follow each other somewhere; faster than `find` where the first of them is common."""
        code = int.from_bytes(pair, "little")
        views = (np.frombuffer(self.text, "<u2", self.data.size // 2, self.begin + shift) for shift in (0, 1))
        return any(bool((view == code).any()) for view in views)


def blocks(text: bytes, size: int = BLOCK_BYTES) -> Iterator[tuple[Block, int]]:
    """Cut `text` after newlines into blocks of about `size` bytes; yield each with where it begins."""
    begin = 0
    while begin < len(text):
        end = len(text)
        if end - begin > size:
            end = text.rfind(b"\n", begin, begin + size) + 1 or text.find(b"\n", begin + size) + 1 or len(text)
        yield Block(text, begin, end), begin
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
