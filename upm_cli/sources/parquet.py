"""Parquet files: `features` as a struct or map, or every other column a feature. Positions are row numbers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from upm_cli.core.lookalikes import REQUIRED, did_you_mean, labels_alone
from upm_cli.core.records import SourcePosition
from upm_cli.errors import InvalidError
from upm_cli.sources.base import Chunk, storable
from upm_cli.sources.decode import Collected, RowColumns, collect
from upm_cli.sources.features import Pairs
from upm_cli.sources.lines import unreadable

NEEDED: Final = REQUIRED[:3]  # `features` may be the other columns
_OWN: Final = frozenset((*NEEDED, "tenant_id", "label", "labels", "features"))
_COLUMNS: Final = "window_id, window_start, window_end, tenant_id?, label?, and features or one per feature"
_ROWS_AT_A_TIME: Final = 65_536
_BYTES_OF_A_CELL: Final = 8


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """One Parquet file. It is complete when it appears: it never grows."""

    key: str
    path: str
    stream: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def chunks(self, position: SourcePosition | None, max_bytes: int, *, final: bool = True) -> Iterator[Chunk]:
        """Read rows from `position`; see `Source.chunks`."""
        row = position.offset if position else 0
        try:
            with Path(self.path).open("rb") as raw, pq.ParquetFile(raw) as file:
                _check_columns(file.schema_arrow, self.path)
                width = max(1, sum(1 for _ in file.schema)) * _BYTES_OF_A_CELL
                size = max(1, min(_ROWS_AT_A_TIME, max_bytes // width))
                for rows in _batches(file, row, size):
                    after = SourcePosition(
                        stream=self.stream,
                        key=self.key,
                        path=storable(self.path),
                        offset=row + rows.num_rows,
                        size_bytes=file.metadata.num_rows,
                        done=row + rows.num_rows == file.metadata.num_rows,
                        meta=self.meta,
                    )
                    yield Chunk(_to_stream(rows), row, after, after.path, "parquet")
                    row += rows.num_rows
        except pa.ArrowInvalid as exc:
            raise InvalidError(
                f"{self.path} is not a whole Parquet file: {exc}",
                hint="write it under another name and rename it when it is complete",
                code="UPM-E035",
            ) from exc
        except OSError as exc:
            raise unreadable(self.path, exc) from exc


def decode_parquet(chunk: Chunk) -> tuple[Collected, int]:
    """Decode the rows of `chunk`; return them and how many there were."""
    table = pa.ipc.open_stream(chunk.data).read_all()
    columns = {name: _plain(table[name]) for name in table.column_names}
    own = [name for name in table.column_names if name in _OWN]
    others = [] if "features" in columns else [name for name in table.column_names if name not in _OWN]
    records = []
    for row in range(table.num_rows):
        event: dict[str, Any] = {name: columns[name][row] for name in own}
        if others:
            event["features"] = {name: columns[name][row] for name in others}
        records.append((chunk.offset + row, event))
    return collect(records, RowColumns.add_object, _raw), table.num_rows


def _check_columns(schema: pa.Schema, path: str) -> None:
    missing = [name for name in NEEDED if name not in schema.names]
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if missing or twice:
        problem = f"has no column {', '.join(missing)}" if missing else f"has the column {twice[0]} twice"
        raise InvalidError(
            f"{path} {problem}",
            hint=labels_alone(schema.names) or f"{did_you_mean(schema.names)} columns are {_COLUMNS}".lstrip(),
            code="UPM-E035",
        )


def _batches(file: pq.ParquetFile, start: int, size: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows from `start` on, `size` at a time within each row group."""
    first = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        at = first
        if first + rows > start:
            for batch in file.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
                skip = max(0, start - at)
                at += batch.num_rows
                if skip < batch.num_rows:
                    yield batch.slice(skip)
        first += rows


def _to_stream(rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return bytes(sink.getvalue())


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as what JSON would have held: numbers, text, milliseconds, objects."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = pc.cast(column, pa.timestamp("ms"), safe=False).cast(pa.int64())
    elif pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        column = pc.cast(column, pa.float64(), safe=False)
    values: list[Any] = column.to_pylist()
    return [Pairs(value) for value in values] if pa.types.is_map(kind) else values


def _raw(event: dict[str, Any]) -> bytes:
    return json.dumps(event, default=str, ensure_ascii=False).encode()
