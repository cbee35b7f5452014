"""Evidence: what the drift monitor last found in the contests of a trainer."""

from upm_cli.core.records import Evidence
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def put(tx: Tx, evidence: Evidence) -> None:
    """Add or replace what was found in one kind of contest."""
    tx.put("evidence", codec(Evidence).encode(evidence))


def of(r: Reader, trainer: str) -> dict[str, Evidence]:
    """Return what was found, by kind of contest (lineage, candidate)."""
    found = [codec(Evidence).decode(row) for row in r.query("evidence.list_for", trainer=trainer)]
    return {evidence.kind: evidence for evidence in found}


def remove(tx: Tx, trainer: str, kind: str) -> None:
    """Forget a contest that is over."""
    tx.execute("evidence.remove", trainer=trainer, kind=kind)
