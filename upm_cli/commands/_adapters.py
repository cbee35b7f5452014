"""How adapters are shown: columns, counts, and one line about all of them."""

from collections.abc import Mapping
from typing import Any

from upm_cli.commands._output import Column


def _version(version: int) -> str:
    return f"v{version}"


def counts(agents: Mapping[str, int]) -> str:
    """Return how many agents stand how, in words."""
    told = [f"{agents[name]} {name}" for name in ("on", "behind", "stale") if agents[name]]
    return ", ".join(told).replace(" on", " on it") or "none"


COLUMNS = (
    Column("adapter_key", "ADAPTER"),
    Column("tenant", "TENANT"),
    Column("trainer", "TRAINER"),
    Column("status", "STATUS"),
    Column("desired_version", "SHOULD", right=True, show=_version),
    Column("version", "HAS", right=True, show=_version),
    Column("epoch", "EPOCH", right=True, spare=2),
    Column("attempts", "TRIES", right=True, spare=2),
    Column("last_synced_at", "CONFIRMED", show=lambda at: at[:19].replace("T", " ") + "Z", spare=2),
    Column("agents", "AGENTS", show=counts),
    Column("location", "PLACE"),
    Column("why", "WHY"),
)


def summary(found: Mapping[str, Any]) -> str:
    """Return one line about all adapters of an overview."""
    by = found["by_status"]
    told = [f"{by[name]} {name}" for name in ("errored", "pending", "syncing") if by[name]]
    rate = found["success_rate"]
    share = "no deliveries" if rate["value"] is None else f"{rate['value']:.2%} of {rate['attempts']:,} deliveries"
    goal = f"goal {rate['slo']:.1%}" + ("" if rate["met"] in (None, True) else ", missed")
    waits = f", {', '.join(told)}" if told else ""
    return f"{by['synced']}/{found['total']} adapters confirmed{waits}; {share} in 24 h ({goal})"
