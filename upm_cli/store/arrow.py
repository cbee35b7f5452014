"""NumPy columns ↔ Arrow columns, sharing memory, and Arrow IPC bytes.

Arrays that come out of a file are read-only views of its bytes and keep them alive.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from upm_cli.core.window import F64Array, I64Array, Strings
from upm_cli.errors import InvalidError

_INT32_MAX: Final = 2**31 - 1
_PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)


def plain(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return a numeric column of Arrow type `kind` over the memory of `values` (n,) of the same width."""
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(np.ascontiguousarray(values))])


def nullable(values: F64Array) -> pa.Array:
    """Return a float64 column in which NaN is null."""
    known = np.packbits(~np.isnan(values), bitorder="little")
    return pa.Array.from_buffers(
        pa.float64(), values.size, [pa.py_buffer(known), pa.py_buffer(np.ascontiguousarray(values))]
    )


def text(strings: Strings) -> pa.Array:
    """Return an utf8 column. Raises InvalidError when it holds 2 GiB or more."""
    offsets = _offsets32(strings.offsets - strings.offsets[0])
    data = strings.data[strings.offsets[0] : strings.offsets[-1]]
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.utf8(), len(strings), buffers)


def words(strings: Strings) -> pa.Array:
    """Return a column of few different texts (a dictionary) in which "" is null."""
    column = text(strings)
    if not strings.lengths().all():
        known = pa.py_buffer(np.packbits(strings.lengths() > 0, bitorder="little"))
        column = pa.Array.from_buffers(pa.utf8(), len(strings), [known, *column.buffers()[1:]])
    return column.dictionary_encode()


def lists(indptr: I64Array, values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return a list column: row i is `values[indptr[i] : indptr[i + 1]]`."""
    start, stop = int(indptr[0]), int(indptr[-1])
    items = plain(values[start:stop], kind)
    offsets = pa.py_buffer(_offsets32(indptr - start))
    rows = pa.list_(pa.field("item", kind, nullable=False))
    return pa.Array.from_buffers(rows, indptr.size - 1, [None, offsets], children=[items])


def to_strings(column: pa.Array) -> Strings:
    """Return the texts of an utf8 or dictionary column; null is ""."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.utf8())
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    edges = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    body = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return Strings(edges - edges[0], body[edges[0] : edges[-1]])


def to_numbers(column: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the values of a numeric column as (n,) `dtype` of the same width, whatever is null."""
    values: npt.NDArray[Any] = np.frombuffer(column.buffers()[1], dtype)
    return values[column.offset : column.offset + len(column)]


def to_nullable(column: pa.Array) -> F64Array:
    """Return a float64 column with NaN where it is null."""
    values = to_numbers(column, np.float64)
    if not column.null_count:
        return values
    values = values.copy()
    values[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return values


def to_lists(column: pa.Array, dtype: npt.DTypeLike) -> tuple[I64Array, npt.NDArray[Any]]:
    """Return (indptr, values) of a list column."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    edges = offsets[column.offset : column.offset + len(column) + 1].astype(np.int64)
    values = to_numbers(column.values, dtype)
    return edges - edges[0], values[edges[0] : edges[-1]]


def encode(table: pa.Table, *, packed: bool = False) -> memoryview:
    """Return `table` as one Arrow IPC file; `packed` compresses its columns with lz4 (a third smaller, 10× slower)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=_PACKED if packed else _PLAIN) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def decode(data: bytes) -> pa.Table:
    """Return the table of an Arrow IPC file, each column in one chunk. Raises ValueError when it is none."""
    try:
        return pa.ipc.open_file(pa.BufferReader(data), options=_READ).read_all().combine_chunks()
    except (pa.ArrowException, OSError) as exc:
        raise ValueError(str(exc)) from exc


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array."""
    chunks = table.column(name).chunks
    return chunks[0] if chunks else pa.array([], table.schema.field(name).type)


def _offsets32(offsets: I64Array) -> npt.NDArray[np.int32]:
    if offsets.size and offsets[-1] > _INT32_MAX:
        raise InvalidError(
            f"{int(offsets[-1]):,} bytes or features in one segment are too many",
            hint="commit smaller chunks",
            code="UPM-E038",
        )
    return offsets.astype(np.int32)
