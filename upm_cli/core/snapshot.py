"""The snapshot format: one file that any safetensors reader opens and only one sequence of bytes for one model.

    8 bytes   length of the header, little-endian, at most 1 MiB
    header    canonical JSON: keys sorted, no spaces, UTF-8; then spaces up to a multiple of 8
    data      the tensors, little-endian, row-major, in the order of their names, without holes

`__metadata__` in the header carries `manifest` (canonical JSON as text) and `sha256`, the hash of the header
without that entry followed by the data. So a file proves itself, whatever says so elsewhere. The reader takes
nothing on trust: it refuses everything the writer would not have written. docs/reference/snapshot-format.md
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.canonical import canonical_json

SCHEMA_VERSION: Final = 1
MAX_HEADER_BYTES: Final = 1 << 20
MAX_DIMENSIONS: Final = 4
MAX_ELEMENTS: Final = 1 << 40

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Manifest = Mapping[str, Any]

_TENSOR_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
}
_DTYPE_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}


class SnapshotFormatError(ValueError):
    """The bytes are not a snapshot this version would have written."""


class SnapshotTooNewError(SnapshotFormatError):
    """The bytes are a snapshot of a later schema; a newer upm reads it."""


def encode(arrays: Arrays, manifest: Manifest) -> bytes:
    """Return the canonical bytes of a model; the same arrays and manifest always give the same bytes.

    `arrays` are the tensors by name (any byte order, any memory layout), `manifest` what is to be known about
    them: plain JSON values, at least `schema_version`.
    Raises SnapshotFormatError for names, types, shapes or numbers that a snapshot can't hold.
    """
    manifest = _checked_manifest(manifest)
    table: dict[str, Any] = {}
    data: list[memoryview] = []
    end = 0
    for name in sorted(arrays):
        tensor = _writable(name, arrays[name])
        begin, end = end, end + tensor.nbytes
        table[name] = {"data_offsets": [begin, end], "dtype": _DTYPE_NAMES[tensor.dtype], "shape": [*tensor.shape]}
        data.append(tensor.data)
    metadata = {"manifest": canonical_json(manifest)}
    seal = _seal({"__metadata__": metadata, **table}, data)
    header = _padded(canonical_json({"__metadata__": {**metadata, "sha256": seal}, **table}).encode())
    if len(header) > MAX_HEADER_BYTES:
        raise SnapshotFormatError(f"the header would have {len(header)} bytes, more than {MAX_HEADER_BYTES}")
    return b"".join([len(header).to_bytes(8, "little"), header, *data])


def decode(data: bytes | bytearray) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the tensors and the manifest of canonical bytes; the reverse of `encode`.

    The arrays are read-only views of `data`, which must not change any more (nothing of a declared size is allocated).
    Raises SnapshotFormatError when a single bit is not as it was written, SnapshotTooNewError for a later schema.
    """
    header, body = _split(data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.keys() != {"manifest", "sha256"}:
        raise SnapshotFormatError("the header has no __metadata__ with exactly 'manifest' and 'sha256'")
    spans = _spans(header, len(body))
    if metadata["sha256"] != _seal({"__metadata__": {"manifest": metadata["manifest"]}, **header}, [body]):
        raise SnapshotFormatError("the sha256 in the header is not that of the bytes")
    manifest = _checked_manifest(_parsed(metadata["manifest"], "the manifest"))
    return {name: _tensor(name, body, *span) for name, span in spans.items()}, manifest


def _writable(name: str, values: Array) -> Array:
    """Return `values` as the writer stores them."""
    if not _TENSOR_NAME.fullmatch(name):
        raise SnapshotFormatError(f"{name!r} can't name a tensor: use 1-64 of a-z, 0-9, '_' and '.'")
    dtype = values.dtype.newbyteorder("<")
    if dtype not in _DTYPE_NAMES:
        raise SnapshotFormatError(f"tensor {name!r} has the type {values.dtype}; known are {', '.join(_DTYPES)}")
    _check_shape(name, values.shape)
    tensor = np.asarray(values, dtype, order="C")
    _check_finite(name, tensor)
    return tensor


def _check_shape(name: str, shape: Sequence[object]) -> None:
    sizes = [size for size in shape if type(size) is int and 0 <= size < MAX_ELEMENTS]
    if (
        len(sizes) != len(shape)
        or len(shape) > MAX_DIMENSIONS
        or math.prod(max(size, 1) for size in sizes) > MAX_ELEMENTS
    ):
        raise SnapshotFormatError(f"tensor {name!r} has the impossible shape {list(shape)!r}")


def _check_finite(name: str, tensor: Array) -> None:
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        raise SnapshotFormatError(f"tensor {name!r} holds a NaN or an infinity")


def _seal(header: Mapping[str, Any], data: Sequence[memoryview]) -> str:
    digest = hashlib.sha256(canonical_json(header).encode())
    for part in data:
        digest.update(part)
    return digest.hexdigest()


def _padded(header: bytes) -> bytes:
    return header + b" " * (-len(header) % 8)


def _split(data: bytes | bytearray) -> tuple[dict[str, Any], memoryview]:
    """Cut `data` into the parsed header, proven canonical, and the bytes behind it."""
    view = memoryview(data).toreadonly()
    size = int.from_bytes(view[:8], "little")
    if len(view) < 8 or size > len(view) - 8:
        raise SnapshotFormatError(f"{len(view)} bytes are too few for the header they announce")
    if size > MAX_HEADER_BYTES:
        raise SnapshotFormatError(f"the header has {size} bytes, more than {MAX_HEADER_BYTES}")
    text = bytes(view[8 : 8 + size])
    header = _parsed(text.rstrip(b" "), "the header")
    if size != len(_padded(text.rstrip(b" "))):
        raise SnapshotFormatError("the header is not padded with spaces to a multiple of 8 bytes")
    return header, view[8 + size :]


def _parsed(text: object, what: str) -> dict[str, Any]:
    """Return the object that `text` says, if it says it in the canonical way."""
    if not isinstance(text, str | bytes):
        raise SnapshotFormatError(f"{what} is not text")
    try:
        said = text if isinstance(text, str) else text.decode()
        value = json.loads(said, object_pairs_hook=_without_duplicates)
        is_canonical = canonical_json(value) == said
    except SnapshotFormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise SnapshotFormatError(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict) or not is_canonical:
        raise SnapshotFormatError(f"{what} is not a JSON object in canonical form")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SnapshotFormatError("a key occurs twice in one object")
    return found


def _spans(table: Mapping[str, Any], available: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    """Check the tensor table against the number of bytes there are; return type, shape and start by name."""
    spans: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]] = {}
    end = 0
    for name, entry in table.items():
        if not _TENSOR_NAME.fullmatch(name):
            raise SnapshotFormatError(f"{name!r} can't name a tensor")
        if not isinstance(entry, dict) or entry.keys() != {"data_offsets", "dtype", "shape"}:
            raise SnapshotFormatError(f"tensor {name!r} needs exactly dtype, shape and data_offsets")
        dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if dtype is None:
            raise SnapshotFormatError(f"tensor {name!r} has the unknown type {entry['dtype']!r}")
        if not isinstance(entry["shape"], list):
            raise SnapshotFormatError(f"tensor {name!r} has no list as its shape")
        _check_shape(name, entry["shape"])
        begin, end = end, end + math.prod(entry["shape"]) * dtype.itemsize
        if entry["data_offsets"] != [begin, end] or any(type(at) is not int for at in entry["data_offsets"]):
            raise SnapshotFormatError(f"tensor {name!r} should lie at [{begin}, {end}]")
        spans[name] = dtype, tuple(entry["shape"]), begin
    if end != available:
        raise SnapshotFormatError(f"the tensors need {end} bytes and there are {available}")
    return spans


def _tensor(name: str, body: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], begin: int) -> Array:
    flat = np.frombuffer(body, dtype, count=math.prod(shape), offset=begin)
    tensor = flat.reshape(shape)
    if dtype.kind == "b" and (flat.view(np.uint8) > 1).any():
        raise SnapshotFormatError(f"tensor {name!r} holds a boolean that is neither 0 nor 1")
    _check_finite(name, tensor)
    return tensor


def _checked_manifest(manifest: Manifest) -> dict[str, Any]:
    """Return `manifest` if its schema is one that this version knows."""
    schema = manifest.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise SnapshotFormatError(f"the manifest has no schema_version but {schema!r}")
    if schema > SCHEMA_VERSION:
        raise SnapshotTooNewError(f"the snapshot has schema {schema}; this upm reads up to {SCHEMA_VERSION}")
    return dict(manifest)
