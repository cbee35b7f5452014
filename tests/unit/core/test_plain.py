"""Values go on the record in plain JSON and come back as they were."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.plain import canonical, from_plain, to_plain
from upm_cli.errors import InvalidError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    colour: Colour
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    count: int = 0
    maybe: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (0, "")
    tenants: frozenset[str] = frozenset()
    by_colour: Mapping[Colour, Inner] = field(default_factory=dict)
    by_number: Mapping[int, str] = field(default_factory=dict)
    anything: Mapping[str, object] = field(default_factory=dict)
    listed: list[Inner] = field(default_factory=list)
    in_turn: Sequence[int] = ()


inners = st.builds(Inner, colour=st.sampled_from(Colour), share=st.floats(allow_nan=False, allow_infinity=False))
outers = st.builds(
    Outer,
    name=st.text(),
    count=st.integers(-(2**63), 2**63),
    maybe=st.none() | inners,
    many=st.lists(inners, max_size=3).map(tuple),
    pair=st.tuples(st.integers(), st.text()),
    tenants=st.frozensets(st.text(), max_size=4),
    by_colour=st.dictionaries(st.sampled_from(Colour), inners),
    by_number=st.dictionaries(st.integers(), st.text(), max_size=3),
    anything=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3),
    listed=st.lists(inners, max_size=2),
    in_turn=st.lists(st.integers(), max_size=2).map(tuple),
)


@given(outers)
def test_a_value_comes_back_from_its_canonical_text_as_it_was(value: Outer) -> None:
    text = canonical(to_plain(value))
    assert from_plain(Outer, json.loads(text)) == value
    assert canonical(to_plain(from_plain(Outer, json.loads(text)))) == text


@given(outers, outers)
def test_equal_text_means_an_equal_value(one: Outer, other: Outer) -> None:
    assert (canonical(to_plain(one)) == canonical(to_plain(other))) == (one == other)


def test_the_text_does_not_depend_on_the_order_of_keys_or_members() -> None:
    assert canonical(to_plain({"b": {"y", "x"}, "a": (1, 2)})) == '{"a":[1,2],"b":["x","y"]}'
    assert canonical(to_plain({"a": [1, 2], "b": {"x", "y"}})) == '{"a":[1,2],"b":["x","y"]}'


def test_numpy_scalars_become_numbers() -> None:
    plain = to_plain({"n": np.int64(3), "x": np.float64(0.1), "y": np.float32(0.5), "ok": np.bool_(True)})
    assert plain == {"n": 3, "x": 0.1, "y": 0.5, "ok": True}
    assert [type(value) for value in plain.values()] == [int, float, float, bool]


@pytest.mark.parametrize(("bad", "word"), [(float("nan"), "nan"), (-float("inf"), "-inf"), (np.float32("inf"), "inf")])
def test_a_number_that_is_not_finite_is_a_word_and_read_back_as_that_number(bad: float, word: str) -> None:
    plain = to_plain(Inner(colour=Colour.RED, share=bad))
    assert plain == {"colour": "red", "share": word}
    np.testing.assert_equal(from_plain(Inner, json.loads(canonical(plain))).share, float(bad))


def test_what_has_no_plain_form_is_an_error_of_the_program() -> None:
    with pytest.raises(TypeError, match=r"value\.x: bytes_iterator has no plain form"):
        to_plain({"x": iter(b"")})


@pytest.mark.parametrize(
    ("plain", "why"),
    [
        ({"name": "a", "colour": "red"}, "Outer has no colour"),
        ({}, "missing 1 required keyword-only argument: 'name'"),
        ({"name": "a", "maybe": {"colour": "green", "share": 1}}, "'green' is not a valid Colour"),
        ({"name": "a", "pair": [1, "x", 2]}, "zip"),
        ({"name": "a", "maybe": {"colour": "red", "share": "much"}}, "could not convert"),
        ({"name": "a", "count": "7"}, "'7' is no int"),
        ({"name": "a", "count": True}, "True is no int"),
    ],
)
def test_a_recorded_value_that_can_not_be_read_is_refused_with_the_reason(plain: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidError, match=why) as refused:
        from_plain(Outer, plain)
    assert refused.value.code == "UPM-E039"
