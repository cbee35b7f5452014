"""The metrics of adapters: how many have what they should, and how their syncs went."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from upm_cli.telemetry.metrics.exposition import Sample
from upm_cli.telemetry.metrics.families import BEHIND, STATUSES

Overview = Mapping[str, Any]


def trainers_of(found: Overview) -> list[str]:
    """Return the trainers that have adapters."""
    return sorted({str(each["trainer"]) for each in found["adapters"]})


def samples(found: Overview) -> Iterator[Sample]:
    """Yield what the overview of adapters says; nothing where there are none."""
    if not found["adapters"]:
        return
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
