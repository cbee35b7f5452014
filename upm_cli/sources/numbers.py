"""JSON numbers in a block of text → doubles or floats, many at a time and correctly rounded."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from upm_cli.core.hashing import IntArray
from upm_cli.core.window import F32Array, F64Array, I64Array, U8Array
from upm_cli.sources.block import Block, BoolArray
from upm_cli.sources.smallnumbers import LONGEST, parse_small

NUMBER, BOOLEAN, NULL, BAD = range(4)
SAMPLE: Final = 256  # numbers that tell whether most are small ones
LONGEST_INTEGER: Final = 15  # digits, of which every number is an int64 and, as milliseconds, a year below 40000
FEW: Final = 256  # numbers, which are read one by one
_JSON_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_LITERALS: Final = {b"true": (1.0, BOOLEAN), b"false": (0.0, BOOLEAN), b"null": (0.0, NULL)}
_ZERO: Final = np.uint8(ord("0"))


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
    if (end - start == 1).all() and (digit := block.data.take(start) - _ZERO).max(initial=0) <= 9:
        return Numbers(digit.astype(np.float64), None)
    if start.size <= FEW:
        return _parse_each(block, start, end)
    state = _classify(block, start, end)
    text = _as_strings(block, spans, state)
    try:
        value = _cast(text)
    except pa.ArrowInvalid:
        good = (
            pc.match_substring_regex(text, f"^{_JSON_NUMBER.pattern.decode()}$")
            .fill_null(False)
            .to_numpy(zero_copy_only=False)[0::2]
        )
        state = np.zeros(start.shape, np.uint8) if state is None else state
        state[(state == NUMBER) & ~good.reshape(start.shape)] = BAD
        value = _cast(_as_strings(block, spans, state))
    value = value.reshape(start.shape)
    if state is not None:
        value = np.where(state == BOOLEAN, block.data.take(start) == ord("t"), value)
    return Numbers(value, state)


def parse_integers(block: Block, start: IntArray, end: IntArray) -> tuple[I64Array, BoolArray]:
    """Read the integers in the text from `start` to `end`, (n,) each; return them and which are good.

    Good are plain digits, `LONGEST_INTEGER` at most, without a sign or leading zeros; the strict decoder reads others.
    """
    length = end - start
    digits = block.loads(LONGEST_INTEGER)[start].view(np.uint8).reshape(-1, LONGEST_INTEGER) - _ZERO
    inside = np.arange(LONGEST_INTEGER) < length[:, None]
    good = (length > 0) & (length <= LONGEST_INTEGER) & ((digits[:, 0] > 0) | (length == 1))
    good &= ((digits <= 9) | ~inside).all(axis=1)
    value = np.zeros(start.size, np.int64)
    for digit, counts in zip(digits.T, inside.T, strict=True):
        np.copyto(value, value * 10 + digit, where=counts)
    return value, good


def parse_features(block: Block, spans: IntArray) -> tuple[F32Array, U8Array | None]:
    """Like `parse_numbers`, but in float32 without negative zeros, and BAD where that is out of range."""
    start, end = spans[..., 0::2], spans[..., 1::2]
    if np.median((end - start).ravel()[:SAMPLE]) > LONGEST:
        numbers = parse_numbers(block, spans)
        value, state = _to_float32(numbers.value), numbers.state
        finite = np.isfinite(value)
        if finite.all():
            return value, state
        return value, _mark(state, np.nonzero(~finite), value.shape)
    value, good = parse_small(block, start, end)
    value += np.float32(0)
    if good.all():
        return value, None
    rest = np.unravel_index(np.flatnonzero(~good), good.shape)
    numbers = parse_numbers(block, np.column_stack([start[rest], end[rest]]).ravel())
    value[rest] = _to_float32(numbers.value)
    state = None
    if numbers.state is not None:
        state = np.zeros(value.shape, np.uint8)
        state[rest] = numbers.state
    finite = np.isfinite(value[rest])
    return value, state if finite.all() else _mark(state, tuple(at[~finite] for at in rest), value.shape)


def _mark(state: U8Array | None, at: tuple[I64Array, ...], shape: tuple[int, ...]) -> U8Array:
    """Return `state` with BAD for the numbers at `at`."""
    state = np.zeros(shape, np.uint8) if state is None else state
    state[at] = np.where(state[at] == NULL, NULL, BAD)
    return state


def _to_float32(value: F64Array) -> F32Array:
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = value.astype(np.float32)
    narrow += np.float32(0)
    return narrow


def _parse_each(block: Block, start: IntArray, end: IntArray) -> Numbers:
    """Read some values, one by one."""
    value, state = np.zeros(start.shape), np.zeros(start.shape, np.uint8)
    for at, (begin, stop) in enumerate(zip(start.ravel().tolist(), end.ravel().tolist(), strict=True)):
        text = block.text[block.begin + begin : block.begin + stop]
        if _JSON_NUMBER.fullmatch(text):
            value.flat[at] = float(text)
        else:
            value.flat[at], state.flat[at] = _LITERALS.get(text, (0.0, BAD))
    return Numbers(value, state if state.any() else None)


def _classify(block: Block, start: IntArray, end: IntArray) -> U8Array | None:
    """Check what the parser does not: that JSON lets a number begin like this; and find the literals."""
    data = block.data
    first = data.take(start)
    negative = first == ord("-")
    if negative.any():
        digit = start + negative
        first = data.take(digit)
        digit += 1
    else:
        digit = start + 1
    first -= _ZERO
    second = data.take(digit)
    second -= _ZERO
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
    for literal, (_, code) in _LITERALS.items():
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
