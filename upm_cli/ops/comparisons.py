"""Reading the comparisons of a trainer while its worker writes and merges them."""

from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

from upm_cli.core.comparisons import Comparisons
from upm_cli.core.records import Segment
from upm_cli.store import log, segmentfiles, segments
from upm_cli.store.session import Store

Part = TypeVar("Part", bound=Sized)


def follow(store: Store, trainer: str, from_seq: int = 0) -> Iterator[Comparisons]:
    """Yield the comparisons from log position `from_seq` on that are committed now, in order, never an empty part.

    Segments that are merged meanwhile are found again. Raises IntegrityError when one is damaged or missing.
    """
    return follow_parts(store, trainer, from_seq, _read)


def _read(home: Path, segment: Segment, position: int) -> Comparisons:
    table = log.read_comparisons(home, segment)
    return table.slice(int(table.seq.searchsorted(position)), len(table))


def follow_parts(store: Store, owner: str, from_seq: int, read: Callable[[Path, Segment, int], Part]) -> Iterator[Part]:
    """The same for whatever is kept as comparisons of `owner`; `read` gives what a segment has from a position on."""
    position, lost = from_seq, -1
    while True:
        with store.read() as reader:
            found = segments.list_for(reader, "comparisons", owner, position)
        try:
            for segment in found:
                rows = read(store.home, segment, position)
                if len(rows):
                    yield rows
                position = segment.last_seq + 1
        except segmentfiles.SegmentGoneError:
            if lost == position:
                raise
            lost = position
        else:
            return
