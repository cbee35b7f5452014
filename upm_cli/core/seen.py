"""Which window ids came lately: exact deduplication over a moving horizon of event time."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from upm_cli.core.hashing import U64Array
from upm_cli.core.window import I64Array, Strings

BoolArray = npt.NDArray[np.bool_]

_SMALLEST: Final = 4096  # slots; a power of two
_SLOTS_PER_ROW: Final = 4
_MOST_PARTS: Final = 256
_EVERYTHING: Final = -(1 << 62)


class _Generation:
    """A hash table from 64-bit hash to row, filled and asked by whole columns (open addressing, linear probing).

    No two rows have the same hash. Rows are never removed: the generation is dropped when all of it is out of date.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.newest_ms = _EVERYTHING  # no live id that this generation answers for starts later
        self.hashes: U64Array = np.zeros(_SMALLEST // _SLOTS_PER_ROW, np.uint64)
        self.starts: I64Array = np.zeros(_SMALLEST // _SLOTS_PER_ROW, np.int64)
        self.parts: list[Strings] = []
        self.part_ends: list[int] = []
        self._slots: npt.NDArray[np.int32] = np.full(_SMALLEST, -1, np.int32)

    def find(self, hashes: U64Array) -> I64Array:
        """Return the row of each hash, (n,) int64, -1 where there is none."""
        found = np.full(hashes.size, -1, np.int64)
        if not self.rows:
            return found
        last = np.int64(self._slots.size - 1)
        at = hashes.astype(np.int64) & last
        asking: I64Array | slice = slice(None)
        while True:
            rows = self._slots[at]
            taken = np.flatnonzero(rows >= 0)
            if not taken.size:
                return found
            rows, at = rows[taken], at[taken]
            asking = taken if isinstance(asking, slice) else asking[taken]
            equal = self.hashes[rows] == hashes[asking]
            if equal.any():
                found[asking[equal]] = rows[equal]
                at, asking = at[~equal], asking[~equal]
            at = (at + 1) & last

    def add(self, hashes: U64Array, starts: I64Array, ids: Strings) -> None:
        """Append rows whose hashes differ from each other and from those that are there."""
        if not hashes.size:
            return
        end = self.rows + hashes.size
        if end > self.hashes.size:
            room = max(2 * self.hashes.size, 1 << int(end - 1).bit_length())
            self.hashes = np.concatenate([self.hashes[: self.rows], np.zeros(room - self.rows, np.uint64)])
            self.starts = np.concatenate([self.starts[: self.rows], np.zeros(room - self.rows, np.int64)])
            self._slots = np.full(_SLOTS_PER_ROW * room, -1, np.int32)
            self._place(0, self.rows)
        self.hashes[self.rows : end] = hashes
        self.starts[self.rows : end] = starts
        self._place(self.rows, end)
        self.parts.append(ids)
        self.part_ends.append(end)
        if len(self.parts) > _MOST_PARTS:
            self.parts, self.part_ends = [Strings.concat(self.parts)], [end]
        self.rows = end
        self.newest_ms = max(self.newest_ms, int(starts.max()))

    def _place(self, begin: int, end: int) -> None:
        last = np.int64(self._slots.size - 1)
        rows = np.arange(begin, end, dtype=np.int32)
        at = self.hashes[begin:end].astype(np.int64) & last
        while rows.size:
            free = self._slots[at] < 0
            self._slots[at[free]] = rows[free]  # of several that want one slot, the last gets it
            homeless = self._slots[at] != rows
            rows, at = rows[homeless], (at[homeless] + 1) & last

    def id_of(self, row: int) -> str:
        part = bisect_right(self.part_ends, row)
        return self.parts[part][row - (self.part_ends[part - 1] if part else 0)]


class SeenIds:
    """The ids of accepted windows whose start is not below a growing floor.

    Hashes only find suspects; what counts is the id itself, so two different ids are never taken for one. A row that
    is no suspect costs a few vectorised steps; suspects (repeated ids, equal hashes) are settled one by one, and go to
    `_exact` when accepted. There are two generations of tables; the older is dropped when the floor has passed it.
    """

    def __init__(self, hash_of: Callable[[Strings], U64Array] = Strings.hashes) -> None:
        self._hash_of = hash_of
        self._old = _Generation()
        self._new = _Generation()
        self._exact: dict[str, int] = {}  # start of ids that were suspects when they were accepted

    def admit(self, ids: Strings, starts: I64Array, floors: I64Array, floor_ms: int) -> BoolArray:
        """Return which rows are duplicates, (n,) bool, and remember those accepted.

        A row is a duplicate if its id was accepted before, here or earlier, with a start not below `floors` of the row;
        it is accepted if it is none and its own start is not below its floor. `floors` (n,) never falls; `floor_ms`,
        not below the last of them, is the floor after the last row.
        """
        hashes = self._hash_of(ids)
        suspect = self._suspects(hashes)
        duplicate = np.zeros(hashes.size, np.bool_)
        keep = starts >= floor_ms
        if suspect is not None:
            rows = np.flatnonzero(suspect)
            duplicate[rows] = self._settle(rows, hashes, ids, starts, floors)
            keep &= ~suspect
        if keep.all():
            self._new.add(hashes, starts, ids)
        else:
            kept = np.flatnonzero(keep)
            self._new.add(hashes[kept], starts[kept], _pick(ids, kept))
        self._forget(floor_ms)
        return duplicate

    def starts_of(self, ids: Strings) -> I64Array:
        """Return the start with which each id was accepted, (n,) int64; far below any floor where none was."""
        hashes = self._hash_of(ids)
        starts = np.full(hashes.size, _EVERYTHING)
        in_new, in_old = self._new.find(hashes), self._old.find(hashes)
        for row in np.flatnonzero((in_new >= 0) | (in_old >= 0)).tolist():
            found = self._start_of(ids[row], int(in_new[row]), int(in_old[row]))
            starts[row] = _EVERYTHING if found is None else found
        return starts

    def live(self, floor_ms: int) -> tuple[Strings, I64Array]:
        """Return ids and starts (n,) not below `floor_ms`; a new horizon that admits them answers as this one."""
        exact = {key: start for key, start in self._exact.items() if start >= floor_ms}
        exact_hashes = self._hash_of(Strings.of(self._exact))
        ids, starts = [Strings.of(exact)], [np.array(list(exact.values()), np.int64)]
        for generation in (self._new, self._old):
            rows = np.flatnonzero(generation.starts[: generation.rows] >= floor_ms)
            if exact_hashes.size:
                unsure = np.isin(generation.hashes[rows], exact_hashes)
                known = [unsure[i] and generation.id_of(int(row)) in self._exact for i, row in enumerate(rows)]
                rows = rows[~np.array(known, np.bool_)]
            ids.append(_pick(Strings.concat(generation.parts), rows))
            starts.append(generation.starts[rows])
        return Strings.concat(ids), np.concatenate(starts)

    def _suspects(self, hashes: U64Array) -> BoolArray | None:
        """Return the rows whose hash is in a table or twice among `hashes`; None when there are none."""
        in_order = np.sort(hashes)
        twice = in_order[1:][in_order[1:] == in_order[:-1]]
        suspect = np.isin(hashes, twice) if twice.size else None
        for generation in (self._new, self._old):
            found = generation.find(hashes) >= 0
            if found.any():
                suspect = found if suspect is None else suspect | found
        return suspect

    def _settle(self, rows: I64Array, hashes: U64Array, ids: Strings, starts: I64Array, floors: I64Array) -> list[bool]:
        """Decide about suspects in arrival order, and accept those that are no duplicates."""
        some = hashes[rows]
        in_new, in_old = self._new.find(some).tolist(), self._old.find(some).tolist()
        keys = ids.take(rows).to_list()
        duplicates: list[bool] = []
        accepted: list[int] = []
        for i, (key, start, floor) in enumerate(zip(keys, starts[rows].tolist(), floors[rows].tolist(), strict=True)):
            seen_ms = self._start_of(key, in_new[i], in_old[i])
            duplicates.append(seen_ms is not None and seen_ms >= floor)
            if not duplicates[-1] and start >= floor:
                self._exact[key] = start
                accepted.append(i)
        self._mark(rows[np.array(accepted, np.int64)], hashes, ids, starts)
        return duplicates

    def _start_of(self, key: str, in_new: int, in_old: int) -> int | None:
        if key in self._exact:
            return self._exact[key]
        for generation, row in ((self._new, in_new), (self._old, in_old)):
            if row >= 0 and generation.id_of(row) == key:
                return int(generation.starts[row])
        return None

    def _mark(self, rows: I64Array, hashes: U64Array, ids: Strings, starts: I64Array) -> None:
        """See that the newest generation has the hashes of `rows`, so that their ids are suspects from now on."""
        if not rows.size:
            return
        _, firsts = np.unique(hashes[rows], return_index=True)
        missing = rows[np.sort(firsts)]
        missing = missing[self._new.find(hashes[missing]) < 0]
        self._new.add(hashes[missing], starts[missing], ids.take(missing))
        self._new.newest_ms = max(self._new.newest_ms, int(starts[rows].max()))

    def _forget(self, floor_ms: int) -> None:
        if self._old.newest_ms < floor_ms and self._new.rows:
            self._old, self._new = self._new, _Generation()
            self._exact = {key: start for key, start in self._exact.items() if start >= floor_ms}


def _pick(ids: Strings, rows: I64Array) -> Strings:
    """Return `rows` of `ids`, which grow; when none is left out between them, without copying."""
    if rows.size and rows[-1] - rows[0] == rows.size - 1:
        return ids.slice(int(rows[0]), int(rows[-1]) + 1)
    return ids.take(rows)
