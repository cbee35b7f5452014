"""Windows found again in the log, for labels that came after them."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from upm_cli.core.late_labels import fill
from upm_cli.core.records import Segment
from upm_cli.core.window import I64Array, WindowBatch
from upm_cli.errors import IntegrityError
from upm_cli.store import log, segmentfiles, segments

if TYPE_CHECKING:
    from upm_cli.store.session import Store


def fill_labels(
    store: "Store", stream: str, rows: WindowBatch, first_seq: int, label_seqs: Mapping[int, int]
) -> WindowBatch:
    """Return `rows`, which begin at `first_seq`, with tenant, times and features in every LABEL row.

    `label_seqs` says for the seq of each LABEL row which one its window has: among `rows`, or before them in the log.
    Raises IntegrityError when the log lacks one of them.
    """
    if not label_seqs:
        return rows
    at = np.array(list(label_seqs), np.int64) - first_seq
    wanted = np.array(list(label_seqs.values()), np.int64)
    here = np.flatnonzero(wanted >= first_seq)
    earlier = np.flatnonzero(wanted < first_seq)
    found = [(here, rows.take(wanted[here] - first_seq))]
    found += [(earlier[part], batch) for part, batch in _from_log(store, stream, wanted[earlier])]
    order = np.concatenate([part for part, _ in found])
    if order.size != at.size:
        raise IntegrityError(
            f"the log of stream {stream} lacks rows that labels belong to",
            hint="upm doctor lists everything that is damaged",
            code="UPM-E094",
        )
    return fill(rows, at[order], WindowBatch.concat([batch for _, batch in found]))


def _from_log(store: "Store", stream: str, wanted: I64Array) -> Iterator[tuple[I64Array, WindowBatch]]:
    """Yield positions in `wanted` and the log rows they name, segment by segment."""
    position, end = int(wanted.min(initial=0)), int(wanted.max(initial=-1))
    while position <= end:
        with store.read() as reader:
            ahead = segments.list_for(reader, "log", stream, position)
        for segment in ahead:
            inside = np.flatnonzero((wanted >= max(position, segment.first_seq)) & (wanted <= segment.last_seq))
            try:
                if inside.size:
                    yield inside, log.read(store.home, segment).take(wanted[inside] - segment.first_seq)
            except segmentfiles.SegmentGoneError:
                if _is_registered(store, segment):
                    raise
                break  # merged into another segment meanwhile: look again
            position = segment.last_seq + 1
        else:
            return


def _is_registered(store: "Store", segment: Segment) -> bool:
    with store.read() as reader:
        return segment in segments.list_for(reader, segment.kind, segment.owner, segment.first_seq)
