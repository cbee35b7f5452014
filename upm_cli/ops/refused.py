"""Windows that were read and logged, but that the learner of a trainer would not take."""

from typing import Any

from upm_cli.ops.training import refused_owner
from upm_cli.store import rejects, segments
from upm_cli.store.session import Store


def refused_windows(store: Store, trainer: str) -> list[dict[str, Any]]:
    """Return them as they were recorded, oldest first: log position (`offset`), window id and reason."""
    with store.read() as reader:
        files = segments.list_for(reader, "dead", refused_owner(trainer))
    return [row for file in files for row in rejects.read(store.home, file)]
