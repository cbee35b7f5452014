"""Reading the served comparisons of a trainer while they are written and merged."""

from collections.abc import Iterator

import numpy as np

from upm_cli.core.feedback.names import served_owner
from upm_cli.core.feedback.served import Served
from upm_cli.core.window import I64Array, Strings
from upm_cli.store import log, segmentfiles, segments
from upm_cli.store.session import Store


def follow(store: Store, trainer: str, from_seq: int = 0) -> Iterator[Served]:
    """Yield the served comparisons from number `from_seq` on that are committed now, in order, never an empty part.

    Segments that are merged meanwhile are found again. Raises IntegrityError when one is damaged or missing.
    """
    position, lost = from_seq, -1
    while True:
        with store.read() as reader:
            found = segments.list_for(reader, "comparisons", served_owner(trainer), position)
        try:
            for segment in found:
                served = log.read_served(store.home, segment)
                rows = served.slice(int(served.table.seq.searchsorted(position)), len(served))
                if len(rows):
                    yield rows
                position = segment.last_seq + 1
        except segmentfiles.SegmentGoneError:
            if lost == position:
                raise
            lost = position
        else:
            return


def answered(store: Store, trainer: str, from_ms: int) -> tuple[Strings, I64Array]:
    """Return the predictions made at or after `from_ms` that were compared: ids, and when they were made, (n,) each."""
    ids, times = [Strings.empty(0)], [np.zeros(0, np.int64)]
    for served in follow(store, trainer):
        rows = np.flatnonzero(served.predicted_ms >= from_ms)
        ids.append(served.prediction_id.take(rows))
        times.append(served.predicted_ms[rows])
    return Strings.concat(ids), np.concatenate(times)
