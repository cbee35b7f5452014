"""Feature watches: which features of each trainer's windows drift now, and how far its log was looked at."""

from upm_cli.core.records import FeatureWatch
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, watch: FeatureWatch) -> None:
    """Add or replace the watch of a trainer."""
    tx.put("feature_watches", codec(FeatureWatch).encode(watch))


def find(r: Reader, trainer: str) -> FeatureWatch | None:
    """Return the watch of a trainer; None when nobody has looked yet."""
    rows = r.query("feature_watches.find", trainer=trainer)
    return codec(FeatureWatch).decode(rows[0]) if rows else None
