"""Flat strings, held against a list of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.window import Strings

texts = st.lists(st.sampled_from(["", "eu", "us", "ü", "eu\x00"]) | st.text(max_size=40), max_size=60)


def first_come(names: list[str]) -> tuple[list[str], list[int]]:
    known: dict[str, int] = {}
    rows = [known.setdefault(name, len(known)) for name in names]
    return list(known), rows


@given(texts, st.integers(0, 5))
def test_distinct_strings_come_in_the_order_in_which_they_first_occur(names: list[str], skip: int) -> None:
    found, which = Strings.of(["before"] * skip + names).slice(skip, skip + len(names)).distinct()
    assert (found, which.tolist()) == first_come(names)


@given(texts)
def test_strings_that_share_a_hash_stay_apart(names: list[str]) -> None:
    def same(strings: Any) -> Any:
        return np.zeros(len(strings), np.uint64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Strings, "hashes", same)
        found, which = Strings.of(names).distinct()
    assert (found, which.tolist()) == first_come(names)
