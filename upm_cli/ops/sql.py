"""Questions to everything that is kept, in SQL."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upm_cli.store.session import Store


def query(store: "Store", text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the column names and the rows of a read-only query. Raises UsageError when the SQL is wrong."""
    from upm_cli.store import relation

    found = relation.query(store, text)
    names = [f"{name}_{at}" if name in found.columns[:at] else name for at, name in enumerate(found.columns)]
    return names, [dict(zip(names, row, strict=True)) for row in found.rows]
