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

from typing import Final

import numpy as np
import numpy.typing as npt

K0: Final = 0x9E3779B97F4A7C15
K1: Final = 0xD6E8FEB86659FD93
K2: Final = 0xC2B2AE3D27D4EB4F
_MASK: Final = (1 << 64) - 1
_LOW_BYTES: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # keeps the first n bytes of a word

U64Array = npt.NDArray[np.uint64]


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


def hash_spans(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> U64Array:
    """Hash many byte strings that lie in one buffer.

    `data` is (m,) uint8; string i is `data[starts[i] : starts[i] + lengths[i]]`. Returns (n,) uint64.
    Works word by word over all strings at once, so its cost grows with the longest string.
    """
    h = lengths.astype(np.uint64) * np.uint64(K0)
    if starts.size == 0:
        return h
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.ndarray((data.size + 1,), "<u8", padded, 0, (1,))  # the word that begins at each byte
    at, left = starts, lengths
    rows: slice | npt.NDArray[np.int64] = slice(None)
    while True:
        more = left > 0
        if not more.all():
            kept = np.flatnonzero(more)
            at, left, rows = at[kept], left[kept], kept if isinstance(rows, slice) else rows[kept]
        if not left.size:
            break
        part = words[at]
        part &= _LOW_BYTES[np.minimum(left, 8)]
        part ^= h[rows]
        part *= np.uint64(K1)
        part ^= part >> np.uint64(32)
        h[rows] = part
        at, left = at + 8, left - 8
    h *= np.uint64(K2)
    return h ^ (h >> np.uint64(29))
