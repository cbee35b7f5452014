"""The feature hash: pinned values, and the vectorised form against the one-line-at-a-time definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.hashing import hash_bytes, hash_name, hash_pair, hash_pairs, hash_spans
from upm_cli.core.window import Strings

GOLDEN = {
    "": 0x0,
    "a": 0x758AD956FBE354FA,
    "age": 0xD133517871094886,
    "n00": 0x24CA6DB3C2DCEF5A,
    "country": 0x3983073B8A4B5757,
    "region-17": 0x3123AB5641A3892E,
    "naïve": 0x8EAEDC2441470484,
    "x" * 40: 0xF7BA54AA1B826971,
}


def published_hash(name: bytes) -> int:
    """The definition in docs/reference/hash.md, written again from its words."""
    words = [name[at : at + 8].ljust(8, b"\0") for at in range(0, len(name), 8)]
    h = len(name) * 0x9E3779B97F4A7C15 % 2**64
    for word in words:
        h = (h ^ int.from_bytes(word, "little")) * 0xD6E8FEB86659FD93 % 2**64
        h ^= h // 2**32
    h = h * 0xC2B2AE3D27D4EB4F % 2**64
    return h ^ h // 2**29


@pytest.mark.parametrize("name", GOLDEN)
def test_names_hash_to_their_published_values(name: str) -> None:
    assert hash_name(name) == GOLDEN[name] == published_hash(name.encode())


def test_a_text_value_hashes_to_its_published_value() -> None:
    assert hash_pair(hash_name("country"), hash_name("de")) == 0xB3683FCD86CD19C8
    assert hash_pair(hash_name("k"), hash_name("")) == 0xEF240FF51BFD88F7


@given(st.lists(st.binary(max_size=90), min_size=1))
def test_spans_in_any_order_hash_like_single_names(names: list[bytes]) -> None:
    column = Strings.of(names)
    order = np.random.default_rng(len(names)).permutation(len(names))
    hashes = hash_spans(column.data, column.offsets[:-1][order], column.lengths()[order])
    assert hashes.tolist() == [hash_bytes(names[at]) for at in order]


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), min_size=1))
def test_pairs_hash_alike_one_by_one_and_all_at_once(pairs: list[tuple[bytes, bytes]]) -> None:
    keys = Strings.of(key for key, _ in pairs).hashes()
    values = Strings.of(value for _, value in pairs).hashes()
    expected = [hash_pair(hash_bytes(key), hash_bytes(value)) for key, value in pairs]
    assert hash_pairs(keys, values).tolist() == expected


def test_spans_of_nothing_hash_to_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    assert hash_spans(np.zeros(0, np.uint8), nothing, nothing).size == 0


def test_a_million_word_like_names_rarely_share_their_low_32_bits() -> None:
    names = Strings.of(f"feature.{n:x}.{n * 7919 % 1000}" for n in range(1_000_000))
    shared = 1_000_000 - np.unique(names.hashes().astype(np.uint32)).size
    assert shared < 200  # a perfect hash is expected to share 116
