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
    n = starts.size
    h = lengths.astype(np.uint64) * np.uint64(K0)
    if n == 0:
        return h
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.lib.stride_tricks.as_strided(padded, (data.size + 1, 8), (1, 1))
    weights = np.uint64(1) << (np.arange(8, dtype=np.uint64) * np.uint64(8))
    rows = np.arange(n)
    done = 0
    while rows.size:
        rows = rows[lengths[rows] > done]
        if not rows.size:
            break
        left = np.minimum(lengths[rows] - done, 8)
        bytes8 = words[starts[rows] + done].astype(np.uint64)
        bytes8[np.arange(8) >= left[:, None]] = 0
        part = (h[rows] ^ (bytes8 * weights).sum(axis=1, dtype=np.uint64)) * np.uint64(K1)
        h[rows] = part ^ (part >> np.uint64(32))
        done += 8
    h *= np.uint64(K2)
    return h ^ (h >> np.uint64(29))
