"""The set of names already told, against a Python set."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.sources.names import SeenNames

indexes = st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 40), max_size=60)


@given(st.lists(indexes, min_size=1, max_size=8))
def test_each_name_is_told_once(blocks: list[list[int]]) -> None:
    seen, expected = SeenNames(), set[int]()
    for block in blocks:
        index = np.array(block, np.uint32)
        told = [max(value, 1) for value in index[seen.unseen(index)].tolist()]  # 0 and 1 count as one
        new = {max(value, 1) for value in block} - expected
        assert sorted(told) == sorted(new)
        expected |= new
        assert len(seen) == len(expected)


def test_many_names_are_told_once_while_the_tables_grow() -> None:
    generator, seen, expected = np.random.default_rng(5), SeenNames(), set[int]()
    names = generator.integers(1, 2**32, 300_000, dtype=np.uint32)
    for _ in range(12):
        block = names[(names.size * generator.random(60_000) ** 2).astype(np.int64)]
        told = block[seen.unseen(block)].tolist()
        new = set(block.tolist()) - expected
        assert (len(told), set(told)) == (len(new), new)
        expected |= new
    assert seen.unseen(np.array(sorted(expected), np.uint32)).size == 0


def test_names_known_before_are_not_told() -> None:
    known = np.arange(1, 100_000, 7, dtype=np.uint32)
    assert SeenNames(known).unseen(known).size == 0


def test_no_more_are_told_than_there_is_room_for() -> None:
    seen = SeenNames(capacity=10)
    assert seen.unseen(np.arange(1, 9, dtype=np.uint32)).size == 8
    assert seen.unseen(np.arange(100, 108, dtype=np.uint32)).size == 2
    assert seen.unseen(np.arange(200, 203, dtype=np.uint32)).size == 0
    assert (len(seen), seen.dropped) == (10, 9)
