"""Adapters as they stand, for people: what `upm status`, `upm sync status` and `upm adapter list` tell of them.

It stands apart from ops/adapters.py because every `upm status` asks for it and nothing here needs what adding an
adapter needs.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from upm_cli.core.delivery.memo import Agents, Memo
from upm_cli.core.delivery.rate import success_rate
from upm_cli.core.records import Adapter, AdapterStatus
from upm_cli.ids import iso
from upm_cli.store import adapters, sync_tallies

if TYPE_CHECKING:
    from upm_cli.config.schema import Settings
    from upm_cli.store.session import Reader

_ORDER = {"errored": 0, "pending": 1, "syncing": 2, "synced": 3}  # what needs a person stands on top


def overview(reader: "Reader", settings: "Settings", now_ms: int) -> dict[str, Any]:
    """Return how all adapters stand, for `upm status`, the dashboard and metrics. Looks at the state only."""
    rows = adapters.list_all(reader)
    shown = [as_json(row) for row in rows]
    counts = {status.value: sum(1 for row in rows if row.status is status) for status in AdapterStatus}
    tallies = sync_tallies.list_since(reader, 0)
    return {
        "total": len(rows),
        "by_status": counts,
        "success_rate": success_rate(tallies, now_ms),
        "adapters": sorted(shown, key=lambda row: (_ORDER[row["status"]], row["adapter_key"], row["tenant"])),
    }


def problems(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what needs a person in an overview, with the command to type next."""
    told = []
    for trainer in sorted({row["trainer"] for row in found["adapters"]}):
        bad = [row for row in found["adapters"] if row["trainer"] == trainer and row["status"] == "errored"]
        if bad:
            first = bad[0]
            more = f" and {len(bad) - 1} more adapters" if len(bad) > 1 else ""
            said = f"adapter {first['adapter_key']}{more} errored: {first['last_error']}"
            told.append({"trainer": trainer, "problem": said, "next": "upm sync status"})
    return told


SILENT: Final = "no agent has said what it serves"


def as_json(row: Adapter) -> dict[str, Any]:
    """Return one row in plain values. `version` is confirmed, `desired_version` is to be there."""
    memo = Memo.of(row)
    agents = memo.agents
    return {
        "adapter_key": row.adapter_key,
        "tenant": row.tenant_id,
        "trainer": row.trainer,
        "kind": row.kind,
        "location": row.location,
        "mode": row.mode.value,
        "status": row.status.value,
        "version": row.acked_version,
        "desired_version": row.version,
        "epoch": row.acked_epoch,
        "last_synced_at": None if row.last_synced_at_ms is None else iso(row.last_synced_at_ms),
        "attempts": row.attempts,
        "failures": row.failures,
        "next_attempt_at": None if row.next_attempt_at_ms is None else iso(row.next_attempt_at_ms),
        "last_error": row.last_error,
        "last_error_at": None if row.last_error_at_ms is None else iso(row.last_error_at_ms),
        "lag_versions": lag(row),
        "note": memo.note or None,
        "why": row.last_error or memo.note or (SILENT if agents == Agents() else None),
        "agent": memo.agent,
        "agents": None if agents is None else {"on": agents.on, "behind": agents.behind, "stale": agents.stale},
    }


def details(row: Adapter) -> dict[str, Any]:
    """Return everything about one row in plain values."""
    memo, sent = Memo.of(row), Memo.of(row).sent
    expires_at_ms = None if sent is None else sent.expires_at_ms
    return {
        **as_json(row),
        "shadow": memo.is_shadow,
        "token_file": memo.token_file,
        "ca_file": memo.ca_file,
        "desired_digest": row.digest,
        "desired_epoch": row.epoch,
        "desired_serial": row.serial,
        "digest": row.acked_digest,
        "serial": row.acked_serial,
        "signed_by": None if sent is None else sent.keyid,
        "expires_at": None if expires_at_ms is None else iso(expires_at_ms),
        "created_at": iso(row.created_at_ms),
    }


def lag(row: Adapter) -> int | None:
    """Return how many versions lie between what is confirmed and what is to be there; None: one of them is nothing."""
    if row.version is None or row.acked_version is None:
        return None
    return abs(row.version - row.acked_version)
