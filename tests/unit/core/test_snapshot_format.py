"""The snapshot format, checked against the public safetensors reader and hand-forged files."""

import hashlib
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from upm_cli.core.canonical import canonical_json
from upm_cli.core.snapshot import SnapshotFormatError, SnapshotTooNewError, decode, encode

MANIFEST: dict[str, Any] = {"schema_version": 1, "trainer": "main", "version": 3, "metrics": {"loss": 0.25}}
ONE = {"data_offsets": [0, 4], "dtype": "F32", "shape": [1]}


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    return {
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bias": np.array(0.5),
        "classes": np.array([3, 1], dtype=np.int64),
        "none": np.zeros((0, 3), dtype=np.float32),
        "used": np.array([True, False]),
    }


def forge(table: Mapping[str, Any], data: bytes, manifest: object = MANIFEST, *, header: bytes = b"") -> bytes:
    """Return a file with a right seal around whatever `table` says; `header` replaces the header text."""
    metadata: dict[str, Any] = {"manifest": manifest if isinstance(manifest, str) else canonical_json(manifest)}
    seal = hashlib.sha256(canonical_json({"__metadata__": metadata, **table}).encode() + data).hexdigest()
    text = header or canonical_json({"__metadata__": {**metadata, "sha256": seal}, **table}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def test_a_snapshot_comes_back_as_it_was_written() -> None:
    found, manifest = decode(encode(arrays(), MANIFEST))
    assert manifest == MANIFEST
    assert {name: (a.dtype, a.shape, a.tolist()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, a.tolist()) for name, a in arrays().items()
    }


def test_the_public_reader_sees_the_same_tensors_and_manifest() -> None:
    data = encode(arrays(), MANIFEST)
    assert {name: a.tolist() for name, a in safetensors.numpy.load(data).items()} == {
        name: a.tolist() for name, a in arrays().items()
    }
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    assert json.loads(metadata["manifest"]) == MANIFEST


def test_the_bytes_are_the_documented_ones() -> None:
    data = encode({"w": np.array([1.0], np.float32)}, {"schema_version": 1, "version": 1, "trainer": "t"})
    manifest = '{\\"schema_version\\":1,\\"trainer\\":\\"t\\",\\"version\\":1}'
    tensor = '"w":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}'
    body = np.array([1.0], "<f4").tobytes()
    unsealed = '{"__metadata__":{"manifest":"' + manifest + '"},' + tensor + "}"
    seal = hashlib.sha256(unsealed.encode() + body).hexdigest()
    header = '{"__metadata__":{"manifest":"' + manifest + '","sha256":"' + seal + '"},' + tensor + "}"
    header += " " * (-len(header) % 8)
    assert data == len(header).to_bytes(8, "little") + header.encode() + body


def test_memory_layout_byte_order_and_insertion_order_do_not_change_the_bytes() -> None:
    plain = arrays()
    other = {name: plain[name] for name in reversed(plain)}
    other["weights"] = np.asfortranarray(plain["weights"]).astype(">f4")
    other["classes"] = np.array([3, 0, 1, 0], dtype=">i8")[::2]
    assert encode(other, MANIFEST) == encode(plain, dict(reversed(MANIFEST.items())))


def test_the_decoded_arrays_are_views_that_nobody_can_change() -> None:
    found, _ = decode(encode(arrays(), MANIFEST))
    with pytest.raises(ValueError, match="read-only"):
        found["weights"][0, 0] = 9.0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Weights", np.ones(1)),
        ("../w", np.ones(1)),
        ("", np.ones(1)),
        ("w", np.ones(2, np.complex64)),
        ("w", np.array(["text"])),
        ("w", np.array([object()])),
        ("w", np.ones((1, 1, 1, 1, 1))),
        ("w", np.array([1.0, np.nan])),
        ("w", np.array([-np.inf], np.float32)),
    ],
)
def test_what_a_snapshot_can_not_hold_is_refused_when_writing(name: str, values: np.ndarray[Any, Any]) -> None:
    with pytest.raises(SnapshotFormatError):
        encode({name: values}, MANIFEST)


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"schema_version": 0, "trainer": "t", "version": 1},
        {"schema_version": True, "trainer": "t", "version": 1},
        {"schema_version": "1"},
        {"trainer": "t", "version": 1},
    ],
)
def test_a_manifest_without_a_schema_is_refused(manifest: dict[str, Any]) -> None:
    with pytest.raises(SnapshotFormatError):
        encode({}, manifest)
    with pytest.raises(SnapshotFormatError):
        decode(forge({}, b"", manifest))


def test_a_later_schema_is_told_apart_from_damage() -> None:
    with pytest.raises(SnapshotTooNewError, match="schema 2"):
        decode(forge({}, b"", {**MANIFEST, "schema_version": 2}))


def test_a_forged_file_with_a_right_table_is_accepted_so_the_forger_works() -> None:
    found, _ = decode(forge({"w": ONE}, np.array([1.5], "<f4").tobytes()))
    assert found["w"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("table", "size", "why"),
    [
        ({"w": {**ONE, "dtype": "F16"}}, 4, "unknown type"),
        ({"w": {**ONE, "dtype": ["F32"]}}, 4, "unknown type"),
        ({"w": {**ONE, "data_offsets": [4, 8]}}, 8, "should lie at"),
        ({"w": {**ONE, "data_offsets": [-4, 0]}}, 0, "should lie at"),
        ({"w": {**ONE, "data_offsets": [False, 4]}}, 4, "should lie at"),
        ({"w": {**ONE, "data_offsets": [0.0, 4.0]}}, 4, "should lie at"),
        ({"a": ONE, "b": ONE}, 4, "should lie at"),
        ({"a": ONE, "b": {**ONE, "data_offsets": [8, 12]}}, 12, "should lie at"),
        ({"w": ONE}, 3, "there are 3"),
        ({"w": ONE}, 5, "there are 5"),
        ({}, 1, "there are 1"),
        ({"w": {**ONE, "shape": [0]}}, 4, "should lie at"),
        ({"w": {**ONE, "shape": [0, 1 << 39, 1 << 39]}}, 0, "shape"),
        ({"w": {**ONE, "shape": [-1]}}, 4, "shape"),
        ({"w": {**ONE, "shape": [True]}}, 4, "shape"),
        ({"w": {**ONE, "shape": [1.0]}}, 4, "shape"),
        ({"w": {**ONE, "shape": "1"}}, 4, "shape"),
        ({"w": {**ONE, "shape": [1] * 5}}, 4, "shape"),
        ({"w": {**ONE, "shape": [1 << 70]}}, 4, "shape"),
        ({"w": {**ONE, "shape": [1 << 39] * 4}}, 4, "shape"),
        ({"w": {**ONE, "shape": [1 << 39]}}, 4, "should lie at"),
        ({"w": {**ONE, "more": 1}}, 4, "exactly"),
        ({"w": {"dtype": "F32", "shape": [1]}}, 4, "exactly"),
        ({"w": 7}, 4, "exactly"),
        ({"W": ONE}, 4, "name"),
        ({"a/../../b": ONE}, 4, "name"),
    ],
)
def test_a_lying_table_is_refused_even_with_a_right_seal(table: dict[str, Any], size: int, why: str) -> None:
    with pytest.raises(SnapshotFormatError, match=why):
        decode(forge(table, bytes(size)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_even_with_a_right_seal(value: float) -> None:
    with pytest.raises(SnapshotFormatError, match="NaN or an infinity"):
        decode(forge({"w": ONE}, np.array([value], "<f4").tobytes()))


def test_a_boolean_other_than_0_and_1_is_refused() -> None:
    with pytest.raises(SnapshotFormatError, match="boolean"):
        decode(forge({"b": {"data_offsets": [0, 1], "dtype": "BOOL", "shape": [1]}}, b"\x02"))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{}",
        b'{"__metadata__":{}}',
        b'{"__metadata__":"x"}',
        b'{"__metadata__":{"manifest":7,"sha256":"x"}}',
        b'{"__metadata__":{"manifest":"{}","sha256":"x","more":"y"}}',
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\ud800"}',
        b'{ "a":1}',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
)
def test_a_header_that_is_not_canonical_json_is_refused(header: bytes) -> None:
    text = header + b" " * (-len(header) % 8)
    with pytest.raises(SnapshotFormatError):
        decode(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize("manifest", ["{}", "[1]", '{"a":1,"a":2}', '{"trainer": "t"}', "NaN", ""])
def test_a_manifest_text_that_is_not_canonical_is_refused_even_with_a_right_seal(manifest: str) -> None:
    with pytest.raises(SnapshotFormatError):
        decode(forge({}, b"", manifest))


def test_every_truncation_is_refused() -> None:
    data = encode(arrays(), MANIFEST)
    for size in range(len(data)):
        with pytest.raises(SnapshotFormatError):
            decode(data[:size])


@pytest.mark.parametrize("declared", [1 << 20, 1 << 30, 1 << 62, (1 << 64) - 1])
def test_a_header_length_far_beyond_the_file_costs_no_memory(declared: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(SnapshotFormatError):
            decode(declared.to_bytes(8, "little") + b"{}" * 100)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_header_of_more_than_a_mebibyte_is_refused_unread() -> None:
    size = (1 << 20) + 8
    with pytest.raises(SnapshotFormatError, match="more than"):
        decode(size.to_bytes(8, "little") + bytes(size))
    with pytest.raises(SnapshotFormatError, match="more than"):
        encode({}, {**MANIFEST, "note": "x" * size})


def test_a_declared_gibibyte_costs_no_memory() -> None:
    shape = [1 << 28]
    table = {"w": {"data_offsets": [0, 1 << 30], "dtype": "F32", "shape": shape}}
    data = forge(table, bytes(16))
    tracemalloc.start()
    try:
        with pytest.raises(SnapshotFormatError, match="there are 16"):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
