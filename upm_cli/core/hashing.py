"""The feature hash: a small 64-bit hash that any language can reproduce.

Definition (all arithmetic modulo 2**64, names as UTF-8 bytes):

    h = len(bytes) * K0
    for each 8-byte little-endian word of the bytes, the last one padded with zero bytes:
        h = (h XOR word) * K1
        h = h XOR (h >> 32)
    h = h * K2
    return h XOR (h >> 29)

A number or boolean under the name `k` is the feature `hash(k)`; a string `v` under `k` is the feature
`pair(hash(k), hash(v))` with `pair(a, b) = (x XOR (x >> 32)) * K2, x XOR (x >> 29)` of `x = a * K0 + b`.
The event log keeps the low 32 bits, the learner uses the low `bits` of those. The constants are odd, so
every step can be undone and no entropy is lost on the way; they are the golden ratio and two primes.
Golden values are in tests/unit/core/test_hashing.py and docs/reference/hash.md.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

K0: Final = 0x9E3779B97F4A7C15
K1: Final = 0xD6E8FEB86659FD93
K2: Final = 0xC2B2AE3D27D4EB4F
_MASK: Final = (1 << 64) - 1
_STRIDE: Final = 32  # bytes of a string that are loaded at once

U64Array = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.signedinteger[Any]]

_LOW_BYTES: Final[U64Array] = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # masks of the first n bytes


def hash_bytes(name: bytes) -> int:
    """Return the 64-bit hash of `name`; the slow, obvious form that defines the fast one."""
    h = len(name) * K0 & _MASK
    for at in range(0, len(name), 8):
        h = (h ^ int.from_bytes(name[at : at + 8], "little")) * K1 & _MASK
        h ^= h >> 32
    h = h * K2 & _MASK
    return h ^ (h >> 29)


def hash_name(name: str) -> int:
    """Return the 64-bit hash of a feature name."""
    return hash_bytes(name.encode())


def hash_pair(key: int, value: int) -> int:
    """Return the hash of the categorical feature `key=value` from the hashes of both."""
    x = (key * K0 + value) & _MASK
    x ^= x >> 32
    x = x * K2 & _MASK
    return x ^ (x >> 29)


def hash_pairs(keys: U64Array, values: U64Array) -> U64Array:
    """Vectorised `hash_pair`; both (n,) uint64, result (n,) uint64."""
    x = keys * np.uint64(K0) + values
    x ^= x >> np.uint64(32)
    x *= np.uint64(K2)
    return x ^ (x >> np.uint64(29))


def hash_spans(data: npt.NDArray[np.uint8], starts: IntArray, lengths: IntArray) -> U64Array:
    """Hash many byte strings that lie in one buffer.

    `data` is (m,) uint8; string i is `data[starts[i] : starts[i] + lengths[i]]`. Returns (n,) uint64.
    Loads four words of every string at once; only longer strings are looked at again. `data` is copied when a string
    ends within its last 32 bytes.
    """
    h = lengths.astype(np.uint64)
    h *= np.uint64(K0)
    if starts.size:
        longest = int(lengths.max())
        if int(starts.max()) + longest + _STRIDE > data.size:
            data = np.concatenate([data, np.zeros(_STRIDE, np.uint8)])
        _absorb(h, data, starts, lengths, longest)
        for done in range(_STRIDE, longest, _STRIDE):
            rows = np.flatnonzero(lengths > done)
            part = h[rows]
            _absorb(part, data, starts[rows] + done, lengths[rows] - done, longest - done)
            h[rows] = part
    h *= np.uint64(K2)
    h ^= h >> np.uint64(29)
    return h


def _absorb(
    h: U64Array,
    data: npt.NDArray[np.uint8],
    starts: IntArray,
    lengths: IntArray,
    longest: int,
) -> None:
    """Mix up to the first 32 bytes of every string into `h`, in place."""
    count = min(-(-longest // 8), _STRIDE // 8)
    if count == 0:
        return
    loads = np.ndarray((data.size - 8 * count + 1,), f"V{8 * count}", np.ascontiguousarray(data), 0, (1,))
    words = loads[starts].view(np.uint64).reshape(-1, count)
    shortest = int(lengths.min())
    left = lengths.copy()
    for at in range(count):
        word = words[:, at]
        if shortest < 8 * at + 8:
            word &= _LOW_BYTES.take(left, mode="clip")
        mixed = h ^ word
        mixed *= np.uint64(K1)
        if shortest > 8 * at:
            np.right_shift(mixed, np.uint64(32), out=h)
            h ^= mixed
        else:
            mixed ^= mixed >> np.uint64(32)
            np.copyto(h, mixed, where=left > 0)
        left -= 8
