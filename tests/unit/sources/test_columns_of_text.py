"""The bulk parsers of numbers and instants against Python's own, one by one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upm_cli.core.window import F64Array, I64Array
from upm_cli.sources.block import Block, BoolArray, Scratch
from upm_cli.sources.instants import FORMS, parse_instants
from upm_cli.sources.numbers import BAD, BOOLEAN, NULL, NUMBER, parse_features, parse_integers, parse_numbers
from upm_cli.sources.smallnumbers import parse_small


def spans(texts: list[str]) -> tuple[Block, I64Array, I64Array]:
    """Put `texts` into one block, as values of a JSON list stand."""
    lengths = np.array([len(text) for text in texts], np.int64)
    starts = np.cumsum(lengths + 1) - lengths
    raw = ("[" + ",".join(texts) + "]\n").encode()
    return Block(raw, 0, len(raw), Scratch()), starts, starts + lengths


def small(texts: list[str]) -> tuple[list[float], list[bool]]:
    value, good = parse_small(*spans(texts))
    return value.tolist(), good.tolist()


@pytest.mark.parametrize("digits", range(7))
def test_small_numbers_are_rounded_as_python_rounds_them(digits: int) -> None:
    codes = np.random.default_rng(digits).integers(0, 10 ** (digits + 1), 20_000)
    texts = [f"{code:0{digits + 1}d}" for code in codes.tolist()]
    signed = [f"{'-' if at % 3 == 0 else ''}{t[0]}{'.' if digits else ''}{t[1:]}" for at, t in enumerate(texts)]
    expected = np.array([float(text) for text in signed], np.float32)
    value, good = small(signed)
    assert value == expected.tolist()
    assert all(good)


def test_anything_else_is_no_small_number() -> None:
    others = [
        "12",
        "1.",
        "1.2.3",
        "a",
        "1e5",
        "1.e5",
        "-",
        "--1",
        ".5",
        "-.5",
        "1.2345678",
        "+1",
        "0x1",
        "1/2",
        "1.23a",
        "01",
        "true",
        "null",
        "0.",
        "9.99999:",
        "1.-1",
    ]
    assert not any(small(others)[1])


JSON_NUMBERS = ["0", "-0", "10", "0.5", "-1.25e-3", "1E5", "1e+05", "123456789012345678901234567890", "1e308", "1e-400"]
JSON_NUMBERS += ["0.8444218515250481", "-7.3e-05", "9007199254740993", "0.1e1"]
NO_NUMBERS = [
    "01",
    "-01",
    "1.",
    ".5",
    "-.5",
    "+1",
    "1.e5",
    "1e",
    "nan",
    "inf",
    "-inf",
    "1_0",
    "0x10",
    "tru",
    "nulll",
    "1 ",
]


@pytest.mark.parametrize("repeats", [1, 100], ids=["few", "many"])
def test_numbers_and_literals_are_told_from_what_json_does_not_allow(repeats: int) -> None:
    texts = [*JSON_NUMBERS, *NO_NUMBERS, "true", "false", "null"] * repeats
    block, starts, ends = spans(texts)
    numbers = parse_numbers(block, np.column_stack([starts, ends]).ravel())
    states = [NUMBER] * len(JSON_NUMBERS) + [BAD] * len(NO_NUMBERS) + [BOOLEAN, BOOLEAN, NULL]
    assert numbers.state is not None
    assert numbers.state.tolist() == states * repeats
    assert numbers.value[: len(JSON_NUMBERS)].tolist() == [float(text) for text in JSON_NUMBERS]
    assert numbers.value[-3:-1].tolist() == [1.0, 0.0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=400))
def test_features_are_the_double_rounded_to_float32(values: list[float]) -> None:
    block, starts, ends = spans([repr(value) for value in values])
    value, state = parse_features(block, np.column_stack([starts, ends]).ravel())
    with np.errstate(over="ignore"):
        expected = np.array(values).astype(np.float32) + np.float32(0)
    finite = np.isfinite(expected)
    assert value[finite].tobytes() == expected[finite].tobytes()
    assert (np.zeros(value.size, np.uint8) if state is None else state).tolist() == np.where(
        finite, NUMBER, BAD
    ).tolist()


def test_integers_are_plain_digits() -> None:
    texts = ["0", "7", "1767225600000", "999999999999999", "01", "-1", "1.0", "1e3", "x", "1000000000000000"]
    value, good = parse_integers(*spans(texts))
    assert good.tolist() == [True] * 4 + [False] * 6
    assert value[:4].tolist() == [int(text) for text in texts[:4]]


def instants(texts: list[str]) -> tuple[I64Array, BoolArray]:
    return parse_instants(*spans(texts))


@given(
    st.lists(st.datetimes(timezones=st.just(UTC)), min_size=1, max_size=20),
    st.sampled_from(list(FORMS)),
)
def test_instants_are_what_datetime_reads(moments: list[datetime], size: int) -> None:
    precision = "microseconds" if size in (27, 32) else "milliseconds" if size in (24, 29) else "seconds"
    ending = {19: "", 25: "+00:00", 29: "+00:00", 32: "+00:00"}.get(size, "Z")
    ms, good = instants([moment.isoformat(timespec=precision)[:-6] + ending for moment in moments])
    keep = {"seconds": 1000, "milliseconds": 1, "microseconds": 1}[precision]
    elapsed = [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) for moment in moments]
    assert good.all()
    assert ms.tolist() == [value // keep * keep for value in elapsed]


def test_days_and_times_that_do_not_exist_are_not_good() -> None:
    wrong = ["2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-00-10T00:00:00Z"]
    wrong += ["2026-13-10T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z"]
    wrong += ["2026-01-01T00:00:60Z", "0000-01-01T00:00:00Z", "2026/01/01T00:00:00Z", "2026-01-01 00:00:00Z"]
    wrong += ["2026-01-01T00:00:00X", "202:-01-01T00:00:00Z", "2026-01-01T00:00:00.1Z", "2026-01-01T00:00:00+01:00"]
    right = ["2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z"]
    assert instants(wrong + right)[1].tolist() == [False] * len(wrong) + [True, True]
    for text in wrong:  # alone, so that all days of the column are the same
        assert not instants([text, text])[1].any()


def test_an_empty_column_is_no_trouble() -> None:
    nothing: F64Array = np.zeros(0)
    assert parse_numbers(spans(["1"])[0], np.zeros(0, np.int64)).value.tolist() == nothing.tolist()
