"""The rollouts of a trainer and what was decided about them, from the state and the ledger."""

from typing import TYPE_CHECKING, Any

from upm_cli.ids import iso
from upm_cli.ops import audit
from upm_cli.ops.ledger_words import what
from upm_cli.store import rollouts, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Store


def history(store: "Store", name: str) -> dict[str, list[dict[str, Any]]]:
    """Return `rollouts` and `decisions` of trainer `name`, oldest first. Raises NotFoundError, IntegrityError."""
    with store.read() as reader:
        trainers.get(reader, name)
        rows = rollouts.list_for(reader, name)
    numbers = {row.rollout_id: row.number for row in rows}
    entries = audit.entries(store, actions=["rollout.*"], subject=name) if rows else []
    return {
        "rollouts": [
            {
                "rollout": row.number,
                "rollout_id": row.rollout_id,
                "phase": row.phase,
                "stage": row.stage,
                "version": row.version,
                "champion": row.champion,
                "actor": row.actor,
                "reason": row.reason or None,
                "started_at": iso(row.started_at_ms),
                "ended_at": None if row.ended_at_ms is None else iso(row.ended_at_ms),
            }
            for row in rows
        ],
        "decisions": [
            {
                "ledger": entry["n"],
                "at": entry["at"],
                "rollout": numbers.get(str(entry["details"].get("rollout_id"))),
                "action": entry["action"],
                "phase": entry["details"].get("phase"),
                "stage": entry["details"].get("stage"),
                "percent": entry["details"].get("percent"),
                "version": entry["details"].get("version"),
                "actor": entry["actor"],
                "what": what(entry["action"], entry["details"]),
                "reason": entry["details"].get("reason") or None,
                "decision_id": entry["details"].get("decision_id"),
            }
            for entry in entries
        ],
    }
