"""Activations: every move of a pointer (trainer, ring), of which the newest epoch is live."""

from upm_cli.core.records import Activation, Ring
from upm_cli.store.rows import codec
from upm_cli.store.unit import Reader, Tx


def append(tx: Tx, activation: Activation) -> None:
    """Add a move. Raises InvalidError when its epoch is taken."""
    tx.execute("activations.insert", **codec(Activation).encode(activation))


def live(r: Reader, trainer: str) -> dict[Ring, Activation]:
    """Return what is live in each ring."""
    found = [codec(Activation).decode(row) for row in r.query("activations.live", trainer=trainer)]
    return {activation.ring: activation for activation in found}


def history(r: Reader, trainer: str) -> list[Activation]:
    """Return all moves of a trainer, oldest first."""
    return [codec(Activation).decode(row) for row in r.query("activations.history", trainer=trainer)]
