"""What one step of the replay buffer did, in columns, and the measurements made of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from upm_cli.core.window import I64Array, RowKind, Strings, WindowBatch


def _no_rows() -> I64Array:
    return np.zeros(0, np.int64)


@dataclass(slots=True, kw_only=True)
class Released:
    """What one push, drain or idle release did.

    `read = WINDOW rows in batch + growth of the buffer + duplicates + late`. `first_seq` is the log position of the
    first row of `batch`. A LABEL row in `batch` has its id and label only; the caller copies the window's other
    columns from the log: those of row `label_rows[i]` from position `label_seqs[i]`, which may lie in `batch` itself.
    `labels_read = labels_joined + labels_duplicate + orphans`. Batches may share memory with what was pushed.
    """

    batch: WindowBatch  # WINDOW and LABEL rows in log order
    first_seq: int
    pending: int  # windows in the buffer now
    watermark_ms: int | None
    late: WindowBatch = field(default_factory=WindowBatch.empty)  # beyond the tolerance: for the late ledger
    read: int = 0  # windows that arrived
    buffered: int = 0  # of those, put into the buffer
    last_buffered: str | None = None  # id of the last of those
    duplicates: Strings = field(default_factory=lambda: Strings.empty(0))  # ids
    late_arrivals: Strings = field(default_factory=lambda: Strings.empty(0))  # ids, released out of their place
    late_arrival_ms: I64Array = field(default_factory=_no_rows)  # how far behind the watermark each came, or 0
    early: int = 0  # released before the watermark reached them, as the buffer was full
    gaps: I64Array = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # (from, to) in ms
    label_rows: I64Array = field(default_factory=_no_rows)
    label_seqs: I64Array = field(default_factory=_no_rows)
    labels_read: int = 0
    labels_joined: int = 0  # attached to a waiting window, or a LABEL row
    labels_duplicate: int = 0  # the window has a label already
    orphans: WindowBatch = field(default_factory=lambda: WindowBatch.empty(0, RowKind.LABEL))
    orphan_rows: I64Array = field(default_factory=_no_rows)  # their rows in the pushed batch

    @property
    def windows(self) -> int:
        """How many WINDOW rows `batch` has."""
        return len(self.batch) - self.label_rows.size

    def telemetry(self) -> list[tuple[str, dict[str, Any], int]]:
        """Return (name, measurements, how many they stand for), at most one of a name, ready to be recorded."""
        out: list[tuple[str, dict[str, Any], int]] = []
        if count := self.buffered:
            out.append(("upm.replay_buffer.add", {"window_id": self.last_buffered, "buffer_size": self.pending}, count))
        if count := len(self.duplicates):
            out.append(("upm.replay_buffer.duplicate", {"window_id": self.duplicates[count - 1]}, count))
        if count := len(self.late_arrivals):
            late = {"window_id": self.late_arrivals[count - 1], "delay_ms": int(self.late_arrival_ms.max())}
            out.append(("upm.replay_buffer.late_arrival", late, count))
        if rows := len(self.batch):
            span = {"sequence_start": self.first_seq, "sequence_end": self.first_seq + rows - 1}
            out.append(("upm.replay_buffer.release", {"count": self.windows, **span}, 1))
        return out
