"""Reading the served comparisons of a trainer while they are written and merged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from upm_cli.core.feedback.names import served_owner
from upm_cli.core.feedback.served import Served
from upm_cli.core.records import Segment
from upm_cli.core.window import I64Array, Strings
from upm_cli.ops.comparisons import follow_parts
from upm_cli.store import log
from upm_cli.store.session import Store


def follow(store: Store, trainer: str, from_seq: int = 0) -> Iterator[Served]:
    """Yield the served comparisons from number `from_seq` on that are committed now, in order, never an empty part.

    As `comparisons.follow`.
    """
    return follow_parts(store, served_owner(trainer), from_seq, _read)


def _read(home: Path, segment: Segment, position: int) -> Served:
    served = log.read_served(home, segment)
    return served.slice(int(served.table.seq.searchsorted(position)), len(served))


def answered(store: Store, trainer: str, from_ms: int) -> tuple[Strings, I64Array]:
    """Return the predictions made at or after `from_ms` that were compared: ids, and when they were made, (n,) each."""
    ids, times = [Strings.empty(0)], [np.zeros(0, np.int64)]
    for served in follow(store, trainer):
        rows = np.flatnonzero(served.predicted_ms >= from_ms)
        ids.append(served.prediction_id.take(rows))
        times.append(served.predicted_ms[rows])
    return Strings.concat(ids), np.concatenate(times)
