"""Incidents: why rollbacks happened."""

from upm_cli.core.records import Incident
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def append(tx: Tx, incident: Incident) -> None:
    """Add an incident."""
    tx.execute("incidents.insert", **codec(Incident).encode(incident))


def list_for(r: Reader, trainer: str) -> list[Incident]:
    """Return a trainer's incidents, oldest first."""
    return [codec(Incident).decode(row) for row in r.query("incidents.list_for", trainer=trainer)]
