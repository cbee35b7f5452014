"""Putting decisions on the record: one ledger entry each, with everything it takes to work them out again."""

from typing import TYPE_CHECKING, Any

from upm_cli.core.decision import DecisionRecord, inputs_digest
from upm_cli.core.plain import to_plain

if TYPE_CHECKING:
    from upm_cli.store.session import Tx


def record(tx: "Tx", decision: DecisionRecord, *, config_digest: str | None, **more: Any) -> None:
    """Write `decision` into the ledger with the commit `tx`: action = its kind.

    `config_digest` is that of all settings in force (`Settings.full_digest`), None when they could not be read.
    `more` are further details for whoever reads the entry.
    """
    inputs = to_plain(decision.inputs, "inputs")
    details = to_plain(more, "details") | {
        "decision_id": decision.decision_id,
        "inputs": inputs,
        "inputs_digest": inputs_digest(inputs),
        "outcome": to_plain(decision.outcome, "outcome"),
        "numbers": to_plain(decision.numbers, "numbers"),
        "config_digest": config_digest,
        "reason": decision.reason,
    }
    tx.ledger(decision.kind, decision.subject, **details)
