"""Lines of a known shape except for their features: any names, any number of them, not nested."""

from typing import Final

import numpy as np

from upm_cli.core.hashing import IntArray, hash_pairs
from upm_cli.core.window import Csr, F32Array, I64Array, U32Array
from upm_cli.sources.base import MAX_FEATURES
from upm_cli.sources.block import Block, BoolArray, Lines
from upm_cli.sources.frame import Frame, Places
from upm_cli.sources.numbers import BAD, NULL, parse_features
from upm_cli.sources.skeleton import Skeleton
from upm_cli.sources.tokens import Tokens, find_tokens
from upm_cli.sources.uniform import Reader, Texts, Told

_ZERO: Final = np.uint8(ord("0"))


class OpenReader(Reader):
    """Reads lines of the shape of a skeleton with a hole."""

    def __init__(self, shape: Skeleton) -> None:
        super().__init__(shape)
        assert shape.hole is not None
        self._hole_starts, self._hole_ends = Places(shape, [shape.hole.start]), Places(shape, [shape.hole.end])

    def fits(self, lines: Lines) -> BoolArray:
        more = lines.marks - self.shape.marks
        fitting: BoolArray = (more >= 0) & (more % 2 == 0)
        return fitting

    def frame(self, block: Block, lines: Lines, numbers: I64Array) -> Frame:
        before, after = self.shape.before_hole, self.shape.marks - self.shape.before_hole
        first = lines.first[numbers]
        stop = first + lines.marks[numbers]
        known = np.concatenate([first[:, None] + np.arange(before), stop[:, None] + np.arange(-after, 0)], axis=1)
        return Frame(block.quotes[known], lines.starts[numbers], lines.ends[numbers], first + before, stop - after)

    def _features(
        self, block: Block, frame: Frame, texts: Texts, spans: IntArray, good: BoolArray
    ) -> tuple[Csr, list[Told]]:
        starts, ends = self._hole_starts.of(frame)[:, 0], self._hole_ends.of(frame)[:, 0]
        tokens = find_tokens(block, frame, starts, ends, good, spaced=self.shape.spaced)
        good &= tokens.counts <= MAX_FEATURES
        value, absent = _values(block, tokens, good)
        hashes = block.hashes(tokens.opens + 1, tokens.closes - tokens.opens - 1)
        owners = tokens.texts - 1
        hashes[owners] = hash_pairs(hashes[owners], hashes[tokens.texts])
        index = hashes.astype(np.uint32)
        ends = tokens.closes.copy()
        ends[owners] = tokens.closes[tokens.texts]
        told = _told(tokens, index, ends, absent, good)
        indptr = np.append(0, np.cumsum(tokens.counts))
        if not absent.size:
            return Csr(indptr, index, value), told
        present = np.ones(index.size, bool)
        present[absent] = False
        return Csr(np.append(0, np.cumsum(present))[indptr], index[present], value[present]), told


def _values(block: Block, tokens: Tokens, good: BoolArray) -> tuple[F32Array, I64Array]:
    """Return the value of every key, 1 for text, and which strings are no feature: texts, and keys with null."""
    begins = tokens.closes + (1 + tokens.gap)
    digit = block.data.take(begins, mode="clip")
    digit -= _ZERO
    one_digit = tokens.stops - begins == 1
    one_digit &= digit <= 9
    value = digit.astype(np.float32)
    one_digit[tokens.texts] = True
    one_digit[tokens.texts - 1] = True
    value[tokens.texts - 1] = 1.0
    rest = np.flatnonzero(~one_digit)
    wrong = tokens.stops[rest] <= begins[rest]
    if wrong.any():
        good[tokens.line_of(rest[wrong])] = False
        rest = rest[~wrong]
    if not rest.size:
        return value, tokens.texts
    value[rest], state = parse_features(block, np.column_stack([begins[rest], tokens.stops[rest]]).ravel())
    if state is None:
        return value, tokens.texts
    if (state == BAD).any():
        good[tokens.line_of(rest[state == BAD])] = False
    return value, np.concatenate([tokens.texts, rest[state == NULL]])


def _told(tokens: Tokens, index: U32Array, ends: I64Array, absent: I64Array, good: BoolArray) -> list[Told]:
    """Return the names of all features of good lines; of a text, from its key to its end."""
    starts = tokens.opens + 1
    if good.all() and not absent.size:
        return [Told(index, starts, ends)]
    wanted = np.repeat(good, tokens.counts)
    wanted[absent] = False
    return [Told(index[wanted], starts[wanted], ends[wanted])]
