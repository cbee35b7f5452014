"""The order of the log: by start, then by the bytes of the window id."""

from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.hashing import U64Array
from upm_cli.core.window import I64Array, Strings

_HIGH_BYTES: Final = np.array([(1 << 64) - (1 << 8 * (8 - n)) for n in range(9)], np.uint64)  # keeps the first n


class _Words:
    """The ids as numbers that compare like their bytes: word k is bytes 8k to 8k+7, big-endian, zero-padded."""

    def __init__(self, ids: Strings) -> None:
        self.starts = ids.offsets[:-1]
        self.lengths = ids.lengths()
        padded = np.concatenate([ids.data, np.zeros(8, np.uint8)])
        self._words = np.ndarray((ids.data.size + 1,), ">u8", padded, 0, (1,))

    def of(self, rows: I64Array, k: int) -> U64Array:
        left = np.clip(self.lengths[rows] - 8 * k, 0, 8)
        begin = np.where(left > 0, self.starts[rows] + 8 * k, 0)
        return self._words[begin].astype(np.uint64) & _HIGH_BYTES[left]

    def count(self, rows: I64Array) -> int:
        """Return how many words the longest id of `rows` has."""
        return -(-int(self.lengths[rows].max(initial=0)) // 8)


def is_ordered(start_ms: I64Array, ids: Strings) -> bool:
    """Return whether the rows are in log order already. `start_ms` is (n,); nothing is modified."""
    steps = np.diff(start_ms)
    if steps.size and steps.min() < 0:
        return False
    first = np.flatnonzero(steps == 0)
    if not first.size:
        return True
    words = _Words(ids)
    for k in range(words.count(first)):
        a, b = words.of(first, k), words.of(first + 1, k)
        if (a > b).any():
            return False
        first = first[a == b]
        if not first.size:
            return True
    return bool((words.lengths[first] <= words.lengths[first + 1]).all())


def log_order(start_ms: I64Array, ids: Strings) -> I64Array | None:
    """Return the permutation (n,) that brings rows into log order, or None when they are in it.

    Only rows that share their start are compared by id, so the usual cost is one stable sort of numbers.
    """
    if is_ordered(start_ms, ids):
        return None
    order: I64Array = np.argsort(start_ms, kind="stable")
    in_order = start_ms[order]
    same = np.diff(in_order) == 0
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if tied.size:
        rows = order[tied]
        words = _Words(ids)
        keys: list[npt.NDArray[np.uint64] | I64Array] = [words.lengths[rows]]  # of two zero-padded equals, the shorter
        keys += [words.of(rows, k) for k in reversed(range(words.count(rows)))]
        order[tied] = rows[np.lexsort([*keys, in_order[tied]])]
    return order
