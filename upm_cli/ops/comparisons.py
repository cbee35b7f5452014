"""Reading the comparisons of a trainer while its worker writes and merges them."""

from collections.abc import Iterator

from upm_cli.core.comparisons import Comparisons
from upm_cli.store import log, segmentfiles, segments
from upm_cli.store.session import Store


def follow(store: Store, trainer: str, from_seq: int = 0) -> Iterator[Comparisons]:
    """Yield the comparisons from log position `from_seq` on that are committed now, in order, never an empty part.

    Segments that are merged meanwhile are found again. Raises IntegrityError when one is damaged or missing.
    """
    position, lost = from_seq, -1
    while True:
        with store.read() as reader:
            found = segments.list_for(reader, "comparisons", trainer, position)
        try:
            for segment in found:
                table = log.read_comparisons(store.home, segment)
                rows = table.slice(int(table.seq.searchsorted(position)), len(table))
                if len(rows):
                    yield rows
                position = segment.last_seq + 1
        except segmentfiles.SegmentGoneError:
            if lost == position:
                raise
            lost = position
        else:
            return
