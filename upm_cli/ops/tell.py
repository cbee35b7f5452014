"""Events that several verbs send in the same words."""

from typing import TYPE_CHECKING

from upm_cli.core.records import Activation
from upm_cli.core.versions import snapshot_id
from upm_cli.ids import iso

if TYPE_CHECKING:
    from upm_cli.store.session import Tx


def activated(tx: "Tx", activation: Activation) -> None:
    """Tell that a snapshot is the one to use in a ring, with the commit that made it so."""
    name, before = activation.trainer, activation.previous_version
    tx.event(
        "ai.upm.snapshot.activated",
        f"/trainers/{name}",
        snapshot_id=snapshot_id(name, activation.version),
        trainer_id=name,
        version=activation.version,
        activated_at=iso(activation.at_ms),
        previous_snapshot_id=snapshot_id(name, before) if before is not None else None,
        ring=activation.ring.value,
        percent=activation.percent,
        epoch=activation.epoch,
    )
