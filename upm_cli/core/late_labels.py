"""Ground truth that comes as its own event: which window it belongs to, and what becomes of it."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from upm_cli.core.window import Csr, I64Array, Influence, Strings, WindowBatch

BoolArray = npt.NDArray[np.bool_]


class AwaitingLabel:
    """The last `limit` windows that were released and had come without a label: id, seq, labelled since or not.

    They are numbered in the order of release from 0 over the life of the stream; `count` is the next number.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        self.first = 0  # number of the oldest one kept
        self.labelled: set[int] = set()
        self._parts: list[tuple[Strings, I64Array]] = []
        self._number_of: dict[str, int] | None = None  # made when the first label comes

    def add(self, ids: Strings, seqs: I64Array, labelled: BoolArray) -> None:
        """Append windows in the order of their release, and forget those beyond the limit."""
        if not seqs.size:
            return
        self.labelled.update((np.flatnonzero(labelled) + self.count).tolist())
        self._parts.append((ids, seqs))
        if self._number_of is not None:
            self._number_of.update(zip(ids.to_list(), range(self.count, self.count + seqs.size), strict=True))
        self.count += seqs.size
        if self.count - self.first > 2 * self.limit or len(self._parts) > 256:
            self._trim()

    def number_of(self, window_id: str) -> int | None:
        """Return the number of the newest window of that id; it may be older than the limit."""
        if self._number_of is None:
            self._trim()
            self._number_of = {key: self.first + i for i, key in enumerate(self._columns()[0].to_list())}
        return self._number_of.get(window_id)

    def seq_of(self, number: int) -> int:
        """Return the log position of a window that is kept."""
        local = number - self.first
        for _, seqs in self._parts:
            if local < seqs.size:
                return int(seqs[local])
            local -= seqs.size
        raise IndexError(f"window {number} is not kept")

    def columns(self) -> tuple[Strings, I64Array, BoolArray]:
        """Return ids, seqs and whether labelled since, (n,) each, oldest first, at most `limit`."""
        self._trim()
        ids, seqs = self._columns()
        labelled = np.zeros(seqs.size, np.bool_)
        labelled[[number - self.first for number in self.labelled]] = True
        return ids, seqs, labelled

    def restore(self, ids: Strings, seqs: I64Array, labelled: BoolArray, count: int) -> None:
        self.count, self.first = count, count - seqs.size
        self._parts = [(ids, seqs)]
        self.labelled = set((np.flatnonzero(labelled) + self.first).tolist())

    def _columns(self) -> tuple[Strings, I64Array]:
        if not self._parts:
            return Strings.empty(0), np.zeros(0, np.int64)
        return Strings.concat([ids for ids, _ in self._parts]), np.concatenate([seqs for _, seqs in self._parts])

    def _trim(self) -> None:
        ids, seqs = self._columns()
        drop = max(0, seqs.size - self.limit)
        self.first += drop
        self._parts = [(ids.slice(drop, seqs.size), seqs[drop:])]
        if drop:
            self.labelled = {number for number in self.labelled if number >= self.first}
            if self._number_of is not None and len(self._number_of) > 2 * self.limit:
                self._number_of = {key: number for key, number in self._number_of.items() if number >= self.first}


@dataclass(slots=True)
class Rows:
    """The windows that the labels of a batch may belong to: those that waited and those that came with them.

    `arrived` (n,) position in the batch, -1 for those that waited; `released` (n,) position of the arrival that
    released each, or later than all; `labelled` (n,) bool, changed by `place_labels`; `numbers` (n,) the number
    `AwaitingLabel` will give to each that came bare and is released, else -1; `bare_released`: `released` of these.
    """

    window_id: Strings
    arrived: I64Array
    released: I64Array
    labelled: BoolArray
    numbers: I64Array
    bare_released: I64Array


@dataclass(slots=True)
class Placed:
    """What becomes of each label, by its number among the labels of the batch.

    `attached` (row, label): its window waited · `late` (label, row, seq): its window had been released, with this
    batch (row) or before it (row None, then log position seq) · `duplicate`: how many came second · `orphan`.
    """

    attached: list[tuple[int, int]] = field(default_factory=list)
    late: list[tuple[int, int | None, int]] = field(default_factory=list)
    duplicate: int = 0
    orphan: list[int] = field(default_factory=list)


def place_labels(ids: list[str], positions: list[int], rows: Rows, awaiting: AwaitingLabel) -> Placed:
    """Find the window of each label as it was when the label arrived (`positions` in the batch, growing).

    A window that is still buffered takes the label unless it has one. Otherwise the label goes to the newest of the
    last `limit` windows released by then that had come bare, unless that has one already: the first label wins.
    """
    placed = Placed()
    wanted = set(ids)
    where: dict[str, list[int]] = {}
    for i, window_id in enumerate(rows.window_id.to_list()):
        if window_id in wanted:
            where.setdefault(window_id, []).append(i)
    arrived, released, numbers = rows.arrived, rows.released, rows.numbers
    bare_released = rows.bare_released.tolist()
    for label, (key, at) in enumerate(zip(ids, positions, strict=True)):
        known = [row for row in where.get(key, ()) if arrived[row] < at]
        buffered = next((row for row in known if released[row] > at), None)
        if buffered is not None:
            if rows.labelled[buffered]:
                placed.duplicate += 1
            else:
                rows.labelled[buffered] = True
                placed.attached.append((buffered, label))
            continue
        oldest = awaiting.count + bisect_left(bare_released, at) - awaiting.limit
        row = next((row for row in reversed(known) if numbers[row] >= 0), None)  # of one id, released as they came
        number = awaiting.number_of(key) if row is None else int(numbers[row])
        if number is None or number < oldest:
            placed.orphan.append(label)
        elif number in awaiting.labelled or (row is not None and rows.labelled[row]):
            placed.duplicate += 1
        else:
            awaiting.labelled.add(number)
            placed.late.append((label, row, awaiting.seq_of(number) if row is None else 0))
    return placed


def attach(rows: WindowBatch, labels: WindowBatch, pairs: list[tuple[int, int]]) -> WindowBatch:
    """Return `rows` with the labels of `pairs` (row, label), and with what is known of influence with them.

    The arguments are not modified.
    """
    if not pairs:
        return rows
    at, taken = np.array(pairs, np.int64).T
    kind, value = rows.label_kind.copy(), rows.label_value.copy()
    kind[at], value[at] = labels.label_kind[taken], labels.label_value[taken]
    source = np.arange(len(rows))
    source[at] = len(rows) + taken
    text = Strings.concat([rows.label_text, labels.label_text]).take(source)
    influence = rows.influence
    if labels.influence is not None:
        influence = (influence or Influence.none(len(rows))).put(at, labels.influence.take(taken))
    return replace(rows, label_kind=kind, label_value=value, label_text=text, influence=influence)


def fill(batch: WindowBatch, rows: I64Array, windows: WindowBatch) -> WindowBatch:
    """Return `batch` with tenant, times and features of LABEL row `rows[i]` taken from `windows[i]`.

    So is the influence on the window, where the label came without any.
    """
    if not rows.size:
        return batch
    source = np.arange(len(batch))
    source[rows] = len(batch) + np.arange(rows.size)
    start, end = batch.start_ms.copy(), batch.end_ms.copy()
    start[rows], end[rows] = windows.start_ms, windows.end_ms
    tenant = Strings.concat([batch.tenant, windows.tenant]).take(source)
    x = Csr.concat([batch.x, windows.x]).take(source)
    influence = batch.influence
    if windows.influence is not None:
        told = influence or Influence.none(len(batch))
        influence = told.put(rows, windows.influence).put(rows, told.take(rows))
    return replace(batch, tenant=tenant, start_ms=start, end_ms=end, x=x, influence=influence)
