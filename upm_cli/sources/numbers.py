"""JSON numbers in a block of text → doubles, many at a time and correctly rounded."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upm_cli.core.hashing import IntArray
from upm_cli.core.window import F64Array, U8Array
from upm_cli.sources.block import Block

NUMBER, BOOLEAN, NULL, BAD = range(4)
_JSON_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$"
_LITERALS: Final = ((b"true", BOOLEAN), (b"false", BOOLEAN), (b"null", NULL))


@dataclass(slots=True)
class Numbers:
    """Parsed values, any shape. `state` says NUMBER, BOOLEAN, NULL or BAD for each; None if all are numbers.

    Infinite where a number is out of a double's range; anything where the state is BAD.
    """

    value: F64Array
    state: U8Array | None


def parse_numbers(block: Block, spans: IntArray) -> Numbers:
    """Read the values in the text of `spans`, (…, 2m): the start and end of each, one after the other and in order."""
    start, end = spans[..., 0::2], spans[..., 1::2]
    state = _classify(block, start, end)
    text = _as_strings(block, spans, state)
    try:
        value = _cast(text)
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(text, _JSON_NUMBER).fill_null(False).to_numpy(zero_copy_only=False)[0::2]
        state = np.zeros(start.shape, np.uint8) if state is None else state
        state[(state == NUMBER) & ~good.reshape(start.shape)] = BAD
        value = _cast(_as_strings(block, spans, state))
    value = value.reshape(start.shape)
    if state is not None:
        value = np.where(state == BOOLEAN, block.data.take(start) == ord("t"), value)
    return Numbers(value, state)


def _classify(block: Block, start: IntArray, end: IntArray) -> U8Array | None:
    """Check what the parser does not: that JSON lets a number begin like this; and find the literals."""
    data, zero = block.data, np.uint8(48)
    first = data.take(start)
    negative = first == ord("-")
    if negative.any():
        digit = start + negative
        first = data.take(digit)
        digit += 1
    else:
        digit = start + 1
    first -= zero
    second = data.take(digit)
    second -= zero
    wrong = first > 9
    wrong |= (first == 0) & (second < 10)
    if block.loose_points.size:
        at = np.maximum(np.searchsorted(start.ravel(), block.loose_points, side="right") - 1, 0)
        wrong.ravel()[at[block.loose_points < end.ravel()[at]]] = True
    if not wrong.any():
        return None
    state = np.where(wrong, np.uint8(BAD), np.uint8(NUMBER))
    state[wrong] = _literals(block, start[wrong], end[wrong])
    return state


def _literals(block: Block, start: IntArray, end: IntArray) -> U8Array:
    words = block.loads(8)[start].view(np.uint64)
    codes = np.full(start.shape, BAD, np.uint8)
    for literal, code in _LITERALS:
        mask = np.uint64((1 << 8 * len(literal)) - 1)
        same = (words & mask) == np.uint64(int.from_bytes(literal, "little"))
        codes[same & (end - start == len(literal))] = code
    return codes


def _as_strings(block: Block, spans: IntArray, state: U8Array | None) -> pa.Array:
    """Return the text as an Arrow column without copying it: the numbers, and as nulls all that lies between."""
    if state is None:
        bits = np.full((spans.size + 7) // 8, 0x55, np.uint8)
    else:
        valid = np.zeros(spans.size, bool)
        valid[0::2] = state.ravel() == NUMBER
        bits = np.packbits(valid, bitorder="little")
    offsets = np.ascontiguousarray(spans, np.int32)
    buffers = [pa.py_buffer(bits), pa.py_buffer(offsets), pa.py_buffer(block.data)]
    return pa.Array.from_buffers(pa.string(), max(0, spans.size - 1), buffers)


def _cast(text: pa.Array) -> F64Array:
    """Return every second value of `text` as a double. Raises ArrowInvalid when one is no number at all."""
    value: F64Array = np.frombuffer(pc.cast(text, pa.float64()).buffers()[1], np.float64, len(text))
    return value[0::2]
