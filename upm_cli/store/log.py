"""The event log and what else comes in columns: Arrow IPC segments, one file each commit, packed when merged.

Columns of a log segment: `seq`, `kind`, `window_id`, `window_start`, `window_end`, `tenant_id` (null for none),
`label_kind`, `label_value` (null for none), `label_text`, and the features as the lists `index` and `value`; where a
model was asked about a window, also `served_version` and `acted` (null for not, or not known). Batches share memory
with the files they come from, so their arrays are read-only.

Files first, row second: `write…` makes the file, its caller registers the segment in its commit.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.feedback.names import served_owner
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import Segment
from upm_cli.core.window import Acted, Csr, F32Array, Influence, Strings, U32Array, WindowBatch
from upm_cli.store import arrow, segmentfiles, segments
from upm_cli.store.layout import COMPARISONS, LOG
from upm_cli.store.session import Store

_INSTANT: Final = pa.timestamp("ms")


def window_table(batch: WindowBatch, first_seq: int) -> pa.Table:
    """Return the rows of `batch` as the Arrow table of a log segment."""
    served = {} if batch.influence is None else influence_columns(batch.influence)
    return pa.table(
        {
            "seq": arrow.plain(np.arange(first_seq, first_seq + len(batch), dtype=np.int64), pa.int64()),
            "kind": arrow.plain(batch.kind, pa.uint8()),
            "window_id": arrow.text(batch.window_id),
            "window_start": arrow.plain(batch.start_ms, _INSTANT),
            "window_end": arrow.plain(batch.end_ms, _INSTANT),
            "tenant_id": arrow.words(batch.tenant),
            "label_kind": arrow.plain(batch.label_kind, pa.uint8()),
            "label_value": arrow.nullable(batch.label_value),
            "label_text": arrow.text(batch.label_text),
            "index": arrow.lists(batch.x.indptr, batch.x.index, pa.uint32()),
            "value": arrow.lists(batch.x.indptr, batch.x.value, pa.float32()),
            **served,
        }
    )


def influence_columns(influence: Influence) -> dict[str, pa.Array]:
    """Return the columns that say which model was asked about each window, and whether that acted."""
    version = pa.array(influence.version, pa.int32(), mask=influence.version == 0)
    acted = pa.array(influence.acted == Acted.YES, pa.bool_(), mask=influence.acted == Acted.UNKNOWN)
    return {"served_version": version, "acted": acted}


def names_table(names: Strings, hashes: U32Array) -> pa.Table:
    """Return feature names and their hashes as the Arrow table of a names segment."""
    return pa.table({"hash": arrow.plain(hashes, pa.uint32()), "name": arrow.text(names)})


def comparisons_table(comparisons: Comparisons) -> pa.Table:
    """Return comparisons as the Arrow table of their segment."""
    return pa.table(
        {
            "seq": arrow.plain(comparisons.seq, pa.int64()),
            "window_start": arrow.plain(comparisons.start_ms, _INSTANT),
            "window_id": arrow.text(comparisons.window_id),
            "tenant_id": arrow.words(comparisons.tenant),
            "prediction": arrow.plain(comparisons.prediction, pa.float32()),
            "truth": arrow.nullable(comparisons.truth),
            "score": arrow.plain(comparisons.score, pa.float32()),
            "brier": arrow.plain(comparisons.brier, pa.float32()),
            "base_brier": arrow.plain(comparisons.base_brier, pa.float32()),
            "base_score": arrow.plain(comparisons.base_score, pa.float32()),
        }
    )


def write(home: Path, stream: str, batch: WindowBatch, first_seq: int, created_at_ms: int) -> Segment:
    """Write the rows of `batch` as the log rows from `first_seq` on. `batch` is not empty."""
    seqs = (first_seq, first_seq + len(batch) - 1)
    return _write(home, f"{LOG}/{stream}", window_table(batch, first_seq), "log", stream, seqs, created_at_ms)


def read(home: Path, segment: Segment) -> WindowBatch:
    """Return the rows of a log segment. Raises IntegrityError when its file is damaged or missing."""
    table = _read(home, segment)
    indptr, index = arrow.to_lists(arrow.column(table, "index"), np.uint32)
    _, value = arrow.to_lists(arrow.column(table, "value"), np.float32)
    if index.size != value.size:
        raise segmentfiles.damaged(segment, "has features without values")
    return WindowBatch(
        kind=arrow.to_numbers(arrow.column(table, "kind"), np.uint8),
        window_id=arrow.to_strings(arrow.column(table, "window_id")),
        tenant=arrow.to_strings(arrow.column(table, "tenant_id")),
        start_ms=arrow.to_numbers(arrow.column(table, "window_start"), np.int64),
        end_ms=arrow.to_numbers(arrow.column(table, "window_end"), np.int64),
        label_kind=arrow.to_numbers(arrow.column(table, "label_kind"), np.uint8),
        label_value=arrow.to_nullable(arrow.column(table, "label_value")),
        label_text=arrow.to_strings(arrow.column(table, "label_text")),
        x=Csr(indptr, index, value),
        influence=_influence(table),
    )


def _influence(table: pa.Table) -> Influence | None:
    """Return which models were asked about the windows; None where none was, or nobody could say."""
    if "served_version" not in table.column_names:
        return None
    version = arrow.column(table, "served_version").fill_null(0).to_numpy(zero_copy_only=False)
    acted = arrow.column(table, "acted")
    known = acted.is_valid().to_numpy(zero_copy_only=False)
    yes = acted.fill_null(False).to_numpy(zero_copy_only=False)
    said = np.where(known, np.where(yes, Acted.YES, Acted.NO), Acted.UNKNOWN)
    return Influence(version.astype(np.int32), said.astype(np.uint8))


def scan(home: Path, log_segments: Sequence[Segment], from_seq: int) -> Iterator[tuple[int, WindowBatch]]:
    """Yield (seq of the first row, rows) from `from_seq` on. Raises IntegrityError at a hole between segments."""
    expected = from_seq
    for segment in log_segments:
        if segment.last_seq < expected:
            continue
        if segment.first_seq > expected:
            raise segmentfiles.damaged(segment, f"does not follow: rows {expected}-{segment.first_seq - 1} are missing")
        batch = read(home, segment)
        yield expected, batch.slice(expected - segment.first_seq, len(batch))
        expected = segment.last_seq + 1


def follow(store: Store, stream: str, from_seq: int) -> Iterator[tuple[int, WindowBatch]]:
    """As `scan`, over all that is committed now; segments that are merged meanwhile are found again."""
    position, lost = from_seq, -1
    while True:
        with store.read() as r:
            found = segments.list_for(r, "log", stream, position)
        try:
            for first, batch in scan(store.home, found, position):
                yield first, batch
                position = first + len(batch)
            return
        except segmentfiles.SegmentGoneError:
            if lost == position:
                raise
            lost = position


def write_names(
    home: Path, stream: str, names: Strings, hashes: U32Array, first_seq: int, created_at_ms: int
) -> Segment:
    """Write feature names (n,) that are new to the stream, with their 32-bit hashes. `first_seq`: names before."""
    seqs = (first_seq, first_seq + len(names) - 1)
    return _write(home, f"{LOG}/{stream}/names", names_table(names, hashes), "names", stream, seqs, created_at_ms)


def read_names(home: Path, name_segments: Sequence[Segment]) -> dict[int, str]:
    """Return hash → feature name of all given segments; the first name of a hash stays."""
    names: dict[int, str] = {}
    for segment in name_segments:
        table = _read(home, segment)
        texts = arrow.to_strings(arrow.column(table, "name")).to_list()
        hashes = arrow.to_numbers(arrow.column(table, "hash"), np.uint32).tolist()
        for key, name in zip(hashes, texts, strict=True):
            names.setdefault(key, name)
    return names


def write_comparisons(home: Path, trainer: str, table: Comparisons, created_at_ms: int) -> Segment:
    """Write comparisons (not empty, in log order). The segment covers the log rows from the first to the last."""
    seqs = (int(table.seq[0]), int(table.seq[-1]))
    columns = comparisons_table(table)
    return _write(home, f"{COMPARISONS}/{trainer}", columns, "comparisons", trainer, seqs, created_at_ms)


def read_comparisons(home: Path, segment: Segment) -> Comparisons:
    """Return the comparisons of a segment."""
    return _comparisons(_read(home, segment))


def _comparisons(table: pa.Table) -> Comparisons:
    return Comparisons(
        seq=arrow.to_numbers(arrow.column(table, "seq"), np.int64),
        start_ms=arrow.to_numbers(arrow.column(table, "window_start"), np.int64),
        window_id=arrow.to_strings(arrow.column(table, "window_id")),
        tenant=arrow.to_strings(arrow.column(table, "tenant_id")),
        prediction=arrow.to_numbers(arrow.column(table, "prediction"), np.float32),
        truth=arrow.to_nullable(arrow.column(table, "truth")),
        score=arrow.to_numbers(arrow.column(table, "score"), np.float32),
        brier=arrow.to_numbers(arrow.column(table, "brier"), np.float32),
        base_brier=arrow.to_numbers(arrow.column(table, "base_brier"), np.float32),
        base_score=_base_score(table),
    )


def served_table(served: Served) -> pa.Table:
    """Return served comparisons as the Arrow table of their segment: the columns of comparisons, and more."""
    more = {
        "prediction_id": arrow.text(served.prediction_id),
        "version": arrow.plain(served.version, pa.int64()),
        "digest": arrow.words(served.digest),
        "epoch": arrow.plain(served.epoch, pa.int64()),
        "agent": arrow.words(served.agent),
        "acted": pa.array(served.acted, pa.bool_()),
        "predicted_at": arrow.plain(served.predicted_ms, _INSTANT),
        "observed_at": arrow.plain(served.observed_ms, _INSTANT),
        "task": arrow.words(served.task),
        "label_kind": arrow.plain(served.label_kind, pa.uint8()),
        "label_text": arrow.text(served.label_text),
    }
    table = comparisons_table(served.table)
    for name, column in more.items():
        table = table.append_column(name, column)
    return table


def write_served(home: Path, trainer: str, served: Served, created_at_ms: int) -> Segment:
    """Write served comparisons (not empty, in order); the segment covers their numbers."""
    seqs = (int(served.table.seq[0]), int(served.table.seq[-1]))
    owner = served_owner(trainer)
    return _write(home, f"{COMPARISONS}/{owner}", served_table(served), "comparisons", owner, seqs, created_at_ms)


def read_served(home: Path, segment: Segment) -> Served:
    """Return the served comparisons of a segment."""
    table = _read(home, segment)

    def numbers(name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return arrow.to_numbers(arrow.column(table, name), dtype)

    def texts(name: str) -> Strings:
        return arrow.to_strings(arrow.column(table, name))

    return Served(
        table=_comparisons(table),
        prediction_id=texts("prediction_id"),
        version=numbers("version", np.int64),
        digest=texts("digest"),
        epoch=numbers("epoch", np.int64),
        agent=texts("agent"),
        acted=arrow.column(table, "acted").to_numpy(zero_copy_only=False),
        predicted_ms=numbers("predicted_at", np.int64),
        observed_ms=numbers("observed_at", np.int64),
        task=texts("task"),
        label_kind=numbers("label_kind", np.uint8),
        label_text=texts("label_text"),
    )


def _base_score(table: pa.Table) -> F32Array:
    """Return what the baseline scored; NaN in a segment, or a part of one, from before that was kept."""
    if "base_score" not in table.column_names:
        return np.full(table.num_rows, np.nan, np.float32)
    column = arrow.column(table, "base_score")
    values = arrow.to_numbers(column, np.float32)
    if not column.null_count:
        return values
    return np.where(column.is_null().to_numpy(zero_copy_only=False), np.float32(np.nan), values)


def read_table(home: Path, segment: Segment) -> pa.Table:
    """Return the columns of any Arrow segment as they are stored."""
    return _read(home, segment)


def _write(
    home: Path, folder: str, table: pa.Table, kind: str, owner: str, seqs: tuple[int, int], created_at_ms: int
) -> Segment:
    data = arrow.encode(table)
    return segmentfiles.write(
        home, folder, data, kind=kind, owner=owner, seqs=seqs, rows=table.num_rows, at_ms=created_at_ms
    )


def _read(home: Path, segment: Segment) -> pa.Table:
    data = segmentfiles.read(home, segment)
    try:
        table = arrow.decode(data)
    except ValueError as exc:
        raise segmentfiles.damaged(segment, f"is no Arrow file: {exc}") from exc
    if table.num_rows != segment.rows:
        raise segmentfiles.damaged(segment, f"has {table.num_rows} rows, {segment.rows} were written")
    return table
