"""What one JSON line means, and why others are refused."""

import json
from typing import Any

import numpy as np
import pytest

from upm_cli.core.hashing import hash_name, hash_pair
from upm_cli.core.window import LabelKind, RowKind, WindowBatch
from upm_cli.sources.decode import decode_lines

START, END = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
START_MS = 1767225600000


def window(**changes: Any) -> dict[str, Any]:
    fields = {"window_id": "w1", "window_start": START, "window_end": END, "features": {"a": 1}} | changes
    return {key: value for key, value in fields.items() if value is not ...}


def decode(*lines: bytes | str | dict[str, Any]) -> WindowBatch:
    raw = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    rows = decode_lines(enumerate(line.encode() if isinstance(line, str) else line for line in raw))
    assert [reject.reason for reject in rows.rejects] == []
    return rows.batch


def reason(line: bytes | str | dict[str, Any]) -> str:
    raw = json.dumps(line) if isinstance(line, dict) else line
    rows = decode_lines([(7, raw.encode() if isinstance(raw, str) else raw)])
    assert len(rows.batch) == 0
    (reject,) = rows.rejects
    assert reject.offset == 7
    return reject.reason


def features(value: dict[str, Any] | str) -> dict[int, float]:
    """Index → value of the features in a window, values of the same index added up."""
    text = value if isinstance(value, str) else json.dumps(value)
    batch = decode(json.dumps(window(features="HERE")).replace('"HERE"', text))
    sums: dict[int, float] = {}
    for index, number in zip(batch.x.index.tolist(), batch.x.value.tolist(), strict=True):
        sums[index] = sums.get(index, 0.0) + number
    return sums


def number(name: str) -> int:
    return hash_name(name) & 0xFFFFFFFF


def text(name: str, value: str) -> int:
    return hash_pair(hash_name(name), hash_name(value)) & 0xFFFFFFFF


def test_a_bare_window_becomes_a_row() -> None:
    batch = decode(window(tenant_id="acme", label=1))
    assert (batch.window_id[0], batch.tenant[0]) == ("w1", "acme")
    assert (batch.start_ms[0], batch.end_ms[0]) == (START_MS, START_MS + 1000)
    assert (batch.kind[0], batch.label_kind[0], batch.label_value[0]) == (RowKind.WINDOW, LabelKind.NUMBER, 1.0)


def test_an_envelope_is_taken_off() -> None:
    head = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "system.feature_window.created"}
    assert decode({**head, "data": window()}).window_id[0] == "w1"


def test_ground_truth_is_a_row_of_its_own_kind() -> None:
    head = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "system.feature_window.labelled"}
    truth = {"window_id": "w1", "label": True}
    batch = decode(truth, {**head, "data": truth})
    assert batch.kind.tolist() == [RowKind.LABEL] * 2
    assert batch.label_value.tolist() == [1.0, 1.0]
    assert batch.x.indptr.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"a": 2.5}, {number("a"): 2.5}),
        ({"a": True, "b": False}, {number("a"): 1.0, number("b"): 0.0}),
        ({"a": "x"}, {text("a", "x"): 1.0}),
        ({"a": None}, {}),
        ({"user": {"age": 3, "geo": {"city": "Bonn"}}}, {number("user.age"): 3.0, text("user.geo.city", "Bonn"): 1.0}),
        ({"tags": ["x", "y", "x"]}, {text("tags", "x"): 2.0, text("tags", "y"): 1.0}),
        ({"v": [1, 2.5, True]}, {number("v.0"): 1.0, number("v.1"): 2.5, number("v.2"): 1.0}),
        ({"v": [None, 2]}, {number("v.1"): 2.0}),
        ({"v": []}, {}),
        ({}, {}),
        ('{"a":1,"a":2}', {number("a"): 3.0}),
        ('{"a":1,"\\u0061":2}', {number("a"): 3.0}),
        ('{"a":"\\\\\\"","a":1}', {text("a", '\\"'): 1.0, number("a"): 1.0}),
        ('{"u":{"x":1},"u":{"x":2},"u.x":4}', {number("u.x"): 7.0}),
        ('{"a":-0.0}', {number("a"): 0.0}),
        ('{"a":16777217}', {number("a"): 16777216.0}),
    ],
)
def test_features_are_named_and_flat(given: dict[str, Any] | str, expected: dict[int, float]) -> None:
    assert features(given) == expected


def test_values_are_the_double_rounded_to_float32() -> None:
    value = decode(window(features={"a": 0.8444218515250481})).x.value[0]
    assert value == np.float32(0.8444218515250481)


@pytest.mark.parametrize(
    ("instant", "ms"),
    [
        ("2026-01-01T00:00:00Z", START_MS),
        ("2026-01-01t00:00:00z", START_MS),
        ("2026-01-01 00:00:00", START_MS),
        ("2026-01-01T00:00", START_MS),
        ("2026-01-01T00:00:00.9999Z", START_MS + 999),
        ("2026-01-01T00:00:00,25Z", START_MS + 250),
        ("2026-01-01T02:00:00+02:00", START_MS),
        ("2026-01-01T02:00:00+0200", START_MS),
        ("2025-12-31T19:00:00-05:00", START_MS),
        ("1969-12-31T23:59:59.5Z", -500),
        (START_MS, START_MS),
        (0, 0),
    ],
)
def test_instants_are_iso_8601_or_milliseconds(instant: Any, ms: int) -> None:
    assert decode(window(window_start=instant, window_end="2026-01-02T00:00:00Z")).start_ms[0] == ms


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (0.5, (LabelKind.NUMBER, 0.5, "")),
        (7, (LabelKind.NUMBER, 7.0, "")),
        (True, (LabelKind.BOOL, 1.0, "")),
        (False, (LabelKind.BOOL, 0.0, "")),
        ("spam", (LabelKind.CLASS, None, "spam")),
        ({"b": 2, "a": 1.5}, (LabelKind.MAP, None, '{"a":1.5,"b":2.0}')),
        ({"ü": 1}, (LabelKind.MAP, None, '{"ü":1.0}')),
        (None, (LabelKind.NONE, None, "")),
        (..., (LabelKind.NONE, None, "")),
    ],
)
def test_labels_have_a_kind_a_value_and_a_text(label: Any, expected: tuple[LabelKind, float | None, str]) -> None:
    batch = decode(window(label=label))
    value = None if np.isnan(batch.label_value[0]) else batch.label_value[0]
    assert (batch.label_kind[0], value, batch.label_text[0]) == expected


def test_labels_is_an_alias_of_label() -> None:
    assert decode(window(labels=3)).label_value[0] == 3.0


def test_integers_are_ids_too() -> None:
    batch = decode(window(window_id=42, tenant_id=-7))
    assert (batch.window_id[0], batch.tenant[0]) == ("42", "-7")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "not JSON"),
        ('{"window_id":"w1"', "not JSON"),
        ("[]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        (b'{"window_id":"\xff"}', "not UTF-8"),
        (b"\xff\xfe", "not UTF-8"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
        (b" " * (4 << 20) + b"{}", "longer than 4194304 bytes"),
        (window(window_id=...), "window_id is missing"),
        (window(window_id=None), "window_id is missing"),
        (window(window_id=""), "window_id is empty"),
        (window(window_id="x" * 257), "window_id is longer than 256 bytes"),
        (window(window_id="é" * 129), "window_id is longer than 256 bytes"),
        (window(window_id="a\x1bb"), "window_id holds control characters"),
        (window(window_id="a\x7f"), "window_id holds control characters"),
        (window(window_id="a\x9b"), "window_id holds control characters"),
        (window(window_id=1.5), "window_id is neither text nor an integer"),
        (window(window_id=True), "window_id is neither text nor an integer"),
        (window(tenant_id=["a"]), "tenant_id is neither text nor an integer"),
        (window(tenant_id=""), "tenant_id is empty"),
        (window(window_start=...), "window_start is missing"),
        (window(window_end=...), "window_end is missing"),
        (window(window_start="yesterday"), "window_start is not an ISO 8601 time: 'yesterday'"),
        (window(window_start="2026-02-29T00:00:00Z"), "window_start is no such day or time"),
        (window(window_start="2026-01-01T24:00:00Z"), "window_start is no such day or time"),
        (window(window_start="2026-01-01T00:00:60Z"), "window_start is no such day or time"),
        (window(window_start="2026-01-01"), "window_start is not an ISO 8601 time"),
        (window(window_start="20260101T000000Z"), "window_start is not an ISO 8601 time"),
        (window(window_start=1.5), "window_start is neither ISO 8601 text nor integer milliseconds"),
        (window(window_start=2**60), "window_start is not between the years 1 and 9999"),
        (window(window_start=END, window_end=START), "window_end is before window_start"),
        (window(features=...), "features is missing"),
        (window(features=[1]), "features is not an object"),
        (window(features={"a": 1e39}), "'a' is not finite in 32-bit floating point"),
        (window(features={"a": 10**400}), "'a' is not finite in 32-bit floating point"),
        ('{"window_id":"w","features":{"a":NaN}}', "not JSON"),
        ('{"window_id":"w","features":{"a":1e999}}', "not JSON"),
        (window(features={"a": ["x", 1]}), "'a' is a list of text and other things"),
        (window(features={"a": [[1]]}), "'a' is a list of lists or objects"),
        (window(features={f"f{n}": 1 for n in range(65_537)}), "more than 65536 features"),
        (window(label=[1]), "a label is a number, true or false"),
        (window(label={}), "a label object is empty"),
        (window(label={"a": "x"}), "holds something other than numbers"),
        (window(label=""), "a class label is 1 to 256 bytes"),
        (window(label=1, labels=1), "both label and labels"),
        ('{"window_id":"a","window_id":"b","label":1}', "a key occurs twice"),
        ('{"window_id":"a","label":{"x":1,"x":2}}', "a key occurs twice in the label"),
        ({"window_id": "w1"}, "window_start is missing"),
        ({"window_id": "w1", "window_start": START, "label": 1}, "window_end is missing"),
        ({"specversion": "0.3", "data": window()}, "not CloudEvents 1.0"),
        ({"specversion": "1.0", "type": "other", "data": window()}, "the event type is neither"),
        ({"specversion": "1.0", "type": "system.feature_window.created"}, "no object in data"),
        (
            {"specversion": "1.0", "type": "system.feature_window.labelled", "data": {"window_id": "w"}},
            "label is missing",
        ),
    ],
    ids=lambda value: str(value)[:60] if not isinstance(value, dict) else "",
)
def test_what_is_no_window_is_refused_with_its_reason(line: Any, words: str) -> None:
    assert words in reason(line)


def test_nesting_has_a_limit() -> None:
    nested: dict[str, Any] = {"a": 1}
    for _ in range(7):
        nested = {"n": nested}
    assert features(nested) == {number("n." * 7 + "a"): 1.0}
    assert "nested deeper than 8" in reason(window(features={"n": nested}))


def test_an_oversized_line_is_kept_in_part() -> None:
    line = b'{"window_id":"' + b"x" * (5 << 20)
    (reject,) = decode_lines([(0, line)]).rejects
    assert reject.raw == line[: 64 << 10]


def test_a_refused_line_leaves_nothing_behind() -> None:
    lines = [window(features={"a": 1}), window(features={"b": 1, "c": [[]]}), window(features={"d": "e"})]
    rows = decode_lines(enumerate(json.dumps(line).encode() for line in lines))
    assert rows.number.tolist() == [0, 2]
    assert rows.batch.x.index.tolist() == [number("a"), text("d", "e")]
    assert sorted(map(str, rows.names)) == ["('d', 'e')", "a"]
