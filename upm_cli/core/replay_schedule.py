"""When the rows of a replay buffer are released, worked out for a whole batch of arrivals at once."""

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import I64Array

NOT_YET: Final = 1 << 62  # the release time of a row that stays in the buffer


@dataclass(slots=True)
class Schedule:
    """What happens to n rows, given in log order.

    `time` (n,) int64 is the arrival that releases each, or NOT_YET; `passed` (n,) bool marks rows whose place had been
    released before they came, because a full buffer released early: their time is their own arrival. `early` counts
    rows released before the watermark reached them. `prefix` is how many rows are released if those are the first
    ones and none was passed, and None otherwise; `time` is only there when it was asked for or `prefix` is None.
    """

    early: int
    prefix: int | None
    time: I64Array
    passed: npt.NDArray[np.bool_]


def schedule(starts: I64Array, arrived: I64Array, watermarks: I64Array, limit: int, *, with_time: bool) -> Schedule:
    """Decide when each row is released.

    `starts` (n,) in log order; `arrived` (n,) the arrival (0 to m-1) that brought each row, at most one each, -1 for
    rows that were there; `watermarks` (m,) after each arrival, never falling; `limit` is the size of the buffer. Rows
    behind the watermark on arrival must not be among them. As long as nothing arrives behind a row that a full buffer
    released early, what is released is a growing prefix of the log order, which takes no loop.
    """
    came = np.zeros(watermarks.size + 1, np.int64)  # last: those that were there
    came[arrived] = 1
    here = arrived.size - int(came[:-1].sum())
    due = np.searchsorted(starts, watermarks, "right")  # by the watermark alone, after each arrival
    counts = np.maximum(due, np.cumsum(came[:-1]) + (here - limit))
    previous = np.concatenate([[0, 0], counts])  # [t + 1]: before arrival t; [0]: for rows that were there
    rank = np.arange(starts.size)
    if (rank < previous[arrived + 1]).any():
        return _one_by_one(starts, arrived, watermarks, limit)
    early = int(np.maximum(counts - np.maximum(due, previous[1:-1]), 0).sum())
    prefix = int(counts[-1]) if counts.size else 0
    time = np.zeros(0, np.int64)
    if with_time:
        time = np.searchsorted(counts, rank, "right")
        time[prefix:] = NOT_YET
    return Schedule(early, prefix, time, np.zeros(rank.size, np.bool_))


def _one_by_one(starts: I64Array, arrived: I64Array, watermarks: I64Array, limit: int) -> Schedule:
    """The same, arrival by arrival, for disorder that a full buffer could not wait for."""
    time = np.full(starts.size, NOT_YET)
    passed = np.zeros(starts.size, np.bool_)
    start_of = starts.tolist()
    waiting = np.flatnonzero(arrived < 0).tolist()  # ranks; sorted, so a heap
    incoming = np.flatnonzero(arrived >= 0)
    rank_of = dict(zip(arrived[incoming].tolist(), incoming.tolist(), strict=True))
    greatest, early = -1, 0
    for now, watermark in enumerate(watermarks.tolist()):
        rank = rank_of.get(now)
        if rank is not None and rank < greatest:
            time[rank], passed[rank] = now, True
        elif rank is not None:
            heapq.heappush(waiting, rank)
        while waiting and (start_of[waiting[0]] <= watermark or len(waiting) > limit):
            greatest = heapq.heappop(waiting)
            early += start_of[greatest] > watermark
            time[greatest] = now
    return Schedule(early, None, time, passed)
