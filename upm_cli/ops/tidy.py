"""Keeping the number of files small while workers run: little segments are merged, what nobody names is removed."""

from upm_cli.core.feedback.names import served_owner
from upm_cli.store import compaction
from upm_cli.store.session import Store

EVERY_S = 60.0  # how often a worker tidies up
MIN_FILES = 32  # neighbours worth a merge: a live stream makes one segment a second

_OF_STREAMS = ("log", "names", "dead", "late")


def tidy_stream(store: Store, stream: str) -> int:
    """Merge the small segments of a stream; return how many new ones there are. The rows stay the same."""
    merged = sum(len(compaction.compact(store, kind, stream, min_files=MIN_FILES)) for kind in _OF_STREAMS)
    compaction.collect(store)
    return merged


def tidy_trainer(store: Store, trainer: str) -> int:
    """Merge the small comparisons segments of a trainer; return how many new ones there are."""
    return len(compaction.compact(store, "comparisons", trainer, min_files=MIN_FILES)) + tidy_served(store, trainer)


def tidy_served(store: Store, trainer: str) -> int:
    """The same for what agents served."""
    return len(compaction.compact(store, "comparisons", served_owner(trainer), min_files=MIN_FILES))
