"""The keys and text values of flat JSON objects in many lines, and whether what lies between them is right."""

from dataclasses import dataclass

import numpy as np

from upm_cli.core.hashing import IntArray
from upm_cli.core.window import I64Array
from upm_cli.sources.block import Block, BoolArray
from upm_cli.sources.frame import Frame

COLON, COMMA, SPACE = ord(":"), ord(","), ord(" ")


@dataclass(slots=True)
class Tokens:
    """All strings of n objects, t in all: `counts` (n,) of each object, `opens` and `closes` (t,) their marks.

    `stops` (t,) is where the value of a key must end. `texts` lists the strings that are values; each belongs to the
    key before it. With `gap`, 1 or 2, `closes + 1 + gap` is where the value of a key begins.
    """

    counts: I64Array
    opens: I64Array
    closes: I64Array
    stops: I64Array
    texts: I64Array
    gap: int

    def line_of(self, strings: I64Array) -> I64Array:
        """Return the line that each of `strings` is in."""
        lines: I64Array = np.searchsorted(np.cumsum(self.counts), strings, side="right")
        return lines


def find_tokens(
    block: Block, frame: Frame, starts: IntArray, ends: IntArray, good: BoolArray, *, spaced: bool
) -> Tokens:
    """Find the strings of the objects whose content lies from `starts` to `ends`, (n,) each.

    A string that a colon follows is a key, any other is the value of the key before it. With `spaced`, one space must
    come after each colon and comma, otherwise none. Lines in which something is not as it must be are no longer `good`;
    values other than text are not looked at.
    """
    gap = 2 if spaced else 1
    assert frame.hole_starts is not None and frame.hole_stops is not None
    counts = (frame.hole_stops - frame.hole_starts) // 2
    after = np.cumsum(counts)
    at = np.arange(int(after[-1]), dtype=np.int64)
    at *= 2
    at += np.repeat(frame.hole_starts - 2 * (after - counts), counts)
    opens = block.quotes.take(at)
    at += 1
    closes = block.quotes.take(at)
    filled = np.flatnonzero(counts)
    first, last = (after - counts)[filled], after[filled] - 1
    stops = np.empty_like(opens)
    np.subtract(opens[1:], gap, out=stops[:-1])
    stops[last] = ends[filled]
    right = _holds(block, stops, 0, COMMA, spaced)
    right[last] = True  # the closing brace there was compared before
    keys = _holds(block, closes, 1, COLON, spaced)
    texts = np.flatnonzero(~keys)
    tokens = Tokens(counts, opens, closes, stops, texts, gap)
    if texts.size:
        tokens.texts = _check_texts(tokens, keys, right, first)
    right[first] &= opens[first] == starts[filled]
    if not right.all():
        good[tokens.line_of(np.flatnonzero(~right))] = False
    good &= (counts > 0) | (starts == ends)
    return tokens


def _holds(block: Block, places: I64Array, shift: int, byte: int, spaced: bool) -> BoolArray:
    """Say whether `byte`, and then a space if `spaced`, is found `shift` bytes after each of `places`."""
    holds: BoolArray = block.data.take(places + shift if shift else places, mode="clip") == byte
    if spaced:
        holds &= block.data.take(places + (shift + 1), mode="clip") == SPACE
    return holds


def _check_texts(tokens: Tokens, keys: BoolArray, right: BoolArray, first: I64Array) -> I64Array:
    """Return the texts that follow a key of the same object closely and after which nothing comes."""
    texts = tokens.texts
    begins_object = np.zeros(keys.size, bool)
    begins_object[first] = True
    owners = np.maximum(texts - 1, 0)
    fine = keys[owners] & ~begins_object[texts]
    fine &= tokens.opens[texts] - tokens.closes[owners] == tokens.gap + 1
    fine &= tokens.stops[texts] == tokens.closes[texts] + 1
    right[owners[fine]] = True  # its value is the text: no comma comes before that
    right[texts[~fine]] = False
    kept: I64Array = texts[fine]
    return kept
