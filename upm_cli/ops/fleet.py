"""The agents that follow the models, as the dashboard shows them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

SLO: Final = 0.995  # share of deliveries that must succeed
#: What there is to say while nobody delivers anything.
NOTHING: Final[Mapping[str, Any]] = {
    "total": 0,
    "by_status": {"pending": 0, "syncing": 0, "synced": 0, "errored": 0},
    "success_rate": {"value": None, "ok": 0, "attempts": 0, "slo": SLO, "since_ms": None},
    "adapters": [],
    "note": "no adapter delivers anything in this project",
}


def overview(store: "Store", settings: "Settings", now_ms: int) -> Mapping[str, Any]:
    """Return every adapter with its status, and how many deliveries succeeded; see ops/adapters.overview."""
    return NOTHING


def followers(fleet: Mapping[str, Any], trainer: str) -> int:
    """Return how many adapters follow `trainer`."""
    return sum(each["trainer"] == trainer for each in fleet["adapters"])
