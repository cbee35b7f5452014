"""The most common numbers, read eight characters at a time: one digit, or one digit, a point and up to six more.

The characters of each number are one 64-bit word, and all steps are whole-array arithmetic on such words, about a third
of the work of a general parser. Digits are put together pairwise (Lemire, "Quickly parsing eight digits").
"""

from typing import Final

import numpy as np

from upm_cli.core.hashing import IntArray, U64Array
from upm_cli.core.window import F32Array
from upm_cli.sources.block import Block, BoolArray

LONGEST: Final = 8
_PATTERN: Final = np.uint64(int.from_bytes(b"0.000000", "little"))
_LIMIT: Final = np.uint64(int.from_bytes(b"\x06\x0f\x06\x06\x06\x06\x06\x06", "little"))
_NIBBLES: Final = np.uint64(0xF0F0F0F0F0F0F0F0)
_PAIRS: Final = np.uint64(0x000000FF000000FF)
_FIRST_AND_THIRD: Final = np.uint64(100 + (100_000 << 32))  # the first pair is a digit and the point
_SECOND_AND_FOURTH: Final = np.uint64(1 + (10_000 << 32))
_SCALE: Final = np.float32(1e6)  # exact
_MASKS: Final[U64Array] = np.array([0, *((1 << 8 * n) - 1 for n in range(1, LONGEST + 1)), 0], np.uint64)


def parse_small(block: Block, start: IntArray, end: IntArray) -> tuple[F32Array, BoolArray]:
    """Read the numbers in the text from `start` to `end`, any shape; return values and which of them are good.

    Others, among them all that are no JSON number, are left to a general parser. A good value is the double nearest to
    the text, rounded to float32. It is rounded once, which is the same: no quotient of a seven-digit number and 10^6
    comes as near to the middle between two floats as doubles lie to each other.
    """
    negative = block.data.take(start) == ord("-")
    digit = start + negative
    length = end - digit
    good = (length > 0) & (length <= LONGEST) & (length != 2)
    x = block.loads(8)[digit].view(np.uint64)
    x ^= _PATTERN  # digits become their value, the point zero
    x &= _MASKS.take(length, mode="clip")
    check = x + _LIMIT
    check |= x
    check &= _NIBBLES
    if check.any():
        good &= check == 0
    y = x >> np.uint64(8)
    x *= np.uint64(10)
    y += x  # two digits in every other byte
    np.right_shift(y, np.uint64(16), out=x)
    y &= _PAIRS
    x &= _PAIRS
    y *= _FIRST_AND_THIRD
    x *= _SECOND_AND_FOURTH
    y += x
    y >>= np.uint64(32)
    value = y.astype(np.float32)
    value /= _SCALE
    if negative.any():
        sign = negative.astype(np.uint32)
        sign <<= np.uint32(31)
        bits = value.view(np.uint32)
        bits ^= sign
    return value, good
