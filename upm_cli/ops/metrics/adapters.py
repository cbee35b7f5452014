"""The metrics of adapters: how many have what they should, and how their syncs went."""

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.metrics.families import BEHIND, STATUSES

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader

Overview = Mapping[str, Any]
_MODULE = "upm_cli.ops.adapters"


def overview(reader: "Reader", settings: "Settings", now_ms: int) -> Overview | None:
    """Return `ops.adapters.overview(reader, settings, now_ms)`, the one place that asks for it; None without it."""
    return import_module(_MODULE).overview(reader, settings, now_ms) if find_spec(_MODULE) else None


def trainers_of(found: Overview) -> list[str]:
    """Return the trainers that have adapters."""
    return sorted({str(each["trainer"]) for each in found["adapters"]})


def samples(found: Overview) -> Iterator[Sample]:
    """Yield what the overview of adapters says."""
    statuses = Counter((each["trainer"], each["status"]) for each in found["adapters"])
    behind = Counter((each["trainer"], _behind(each.get("lag_versions"))) for each in found["adapters"])
    for trainer in trainers_of(found):
        for status in STATUSES:
            yield Sample("upm_adapters", statuses[trainer, status], {"trainer": trainer, "status": status})
        for versions in BEHIND:
            yield Sample("upm_adapters_behind", behind[trainer, versions], {"trainer": trainer, "versions": versions})
    rate = found["success_rate"]
    yield Sample("upm_adapter_sync_objective_ratio", rate["slo"])
    if rate["value"] is not None:
        yield Sample("upm_adapter_sync_success_ratio", rate["value"])


def _behind(lag: int | None) -> str:
    if lag is None:
        return "unknown"
    return str(max(lag, 0)) if lag < 3 else "3+"
