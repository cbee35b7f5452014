"""What every decision about a trainer reads first, and how its changes are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upm_cli.core.changes import Changes
from upm_cli.core.records import Activation, Pin, Ring, Snapshot, Trainer
from upm_cli.store import activations, incidents, pins, snapshots, trainers

if TYPE_CHECKING:
    from upm_cli.store.session import Reader, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One trainer, its snapshots by version, and what its rings serve, as of one state."""

    trainer: Trainer
    rows: Mapping[int, Snapshot]
    live: Mapping[Ring, Activation]
    pins: Mapping[Ring, Pin]

    @classmethod
    def read(cls, reader: "Reader", name: str) -> "View":
        return cls(
            trainer=trainers.get(reader, name),
            rows={row.version: row for row in snapshots.list_for(reader, name)},
            live=activations.live(reader, name),
            pins=pins.live(reader, name),
        )


def write(tx: "Tx", changes: Changes) -> None:
    """Write the rows of a decision into the commit `tx`."""
    trainers.put(tx, changes.trainer)
    for snapshot in changes.snapshots:
        snapshots.put(tx, snapshot)
    for activation in changes.activations:
        activations.append(tx, activation)
    for ring in changes.lifted:
        pins.remove(tx, changes.trainer.name, ring)
    for pin in changes.pins:
        pins.put(tx, pin)
    if changes.incident is not None:
        incidents.append(tx, changes.incident)
