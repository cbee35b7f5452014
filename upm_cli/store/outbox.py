"""The outbox: events that were committed with the change they tell of. `Tx.event` adds to it."""

from upm_cli.core.records import OutboxEvent
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader


def after(r: Reader, position: int = 0, limit: int = 1000) -> list[OutboxEvent]:
    """Return the events after `position`, oldest first. Positions have no gaps; the oldest events are dropped."""
    rows = r.query("outbox.after", position=position, limit=limit)
    return [codec(OutboxEvent).decode(row) for row in rows]
