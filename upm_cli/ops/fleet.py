"""The agents that follow the models, as the dashboard shows them: what ops/adapter_view tells, if it is known."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from upm_cli.core.delivery.rate import SLO

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Store

#: What there is to say where nothing was read.
NOTHING: Final[Mapping[str, Any]] = {
    "total": 0,
    "by_status": {"pending": 0, "syncing": 0, "synced": 0, "errored": 0},
    "success_rate": {"value": None, "ok": 0, "attempts": 0, "slo": SLO, "met": None, "since_ms": None},
    "adapters": [],
}


def overview(store: "Store", settings: "Settings", now_ms: int) -> Mapping[str, Any]:
    """Return every adapter with its status, and how many deliveries succeeded; see ops/adapter_view.overview."""
    from upm_cli.ops import adapter_view

    with store.read() as reader:
        return adapter_view.overview(reader, settings, now_ms)


def followers(fleet: Mapping[str, Any], trainer: str) -> int:
    """Return how many adapters follow `trainer`."""
    return sum(each["trainer"] == trainer for each in fleet["adapters"])


def problems(fleet: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what needs a person among the agents, with the command to type next."""
    from upm_cli.ops import adapter_view

    return adapter_view.problems(fleet)
