"""Whatever is done to the bytes of a snapshot, it is either what was written or refused."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from upm_cli.core.snapshot import SnapshotFormatError, decode, encode

NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True)
DTYPES = st.sampled_from(["?", "<f4", "<f8", ">f4", "<i4", "<i8", "u1", "<u4", "<u8"])
TENSORS = DTYPES.flatmap(
    lambda dtype: st_numpy.arrays(
        dtype,
        st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False} if "f" in dtype else None,
    )
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MANIFESTS = st.builds(
    lambda more, trainer, version: {**more, "schema_version": 1, "trainer": trainer, "version": version},
    st.dictionaries(st.text(max_size=8), JSON, max_size=4),
    st.text(min_size=1, max_size=8),
    st.integers(1, 10**6),
)
SMALL = encode(
    {"bias": np.array([0.5, -1.5]), "w": np.arange(4, dtype=np.float32)},
    {"schema_version": 1, "trainer": "main", "version": 7, "windows": 1000},
)


@given(st.dictionaries(NAMES, TENSORS, max_size=4), MANIFESTS)
def test_what_is_encoded_comes_back_and_encodes_to_the_same_bytes(
    arrays: dict[str, np.ndarray[Any, Any]], manifest: dict[str, Any]
) -> None:
    data = encode(arrays, manifest)
    found, said = decode(data)
    assert said == manifest
    assert found.keys() == arrays.keys()
    for name, tensor in arrays.items():
        assert found[name].shape == tensor.shape
        assert found[name].dtype == tensor.dtype.newbyteorder("<")
        assert found[name].tobytes() == tensor.astype(found[name].dtype).tobytes()
    assert encode(found, said) == data


def test_every_single_flipped_bit_is_refused() -> None:
    accepted = []
    for bit in range(len(SMALL) * 8):
        damaged = bytearray(SMALL)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decode(bytes(damaged))
        except SnapshotFormatError:
            continue
        accepted.append(bit)
    assert accepted == []


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "repeat"]),
        st.integers(0, len(SMALL)),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=1500, deadline=None)
@given(EDITS)
def test_edited_bytes_are_refused_or_unchanged(edits: list[tuple[str, int, bytes]]) -> None:
    data = SMALL
    for kind, at, piece in edits:
        if kind == "set":
            data = data[:at] + piece + data[at + len(piece) :]
        elif kind == "cut":
            data = data[:at] + data[at + len(piece) :]
        elif kind == "insert":
            data = data[:at] + piece + data[at:]
        else:
            data = data[:at] + data[max(0, at - len(piece)) :]
    _refused_or_equal(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    _refused_or_equal(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=40))
def test_arbitrary_headers_of_the_right_length_are_refused(header: bytes, body: bytes) -> None:
    _refused_or_equal(len(header).to_bytes(8, "little") + header + body)


def _refused_or_equal(data: bytes) -> None:
    try:
        decode(data)
    except SnapshotFormatError:
        return
    assert data == SMALL
